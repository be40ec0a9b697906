package observe_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/observe"
	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/store"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// carry makes the live slug of an app consist of these bytes.
func (m *memory) carry(b []byte) {
	s := m.slugs["slug"]
	s.Checksum, s.Size, s.Blob = new(digest.Of(b).Checksum()), new(int64(len(b))), platform.Blob{Method: "get", URL: "https://blobs.example/slug"}
	m.slugs["slug"] = s
	m.blobs = map[string]io.Reader{s.Blob.URL: bytes.NewReader(b)}
}

func slugOf(t *testing.T, files map[string]string) []byte {
	t.Helper()
	named := map[string]string{}
	for name, text := range files {
		named["./app/"+name] = text
	}
	return pipetest.TarGz(t, named)
}

// heard keeps what was emitted.
type heard struct{ lines []string }

func (h *heard) Emit(e event.Event) {
	switch e := e.(type) {
	case event.TaskStarted:
		h.lines = append(h.lines, fmt.Sprintf("%s: %s started, %d bytes", e.Stage, e.Subject, e.Total))
	case event.TaskFinished:
		h.lines = append(h.lines, fmt.Sprintf("%s: %s finished, %d bytes", e.Stage, e.Subject, e.Bytes))
	case event.TaskFailed:
		h.lines = append(h.lines, fmt.Sprintf("%s: %s failed: %s", e.Stage, e.Subject, e.Error))
	case event.Progress:
	default:
		h.lines = append(h.lines, fmt.Sprintf("%T", e))
	}
}

func TestWorld_readsAReleasedSlugOnce(t *testing.T) {
	t.Parallel()
	m, s, h := example(), newStore(t), &heard{}
	b := slugOf(t, map[string]string{"web*": "web", "lib/a": "text"})
	m.carry(b)
	o := observe.Options{Platform: m, Inputs: inputs(t), Store: s, Sink: h}
	seen := look(t, o)
	if seen.Released != nil || !strings.Contains(seen.ReleasedWhy, "not made on this machine") || seen.ReleasedHint == "" {
		t.Errorf("without leave to read it: %+v, %q, %q", seen.Released, seen.ReleasedWhy, seen.ReleasedHint)
	}
	same(t, "calls", m.calls, []string{"releases 20"})
	o.Stream, m.calls = true, nil
	want := tree.Manifest{
		{Path: "lib/a", Kind: tree.File, Size: 4, Digest: digest.Of([]byte("text"))},
		{Path: "web", Kind: tree.File, Size: 3, Digest: digest.Of([]byte("web")), Exec: true},
	}
	for range 2 {
		seen = look(t, o)
		if seen.Released == nil {
			t.Fatal(seen.ReleasedWhy)
		}
		same(t, "tree", seen.Released.Tree, want)
	}
	same(t, "calls", m.calls, []string{"releases 20", "blob https://blobs.example/slug", "releases 20"})
	same(t, "events", h.lines, []string{
		fmt.Sprintf("plan: the slug of v2 started, %d bytes", len(b)), fmt.Sprintf("plan: the slug of v2 finished, %d bytes", len(b)),
	})
	if _, kept := s.Has(digest.Of(b)); kept {
		t.Error("the slug itself was kept")
	}
}

func TestWorld_readsNoSlugThatNothingIsComparedWith(t *testing.T) {
	t.Parallel()
	in, m := inputs(t), example()
	m.carry(slugOf(t, map[string]string{"web": "web"}))
	released := m.slugs["slug"]
	text := plan.CommitDescription(plan.Key(*in, "heroku-24", plan.Observed{}))
	released.CommitDescription = &text
	m.slugs["slug"] = released
	look(t, observe.Options{Platform: m, Inputs: in, Store: newStore(t), Stream: true}) // nothing changed
	released.CommitDescription = nil
	m.slugs["slug"] = released
	seen := look(t, observe.Options{Platform: m, Inputs: in, Store: newStore(t), Stream: true, Against: &plan.Base{Name: "main"}})
	same(t, "calls", m.calls, []string{"releases 20", "releases 20"})
	if seen.Against == nil || seen.Against.Name != "main" {
		t.Errorf("against %+v", seen.Against)
	}
}

func TestWorld_readsTheStoresOwnCopyOfASlug(t *testing.T) {
	t.Parallel()
	m, s := example(), newStore(t)
	b := slugOf(t, map[string]string{"web": "web"})
	m.carry(b)
	m.blobs = nil
	put(t, s, b)
	seen := look(t, observe.Options{Platform: m, Inputs: inputs(t), Store: s, Stream: true})
	if seen.Released == nil || len(seen.Released.Tree) != 1 {
		t.Errorf("%+v, %s", seen.Released, seen.ReleasedWhy)
	}
}

func put(t *testing.T, s *store.Store, b []byte) {
	t.Helper()
	i, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	_, werr := i.Write(b)
	_, _, cerr := i.Commit("bytes", digest.Digest{}, -1)
	if err := errors.Join(werr, cerr, i.Close()); err != nil {
		t.Fatal(err)
	}
}

// oddSlug is an archive with one entry of a kind that slugs do not have.
func oddSlug(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	if err := errors.Join(tw.WriteHeader(&tar.Header{Name: "./app/pipe", Typeflag: tar.TypeFifo}), tw.Close(), zw.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWorld_saysWhyAReleasedSlugIsNotKnown(t *testing.T) {
	t.Parallel()
	good := slugOf(t, map[string]string{"web": "web"})
	for name, c := range map[string]struct {
		change func(*memory)
		why    string
	}{
		"removed":     {func(m *memory) { m.slugs = nil }, "the platform has removed the slug of v2"},
		"no bytes":    {func(m *memory) { m.carry(good); m.blobs = nil }, "the platform has removed the bytes of the slug of v2"},
		"no checksum": {func(*memory) {}, "the slug of v2 has no checksum, so its bytes cannot be verified: another tool made it"},
		"other checksum": {func(m *memory) {
			s := m.slugs["slug"]
			s.Checksum = new("MD5:00")
			m.slugs["slug"] = s
		}, "the slug of v2 has a checksum that is no sha256"},
		"other bytes": {func(m *memory) {
			m.carry(good)
			m.blobs["https://blobs.example/slug"] = bytes.NewReader(slugOf(t, map[string]string{"web": "evil"}))
		}, "the platform gave other bytes than those of the slug of v2: sha256 "},
		"odd":      {func(m *memory) { m.carry(oddSlug(t)) }, "the slug of v2 is not laid out as a slug: read slug: entry \"./app/pipe\""},
		"squashfs": {func(m *memory) { m.carry([]byte("hsqs and so on")) }, "the slug of v2 is a squashfs image"},
		"cut": {func(m *memory) {
			m.carry(good)
			m.blobs["https://blobs.example/slug"] = io.MultiReader(bytes.NewReader(good[:20]), iotest.ErrReader(errors.New("reset by peer")))
		}, "the slug of v2 could not be read: reset by peer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, s := example(), newStore(t)
			c.change(m)
			seen := look(t, observe.Options{Platform: m, Inputs: inputs(t), Store: s, Stream: true})
			if seen.Released != nil || !strings.HasPrefix(seen.ReleasedWhy, c.why) || seen.ReleasedHint == "" {
				t.Errorf("released %v, why %q, hint %q", seen.Released, seen.ReleasedWhy, seen.ReleasedHint)
			}
			if kept, err := s.Keys("record"); err != nil || len(kept) > 0 {
				t.Errorf("kept %v, %v", kept, err)
			}
		})
	}
}

func TestWorld_endsWithItsContextWhileItReadsASlug(t *testing.T) {
	t.Parallel()
	m := example()
	b := slugOf(t, map[string]string{"web": strings.Repeat("web", 1000)})
	m.carry(b)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stopped by a signal")
	m.blobs["https://blobs.example/slug"] = io.MultiReader(bytes.NewReader(b[:10]), readerFunc(func([]byte) (int, error) {
		cancel(stop)
		return 0, context.Canceled
	}))
	h := &heard{}
	_, err := observe.World(ctx, observe.Options{Platform: m, Inputs: inputs(t), Store: newStore(t), Stream: true, Sink: h})
	if !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
	same(t, "the end of the task", h.lines[len(h.lines)-1], "plan: the slug of v2 failed: stopped by a signal")
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestWorld_asksForConfigVarsOnlyWhereOneIsMentioned(t *testing.T) {
	t.Parallel()
	m := example()
	m.config = []string{"A", "DATABASE_URL"}
	in := inputs(t)
	in.File.ProcessTypes = map[string]string{"web": "./web -p $PORT"}
	if seen := look(t, observe.Options{Platform: m, Inputs: in}); seen.Target.ConfigKnown || slices.Contains(m.calls, "config") {
		t.Errorf("nobody needs them: %v", m.calls)
	}
	in.File.ProcessTypes["worker"] = `work "$DATABASE_URL"`
	seen := look(t, observe.Options{Platform: m, Inputs: in})
	same(t, "names", seen.Target.ConfigNames, m.config)
	if !seen.Target.ConfigKnown {
		t.Error("the names are known")
	}
	m.config, m.refusal = nil, &platform.Error{Op: "list config vars", Status: 403}
	if seen := look(t, observe.Options{Platform: m, Inputs: in}); seen.Target.ConfigKnown || seen.Target.ConfigNames != nil {
		t.Errorf("who may not read them knows %v", seen.Target.ConfigNames)
	}
	m.refusal = &platform.Error{Op: "list config vars", Status: 500}
	if _, err := observe.World(t.Context(), observe.Options{Platform: m, Inputs: in}); err == nil {
		t.Error("a platform in trouble goes unnoticed")
	}
	m.refusal = nil
	if seen := look(t, observe.Options{Platform: m, Inputs: in, App: "typo"}); seen.Target.App != nil {
		t.Errorf("%+v", seen.Target)
	}
}

func TestWorld_tellsTheRecentReleases(t *testing.T) {
	t.Parallel()
	m := example()
	same(t, "recent", look(t, observe.Options{Platform: m, Inputs: inputs(t)}).Target.Recent, m.releases)
}

func TestRelease_isWhatAPlanIsComparedWith(t *testing.T) {
	t.Parallel()
	m, s := example(), newStore(t)
	b := slugOf(t, map[string]string{"web": "web"})
	m.carry(b)
	key := digest.Of([]byte("key"))
	released := m.slugs["slug"]
	released.CommitDescription = new(plan.CommitDescription(key))
	m.slugs["slug"] = released
	o := observe.Options{Platform: m, App: "example", Store: s}
	want := plan.Base{
		Kind: plan.BaseRelease, Name: "v2", Stack: "heroku-24", ProcessTypes: map[string]string{"web": "./web"},
		Key: key, Checksum: digest.Of(b), Size: new(int64(len(b))),
	}
	for _, stream := range []bool{false, true} {
		for _, version := range []string{"v2", "2"} {
			o.Stream = stream
			got, err := observe.Release(t.Context(), o, version)
			if err != nil {
				t.Fatal(err)
			}
			if (got.Record != nil) != stream || (got.Why == "") != stream {
				t.Errorf("stream %v: record %v, why %q", stream, got.Record, got.Why)
			}
			got.Record, got.Why, got.Hint = nil, "", ""
			same(t, version, got, want)
		}
	}
	if err := s.PutBytes("record", digest.Of(b).String(), recorded(t, plan.Record{Stack: "made here"})); err != nil {
		t.Fatal(err)
	}
	if got, err := observe.Release(t.Context(), o, "v2"); err != nil || got.Record == nil || got.Record.Stack != "made here" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRelease_saysWhyThereIsNone(t *testing.T) {
	t.Parallel()
	m := example()
	m.releases[0].Description = "Deploy 1a2b3c4 [slugfile X]"
	m.releases = append([]platform.Release{{Version: 4, Slug: &platform.SlugRef{ID: "gone"}}}, m.releases...)
	o := observe.Options{Platform: m, App: "example"}
	for version, want := range map[string][2]string{
		"v11":   {"compare with release v11 of app example: there is no such release", "the app has v1 to v4"},
		"v1":    {"compare with release v1 of app example: it has no slug", "a deploy made"},
		"v3":    {"compare with release v3 of app example: the platform has removed its slug", "--against 1a2b3c4"},
		"v4":    {"the platform has removed its slug", "the git revision"},
		"newer": {"that is no version", "v11"},
	} {
		_, err := observe.Release(t.Context(), o, version)
		var e *observe.ReleaseError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want[0]) || !strings.Contains(e.Hint(), want[1]) {
			t.Errorf("%s: %v", version, err)
		}
	}
	if _, err := observe.Release(t.Context(), observe.Options{Platform: &memory{}, App: "typo"}, "v2"); !errors.Is(err, platform.ErrNotFound) {
		t.Errorf("no app: %v", err)
	}
}
