package pipeline_test

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/fetch"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/release"
	"github.com/slugfile/slugfile/pipeline/store"
	"github.com/slugfile/slugfile/pipeline/upload"
)

// halting is a platform in memory that stops the run at a call. The call is carried out.
type halting struct {
	platform.Platform
	at     string
	stop   func()
	status string
	sum    string
}

func (h *halting) call(name string) {
	if name == h.at {
		h.stop()
	}
}

func (h *halting) CreateSlug(_ context.Context, _ string, in platform.SlugCreate) (platform.Slug, error) {
	h.call("POST slugs")
	h.sum = *in.Checksum
	return platform.Slug{ID: "5f1d"}, nil
}

func (h *halting) PutBlob(ctx context.Context, _ platform.Blob, _ io.ReaderAt, _ int64, _ func(int64)) error {
	h.call("PUT blob")
	return ctx.Err()
}

func (h *halting) Slug(ctx context.Context, _, id string) (platform.Slug, error) {
	return platform.Slug{ID: id, Checksum: &h.sum}, ctx.Err()
}

func (h *halting) StatBlob(context.Context, platform.Blob) (platform.BlobInfo, error) {
	return platform.BlobInfo{Size: 4}, nil
}

func (h *halting) Releases(ctx context.Context, _ string, _ int) ([]platform.Release, error) {
	h.call("GET releases")
	return nil, ctx.Err()
}

func (h *halting) CreateRelease(_ context.Context, _ string, in platform.ReleaseCreate) (platform.Release, error) {
	h.call("POST releases")
	return platform.Release{ID: "r1", Version: 1, Description: in.Description, Status: h.status}, nil
}

func (h *halting) Release(ctx context.Context, _, _ string) (platform.Release, error) {
	return platform.Release{ID: "r1", Version: 1, Status: platform.Succeeded}, ctx.Err()
}

func (h *halting) App(ctx context.Context, _ string) (platform.App, error) {
	return platform.App{}, ctx.Err()
}

// file is a store of one file.
type file string

func (f file) Open(digest.Digest) (*os.File, error) { return os.Open(string(f)) }

// Wherever a run is stopped, its error says what stands and what is left.
func TestPublish_saysWhatRemainsWhenItIsStopped(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/slug.tgz"
	if err := os.WriteFile(path, []byte("slug"), 0o600); err != nil {
		t.Fatal(err)
	}
	for at, c := range map[string]struct{ status, want string }{
		"POST slugs":    {"", "upload: the slug is built, and not uploaded: context canceled; remaining: upload, release"},
		"PUT blob":      {"", "upload: the slug is built, and not uploaded: context canceled; remaining: upload, release"},
		"GET releases":  {"", "release: the slug is uploaded (slug 5f1d), and not released: interrupt; remaining: release"},
		"POST releases": {platform.Succeeded, "release: v1 was released to app example, and is live"},
		"phase":         {platform.Pending, "release: v1 was released to app example, and its release phase still runs"},
	} {
		why := errors.New("interrupt")
		ctx, cancel := context.WithCancelCause(t.Context())
		p := &halting{at: at, status: c.status, stop: func() { cancel(why) }}
		if at == "phase" {
			p.at = "POST releases"
		}
		var failed event.StageFailed
		sink := event.Func(func(e event.Event) {
			if f, ok := e.(event.StageFailed); ok {
				failed = f
			}
		})
		run := &pipeline.Pipeline{Upload: &upload.Stage{Platform: p, Store: file(path)}, Release: &release.Stage{Platform: p}, Sink: sink, Now: time.Now}
		_, _, err := run.Publish(ctx, plan.Work{Upload: plan.Upload{App: "a"}, Release: plan.Release{App: "a", AppName: "example"}},
			artifact.Slug{Digest: digest.Of([]byte("slug")), Size: 4})
		if err == nil || err.Error() != c.want || failed.Error != c.want || !errors.Is(err, context.Canceled) && !errors.Is(err, why) {
			t.Errorf("%s: %v\nwant %s", at, err, c.want)
		}
	}
}

// What fails while nobody has stopped it says nothing of what remains.
func TestPublish_leavesFailuresAsTheyAre(t *testing.T) {
	t.Parallel()
	run := &pipeline.Pipeline{Upload: &upload.Stage{Store: file("/nowhere/slug.tgz")}, Release: &release.Stage{}, Sink: event.Discard, Now: time.Now}
	_, _, err := run.Publish(t.Context(), plan.Work{}, artifact.Slug{})
	var stopped *pipeline.StoppedError
	if !errors.Is(err, os.ErrNotExist) || errors.As(err, &stopped) {
		t.Errorf("%v", err)
	}
}

// A build alone has nothing to upload.
func TestBuild_saysWhatRemainsWhenItIsStopped(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupt"))
	work := plan.Work{Fetch: plan.Fetch{Runtimes: []plan.Runtime{{Name: "node", URL: "https://dist.example.com/node.tgz", Size: -1, Digest: digest.Of([]byte("node"))}}}}
	for last, run := range map[string]*pipeline.Pipeline{
		"fetch, compile, archive":                  {},
		"fetch, compile, archive, upload, release": {Upload: &upload.Stage{}, Release: &release.Stage{}},
	} {
		run.Fetch, run.Sink, run.Now = &fetch.Stage{Store: s}, event.Discard, time.Now
		_, err := run.Build(ctx, work)
		var stopped *pipeline.StoppedError
		if !errors.As(err, &stopped) || strings.Join(stopped.Remaining, ", ") != last || !strings.HasSuffix(err.Error(), "; remaining: "+last) {
			t.Errorf("%v\nwant %s", err, last)
		}
	}
}

func TestStoppedError_putsTheOutputOfAStepLast(t *testing.T) {
	t.Parallel()
	err := &pipeline.StoppedError{Err: errors.New("compile: step \"pack\": stopped\nlast output:\n    at work"), Remaining: []string{"compile", "archive"}}
	if want := "compile: step \"pack\": stopped; remaining: compile, archive\nlast output:\n    at work"; err.Error() != want {
		t.Errorf("%s\nwant %s", err, want)
	}
}
