package plan_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
)

// history makes these the releases of an app whose live slug has the given id and was made here
// or not; the last but those that failed or are pending is live.
func history(w *world, liveIsOurs bool, releases ...platform.Release) {
	t := w.seen.Target
	t.Recent = nil
	for i, r := range releases {
		r.ID, r.Version, r.CreatedAt, r.User.Email = r.Description, i+1, time.Unix(now-1000+int64(i)*100, 0), "dev@example.com"
		if r.Status == "" {
			r.Status = platform.Succeeded
		}
		t.Recent = append(t.Recent, r)
		if r.Status == platform.Succeeded {
			t.Current = &r
		}
		t.Newest, t.Latest = &r, r.Version
	}
	slices.Reverse(t.Recent)
	t.Slug = &platform.Slug{ID: t.Current.Slug.ID, Checksum: ptr(sum("x").Checksum()), Stack: platform.Ref{Name: "heroku-24"}}
	if liveIsOurs {
		t.Slug.CommitDescription = ptr(plan.CommitDescription(sum("an earlier plan")))
	}
}

func TestBuild_tellsWhoChangedWhatRuns(t *testing.T) {
	t.Parallel()
	rel := func(description, slug string) platform.Release {
		return platform.Release{Description: description, Slug: &platform.SlugRef{ID: slug}}
	}
	failed := rel("Deploy 9 [slugfile 9]", "f")
	failed.Status = platform.Failed
	initial := platform.Release{Description: "Initial release"}
	one, two := rel("Deploy 1 [slugfile 1]", "a"), rel("Deploy 2 [slugfile 2]", "b")
	config := func(slug string) platform.Release { return rel("Set A config vars", slug) }
	for name, c := range map[string]struct {
		ours     bool
		releases []platform.Release
		kind     string
		version  int
		to       int
	}{
		"ours":                              {true, []platform.Release{initial, one, two}, "", 0, 0},
		"ours, config changed":              {true, []platform.Release{initial, one, two, config("b")}, "", 0, 0},
		"ours, the next failed":             {true, []platform.Release{initial, one, two, failed}, "", 0, 0},
		"an earlier one of ours, none else": {true, []platform.Release{initial, config("a")}, "", 0, 0},
		"another tool's":                    {false, []platform.Release{initial, one, rel("Deploy 3", "c")}, plan.DriftRelease, 3, 0},
		"another tool's, config changed":    {false, []platform.Release{one, rel("Deploy 3", "c"), failed, config("c"), config("c")}, plan.DriftRelease, 2, 0},
		"rolled back":                       {true, []platform.Release{initial, one, two, rel("Rollback to v2", "a")}, plan.DriftRollback, 4, 2},
		"rolled back, config changed":       {true, []platform.Release{one, two, config("b"), rel("Rollback to v1", "a"), config("a")}, plan.DriftRollback, 4, 1},
		"rolled back and not said so":       {true, []platform.Release{one, config("a"), two, rel("Oops", "a")}, plan.DriftRollback, 4, 2},
		"rolled back beyond what is listed": {true, []platform.Release{two, rel("Rollback to v1", "a")}, plan.DriftRollback, 2, 1},
		"rolled back and forth":             {true, []platform.Release{one, two, rel("Rollback to v1", "a"), rel("Rollback to v2", "b")}, "", 0, 0},
		"rolled back after a failure":       {true, []platform.Release{one, two, failed, rel("Rollback to v1", "a")}, plan.DriftRollback, 4, 1},
		"promoted from another app":         {true, []platform.Release{initial, one, rel("Promote staging v7", "p")}, plan.DriftRelease, 3, 0},
	} {
		w := nodeApp()
		history(w, c.ours, c.releases...)
		d := plan.Build(w.in, w.seen).Drift
		if c.kind == "" {
			if len(d) > 0 {
				t.Errorf("%s: %+v", name, d)
			}
			continue
		}
		if len(d) != 1 || d[0].Kind != c.kind || d[0].Version != c.version || d[0].To != c.to || d[0].By != "dev@example.com" || d[0].Age != int64(1000-100*(c.version-1)) {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestBuild_takesAStackThatNobodyChoseForNoDrift(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file, app, slug string
		want            []plan.Drift
	}{
		"the same":                  {"heroku-24", "heroku-24", "heroku-24", nil},
		"set to a newer one":        {"heroku-24", "heroku-26", "heroku-24", []plan.Drift{{Kind: plan.DriftStack, Stack: "heroku-26", Want: "heroku-24"}}},
		"set to an unknown one":     {"heroku-24", "heroku-99", "heroku-24", []plan.Drift{{Kind: plan.DriftStack, Stack: "heroku-99", Want: "heroku-24"}}},
		"left behind by a slug":     {"heroku-26", "heroku-24", "heroku-26", nil},
		"slug.yaml moves":           {"heroku-26", "heroku-24", "heroku-24", nil},
		"slug.yaml moves back":      {"heroku-22", "heroku-24", "heroku-24", nil},
		"slug.yaml names none":      {"", "heroku-26", "heroku-24", nil},
		"the platform names no one": {"heroku-24", "", "heroku-24", nil},
	} {
		w := nodeApp()
		w.in.File.Stack = c.slug
		w.release()
		w.in.File.Stack, w.seen.Target.App.BuildStack.Name = c.file, c.app
		if diff := cmp.Diff(append([]plan.Drift{}, c.want...), plan.Build(w.in, w.seen).Drift); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	w := nodeApp()
	w.seen.Target.App.BuildStack.Name = "heroku-26"
	if d := plan.Build(w.in, w.seen).Drift; len(d) > 0 {
		t.Errorf("an app without a release: %+v", d)
	}
}

func TestBuild_asksForNoConfigVarThatItCannotSee(t *testing.T) {
	t.Parallel()
	w := nodeApp()
	w.in.File.ProcessTypes = map[string]string{"web": "web $DATABASE_URL"}
	if d := plan.Build(w.in, w.seen).Drift; len(d) > 0 {
		t.Errorf("the config is not known, and yet %+v", d)
	}
	w.seen.Target.ConfigKnown = true
	if d := plan.Build(w.in, w.seen).Drift; len(d) != 1 || d[0].Kind != plan.DriftConfig || !slices.Equal(d[0].Missing, []string{"DATABASE_URL"}) {
		t.Errorf("drift: %+v", d)
	}
	w.seen.Target.ConfigNames = []string{"DATABASE_URL"}
	if d := plan.Build(w.in, w.seen).Drift; len(d) > 0 {
		t.Errorf("the config has it, and yet %+v", d)
	}
}
