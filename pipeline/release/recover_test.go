package release_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/journal"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/release"
)

// The slug that every run of these tests wants, and what it is released to.
var (
	wanted = artifact.Upload{SlugID: "s", Slug: artifact.Slug{Digest: digest.Of([]byte("wanted")), Size: 6}}
	step   = plan.Release{App: "a", AppName: "example", Description: "Deploy"}
)

// run is one process: what it knows is in the file.
type run struct {
	*release.Stage
	rec *recorder
}

func newRun(t *testing.T, f journal.File, p platform.Platform) run {
	t.Helper()
	j, err := journal.Open(f, journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rec := &recorder{}
	return run{&release.Stage{Platform: p, Journal: j, Sink: rec}, rec}
}

func (r run) recover(t *testing.T) []string {
	t.Helper()
	if err := r.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, warnings := r.rec.lines()
	return warnings
}

func (r run) open() journal.Operation {
	if o := r.Journal.State().Open; o != nil {
		return *o
	}
	return journal.Operation{}
}

func (r run) last() journal.Operation {
	past := r.Journal.State().Past
	if len(past) == 0 {
		return journal.Operation{}
	}
	return past[len(past)-1]
}

// killed is the journal of a run that was killed at a step, with the operation as it stood.
func killed(t *testing.T, s journal.Step, change func(*journal.Operation)) *journal.Memory {
	t.Helper()
	f := &journal.Memory{}
	j, err := journal.Open(f, journal.Options{ApplyID: func() string { return applyID }})
	if err != nil {
		t.Fatal(err)
	}
	o, err := j.Begin(journal.Operation{App: "a", AppName: "example", Checksum: wanted.Slug.Digest.Checksum(), Size: 6, SlugID: "s"})
	if err != nil {
		t.Fatal(err)
	}
	o.Step = s
	if s == journal.ReleaseIntent {
		o.Unanswered = 1
	}
	if change != nil {
		change(&o)
	}
	if err := j.Write(o); err != nil {
		t.Fatal(err)
	}
	return f
}

var lost = platform.ReleaseCreate{Slug: "s", Description: "Deploy [slugfile " + applyID + "]"}

// Whenever the platform acts within the time to settle, the release is found, and nothing is sent.
func TestRecover_findsTheReleaseThatNobodySaw(t *testing.T) {
	t.Parallel()
	for _, after := range []time.Duration{0, 1, 5, 20, 59} {
		synctest.Test(t, func(t *testing.T) {
			l := &late{}
			time.AfterFunc(after*time.Second, func() { l.make(lost) })
			synctest.Wait()
			r := newRun(t, killed(t, journal.ReleaseIntent, nil), l)
			warnings := r.recover(t)
			if l.posts != 0 || len(l.releases) != 1 {
				t.Errorf("acts after %d s: %d POSTs, %d releases", after, l.posts, len(l.releases))
			}
			if o := r.last(); o.Step != journal.Done || o.Release.Version != 1 || o.Unanswered != 0 {
				t.Errorf("acts after %d s: %+v", after, o)
			}
			want := []string{"an earlier apply was interrupted while it released; looking for its release, up to 1m0s", "v1 of app example was released by an earlier apply that was interrupted"}
			if !slices.Equal(warnings, want) {
				t.Errorf("acts after %d s: %q", after, warnings)
			}
			if again := newRun(t, killed(t, journal.BuildDone, nil), l).recover(t); len(again) != 0 {
				t.Errorf("then %q", again)
			}
		})
	}
}

// A release that never comes is waited for once, for the whole time, and then sent with the same mark.
func TestRecover_waitsTheWholeTimeOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, f := &late{}, killed(t, journal.ReleaseIntent, nil)
		start := time.Now()
		newRun(t, f, l).recover(t)
		if took := time.Since(start); took != 60*time.Second {
			t.Errorf("it waited for %s", took)
		}
		// The next one is killed as well, before it sends anything.
		start = time.Now()
		r := newRun(t, f, l)
		if warnings := r.recover(t); len(warnings) != 0 || time.Since(start) != 0 {
			t.Errorf("it waited for %s once more, and said %q", time.Since(start), warnings)
		}
		if o := r.open(); o.Step != journal.BlobVerified || o.Unanswered != 1 {
			t.Errorf("%+v", o)
		}
		got, err := r.Run(t.Context(), step, wanted)
		if err != nil || got.Description != lost.Description || l.posts != 1 {
			t.Errorf("%+v, %v after %d POSTs; want the mark of the first", got, err, l.posts)
		}
		if o := r.last(); o.Step != journal.Done || o.Unanswered != 1 {
			t.Errorf("%+v", o)
		}
	})
}

// Found at the very last moment, after the search and before the request.
func TestRun_takesTheReleaseThatCameJustBeforeItIsSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &late{}
		r := newRun(t, killed(t, journal.ReleaseIntent, nil), l)
		r.recover(t)
		l.make(lost)
		got, err := r.Run(t.Context(), step, wanted)
		if err != nil || got.Version != 1 || l.posts != 0 || r.last().Unanswered != 0 {
			t.Errorf("%+v, %v after %d POSTs: %+v", got, err, l.posts, r.last())
		}
	})
}

// Beyond the time to settle there are two under one mark, and the next apply tells of them once.
func TestRecover_tellsOnceOfTheTwoReleasesOfOneApply(t *testing.T) {
	t.Parallel()
	for _, after := range []time.Duration{61, 90} {
		synctest.Test(t, func(t *testing.T) {
			l, f := &late{}, killed(t, journal.ReleaseIntent, nil)
			time.AfterFunc(after*time.Second, func() { l.make(lost) })
			r := newRun(t, f, l)
			r.recover(t)
			if _, err := r.Run(t.Context(), step, wanted); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			if all, _ := l.Releases(t.Context(), "a", 0); len(all) != 2 || all[0].Description != all[1].Description {
				t.Fatalf("%+v", all)
			}
			want := "the platform acted late: v1 and v2 of app example are one release made more than once (" + applyID + ")"
			if got := newRun(t, f, l).recover(t); len(got) != 1 || got[0] != want {
				t.Errorf("%q, want %q", got, want)
			}
			if got := newRun(t, f, l).recover(t); len(got) != 0 {
				t.Errorf("and again: %q", got)
			}
		})
	}
}

func TestRecover_tellsOfAReleaseThatWasGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, f := &late{}, killed(t, journal.ReleaseIntent, nil)
		r := newRun(t, f, l)
		r.recover(t)
		other := wanted
		other.SlugID, other.Slug.Digest = "t", digest.Of([]byte("another"))
		if got, err := r.Run(t.Context(), step, other); err != nil || got.Description == lost.Description {
			t.Fatalf("%+v, %v", got, err)
		}
		l.make(lost)
		want := "the platform acted late: v2 of app example is of an earlier apply that had been given up (" + applyID + ")"
		if got := newRun(t, f, l).recover(t); len(got) != 1 || got[0] != want {
			t.Errorf("%q, want %q", got, want)
		}
		if got := newRun(t, f, l).recover(t); len(got) != 0 {
			t.Errorf("and again: %q", got)
		}
	})
}

func TestRecover_leavesOtherStepsToTheStages(t *testing.T) {
	t.Parallel()
	for _, s := range []journal.Step{journal.BuildDone, journal.SlugIntent, journal.SlugCreated, journal.BlobVerified, journal.Done, journal.Abandoned} {
		r := newRun(t, killed(t, s, nil), nil) // which is asked nothing
		if warnings := r.recover(t); len(warnings) != 0 || !r.last().Ended() && r.open().Step != s {
			t.Errorf("%s: %q, %+v", s, warnings, r.Journal.State())
		}
	}
	if err := (&release.Stage{}).Recover(t.Context()); err != nil {
		t.Errorf("without a journal: %v", err)
	}
}

func TestRecover_followsTheReleasePhase(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]string{
		platform.Succeeded: "following its release phase",
		platform.Failed:    "release v1 of app example failed in its release phase; the release before it stays live",
		platform.Expired:   "release v1 of app example expired in its release phase; the release before it stays live",
	} {
		synctest.Test(t, func(t *testing.T) {
			l := &late{}
			made := l.make(lost)
			l.releases[0].Status = platform.Pending
			time.AfterFunc(10*time.Minute, func() {
				l.mu.Lock()
				l.releases[0].Status = status
				l.mu.Unlock()
			})
			r := newRun(t, killed(t, journal.ReleaseCreated, func(o *journal.Operation) {
				o.Release = journal.Release{ID: made.ID, Version: made.Version}
			}), l)
			warnings := r.recover(t)
			if o := r.last(); o.Step != journal.Done || (o.Why == "") != (status == platform.Succeeded) {
				t.Errorf("%s: %+v", status, o)
			}
			if len(warnings) == 0 || !strings.HasSuffix(warnings[len(warnings)-1], want) {
				t.Errorf("%s: %q, want %q", status, warnings, want)
			}
		})
	}
}

func TestRecover_namesTheReleasesMadeInBetween(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &late{}
		l.make(platform.ReleaseCreate{Description: "by hand"})
		l.make(lost)
		warnings := newRun(t, killed(t, journal.ReleaseIntent, nil), l).recover(t)
		if want := `between the plan and v2 app example was released by others: v1 ("by hand")`; !slices.Contains(warnings, want) {
			t.Errorf("%q, want %q", warnings, want)
		}
	})
}

// gone is a platform that has nothing of what it is asked about.
type gone struct{ late }

var errGone = &platform.Error{Op: "list releases", Status: 404}

func (*gone) Releases(context.Context, string, int) ([]platform.Release, error) { return nil, errGone }

func TestRecover_givesUpWhatIsGone(t *testing.T) {
	t.Parallel()
	for _, s := range []journal.Step{journal.ReleaseIntent, journal.ReleaseCreated} {
		r := newRun(t, killed(t, s, func(o *journal.Operation) { o.Release.ID = "r9" }), &gone{})
		r.recover(t)
		if o := r.last(); o.Step != journal.Abandoned || o.Why == "" {
			t.Errorf("%s: %+v", s, o)
		}
	}
}

// deaf is a platform that does not answer when it is asked for releases.
type deaf struct {
	late
	deaf bool
}

func (d *deaf) Releases(ctx context.Context, app string, limit int) ([]platform.Release, error) {
	if d.deaf {
		return nil, errors.New("no route to host")
	}
	return d.late.Releases(ctx, app, limit)
}

// A search that gets no answer proves nothing: the next apply searches again, the whole time.
func TestRecover_searchesAgainWhenThePlatformWasAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, f := &deaf{deaf: true}, killed(t, journal.ReleaseIntent, nil)
		r := newRun(t, f, d)
		if err := r.Recover(t.Context()); err == nil || !strings.Contains(err.Error(), "no route to host") || r.open().Step != journal.ReleaseIntent {
			t.Fatalf("%v, %+v", err, r.open())
		}
		// Nothing may be sent before that.
		if _, err := r.Run(t.Context(), step, wanted); err == nil || d.posts != 0 {
			t.Errorf("%v after %d POSTs", err, d.posts)
		}
		d.deaf = false
		start := time.Now()
		newRun(t, f, d).recover(t)
		if took := time.Since(start); took != 60*time.Second {
			t.Errorf("it waited for %s", took)
		}
	})
}

func TestRecover_canBeInterrupted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, f := &late{}, killed(t, journal.ReleaseIntent, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		r := newRun(t, f, l)
		err := r.Recover(ctx)
		var stopped *release.StoppedError
		if !errors.As(err, &stopped) || stopped.Version != 0 || !errors.Is(err, context.DeadlineExceeded) || r.open().Step != journal.ReleaseIntent {
			t.Errorf("%v, %+v", err, r.open())
		}
	})
}

// watched is a platform that looks into the journal when it is called, as a crash would leave it.
type watched struct {
	late
	file journal.File
	seen []string
}

func (w *watched) note(call string) {
	j, err := journal.Open(w.file, journal.Options{})
	if err != nil {
		w.seen = append(w.seen, err.Error())
		return
	}
	o := journal.Operation{}
	if open := j.State().Open; open != nil {
		o = *open
	}
	w.seen = append(w.seen, fmt.Sprintf("%s: %s %d", call, o.Step, o.Unanswered))
}

func (w *watched) Releases(ctx context.Context, app string, limit int) ([]platform.Release, error) {
	w.note("GET")
	return w.late.Releases(ctx, app, limit)
}

func (w *watched) Release(ctx context.Context, app, id string) (platform.Release, error) {
	w.note("status")
	r, err := w.late.Release(ctx, app, id)
	r.Status = platform.Succeeded
	return r, err
}

func (w *watched) CreateRelease(ctx context.Context, app string, in platform.ReleaseCreate) (platform.Release, error) {
	w.note("POST")
	r, err := w.late.CreateRelease(ctx, app, in)
	r.Status = platform.Pending
	return r, err
}

func (w *watched) App(context.Context, string) (platform.App, error) {
	w.note("App")
	return platform.App{}, nil
}

func TestRun_writesDownWhatItIsAboutToAskFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := killed(t, journal.BlobVerified, nil)
		w := &watched{file: f}
		w.lose = func(n int) (bool, time.Duration) { return n == 1, -1 }
		r := newRun(t, f, w)
		r.Settle, r.Poll = time.Second, time.Second
		if _, err := r.Run(t.Context(), step, wanted); err != nil {
			t.Fatal(err)
		}
		want := []string{
			"GET: blob.verified 0", "POST: release.intent 1", "GET: release.intent 1", "GET: release.intent 1",
			"GET: blob.verified 1", "POST: release.intent 2", "status: release.created 1", "App:  0",
		}
		if !slices.Equal(w.seen, want) {
			t.Errorf("%q\nwant %q", w.seen, want)
		}
	})
}

// refusing refuses what is asked for, or does not let it leave at all.
type refusing struct {
	late
	errs []error
}

func (r *refusing) CreateRelease(ctx context.Context, app string, in platform.ReleaseCreate) (platform.Release, error) {
	r.posts++
	if r.posts <= len(r.errs) && r.errs[r.posts-1] != nil {
		return platform.Release{}, r.errs[r.posts-1]
	}
	return r.late.CreateRelease(ctx, app, in)
}

func TestRun_closesWhatWasRefused(t *testing.T) {
	t.Parallel()
	refused, unsent := &platform.Error{Op: "create release", Status: 422}, errors.New("connection refused")
	for name, c := range map[string]struct {
		errs []error
		want journal.Step
		why  string
		left int
	}{
		"refused":                     {[]error{refused}, journal.Abandoned, "the platform refused it with HTTP status 422", 0},
		"not sent":                    {[]error{unsent}, journal.BlobVerified, "", 0},
		"refused after a lost one":    {[]error{platform.ErrAmbiguous, refused}, journal.BlobVerified, "", 1},
		"not sent after a lost one":   {[]error{platform.ErrAmbiguous, unsent}, journal.BlobVerified, "", 1},
		"lost as often as it is sent": {[]error{platform.ErrAmbiguous, platform.ErrAmbiguous, platform.ErrAmbiguous}, journal.BlobVerified, "", 3},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRun(t, killed(t, journal.BlobVerified, nil), &refusing{errs: c.errs})
			_, err := r.Run(t.Context(), step, wanted)
			o := r.open()
			if c.want == journal.Abandoned {
				o = r.last()
			}
			if !errors.Is(err, c.errs[len(c.errs)-1]) || o.Step != c.want || o.Why != c.why || o.Unanswered != c.left || o.Apply != applyID {
				t.Errorf("%s: %v, %+v", name, err, o)
			}
		})
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

func (u *unwritable) Replace(b []byte) error {
	if u.left--; u.left < 0 {
		return errors.New("no space left on device")
	}
	return u.Memory.Replace(b)
}

// Nothing is asked for that could not be written down. What has happened is told, whatever becomes of the disk.
func TestRun_sendsNothingThatItCannotRemember(t *testing.T) {
	t.Parallel()
	for writes, want := range []struct{ posts, warnings int }{{0, 0}, {0, 0}, {1, 2}, {1, 1}, {1, 0}} {
		l := &late{}
		r := newRun(t, &unwritable{left: writes}, l)
		_, err := r.Run(t.Context(), step, wanted)
		_, warnings := r.rec.lines()
		if (err == nil) != (want.posts == 1) || l.posts != want.posts || len(warnings) != want.warnings {
			t.Errorf("%d writes: %v, %d POSTs, %q", writes, err, l.posts, warnings)
		}
		if err != nil && !strings.Contains(err.Error(), "write journal: no space left") {
			t.Errorf("%d writes: %v", writes, err)
		}
	}
}

// slow answers a POST after a while, and stops the run in the middle of it.
type slow struct {
	late
	stop  func()
	after time.Duration
}

func (s *slow) CreateRelease(ctx context.Context, app string, in platform.ReleaseCreate) (platform.Release, error) {
	s.stop()
	select {
	case <-time.After(s.after):
		return s.late.CreateRelease(ctx, app, in)
	case <-ctx.Done():
		time.AfterFunc(s.after, func() { s.make(in) })
		return platform.Release{}, fmt.Errorf("%w: %w", platform.ErrAmbiguous, ctx.Err())
	}
}

// The answer to a request that is under way is waited for when the run is stopped, and written down.
func TestRun_finishesTheRequestThatIsUnderWay(t *testing.T) {
	t.Parallel()
	why := errors.New("stopped by a signal")
	for after, want := range map[time.Duration]struct {
		step    journal.Step
		version int
		text    string
		took    time.Duration
	}{
		2 * time.Second:  {journal.Done, 1, "v1 was released to app example, and is live", 2 * time.Second},
		50 * time.Second: {journal.ReleaseIntent, 0, "a release of app example was asked for, and has not appeared yet; the next apply looks for it", 3 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			f := killed(t, journal.BlobVerified, nil)
			p := &slow{stop: func() { cancel(why) }, after: after}
			r := newRun(t, f, p)
			start := time.Now()
			_, err := r.Run(ctx, step, wanted)
			took := time.Since(start)
			o := r.open()
			if want.step == journal.Done {
				o = r.last()
			}
			var stopped *release.StoppedError
			if !errors.As(err, &stopped) || stopped.Version != want.version || err.Error() != want.text || !errors.Is(err, why) || o.Step != want.step || took != want.took {
				t.Errorf("answered after %s: %v in %s, %+v", after, err, took, o)
			}
			// The next apply finds the release, whenever it came.
			next := newRun(t, f, p)
			next.recover(t)
			if len(p.releases) != 1 || next.last().Step != journal.Done || next.last().Release.Version != 1 {
				t.Errorf("answered after %s: %d releases, %+v", after, len(p.releases), next.last())
			}
		})
	}
}

func TestRun_sendsNothingWhenItIsStoppedBefore(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("stopped by a signal")
	cancel(why)
	l := &late{}
	r := newRun(t, killed(t, journal.BlobVerified, nil), l)
	_, err := r.Run(ctx, step, wanted)
	if !errors.Is(err, why) || !strings.HasPrefix(err.Error(), "the slug is uploaded (slug s), and not released") || l.posts != 0 || r.open().Step != journal.BlobVerified {
		t.Errorf("%v after %d POSTs, %+v", err, l.posts, r.open())
	}
}

// Another machine's release is seen before every request, also while its release phase runs.
func TestRun_refusesAPlanThatBecameStale(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &late{}
		other := platform.ReleaseCreate{Slug: "theirs", Description: "by another"}
		l.lose = func(int) (bool, time.Duration) {
			time.AfterFunc(time.Second, func() { l.make(other) })
			return true, -1
		}
		r := newRun(t, killed(t, journal.BlobVerified, nil), l)
		_, err := r.Run(t.Context(), step, wanted)
		var stale *release.StaleError
		if !errors.As(err, &stale) || l.posts != 1 || r.open().Unanswered != 1 {
			t.Errorf("released while it searched: %v after %d POSTs, %+v", err, l.posts, r.open())
		}

		l = &late{}
		live := l.make(other)
		l.make(other)
		l.releases[0].Status, l.releases[0].Current, l.releases[1].Current = platform.Pending, false, true
		planned := step
		planned.Baseline, planned.BaselineVersion = live.ID, live.Version
		_, err = newRun(t, killed(t, journal.BlobVerified, nil), l).Run(t.Context(), planned, wanted)
		if !errors.As(err, &stale) || l.posts != 0 || !strings.Contains(err.Error(), "is in the release phase of v2") {
			t.Errorf("in its release phase: %v after %d POSTs", err, l.posts)
		}
	})
}
