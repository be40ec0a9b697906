package release_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/release"
)

// late is a platform in memory that loses answers and acts on the lost requests after a while.
// Time in it is the bubble's.
type late struct {
	platform.Platform
	mu       sync.Mutex
	releases []platform.Release // newest first
	posts    int
	// lose says what becomes of the nth POST: whether its answer is lost, and when it is acted upon (negative: never).
	lose func(n int) (lost bool, after time.Duration)
}

func (l *late) Releases(_ context.Context, _ string, limit int) ([]platform.Release, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := slices.Clone(l.releases)
	if limit > 0 && len(list) > limit {
		list = list[:limit]
	}
	return list, nil
}

func (l *late) App(context.Context, string) (platform.App, error) { return platform.App{}, nil }

func (l *late) ReleaseOutput(context.Context, platform.Release) (io.ReadCloser, error) {
	return nil, platform.ErrNotFound
}

func (l *late) Release(_ context.Context, _, id string) (platform.Release, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.releases {
		if r.ID == id {
			return r, nil
		}
	}
	return platform.Release{}, &platform.Error{Op: "read release", Status: 404}
}

func (l *late) CreateRelease(_ context.Context, _ string, in platform.ReleaseCreate) (platform.Release, error) {
	l.mu.Lock()
	l.posts++
	n := l.posts
	l.mu.Unlock()
	if l.lose == nil {
		return l.make(in), nil
	}
	lost, after := l.lose(n)
	if !lost {
		return l.make(in), nil
	}
	if after >= 0 {
		time.AfterFunc(after, func() { l.make(in) })
	}
	return platform.Release{}, fmt.Errorf("%w: connection reset", platform.ErrAmbiguous)
}

func (l *late) make(in platform.ReleaseCreate) platform.Release {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.releases {
		l.releases[i].Current = false
	}
	v := len(l.releases) + 1
	r := platform.Release{ID: fmt.Sprint("r", v), Version: v, Description: in.Description, Status: platform.Succeeded, Current: true, Slug: &platform.SlugRef{ID: in.Slug}}
	l.releases = slices.Insert(l.releases, 0, r)
	return r
}

// The claim of the package: at most one release when the platform acts within the time to settle.
func TestStage_makesOneReleaseWhenThePlatformActsInTime(t *testing.T) {
	t.Parallel()
	for _, after := range []time.Duration{0, 1, 5, 20, 59} {
		synctest.Test(t, func(t *testing.T) {
			l := &late{lose: func(int) (bool, time.Duration) { return true, after * time.Second }}
			got, err := (&release.Stage{Platform: l}).Run(t.Context(), plan.Release{App: "a", AppName: "a"}, artifact.Upload{SlugID: "s"})
			time.Sleep(10 * time.Minute)
			if err != nil || got.Version != 1 || l.posts != 1 || len(l.releases) != 1 {
				t.Errorf("acts after %d s: v%d, %v; %d POSTs, %d releases", after, got.Version, err, l.posts, len(l.releases))
			}
		})
	}
}

// Beyond it the release is sent once more, and a second one that is seen is reported.
func TestStage_sendsAgainAfterTheTimeToSettle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rec, start := &recorder{}, time.Now()
		l := &late{}
		l.lose = func(n int) (bool, time.Duration) {
			if n == 1 {
				return true, 60*time.Second + time.Millisecond // just after the last look
			}
			time.Sleep(time.Second) // the second POST is under way when the first takes effect
			return false, 0
		}
		got, err := (&release.Stage{Platform: l, Sink: rec}).Run(t.Context(), plan.Release{App: "a", AppName: "a"}, artifact.Upload{SlugID: "s"})
		if err != nil || got.Version != 2 || l.posts != 2 || time.Since(start) != 61*time.Second {
			t.Errorf("v%d, %v; %d POSTs in %s", got.Version, err, l.posts, time.Since(start))
		}
		if l.releases[0].Description != l.releases[1].Description {
			t.Errorf("the two carry different marks: %q, %q", l.releases[0].Description, l.releases[1].Description)
		}
		if _, warnings := rec.lines(); len(warnings) != 1 || !strings.Contains(warnings[0], "made more than once") {
			t.Errorf("warnings %q", warnings)
		}
	})
}

func TestStage_waitsTheWholeTimeBeforeItSendsAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		l := &late{lose: func(int) (bool, time.Duration) { at = append(at, time.Now()); return true, -1 }}
		_, err := (&release.Stage{Platform: l}).Run(t.Context(), plan.Release{App: "a", AppName: "a"}, artifact.Upload{SlugID: "s"})
		if !errors.Is(err, platform.ErrAmbiguous) || len(at) != 3 {
			t.Fatalf("%v after %d POSTs", err, len(at))
		}
		for i := 1; i < len(at); i++ {
			if gap := at[i].Sub(at[i-1]); gap != 60*time.Second {
				t.Errorf("POST %d came %s after the one before", i+1, gap)
			}
		}
	})
}

func TestStage_stopsWaitingWhenInterrupted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		start := time.Now()
		l := &late{lose: func(int) (bool, time.Duration) { return true, -1 }}
		_, err := (&release.Stage{Platform: l}).Run(ctx, plan.Release{App: "a", AppName: "a"}, artifact.Upload{SlugID: "s"})
		if !errors.Is(err, context.DeadlineExceeded) || l.posts != 1 || time.Since(start) != 7*time.Second {
			t.Errorf("%v after %d POSTs in %s", err, l.posts, time.Since(start))
		}
	})
}
