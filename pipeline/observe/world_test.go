package observe_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/fetch"
	"github.com/slugfile/slugfile/pipeline/lock"
	"github.com/slugfile/slugfile/pipeline/observe"
	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/store"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// memory is a platform with at most one app. Calls that a look must not make are missing.
type memory struct {
	platform.Platform
	app      *platform.App
	releases []platform.Release
	slugs    map[string]platform.Slug
	// blobs are by address; one of no bytes is not there any more.
	blobs  map[string]io.Reader
	config []string
	// refusal is the answer to whoever asks for config vars.
	refusal error

	mu    sync.Mutex
	calls []string
}

func (m *memory) called(f string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, fmt.Sprintf(f, args...))
}

func (m *memory) find(name string) error {
	if m.app == nil || name != m.app.Name && name != m.app.ID {
		return &platform.Error{Op: "get app " + name, Status: 404, ID: "not_found", Message: "Couldn't find that app."}
	}
	return nil
}

func (m *memory) App(_ context.Context, name string) (platform.App, error) {
	if err := m.find(name); err != nil {
		return platform.App{}, err
	}
	return *m.app, nil
}

func (m *memory) Stacks(_ context.Context, app string) ([]platform.Stack, error) {
	stacks := []platform.Stack{{Name: "heroku-24", Default: true}}
	if app == "" {
		return append(stacks, platform.Stack{Name: "heroku-26"}), nil
	}
	return stacks, m.find(app)
}

func (m *memory) Releases(_ context.Context, app string, limit int) ([]platform.Release, error) {
	m.called("releases %d", limit)
	all := m.releases
	if limit > 0 && len(all) > limit {
		all = all[:limit]
	}
	return all, m.find(app)
}

func (m *memory) Release(_ context.Context, app, version string) (platform.Release, error) {
	for _, r := range m.releases {
		if version == fmt.Sprintf("v%d", r.Version) {
			return r, m.find(app)
		}
	}
	return platform.Release{}, &platform.Error{Op: "read release", Status: 404}
}

func (m *memory) OpenBlob(_ context.Context, from platform.Blob) (io.ReadCloser, error) {
	m.called("blob %s", from.URL)
	r, ok := m.blobs[from.URL]
	if !ok {
		return nil, &platform.BlobError{Op: "download slug", Status: 404}
	}
	return io.NopCloser(r), nil
}

func (m *memory) ConfigNames(_ context.Context, app string) ([]string, error) {
	m.called("config")
	return m.config, errors.Join(m.refusal, m.find(app))
}

func (m *memory) Slug(_ context.Context, app, id string) (platform.Slug, error) {
	s, ok := m.slugs[id]
	if !ok {
		return s, &platform.Error{Op: "get slug", Status: 404}
	}
	return s, m.find(app)
}

func newStore(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func inputs(t *testing.T) *plan.Inputs {
	t.Helper()
	return &plan.Inputs{
		File: &config.File{
			App: "example", Stack: "heroku-24", ProcessTypes: map[string]string{"web": "./web"},
			Build: []config.Step{
				{Name: "one", Run: "make one", Outputs: []string{"one"}},
				{Name: "two", Run: "make two", Outputs: []string{"two"}},
				{Name: "three", Run: "make three", Outputs: []string{"three"}},
			},
		},
		Source: artifact.Source{Dir: t.TempDir(), Tree: tree.Manifest{{Path: "a", Kind: tree.File}}},
	}
}

func example() *memory {
	return &memory{
		app: &platform.App{ID: "id", Name: "example", Stack: platform.Ref{Name: "heroku-24"}},
		releases: []platform.Release{
			{ID: "r3", Version: 3, Status: platform.Failed, Slug: &platform.SlugRef{ID: "other"}},
			{ID: "r2", Version: 2, Current: true, Slug: &platform.SlugRef{ID: "slug"}},
			{ID: "r1", Version: 1},
		},
		slugs: map[string]platform.Slug{"slug": {ID: "slug", Stack: platform.Ref{Name: "heroku-24"}, ProcessTypes: map[string]string{"web": "./web"}}},
	}
}

func look(t *testing.T, o observe.Options) plan.Observed {
	t.Helper()
	seen, err := observe.World(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

func TestWorld_findsTheLiveReleaseAndNotTheNewest(t *testing.T) {
	t.Parallel()
	seen := look(t, observe.Options{Platform: example(), Inputs: inputs(t), Now: 42})
	g := seen.Target
	if g.App.ID != "id" || g.Current.ID != "r2" || g.Slug.ID != "slug" || g.Latest != 3 || g.Newest.ID != "r3" || g.Now != 42 || len(g.Stacks) != 1 {
		t.Errorf("saw %+v", g)
	}
}

func TestWorld_asksForAllReleasesOnlyWhenTheLiveOneIsFarBack(t *testing.T) {
	t.Parallel()
	m := example()
	look(t, observe.Options{Platform: m, Inputs: inputs(t)})
	same(t, "near", m.calls, []string{"releases 20"})
	for v := 4; v < 30; v++ {
		m.releases = append([]platform.Release{{Version: v, Status: platform.Failed}}, m.releases...)
	}
	m.calls = nil
	seen := look(t, observe.Options{Platform: m, Inputs: inputs(t)})
	same(t, "far", m.calls, []string{"releases 20", "releases 0"})
	same(t, "live", seen.Target.Current.ID, "r2")
}

func TestWorld_takesAMissingAppForAFact(t *testing.T) {
	t.Parallel()
	seen := look(t, observe.Options{Platform: &memory{}, Inputs: inputs(t), App: "typo"})
	if g := seen.Target; g.App != nil || g.Name != "typo" || len(g.Stacks) != 2 {
		t.Errorf("saw %+v", g)
	}
	m := example()
	m.slugs = nil // the platform has removed it
	if g := look(t, observe.Options{Platform: m, Inputs: inputs(t)}).Target; g.Slug != nil || g.Current == nil {
		t.Errorf("saw %+v", g)
	}
	in := inputs(t)
	in.File.App = ""
	if _, err := observe.World(context.Background(), observe.Options{Platform: m, Inputs: in}); err == nil {
		t.Error("no app is named, and yet one is looked at")
	}
}

// keep stores an output of a step.
func keep(t *testing.T, s *store.Store, key digest.Digest, name string) {
	t.Helper()
	_, _, err := s.PutTree("output", key, func(dir string) (tree.Manifest, error) {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			return nil, err
		}
		return tree.Scan(context.Background(), dir, tree.ScanOptions{})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWorld_followsTheStepsAsFarAsTheirOutputsAreThere(t *testing.T) {
	t.Parallel()
	in, s := inputs(t), newStore(t)
	for _, step := range []string{"one", "two"} {
		seen := look(t, observe.Options{Inputs: in, Store: s})
		keys := plan.Keys(*in, "heroku-24", seen)
		if len(keys) != 1 {
			t.Fatalf("before %s: %d open questions", step, len(keys))
		}
		keep(t, s, keys[0], step)
	}
	p := plan.Build(*in, look(t, observe.Options{Inputs: in, Store: s}))
	var got []string
	for _, c := range p.Steps {
		got = append(got, c.Name+" "+c.State)
	}
	same(t, "steps", got, []string{"one reused", "two reused", "three runs"})
}

func TestWorld_asksForNoStepWhenTheReleaseHasTheSlug(t *testing.T) {
	t.Parallel()
	in, s, m := inputs(t), newStore(t), example()
	o := observe.Options{Platform: m, Inputs: in, Store: s}
	keep(t, s, plan.Keys(*in, "heroku-24", plan.Observed{})[0], "one")
	if seen := look(t, o); len(seen.Outputs) != 1 || len(seen.Unpinned["one"]) != 1 {
		t.Fatalf("outputs %v, unpinned %v", seen.Outputs, seen.Unpinned)
	}
	slug, sum := m.slugs["slug"], digest.Of([]byte("slug"))
	text, checksum := plan.CommitDescription(plan.Key(*in, "heroku-24", plan.Observed{})), sum.Checksum()
	slug.CommitDescription, slug.Checksum = &text, &checksum
	m.slugs["slug"] = slug
	seen := look(t, o)
	if seen.Outputs != nil || seen.Unpinned != nil {
		t.Errorf("outputs %v, unpinned %v", seen.Outputs, seen.Unpinned)
	}
	if p := plan.Build(*in, seen); p.Changed {
		t.Errorf("changed: %s", p.Why)
	}
}

func recorded(t *testing.T, r plan.Record) []byte {
	t.Helper()
	b, err := r.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWorld_findsTheSlugAndTheRecordInTheStore(t *testing.T) {
	t.Parallel()
	in, s, m := inputs(t), newStore(t), example()
	i, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(i, "bytes"); err != nil {
		t.Fatal(err)
	}
	d, n, err := i.Commit("slug", digest.Digest{}, -1)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	key := plan.Key(*in, "heroku-24", plan.Observed{})
	for _, err := range []error{
		s.PutRef("slug", key.String(), artifact.Slug{Digest: d, Size: n, Path: "/elsewhere"}),
		s.PutBytes("record", d.String(), recorded(t, plan.Record{Key: key, Size: n})),
		s.PutBytes("record", digest.Of(nil).String(), recorded(t, plan.Record{Stack: "released"})),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	slug, sum := m.slugs["slug"], digest.Of(nil).Checksum()
	slug.Checksum = &sum
	m.slugs["slug"] = slug
	seen := look(t, observe.Options{Platform: m, Inputs: in, Store: s})
	if seen.Slug == nil || seen.Slug.Path != s.Path(d) || seen.Slug.PlanKey != key || seen.Next == nil || seen.Released == nil || seen.Released.Stack != "released" {
		t.Errorf("slug %+v, next %+v, released %+v", seen.Slug, seen.Next, seen.Released)
	}
	if err := s.PutBytes("record", digest.Of(nil).String(), []byte("of another version")); err != nil {
		t.Fatal(err)
	}
	if seen := look(t, observe.Options{Platform: m, Inputs: in, Store: s}); seen.Slug == nil || seen.Released != nil {
		t.Errorf("slug %+v, released %+v from a record that nobody understands", seen.Slug, seen.Released)
	}
	if err := s.Remove(d); err != nil {
		t.Fatal(err)
	}
	if seen := look(t, observe.Options{Platform: m, Inputs: in, Store: s}); seen.Slug != nil {
		t.Error("a slug whose bytes are gone is taken for there")
	}
}

func TestWorld_trustsAStoredArchiveOnlyBesideItsAddress(t *testing.T) {
	t.Parallel()
	in, s := inputs(t), newStore(t)
	i, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	d, _, err := i.Commit("archive", digest.Digest{}, -1)
	if err != nil {
		t.Fatal(err)
	}
	in.File.Runtimes = config.Runtimes{{Name: "r", URL: "https://a.example/r.tgz", SHA256: d.String()}}
	if seen := look(t, observe.Options{Inputs: in, Store: s}); seen.Stored[d] {
		t.Error("bytes that this address never gave are taken for its own")
	}
	if err := s.PutRef("url", lock.SeenKey("r", "https://a.example/r.tgz"), map[string]any{"sha256": d}); err != nil {
		t.Fatal(err)
	}
	if seen := look(t, observe.Options{Inputs: in, Store: s}); !seen.Stored[d] {
		t.Error("a stored archive is not found")
	}
}

func TestWorld_knowsAsStoredWhatFetchNoted(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	archive := pipetest.TarGz(t, map[string]string{"bin/node": "node"})
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "node.tar.gz"), archive, 0o600); err != nil {
		t.Fatal(err)
	}
	mirror, err := fetch.ParseMirror("https://dist.example=file:" + dir)
	if err != nil {
		t.Fatal(err)
	}
	const url = "https://dist.example/node.tar.gz"
	stored := func(name, url string, d digest.Digest) bool {
		in := inputs(t)
		in.File.Build = nil
		in.File.Runtimes = config.Runtimes{{Name: name, URL: url, SHA256: d.String()}}
		seen := look(t, observe.Options{Inputs: in, Store: s})
		return seen.Stored[d]
	}
	want := digest.Of(archive)
	if stored("node", url, want) {
		t.Fatal("stored before it was fetched")
	}
	in := inputs(t)
	in.File.Runtimes = config.Runtimes{{Name: "node", URL: url, SHA256: want.String()}}
	stage := &fetch.Stage{Store: s, Mirrors: []fetch.Mirror{mirror}}
	if _, err := stage.Run(context.Background(), plan.Fetch{Runtimes: plan.Runtimes(*in, plan.Observed{})}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, url string
		digest    digest.Digest
		want      bool
	}{
		{"node", url, want, true},
		{"node", url + "?X-Amz-Signature=2&X-Amz-Date=3", want, true}, // signed anew, the same address
		{"node", "https://dist.example/v2/node.tar.gz", want, false},
		{"ruby", url, want, false},
		{"node", url, digest.Of([]byte("other bytes")), false},
	} {
		if got := stored(c.name, c.url, c.digest); got != c.want {
			t.Errorf("%s at %s with %s: stored is %v", c.name, c.url, c.digest.Short(), got)
		}
	}
}

// What was unpacked or packed outlives its archive, which nobody needs then.
func TestWorld_knowsAsStoredWhatIsLeftOfAnArchive(t *testing.T) {
	t.Parallel()
	archive := pipetest.TarGz(t, map[string]string{"bin/node": "node"})
	d := digest.Of(archive)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "node.tar.gz"), archive, 0o600); err != nil {
		t.Fatal(err)
	}
	mirror, err := fetch.ParseMirror("https://dist.example=file:" + dir)
	if err != nil {
		t.Fatal(err)
	}
	with := func(steps []config.Step) *plan.Inputs {
		in := inputs(t)
		in.File.Build = steps
		in.File.Runtimes = config.Runtimes{{Name: "node", URL: "https://dist.example/node.tar.gz", SHA256: d.String()}}
		return in
	}
	steps := []config.Step{{Name: "install", Run: "node", Outputs: []string{"out"}}}
	for _, c := range []struct {
		name         string
		fetched, now []config.Step
		want         bool
	}{
		{"a pack, and no step", nil, nil, true},
		{"a tree, and a step", steps, steps, true},
		{"a tree, and no step", steps, nil, true},
		{"a pack, and a step", nil, steps, false},
	} {
		s := newStore(t)
		stage := &fetch.Stage{Store: s, Mirrors: []fetch.Mirror{mirror}}
		if _, err := stage.Run(context.Background(), plan.Fetch{Runtimes: plan.Runtimes(*with(c.fetched), plan.Observed{})}); err != nil {
			t.Fatal(err)
		}
		if err := s.Remove(d); err != nil {
			t.Fatal(err)
		}
		if got := look(t, observe.Options{Inputs: with(c.now), Store: s}).Stored[d]; got != c.want {
			t.Errorf("%s: stored is %v", c.name, got)
		}
	}
}

func TestTools_pinsToolsByTheirContent(t *testing.T) {
	t.Parallel()
	c, s := directory(t), newStore(t)
	c.write("bin/real*", "bin/plain", "other/web.js")
	c.put("third/x.tgz", "archive", 0o644)
	if err := os.Symlink("real", filepath.Join(c.dir, "bin", "tool")); err != nil {
		t.Skip("no links here:", err)
	}
	in := inputs(t)
	in.Source.Dir = c.dir
	in.File.Runtimes = config.Runtimes{
		{Name: "t", Host: "tool"}, {Name: "missing", Host: "absent"}, {Name: "plain", Host: "plain"}, {Name: "x", Path: "third/x.tgz"},
	}
	pathEnv := "." + string(os.PathListSeparator) + string(os.PathListSeparator) + filepath.Join(c.dir, "bin")
	tools, archives, err := observe.Tools(context.Background(), in, pathEnv, s)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "tools", tools, map[string]plan.Tool{"t": {Path: filepath.Join(c.dir, "bin", "real"), Digest: digest.Of([]byte("bin/real")), Size: 8}})
	same(t, "archives", archives, map[string]plan.Tool{"x": {Path: filepath.Join(c.dir, "third", "x.tgz"), Digest: digest.Of([]byte("archive")), Size: 7}})

	// A change that keeps size and time of modification is still seen.
	at := filepath.Join(c.dir, "bin", "real")
	fi, err := os.Stat(at)
	if err != nil {
		t.Fatal(err)
	}
	c.put("bin/real", "bin/REAL", 0o755)
	if err := os.Chtimes(at, time.Time{}, fi.ModTime()); err != nil {
		t.Fatal(err)
	}
	tools, _, err = observe.Tools(context.Background(), in, pathEnv, s)
	if err != nil || tools["t"].Digest != digest.Of([]byte("bin/REAL")) {
		t.Errorf("%+v, %v", tools["t"], err)
	}

	in.File.Runtimes[3].SHA256 = digest.Of(nil).String()
	_, _, err = observe.Tools(context.Background(), in, pathEnv, s)
	if wrong := (*digest.MismatchError)(nil); !errors.As(err, &wrong) {
		t.Errorf("an archive with other bytes than promised gave %v", err)
	}
}

func TestWorld_listsToolsThatNothingPins(t *testing.T) {
	t.Parallel()
	c := directory(t)
	c.write("go*")
	in := inputs(t)
	in.File.Runtimes = config.Runtimes{{Name: "golang", Host: "go"}, {Name: "node", URL: "https://a.example/n.tgz", SHA256: digest.Of(nil).String()}}
	in.File.Build = []config.Step{
		{Name: "a", Runtimes: []string{"golang"}, Run: "f() { sed x; }\nf && go build ./... | tee log\nif test -f x; then ./run; fi\n\"$CC\" x; cd /; make -j2 >out"},
		{Name: "b", Runtimes: []string{"node"}, Run: "npm ci"}, // what node brings is not known before it is there
		{Name: "c", Runtimes: []string{"golang"}, Run: "go vet"},
	}
	if seen := look(t, observe.Options{Inputs: in, Path: c.dir}); seen.Unpinned != nil {
		t.Errorf("a build, which shows no plan, looked for %v", seen.Unpinned)
	}
	seen := look(t, observe.Options{Platform: example(), Inputs: in, Path: c.dir})
	same(t, "unpinned", seen.Unpinned, map[string][]string{"a": {"make", "sed", "tee"}})
}

func TestTools_remembersTheDigestOfAFileThatDidNotChange(t *testing.T) {
	t.Parallel()
	at, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Skip("no /bin/sh here:", err)
	}
	in, dir := inputs(t), filepath.Join(t.TempDir(), "store")
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	in.File.Runtimes = config.Runtimes{{Name: "shell", Host: filepath.Base(at)}}
	first, _, err := observe.Tools(context.Background(), in, filepath.Dir(at), s)
	if err != nil {
		t.Fatal(err)
	}
	notes, err := filepath.Glob(filepath.Join(dir, "refs", "file", "*.json"))
	if err != nil || len(notes) != 1 {
		t.Skipf("nothing is remembered on this system: %v %v", notes, err)
	}
	// Another digest in the note shows that the note was read, and the file was not.
	key := strings.TrimSuffix(filepath.Base(notes[0]), ".json")
	if err := s.PutRef("file", key, map[string]any{"sha256": digest.Of([]byte("noted"))}); err != nil {
		t.Fatal(err)
	}
	second, _, err := observe.Tools(context.Background(), in, filepath.Dir(at), s)
	if err != nil || second["shell"].Digest != digest.Of([]byte("noted")) || second["shell"].Size != first["shell"].Size {
		t.Errorf("first %+v, second %+v, %v", first, second, err)
	}
}
