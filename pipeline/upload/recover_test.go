package upload_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/journal"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/platformtest"
)

// remember gives the stage a journal that is read from f, as another process would.
func (w *world) remember(t *testing.T, f journal.File) {
	t.Helper()
	j, err := journal.Open(f, journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w.stage.Journal = j
}

func (w *world) open(t *testing.T) journal.Operation {
	t.Helper()
	open := w.stage.Journal.State().Open
	if open == nil {
		t.Fatalf("nothing is open: %+v", w.stage.Journal.State())
	}
	return *open
}

// reused reports whether the last task was done already.
func (w *world) reused() bool {
	done, ok := w.rec.events[len(w.rec.events)-1].(event.TaskFinished)
	return ok && done.Reused && done.Why != ""
}

// watched looks into the journal when the platform is called, as a crash would leave it.
type watched struct {
	platform.Platform
	file journal.File
	seen []string
}

func (w *watched) note(call string) {
	j, err := journal.Open(w.file, journal.Options{})
	if err != nil || j.State().Open == nil {
		w.seen = append(w.seen, fmt.Sprintf("%s: %v", call, err))
		return
	}
	w.seen = append(w.seen, call+": "+string(j.State().Open.Step))
}

func (w *watched) CreateSlug(ctx context.Context, app string, in platform.SlugCreate) (platform.Slug, error) {
	w.note("POST")
	return w.Platform.CreateSlug(ctx, app, in)
}

func (w *watched) Slug(ctx context.Context, app, id string) (platform.Slug, error) {
	w.note("GET")
	return w.Platform.Slug(ctx, app, id)
}

func TestStage_writesDownWhatItIsAboutToAskFor(t *testing.T) {
	t.Parallel()
	w, f := newWorld(t, 100), &journal.Memory{}
	w.remember(t, f)
	p := &watched{Platform: w.stage.Platform, file: f}
	w.stage.Platform = p
	up, err := w.run(t)
	if d := cmp.Diff([]string{"POST: slug.intent", "GET: slug.created"}, p.seen); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
	o := w.open(t)
	if o.Step != journal.BlobVerified || o.SlugID != up.SlugID || o.Checksum != w.slug.Digest.Checksum() || o.Size != 100 || len(o.Apply) != 26 {
		t.Errorf("%+v", o)
	}
	text, _ := f.Read()
	for _, secret := range []string{"X-Amz", w.BlobHost, w.Token} {
		if strings.Contains(string(text), secret) {
			t.Errorf("the journal holds %q: %s", secret, text)
		}
	}
}

// on is a fault of the nth request of its kind.
func on(op string, n int, f platformtest.Fault) func(platformtest.Request) platformtest.Fault {
	return func(r platformtest.Request) platformtest.Fault {
		if r.Op == op && r.N == n {
			return f
		}
		return platformtest.Fault{}
	}
}

// Each row is a place at which a run ended, and what the next one does there.
func TestStage_takesUpWhatAnEarlierRunLeft(t *testing.T) {
	t.Parallel()
	expired := platformtest.Fault{Status: 403, Body: "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"}
	for name, c := range map[string]struct {
		// fault ends the first run; between happens before the second.
		fault   func(r platformtest.Request) platformtest.Fault
		between func(w *world)
		left    journal.Step
		// slugs and puts are how often they were sent by both runs.
		slugs, puts int
		reused      bool
	}{
		"slug.intent: the answer is lost": {
			fault: on("POST slugs", 1, platformtest.Fault{Act: true, Status: 422}),
			left:  journal.SlugIntent, slugs: 2, puts: 1,
		},
		"slug.created: no bytes arrived": {
			fault: on("PUT blob", 1, platformtest.Fault{Status: 403}),
			left:  journal.SlugCreated, slugs: 2, puts: 2,
		},
		"slug.created: the blob is whole": {
			fault: on("PUT blob", 1, platformtest.Fault{Act: true, Status: 403}),
			left:  journal.SlugCreated, slugs: 1, puts: 1, reused: true,
		},
		"slug.created: another address was asked for": {
			fault: func(r platformtest.Request) platformtest.Fault {
				if r.Op == "PUT blob" {
					return expired
				}
				return platformtest.Fault{}
			},
			left: journal.SlugCreated, slugs: 4, puts: 4,
		},
		"blob.verified": {left: journal.BlobVerified, slugs: 1, puts: 1, reused: true},
		"blob.verified: another commit of the same bytes": {
			between: func(w *world) { w.step.Commit = "fedcba9876543210" }, left: journal.BlobVerified, slugs: 2, puts: 2,
		},
		"blob.verified: other process types": {
			between: func(w *world) { w.step.ProcessTypes = map[string]string{"web": "bin/other"} }, left: journal.BlobVerified, slugs: 2, puts: 2,
		},
		"blob.verified: another stack": {
			between: func(w *world) { w.step.Stack = "heroku-22" }, left: journal.BlobVerified, slugs: 2, puts: 2,
		},
		"blob.verified: its bytes are others by now": {
			between: func(w *world) { w.Spoil(func(b []byte) []byte { b[0] ^= 1; return b }) }, left: journal.BlobVerified, slugs: 2, puts: 2,
		},
		"blob.verified: the slug is gone": {
			between: func(w *world) { w.Fail(on("GET slugs", 2, platformtest.Fault{Status: 404})) }, left: journal.BlobVerified, slugs: 2, puts: 2,
		},
		"blob.verified: the blob is gone": {
			between: func(w *world) { w.Fail(on("GET blob", 2, platformtest.Fault{Status: 403})) }, left: journal.BlobVerified, slugs: 2, puts: 2,
		},
		"blob.verified: nobody tells the size": {
			between: func(w *world) {
				w.Fail(on("GET blob", 2, platformtest.Fault{Status: 206, Header: http.Header{"Content-Range": {"bytes 0-0/*"}}, Body: "x"}))
			}, left: journal.BlobVerified, slugs: 2, puts: 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, f := newWorld(t, 1000), &journal.Memory{}
			app, err := w.stage.Platform.CreateApp(t.Context(), *w.step.Create)
			if err != nil {
				t.Fatal(err)
			}
			w.step.Create, w.step.App = nil, app.ID
			w.remember(t, f)
			w.Fail(c.fault)
			first, err := w.run(t)
			if (err == nil) != (c.fault == nil) || w.open(t).Step != c.left {
				t.Fatalf("the first run: %v, left at %s, want %s", err, w.open(t).Step, c.left)
			}
			apply := w.open(t).Apply
			w.Fail(nil)
			if c.between != nil {
				c.between(w)
			}
			w.remember(t, f)
			second, err := w.run(t)
			if err != nil {
				t.Fatal(err)
			}
			if slugs, puts := w.count("POST slugs"), w.count("PUT blob"); slugs != c.slugs || puts != c.puts || w.reused() != c.reused {
				t.Errorf("%d slugs and %d PUTs, reused %t; want %d, %d, %t", slugs, puts, w.reused(), c.slugs, c.puts, c.reused)
			}
			if c.reused && c.fault == nil && second.SlugID != first.SlugID {
				t.Errorf("slug %s, then %s", first.SlugID, second.SlugID)
			}
			if o := w.open(t); o.Step != journal.BlobVerified || o.SlugID != second.SlugID || o.Apply != apply {
				t.Errorf("%+v; want slug %s under apply %s", o, second.SlugID, apply)
			}
		})
	}
}

// Bytes of which the platform has a slug from an apply that has ended are not sent again.
func TestStage_usesTheSlugOfAnApplyThatHasEnded(t *testing.T) {
	t.Parallel()
	w, f := newWorld(t, 100), &journal.Memory{}
	w.remember(t, f)
	first, err := w.run(t)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.stage.Journal.Abandon("the platform refused it"); err != nil {
		t.Fatal(err)
	}
	w.step.Create, w.step.App = nil, "example"
	w.remember(t, f)
	second, err := w.run(t)
	if err != nil || second.SlugID != first.SlugID || w.count("POST slugs") != 1 || !w.reused() {
		t.Errorf("slug %s, then %s, %v", first.SlugID, second.SlugID, err)
	}
	if past := w.stage.Journal.State().Past; len(past) != 1 || past[0].Apply == w.open(t).Apply {
		t.Errorf("%+v", w.stage.Journal.State())
	}
}

func TestStage_leavesAnOpenReleaseToItsRecovery(t *testing.T) {
	t.Parallel()
	for _, s := range []journal.Step{journal.ReleaseIntent, journal.ReleaseCreated} {
		w, f := newWorld(t, 100), &journal.Memory{}
		w.remember(t, f)
		if err := w.stage.Journal.Write(journal.Operation{Apply: "01JD", Step: s, Checksum: w.slug.Digest.Checksum()}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.run(t); err == nil || !strings.Contains(err.Error(), "01JD") || w.count("POST slugs") != 0 || w.open(t).Step != s {
			t.Errorf("%s: %v, %+v", s, err, w.open(t))
		}
	}
}

// A platform that is away says nothing about the slug: nothing is uploaded twice for that.
func TestStage_failsWhenTheEarlierSlugCannotBeLookedAt(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"GET slugs", "GET blob"} {
		w, f := newWorld(t, 100), &journal.Memory{}
		w.remember(t, f)
		if _, err := w.run(t); err != nil {
			t.Fatal(err)
		}
		w.step.Create, w.step.App = nil, "example"
		w.Fail(func(r platformtest.Request) platformtest.Fault { return platformtest.Fault{Drop: r.Op == op} })
		if _, err := w.run(t); err == nil || !strings.HasPrefix(err.Error(), "look at the slug of an earlier apply: ") || w.count("POST slugs") != 1 {
			t.Errorf("%s: %v after %d slugs", op, err, w.count("POST slugs"))
		}
	}
}

// slow answers what it is asked to make after a while, and stops the run in the middle of it.
type slow struct {
	platform.Platform
	stop  func()
	after time.Duration
	app   bool
}

func (s *slow) wait(ctx context.Context) error {
	s.stop()
	select {
	case <-time.After(s.after):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *slow) CreateApp(ctx context.Context, in platform.AppCreate) (platform.App, error) {
	if !s.app {
		return platform.App{ID: "a", Name: in.Name}, nil
	}
	return platform.App{ID: "a", Name: in.Name}, s.wait(ctx)
}

func (s *slow) CreateSlug(ctx context.Context, _ string, in platform.SlugCreate) (platform.Slug, error) {
	return platform.Slug{ID: "s", Checksum: in.Checksum}, s.wait(ctx)
}

func (s *slow) PutBlob(ctx context.Context, _ platform.Blob, _ io.ReaderAt, _ int64, _ func(int64)) error {
	return context.Cause(ctx)
}

func TestStage_finishesTheRequestThatIsUnderWay(t *testing.T) {
	t.Parallel()
	why := errors.New("stopped by a signal")
	for name, c := range map[string]struct {
		app   bool
		after time.Duration
		took  time.Duration
		left  journal.Step
		text  string
	}{
		"slug, answered": {false, 2 * time.Second, 2 * time.Second, journal.SlugCreated, "the slug is built, and not uploaded: stopped by a signal"},
		"slug, hung":     {false, time.Hour, 3 * time.Second, journal.SlugIntent, "the slug is built, and not uploaded: context canceled"},
		"app, answered":  {true, 2 * time.Second, 2 * time.Second, "", "the slug is built, and not uploaded: app example was made: stopped by a signal"},
	} {
		w := newWorld(t, 100)
		w.remember(t, &journal.Memory{})
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			w.stage.Platform = &slow{stop: func() { cancel(why) }, after: c.after, app: c.app}
			start := time.Now()
			_, err := w.stage.Run(ctx, w.step, w.slug)
			took := time.Since(start)
			left := journal.Step("")
			if open := w.stage.Journal.State().Open; open != nil {
				left = open.Step
			}
			if err == nil || err.Error() != c.text || took != c.took || left != c.left {
				t.Errorf("%s: %v after %s, left at %q", name, err, took, left)
			}
		})
	}
}

func TestStage_sendsNothingThatItCannotRemember(t *testing.T) {
	t.Parallel()
	for writes, slugs := range []int{0, 0, 1, 1} {
		w := newWorld(t, 100)
		w.remember(t, &unwritable{left: writes})
		if _, err := w.run(t); err == nil || !strings.Contains(err.Error(), "write journal: no space left") || w.count("POST slugs") != slugs {
			t.Errorf("%d writes: %v after %d slugs", writes, err, w.count("POST slugs"))
		}
	}
	w := newWorld(t, 100)
	w.remember(t, &unwritable{left: 4})
	if _, err := w.run(t); err != nil {
		t.Error(err)
	}
}

// unwritable is a disk that is full from some write on.
type unwritable struct {
	journal.Memory
	left int
}

func (u *unwritable) Append(size int64, b []byte) error {
	if u.left--; u.left < 0 {
		return errors.New("no space left on device")
	}
	return u.Memory.Append(size, b)
}
