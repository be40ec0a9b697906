package release_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/journal"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/platformtest"
	"github.com/slugfile/slugfile/pipeline/release"
)

// back is an app that runs v4, and a rollback of it to v3. With same, both have one slug.
func back(t *testing.T, same bool) (*world, release.Back) {
	t.Helper()
	w := newWorld(t, worker)
	p := w.stage.Platform
	v3, err := p.CreateRelease(t.Context(), "example", platform.ReleaseCreate{Slug: w.up.SlugID})
	if err != nil {
		t.Fatal(err)
	}
	slug := w.up.SlugID
	if !same {
		other, err := p.CreateSlug(t.Context(), "example", platform.SlugCreate{ProcessTypes: worker})
		if err == nil {
			err = p.PutBlob(t.Context(), other.Blob, strings.NewReader("y"), 1, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		slug = other.ID
	}
	v4, err := p.CreateRelease(t.Context(), "example", platform.ReleaseCreate{Slug: slug})
	if err != nil {
		t.Fatal(err)
	}
	w.step = plan.Release{App: w.step.App, AppName: "example", Baseline: v4.ID, BaselineVersion: 4}
	return w, release.Back{To: journal.Release{ID: v3.ID, Version: 3}, SlugID: w.up.SlugID, SameSlug: same}
}

// made are the versions above v4.
func (w *world) made(t *testing.T) (list []string) {
	t.Helper()
	w.Fail(nil)
	all, err := w.stage.Platform.Releases(t.Context(), "example", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if r.Version > 4 {
			list = append(list, fmt.Sprintf("v%d %s", r.Version, r.Description))
		}
	}
	return list
}

// TestRollback_isMadeOnce: whatever becomes of the request and of its answer.
func TestRollback_isMadeOnce(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]platformtest.Fault{
		"no fault": {}, "the answer is lost": {Act: true, Drop: true}, "the request is lost": {Drop: true},
		"acts and says 503": {Act: true, Status: 503}, "says 502": {Status: 502}, "is busy": {Status: 429},
	} {
		for _, same := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, same slug %v", name, same), func(t *testing.T) {
				t.Parallel()
				w, to := back(t, same)
				before := len(w.Requests("POST releases"))
				w.Fail(func(r platformtest.Request) platformtest.Fault {
					if r.Op == "POST releases" && r.N == before+1 {
						return f
					}
					return platformtest.Fault{}
				})
				rel, err := w.stage.Rollback(t.Context(), w.step, to)
				if err != nil || rel.Version != 5 {
					t.Fatalf("v%d, %v", rel.Version, err)
				}
				if made := w.made(t); len(made) != 1 || made[0] != "v5 Rollback to v3" {
					t.Errorf("made %q", made)
				}
				if open := w.stage.Journal.State().Open; open != nil {
					t.Errorf("the journal has %+v open", open)
				}
			})
		}
	}
}

func TestRollback_refusesWhenTheAppHasMoved(t *testing.T) {
	t.Parallel()
	w, to := back(t, false)
	w.ReleaseElsewhere("example", "")
	_, err := w.stage.Rollback(t.Context(), w.step, to)
	var stale *release.StaleError
	if !errors.As(err, &stale) || stale.Current.Version != 5 {
		t.Errorf("%v; want that the app runs v5", err)
	}
	if made := w.made(t); len(made) != 1 {
		t.Errorf("made %q", made)
	}
}

// A run that is killed after it asked leaves the question open; the next one finds the answer, and a
// rollback that was never made is asked for again.
func TestRecover_findsTheRollbackThatNobodySaw(t *testing.T) {
	t.Parallel()
	for _, acted := range []bool{true, false} {
		w, to := back(t, true)
		o, err := w.stage.Journal.Begin(journal.Operation{
			App: w.step.App, AppName: "example", SlugID: to.SlugID, Rollback: &journal.Rollback{Release: to.To, SameSlug: true},
			Baseline: journal.Release{ID: w.step.Baseline, Version: 4},
		})
		if err != nil {
			t.Fatal(err)
		}
		o.Step, o.Unanswered = journal.ReleaseIntent, 1
		if err := w.stage.Journal.Write(o); err != nil {
			t.Fatal(err)
		}
		if acted {
			if _, err := w.stage.Platform.CreateRelease(t.Context(), "example", platform.ReleaseCreate{Release: to.To.ID}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.stage.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !acted {
			if rel, err := w.stage.Rollback(t.Context(), w.step, to); err != nil || rel.Version != 5 {
				t.Fatalf("v%d, %v", rel.Version, err)
			}
		}
		if made := w.made(t); len(made) != 1 || made[0] != "v5 Rollback to v3" {
			t.Errorf("acted %v: made %q", acted, made)
		}
		if open := w.stage.Journal.State().Open; open != nil {
			t.Errorf("acted %v: the journal has %+v open", acted, open)
		}
	}
}

// An apply after a rollback that is open must not take that for its own.
func TestRun_leavesAnOpenRollbackAlone(t *testing.T) {
	t.Parallel()
	w, to := back(t, true)
	o, err := w.stage.Journal.Begin(journal.Operation{App: w.step.App, SlugID: to.SlugID, Rollback: &journal.Rollback{Release: to.To}})
	if err != nil {
		t.Fatal(err)
	}
	o.Step = journal.BlobVerified
	if err := w.stage.Journal.Write(o); err != nil {
		t.Fatal(err)
	}
	w.step.Description = "Deploy again"
	rel, err := w.run(t)
	if err != nil || !strings.HasPrefix(rel.Description, "Deploy again [slugfile ") {
		t.Errorf("%+v, %v", rel, err)
	}
}

func TestRollback_followsTheReleasePhase(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{"release": "echo migrating; exit 0"})
	w.stage.Poll = time.Millisecond
	if _, err := w.run(t); err != nil {
		t.Fatal(err)
	}
	all, err := w.stage.Platform.Releases(t.Context(), "example", 1)
	if err != nil {
		t.Fatal(err)
	}
	w.step.Baseline, w.step.BaselineVersion = all[0].ID, all[0].Version
	rel, err := w.stage.Rollback(t.Context(), w.step, release.Back{To: journal.Release{ID: all[0].ID, Version: all[0].Version}, SlugID: w.up.SlugID, SameSlug: true})
	if err != nil || rel.Version != all[0].Version+1 {
		t.Fatalf("v%d, %v", rel.Version, err)
	}
	if lines, _ := w.rec.lines(); len(lines) != 2 {
		t.Errorf("lines %q, want that of both phases", lines)
	}
}
