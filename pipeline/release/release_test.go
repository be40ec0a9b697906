package release_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/journal"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/heroku"
	"github.com/slugfile/slugfile/pipeline/platform/platformtest"
	"github.com/slugfile/slugfile/pipeline/release"
	"github.com/slugfile/slugfile/pipeline/transport"
)

const applyID = "01JD0000000000000000000000"

// recorder keeps events.
type recorder struct {
	mu     sync.Mutex
	events []event.Event
}

func (r *recorder) Emit(e event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// lines are the lines of the release phase, warnings what the user is told.
func (r *recorder) lines() (lines, warnings []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		switch e := e.(type) {
		case event.Output:
			lines = append(lines, e.Line)
		case event.Warning:
			warnings = append(warnings, e.Message)
		}
	}
	return lines, warnings
}

// world is an app with v1 and v2, and a slug that was uploaded.
type world struct {
	*platformtest.Server
	rec   *recorder
	stage *release.Stage
	step  plan.Release
	up    artifact.Upload
}

func newWorld(t *testing.T, procs map[string]string) *world {
	t.Helper()
	w := &world{Server: platformtest.NewServer(t), rec: &recorder{}}
	c := heroku.New(heroku.Options{BaseURL: w.URL, Token: transport.Secret(w.Token), AnswerTimeout: 2 * time.Second,
		IdleTimeout: 5 * time.Second, Backoff: transport.Backoff{Base: time.Millisecond, Max: 5 * time.Millisecond}})
	app, err := c.CreateApp(t.Context(), platform.AppCreate{Name: "example"})
	if err != nil {
		t.Fatal(err)
	}
	slug, err := c.CreateSlug(t.Context(), app.ID, platform.SlugCreate{ProcessTypes: procs})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.PutBlob(t.Context(), slug.Blob, strings.NewReader("x"), 1, nil); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(&journal.Memory{}, journal.Options{ApplyID: func() string { return applyID }})
	if err != nil {
		t.Fatal(err)
	}
	w.stage = &release.Stage{Platform: c, Sink: w.rec, Journal: j,
		Settle: 100 * time.Millisecond, Poll: 2 * time.Millisecond, PhaseLimit: 10 * time.Second}
	w.step = plan.Release{App: app.ID, AppName: "example", BaselineVersion: 2, Description: "Deploy 0123456"}
	w.up = artifact.Upload{SlugID: slug.ID}
	return w
}

var worker = map[string]string{"worker": "x"}

func (w *world) run(t *testing.T) (artifact.Release, error) {
	t.Helper()
	rel, err := w.stage.Run(t.Context(), w.step, w.up)
	b, jsonErr := json.Marshal(w.rec.events)
	if text := fmt.Sprintf("%s %v %v", b, jsonErr, err); strings.Contains(text, w.Token) || strings.Contains(text, "/output/") {
		t.Errorf("a secret is shown: %s", text)
	}
	return rel, err
}

// ours counts the releases that carry the mark.
func (w *world) ours(t *testing.T) (n int) {
	t.Helper()
	w.Fail(nil)
	all, err := w.stage.Platform.Releases(t.Context(), "example", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if strings.HasSuffix(r.Description, " [slugfile "+applyID+"]") {
			n++
		}
	}
	return n
}

func TestStage_releasesOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worker)
	got, err := w.run(t)
	want := artifact.Release{ID: got.ID, Version: 3, Description: "Deploy 0123456 [slugfile " + applyID + "]", WebURL: "http://127.0.0.1:1/"}
	if diff := cmp.Diff(want, got); err != nil || got.ID == "" || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if n := w.ours(t); n != 1 {
		t.Errorf("%d releases were made", n)
	}
	if lines, warnings := w.rec.lines(); len(lines)+len(warnings) != 0 {
		t.Errorf("lines %q, warnings %q", lines, warnings)
	}
	if _, ok := w.rec.events[len(w.rec.events)-1].(event.TaskFinished); !ok {
		t.Errorf("the last event is %+v", w.rec.events[len(w.rec.events)-1])
	}
}

func TestStage_makesAnIDOfItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worker)
	w.stage.Journal = nil
	got, err := w.run(t)
	_, id, ok := plan.ParseMark(got.Description)
	if err != nil || !ok || len(id) != 26 {
		t.Errorf("description %q, %v; want a ULID in it", got.Description, err)
	}
}

// Whatever happens to the answer, or to the request, one release comes of it.
func TestStage_releasesOnceWhenTheAnswerIsLost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault platformtest.Fault
		times int // how many POSTs meet the fault
		posts int
	}{
		"acted, answer lost":     {platformtest.Fault{Act: true, Drop: true}, 1, 1},
		"acted, then 500":        {platformtest.Fault{Act: true, Status: 500}, 1, 1},
		"acted, then 502 page":   {platformtest.Fault{Act: true, Status: 502, Body: "<html>"}, 1, 1},
		"acted, odd answer":      {platformtest.Fault{Act: true, Status: 200, Body: "ok"}, 1, 1},
		"acted, redirect":        {platformtest.Fault{Act: true, Status: 303}, 1, 1},
		"acted, never answered":  {platformtest.Fault{Act: true, Stall: true}, 1, 1},
		"request lost":           {platformtest.Fault{Drop: true}, 1, 2},
		"refused with 503":       {platformtest.Fault{Status: 503}, 1, 2},
		"request lost twice":     {platformtest.Fault{Drop: true}, 2, 3},
		"rate limited at first":  {platformtest.Fault{Status: 429}, 2, 3},
		"answer cut in the body": {platformtest.Fault{ReadFirst: 20}, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worker)
			w.Fail(func(r platformtest.Request) platformtest.Fault {
				if r.Op == "POST releases" && r.N <= c.times {
					return c.fault
				}
				return platformtest.Fault{}
			})
			got, err := w.run(t)
			if err != nil || got.Version != 3 {
				t.Errorf("v%d, %v; want v3", got.Version, err)
			}
			if posts, made := len(w.Requests("POST releases")), w.ours(t); posts != c.posts || made != 1 {
				t.Errorf("%d POSTs made %d releases, want %d and 1", posts, made, c.posts)
			}
		})
	}
}

func TestStage_givesUpWhenThePlatformStaysDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worker)
	w.Fail(func(r platformtest.Request) platformtest.Fault {
		return platformtest.Fault{Drop: r.Op == "POST releases"}
	})
	if _, err := w.run(t); !errors.Is(err, platform.ErrAmbiguous) || !strings.Contains(err.Error(), "sent 3 times") {
		t.Errorf("the error is %v", err)
	}
	if n := w.ours(t); n != 0 {
		t.Errorf("%d releases were made", n)
	}
}

// A search that gets no answer proves nothing, so nothing is sent again.
func TestStage_sendsNothingAgainAfterASearchWithoutAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worker)
	w.Fail(func(r platformtest.Request) platformtest.Fault {
		return platformtest.Fault{Act: r.Op == "POST releases", Drop: r.Op == "POST releases" || r.Op == "GET releases" && r.N > 1}
	})
	if _, err := w.run(t); !errors.Is(err, platform.ErrAmbiguous) || !strings.Contains(err.Error(), "run apply again") {
		t.Errorf("the error is %v", err)
	}
	if posts, made := len(w.Requests("POST releases")), w.ours(t); posts != 1 || made != 1 {
		t.Errorf("%d POSTs made %d releases", posts, made)
	}
}

func TestStage_stopsWhenTheRefusalIsClear(t *testing.T) {
	t.Parallel()
	for status, is := range map[int]error{401: platform.ErrUnauthorized, 403: platform.ErrUnauthorized, 404: platform.ErrNotFound, 422: nil, 429: platform.ErrRateLimited} {
		w := newWorld(t, worker)
		w.Fail(func(r platformtest.Request) platformtest.Fault {
			if r.Op == "POST releases" {
				return platformtest.Fault{Status: status, Header: map[string][]string{"Retry-After": {"3600"}}, Body: `{"id":"no","message":"No."}`}
			}
			return platformtest.Fault{}
		})
		_, err := w.run(t)
		var e *platform.Error
		if !errors.As(err, &e) || e.Status != status || is != nil && !errors.Is(err, is) || len(w.Requests("POST releases")) != 1 {
			t.Errorf("%d: %v after %d POSTs", status, err, len(w.Requests("POST releases")))
		}
	}
}

func TestStage_refusesAStalePlan(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(w *world){
		"first release by another": func(w *world) { w.ReleaseElsewhere("example", w.up.SlugID) },
		"another release since": func(w *world) {
			w.step.Baseline = w.ReleaseElsewhere("example", w.up.SlugID).ID
			w.ReleaseElsewhere("example", w.up.SlugID)
		},
		"a config change since": func(w *world) {
			w.step.Baseline = w.ReleaseElsewhere("example", w.up.SlugID).ID
			w.ReleaseElsewhere("example", "")
		},
		"the baseline is not there": func(w *world) { w.step.Baseline = "gone" },
		"more releases than a page": func(w *world) {
			w.Page(2)
			for range 30 {
				w.ReleaseElsewhere("example", w.up.SlugID)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worker)
			prepare(w)
			_, err := w.run(t)
			var stale *release.StaleError
			if !errors.As(err, &stale) || stale.Current == nil || !strings.Contains(err.Error(), fmt.Sprintf("now runs v%d by ", stale.Current.Version)) {
				t.Errorf("the error is %v", err)
			}
			if n := len(w.Requests("POST releases")); n != 0 {
				t.Errorf("%d POSTs", n)
			}
		})
	}
}

func TestStage_acceptsTheBaselineOfThePlan(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(w *world){
		"config change without a slug": func(w *world) { w.ReleaseElsewhere("example", ""); w.step.BaselineVersion = 3 },
		"the same release": func(w *world) {
			w.step.Baseline = w.ReleaseElsewhere("example", w.up.SlugID).ID
			w.step.BaselineVersion = 3
		},
		"an app just made": func(w *world) { w.step.BaselineVersion = 0; w.ReleaseElsewhere("example", "") },
	} {
		w := newWorld(t, worker)
		prepare(w)
		if got, err := w.run(t); err != nil || got.Version != 4 {
			t.Errorf("%s: v%d, %v", name, got.Version, err)
		}
		if _, warnings := w.rec.lines(); len(warnings) != 0 {
			t.Errorf("%s: warnings %q", name, warnings)
		}
	}
}

func TestStage_namesTheReleasesMadeInBetween(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worker)
	once := true
	w.Fail(func(r platformtest.Request) platformtest.Fault {
		if r.Op == "POST releases" && once {
			once = false
			w.ReleaseElsewhere("example", "")
		}
		return platformtest.Fault{}
	})
	got, err := w.run(t)
	_, warnings := w.rec.lines()
	if err != nil || got.Version != 4 || len(warnings) != 1 || !strings.Contains(warnings[0], `v3 by ops@example.com ("Set CONFIG config vars")`) {
		t.Errorf("v%d, %v, warnings %q", got.Version, err, warnings)
	}
}

func TestStage_followsTheReleasePhase(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{"release": "echo one; echo two; echo three"})
	got, err := w.run(t)
	lines, warnings := w.rec.lines()
	if err != nil || got.Version != 3 || fmt.Sprint(lines) != "[one two three]" || len(warnings) != 0 {
		t.Errorf("v%d, %v, lines %q, warnings %q", got.Version, err, lines, warnings)
	}
	if n := len(w.Requests("GET output")); n != 2 {
		t.Errorf("the output was asked for %d times, want 2: it is not there at first", n)
	}
	for _, r := range w.Requests("GET output") {
		if r.Header.Get("Authorization") != "" {
			t.Error("the output was asked for with credentials")
		}
	}
}

func TestStage_failsWhenTheReleasePhaseDoes(t *testing.T) {
	t.Parallel()
	cmd := ""
	for i := range 30 {
		cmd += fmt.Sprintf("echo line %d; ", i)
	}
	w := newWorld(t, map[string]string{"release": cmd + "exit 1"})
	_, err := w.run(t)
	var failed *release.FailedError
	if !errors.As(err, &failed) || failed.Version != 3 || len(failed.Tail) != 20 || failed.Tail[0] != "line 10" || failed.Tail[19] != "line 29" {
		t.Errorf("the error is %v: %+v", err, failed)
	}
	if lines, _ := w.rec.lines(); len(lines) != 30 {
		t.Errorf("%d lines were shown, want 30", len(lines))
	}
}

// A stream that is cut is opened again, and no line is shown twice or lost.
func TestStage_showsEachLineOnceWhenTheStreamIsCut(t *testing.T) {
	t.Parallel()
	for at := range int64(19) {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, map[string]string{"release": "echo one; echo same; echo same; echo four"})
			w.Fail(func(r platformtest.Request) platformtest.Fault {
				if r.Op == "GET output" && (r.N == 2 || r.N == 3) {
					return platformtest.Fault{ReadFirst: at + 1}
				}
				return platformtest.Fault{}
			})
			_, err := w.run(t)
			if lines, _ := w.rec.lines(); err != nil || fmt.Sprint(lines) != "[one same same four]" {
				t.Errorf("%v, lines %q", err, lines)
			}
		})
	}
}

func TestStage_letsTheStatusDecideWithoutAStream(t *testing.T) {
	t.Parallel()
	for _, f := range []platformtest.Fault{{Status: 404}, {Status: 500}, {Drop: true}} {
		w := newWorld(t, map[string]string{"release": "echo one"})
		w.Fail(func(r platformtest.Request) platformtest.Fault {
			if r.Op == "GET output" {
				return f
			}
			return platformtest.Fault{}
		})
		if got, err := w.run(t); err != nil || got.Version != 3 {
			t.Errorf("%+v: v%d, %v", f, got.Version, err)
		}
	}
}

// stream is a platform whose release phase says what a test wants.
type stream struct {
	platform.Platform
	open func(n int) (io.ReadCloser, error)
	n    int
}

func (s *stream) ReleaseOutput(context.Context, platform.Release) (io.ReadCloser, error) {
	s.n++
	return s.open(s.n)
}

// broken ends in an error after its text.
type broken struct{ io.Reader }

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func TestStage_leavesASilentReleasePhaseInPeace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{"release": "echo x"})
	w.stage.Platform = &stream{Platform: w.stage.Platform, open: func(n int) (io.ReadCloser, error) {
		if n < 3 {
			return nil, fmt.Errorf("read output: %w", transport.ErrStalled)
		}
		return io.NopCloser(strings.NewReader("done\n")), nil
	}}
	_, err := w.run(t)
	if lines, warnings := w.rec.lines(); err != nil || fmt.Sprint(lines) != "[done]" || len(warnings) != 0 {
		t.Errorf("%v, lines %q, warnings %q", err, lines, warnings)
	}
}

func TestStage_cutsOutputIntoLines(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 25_000)
	for name, c := range map[string]struct {
		parts []string // all but the last are cut off
		want  []string
	}{
		"no end of line":       {[]string{"a\nb"}, []string{"a", "b"}},
		"CRLF and empty lines": {[]string{"a\r\n\r\n\nb\n"}, []string{"a", "", "", "b"}},
		"long line":            {[]string{long + "\nb\n"}, []string{long[:10_000], long[:10_000], long[:5000], "b"}},
		"nothing":              {[]string{""}, nil},
		"goes on, no replay":   {[]string{"a\nb\nc", "d\ne\n"}, []string{"a", "b", "d", "e"}},
		"replay":               {[]string{"a\nb\nc", "a\nb\ncc\nd"}, []string{"a", "b", "cc", "d"}},
		"shorter replay first": {[]string{"a\nb\n", "a\n", "a\nb\nc\n"}, []string{"a", "b", "c"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, map[string]string{"release": "echo x"})
			w.stage.Platform = &stream{Platform: w.stage.Platform, open: func(n int) (io.ReadCloser, error) {
				var r io.Reader = strings.NewReader(c.parts[min(n, len(c.parts))-1])
				if n < len(c.parts) {
					r = broken{r}
				}
				return io.NopCloser(r), nil
			}}
			_, err := w.run(t)
			lines, _ := w.rec.lines()
			if diff := cmp.Diff(c.want, lines); err != nil || diff != "" {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

func TestStage_saysWhatIsKnownWhenInterrupted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault platformtest.Fault
		want  string
	}{
		"acted":    {platformtest.Fault{Act: true, Stall: true}, "v3 was released to app example, and is live"},
		"not seen": {platformtest.Fault{Stall: true}, "a release of app example was asked for, and has not appeared yet"},
	} {
		w := newWorld(t, worker)
		ctx, cancel := context.WithCancel(t.Context())
		w.Fail(func(r platformtest.Request) platformtest.Fault {
			if r.Op != "POST releases" {
				return platformtest.Fault{}
			}
			time.AfterFunc(20*time.Millisecond, cancel)
			return c.fault
		})
		_, err := w.stage.Run(ctx, w.step, w.up)
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
}

func TestStage_endsAPhaseThatNeverEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{"release": "echo x"})
	w.stage.PhaseLimit = 50 * time.Millisecond
	w.stage.Platform = &pending{w.stage.Platform}
	_, err := w.run(t)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "v3 was released, but its outcome is not known: release v3 is still pending after 50ms") {
		t.Errorf("the error is %v", err)
	}
}

type pending struct{ platform.Platform }

func (p *pending) Release(ctx context.Context, app, release string) (platform.Release, error) {
	r, err := p.Platform.Release(ctx, app, release)
	r.Status = platform.Pending
	return r, err
}

func TestStaleError_saysWhoAndWhen(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	err := &release.StaleError{App: "example", BaselineVersion: 12, Current: &platform.Release{Version: 13, User: platform.Owner{Email: "ops@example.com"}, CreatedAt: at}}
	want := "the plan is stale: app example now runs v13 by ops@example.com of 2026-11-22T18:00:00Z; the plan was made when v12 was the newest"
	if err.Error() != want {
		t.Errorf("%s\nwant %s", err, want)
	}
	if got := (&release.StaleError{App: "example"}).Error(); !slices.Contains(strings.Fields(got), "longer") {
		t.Error(got)
	}
}
