package upload_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/heroku"
	"github.com/slugfile/slugfile/pipeline/platform/platformtest"
	"github.com/slugfile/slugfile/pipeline/transport"
	"github.com/slugfile/slugfile/pipeline/upload"
)

// dir is a store that holds files by their digest.
type dir string

func (d dir) Open(of digest.Digest) (*os.File, error) {
	return os.Open(filepath.Join(string(d), of.String()))
}

// recorder keeps events, and everything that they would show.
type recorder struct {
	mu     sync.Mutex
	events []event.Event
}

func (r *recorder) Emit(e event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, err := json.Marshal(r.events)
	return fmt.Sprintf("%s %v %+v", b, err, r.events)
}

type world struct {
	*platformtest.Server
	rec   *recorder
	stage *upload.Stage
	slug  artifact.Slug
	step  plan.Upload
	bytes []byte
}

func newWorld(t *testing.T, size int) *world {
	t.Helper()
	w := &world{Server: platformtest.NewServer(t), rec: &recorder{}, bytes: make([]byte, size)}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range w.bytes {
		w.bytes[i] = byte(r.Uint32())
	}
	d := digest.Of(w.bytes)
	store := dir(t.TempDir())
	if err := os.WriteFile(filepath.Join(string(store), d.String()), w.bytes, 0o400); err != nil {
		t.Fatal(err)
	}
	client := heroku.New(heroku.Options{
		BaseURL: w.URL, Token: transport.Secret(w.Token), Backoff: transport.Backoff{Base: time.Millisecond, Max: 5 * time.Millisecond},
		Retry: func(op string, attempt int, wait time.Duration, err error) {
			w.rec.Emit(event.Retry{Stage: event.Upload, Subject: op, Attempt: attempt, Wait: wait, Error: err.Error()})
		},
	})
	w.stage = &upload.Stage{Platform: client, Store: store, Sink: w.rec}
	w.slug = artifact.Slug{Digest: d, Size: int64(size)}
	w.step = plan.Upload{
		App: "example", Create: &platform.AppCreate{Name: "example", Stack: "heroku-24"}, Stack: "heroku-24",
		ProcessTypes: map[string]string{"web": "bin/web"}, Commit: "0123456789abcdef", CommitDescription: "slugfile/1 plan=ab",
	}
	return w
}

func (w *world) run(t *testing.T) (artifact.Upload, error) {
	t.Helper()
	up, err := w.stage.Run(t.Context(), w.step, w.slug)
	// Whatever happened, no address that was signed and no token is in what users may see.
	for what, text := range map[string]string{"events": w.rec.text(), "error": fmt.Sprintf("%v %+v", err, err)} {
		if strings.Contains(text, "X-Amz-Signature") || strings.Contains(text, w.Token) {
			t.Errorf("%s show a secret: %s", what, text)
		}
	}
	return up, err
}

func (w *world) count(op string) int { return len(w.Requests(op)) }

func TestStage_uploadsAndVerifies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 300_000)
	up, err := w.run(t)
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.stage.Platform.Slug(t.Context(), "example", up.SlugID)
	if err != nil {
		t.Fatal(err)
	}
	if got.Checksum == nil || *got.Checksum != w.slug.Digest.Checksum() || got.Commit == nil || *got.Commit != w.step.Commit ||
		got.CommitDescription == nil || *got.CommitDescription != w.step.CommitDescription || got.Stack.Name != "heroku-24" || got.ProcessTypes["web"] != "bin/web" {
		t.Errorf("the slug is %+v", got)
	}
	for op, want := range map[string]int{"POST app": 1, "POST slugs": 1, "PUT blob": 1, "GET blob": 1, "POST releases": 0} {
		if n := w.count(op); n != want {
			t.Errorf("%s was sent %d times, want %d", op, n, want)
		}
	}
	first, last := w.rec.events[0], w.rec.events[len(w.rec.events)-1]
	if s, ok := first.(event.TaskStarted); !ok || s.Total != 300_000 || s.Subject != "slug" {
		t.Errorf("the first event is %+v", first)
	}
	if f, ok := last.(event.TaskFinished); !ok || f.Bytes != 300_000 || f.Subject != "slug" {
		t.Errorf("the last event is %+v", last)
	}
	var done int64
	for _, e := range w.rec.events {
		if p, ok := e.(event.Progress); ok {
			done = p.Done
		}
	}
	if done != 300_000 {
		t.Errorf("progress ended at %d", done)
	}
}

func TestStage_leavesAnExistingAppAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	app, err := w.stage.Platform.CreateApp(t.Context(), *w.step.Create)
	if err != nil {
		t.Fatal(err)
	}
	w.step.Create, w.step.App, w.step.Commit = nil, app.ID, ""
	up, err := w.run(t)
	if err != nil || w.count("POST app") != 1 {
		t.Fatalf("%v; %d apps were made", err, w.count("POST app"))
	}
	if got, err := w.stage.Platform.Slug(t.Context(), app.ID, up.SlugID); err != nil || got.Commit != nil {
		t.Errorf("%+v, %v; want no commit", got, err)
	}
}

func TestStage_findsTheAppWhoseAnswerWasLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	w.Fail(func(r platformtest.Request) platformtest.Fault {
		return platformtest.Fault{Act: r.Op == "POST app", Drop: r.Op == "POST app"}
	})
	if _, err := w.run(t); err != nil || w.count("POST app") != 1 {
		t.Errorf("%v; POST app was sent %d times", err, w.count("POST app"))
	}
}

// A name can be had once, so that an app which was not made may be asked for again.
func TestStage_asksAgainForAnAppThatWasNotMade(t *testing.T) {
	t.Parallel()
	for fails, want := range map[int]int{1: 2, 2: 3, 9: 3} {
		w := newWorld(t, 10)
		w.Fail(func(r platformtest.Request) platformtest.Fault {
			if r.Op == "POST app" && r.N <= fails {
				return platformtest.Fault{Status: 503}
			}
			return platformtest.Fault{}
		})
		_, err := w.run(t)
		if fails < 3 && err != nil || fails == 9 && !errors.Is(err, platform.ErrAmbiguous) || w.count("POST app") != want {
			t.Errorf("%d failures: %v; POST app was sent %d times, want %d", fails, err, w.count("POST app"), want)
		}
	}
}

// The first request takes effect after we have looked; the second one finds the name taken.
func TestStage_findsTheAppThatWasMadeLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	w.Fail(func(r platformtest.Request) platformtest.Fault {
		switch {
		case r.Op == "POST app" && r.N == 1:
			return platformtest.Fault{Act: true, Drop: true}
		case r.Op == "GET app" && r.N == 1:
			return platformtest.Fault{Status: 404}
		}
		return platformtest.Fault{}
	})
	if _, err := w.run(t); err != nil || w.count("POST app") != 2 || w.count("POST slugs") != 1 {
		t.Errorf("%v; POST app was sent %d times", err, w.count("POST app"))
	}
}

func TestStage_saysWhenTheSlugIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	w.Fail(func(r platformtest.Request) platformtest.Fault {
		if r.Op == "GET slugs" {
			return platformtest.Fault{Status: 404}
		}
		return platformtest.Fault{}
	})
	_, err := w.run(t)
	var gone *upload.VerifyError
	if !errors.As(err, &gone) || !strings.Contains(err.Error(), "no such slug") || !strings.Contains(gone.Hint(), "run slugfile again") {
		t.Errorf("%v", err)
	}
}

func TestStage_sendsTheWholeSlugAgainAfterAReset(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1<<20)
	w.Fail(func(r platformtest.Request) platformtest.Fault {
		return platformtest.Fault{Drop: r.Op == "PUT blob" && r.N <= 2, ReadFirst: 1 << 19}
	})
	if _, err := w.run(t); err != nil {
		t.Fatal(err)
	}
	if slugs, puts := w.count("POST slugs"), w.count("PUT blob"); slugs != 1 || puts != 3 {
		t.Errorf("%d slugs and %d PUTs, want 1 and 3", slugs, puts)
	}
}

func TestStage_allocatesAnotherSlugWhenTheAddressExpired(t *testing.T) {
	t.Parallel()
	for expired, want := range map[int]int{1: 2, 2: 3, 3: 3} {
		w := newWorld(t, 100)
		w.Fail(func(r platformtest.Request) platformtest.Fault {
			if r.Op == "PUT blob" && r.N <= expired {
				return platformtest.Fault{Status: 403, Body: "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"}
			}
			return platformtest.Fault{}
		})
		_, err := w.run(t)
		if expired < 3 && err != nil || expired == 3 && !errors.Is(err, platform.ErrBlobExpired) {
			t.Errorf("%d expired: %v", expired, err)
		}
		if n := w.count("POST slugs"); n != want {
			t.Errorf("%d expired: %d slugs, want %d", expired, n, want)
		}
	}
}

func TestStage_takesAnyOther403AsFinal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 100)
	w.Fail(func(r platformtest.Request) platformtest.Fault {
		if r.Op == "PUT blob" {
			return platformtest.Fault{Status: 403, Body: "<Error><Code>SignatureDoesNotMatch</Code><Message>No.</Message></Error>"}
		}
		return platformtest.Fault{}
	})
	_, err := w.run(t)
	var e *platform.BlobError
	if !errors.As(err, &e) || e.Code != "SignatureDoesNotMatch" || w.count("PUT blob") != 1 || w.count("POST slugs") != 1 {
		t.Errorf("%v after %d PUTs", err, w.count("PUT blob"))
	}
	if f, ok := w.rec.events[len(w.rec.events)-1].(event.TaskFailed); !ok || f.Error == "" {
		t.Errorf("the last event is %+v", w.rec.events[len(w.rec.events)-1])
	}
}

func TestStage_refusesASlugThatArrivedOtherwise(t *testing.T) {
	t.Parallel()
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	for name, c := range map[string]struct {
		change func([]byte) []byte
		want   string
	}{
		"shorter":  {func(b []byte) []byte { return b[:len(b)-1] }, "it has 999 bytes, expected 1000"},
		"longer":   {func(b []byte) []byte { return append(b, 0) }, "it has 1001 bytes, expected 1000"},
		"one bit":  {flip, "the MD5 of the blob store is"},
		"an empty": {func([]byte) []byte { return nil }, "it has 0 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1000)
			w.Fail(func(r platformtest.Request) platformtest.Fault {
				if r.Op == "GET blob" {
					w.Spoil(c.change)
				}
				return platformtest.Fault{}
			})
			_, err := w.run(t)
			var verify *upload.VerifyError
			var mismatch *digest.MismatchError
			if !errors.As(err, &verify) || !errors.As(err, &mismatch) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "nothing was released") {
				t.Errorf("the error is %v, want %q", err, c.want)
			}
		})
	}
}

// A store that tells no size, or a tag that is no MD5, proves nothing either way.
func TestStage_acceptsAStoreThatTellsLittle(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		header http.Header
		warns  bool
	}{
		"multipart tag": {http.Header{"Content-Range": {"bytes 0-0/100"}, "Etag": {`"0123456789abcdef0123456789abcdef-2"`}}, false},
		"weak tag":      {http.Header{"Content-Range": {"bytes 0-0/100"}, "Etag": {`W/"0123456789abcdef0123456789abcdef"`}}, false},
		"no size":       {http.Header{"Content-Range": {"bytes 0-0/*"}}, true},
	} {
		w := newWorld(t, 100)
		w.Fail(func(r platformtest.Request) platformtest.Fault {
			if r.Op == "GET blob" {
				return platformtest.Fault{Status: 206, Header: c.header, Body: "x"}
			}
			return platformtest.Fault{}
		})
		if _, err := w.run(t); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if warned := strings.Contains(w.rec.text(), "could not be verified by size"); warned != c.warns {
			t.Errorf("%s: warned is %t", name, warned)
		}
	}
}

func TestStage_refusesAFileOfAnotherSize(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 100)
	w.slug.Size = 101
	var mismatch *digest.MismatchError
	if _, err := w.run(t); !errors.As(err, &mismatch) || w.count("") != 0 {
		t.Errorf("%v after %d requests", err, w.count(""))
	}
	w.slug.Digest = digest.Of(nil)
	if _, err := w.run(t); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a slug that is not in the store: %v", err)
	}
}

// mixed reads the file in some order of its own after the upload.
type mixed struct {
	platform.Platform
	read func(body io.ReaderAt, size int64)
}

func (m *mixed) PutBlob(ctx context.Context, to platform.Blob, body io.ReaderAt, size int64, progress func(int64)) error {
	err := m.Platform.PutBlob(ctx, to, body, size, progress)
	m.read(body, size)
	return err
}

func TestStage_computesTheMD5HoweverTheFileWasRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1000)
	w.stage.Platform = &mixed{Platform: w.stage.Platform, read: func(body io.ReaderAt, size int64) {
		for _, off := range []int64{0, size / 2, 10} {
			if _, err := body.ReadAt(make([]byte, 10), off); err != nil {
				t.Error(err)
			}
		}
	}}
	if _, err := w.run(t); err != nil {
		t.Error(err)
	}
}
