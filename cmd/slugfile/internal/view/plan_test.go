package view

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sebdah/goldie/v2"

	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/tree"
)

func ref[T any](v T) *T { return &v }

func file(path string, size int64) *tree.Entry {
	return &tree.Entry{Path: path, Kind: tree.File, Size: size}
}

// plans are one plan for each thing that can be said.
func plans() map[string]plan.Plan {
	current := &plan.Current{ID: "01234567", Version: 12, Age: 2*3600 + 40}
	usual := plan.Plan{
		App: "example", Stack: "heroku-24", Changed: true, Why: "the inputs changed", Current: current,
		Runtimes: []plan.RuntimeChange{
			{Action: plan.Change, Name: "node", Before: "22.10.0", After: "22.11.0", From: "nodejs.org", Fetch: true, Bytes: 27_812_345},
			{Action: plan.Keep, Name: "tools", After: "1.2.0", From: "third_party/tools.tar.gz", Why: "in the repository"},
		},
		Steps: []plan.StepChange{
			{Action: plan.Keep, Name: "dependencies", State: plan.Reused, Why: "inputs unchanged"},
			{Action: plan.Change, Name: "bundle", State: plan.Runs, Why: "3 inputs changed"},
		},
		Slug:       plan.SlugChange{Action: plan.Change, Now: ref(int64(48_100_000)), KnownAfter: "bundle"},
		FilesKnown: true,
		FilesAfter: []string{"bundle"},
		Files: []plan.FileChange{
			{Action: plan.Change, Path: "web.js", What: "content", Before: file("web.js", 1200), After: file("web.js", 1400)},
			{Action: plan.Add, Path: "lib/new.js", After: file("lib/new.js", 3000)},
			{Action: plan.Remove, Path: "lib/old.js", Before: file("lib/old.js", 2200)},
		},
		ProcessTypes: []plan.ProcessChange{
			{Action: plan.Keep, Name: "web", Before: "node web.js", After: "node web.js"},
			{Action: plan.Add, Name: "worker", After: "node worker.js"},
		},
		Release: &plan.ReleaseChange{Action: plan.Change, App: "example", From: 12, Restarts: []string{"web"}, Adds: []string{"worker"}, Description: "Deploy 1a2b3c4"},
		Summary: plan.Summary{
			Fetch: 1, StepsRun: 1, StepsReused: 1, FilesAdded: 1, FilesChanged: 1, FilesRemoved: 1, ProcessTypesAdded: 1,
		},
	}

	none := plan.Plan{
		App: "example", Stack: "heroku-24", Why: "v12 was made of the same inputs", Current: current,
		Steps:    []plan.StepChange{{Action: plan.Keep, Name: "bundle", State: plan.Reused, Why: "the release has this slug"}},
		Slug:     plan.SlugChange{Action: plan.Keep, Now: ref(int64(48_100_000)), Next: ref(int64(48_100_000))},
		Withheld: []tree.Withheld{{Path: ".env", Rule: "deny list: .env"}},
	}

	first := plan.Plan{
		App: "exampel", Stack: "heroku-24", Create: true, Changed: true, Why: "there is no such app yet",
		Runtimes: []plan.RuntimeChange{
			{Action: plan.Add, Name: "go", From: "/usr/local/go/bin/go", Why: "a tool of this machine"},
			{Action: plan.Add, Name: "ruby", After: "3.4.1", From: "example.com", Fetch: true, Bytes: -1},
		},
		Steps: []plan.StepChange{
			{Action: plan.Add, Name: "compile", State: plan.Runs, Why: "never built here"},
			{Action: plan.Add, Name: "assets", State: plan.Open, After: "compile", Why: "after step compile"},
		},
		Slug:         plan.SlugChange{Action: plan.Add, KnownAfter: "assets", Limit: 500_000_000},
		FilesWhy:     "nothing is released yet",
		ProcessTypes: []plan.ProcessChange{{Action: plan.Add, Name: "web", After: "bin/web"}, {Action: plan.Add, Name: "release", After: "bin/migrate"}},
		Release:      &plan.ReleaseChange{Action: plan.Add, App: "exampel", Starts: []string{"web"}, ReleasePhase: true, Description: "Deploy"},
		Withheld:     []tree.Withheld{{Path: ".env", Rule: "deny list: .env"}, {Path: "log/development.log", Rule: ".slugignore:3: *.log"}},
		Unpinned:     []plan.Unpinned{{Step: "compile", Tools: []string{"gcc", "make"}}},
		Warnings:     []plan.Warning{{Subject: "step assets", Message: `input "assests/**" matches nothing in the source tree`}},
		Problems:     []plan.Problem{{Subject: "app", Message: "there is no app exampel", Hint: "check the name, or let apply make it with --create"}},
		Summary:      plan.Summary{Fetch: 1, StepsRun: 1, StepsOpen: 1, ProcessTypesAdded: 2},
	}

	elsewhere := usual
	elsewhere.Drift = []plan.Drift{{Kind: plan.DriftRelease, Version: 12, By: "ops@example.com", Age: 7300}}
	elsewhere.StackChange = &plan.StackChange{From: "heroku-22", To: "heroku-24"}
	elsewhere.Runtimes = []plan.RuntimeChange{{Action: plan.Unknown, Name: "node", After: "22.11.0", From: "nodejs.org", Why: "in the store"}, {Action: plan.Remove, Name: "yarn", Before: "1.22", From: "yarnpkg.com"}}
	elsewhere.Steps = []plan.StepChange{{Action: plan.Remove, Name: "old", State: plan.Removed, Why: "no longer in slug.yaml"}}
	elsewhere.Slug = plan.SlugChange{Action: plan.Change, Now: ref(int64(48_100_000)), Next: ref(int64(46_300_000)), Limit: 50_000_000}
	elsewhere.FilesKnown, elsewhere.Files, elsewhere.FilesAfter = false, nil, nil
	elsewhere.FilesWhy = "the released slug was not made on this machine"
	elsewhere.ProcessTypes = []plan.ProcessChange{{Action: plan.Change, Name: "web", Before: "node web.js", After: "node web.js --port $PORT"}, {Action: plan.Remove, Name: "clock", Before: "node clock.js"}}
	elsewhere.Release = &plan.ReleaseChange{Action: plan.Change, App: "example", From: 12, Restarts: []string{"web"}, Stops: []string{"clock"}}
	elsewhere.Summary = plan.Summary{ProcessTypesChanged: 1, ProcessTypesRemoved: 1}

	long := usual
	long.App = "an-app-with-a-name-as-long-as-heroku-lets"
	long.Runtimes = []plan.RuntimeChange{{
		Action: plan.Change, Name: "a-runtime-with-a-rather-long-name", Before: "2024.10.01-rc.1+build.77", After: "2024.11.01-rc.2+build.78",
		From: "downloads.mirror.department.example.com", Fetch: true, Bytes: 1_234_567_890,
	}}
	long.Steps = []plan.StepChange{{Action: plan.Change, Name: "a-step-with-a-rather-long-name", State: plan.Runs, Why: "its definition changed, stack changed, runtime node changed, 30 inputs changed"}}
	long.Files = nil
	for i := range 30 {
		path := fmt.Sprintf("node_modules/some-package/dist/esm/internal/operators/file%02d.js", i)
		long.Files = append(long.Files, plan.FileChange{Action: plan.Add, Path: path, After: file(path, 1000)})
	}
	exec := *file("bin/start", 10)
	exec.Exec = true
	link := tree.Entry{Path: "current", Kind: tree.Link, Target: "releases/日本語/" + strings.Repeat("x", 60)}
	long.Files = append([]plan.FileChange{
		{Action: plan.Change, Path: "bin/start", What: "mode", Before: file("bin/start", 10), After: &exec},
		{Action: plan.Change, Path: "bin/stop", What: "mode", Before: &exec, After: file("bin/stop", 10)},
		{Action: plan.Change, Path: "same.js", What: "content", Before: file("same.js", 10), After: file("same.js", 10)},
		{Action: plan.Change, Path: "current", What: "kind", Before: file("current", 10), After: &link},
	}, long.Files...)
	long.ProcessTypes = []plan.ProcessChange{{
		Action: plan.Change, Name: "web", Before: "bundle exec puma --config config/puma.rb --port $PORT", After: "bundle exec puma --config config/puma.rb --port $PORT --workers 4",
	}, {Action: plan.Add, Name: "worker", After: "bundle exec sidekiq --config config/sidekiq.yml --queue default --queue mailers --verbose"}}
	long.Withheld = nil
	for i := range 12 {
		long.Withheld = append(long.Withheld, tree.Withheld{Path: fmt.Sprintf("tmp/%02d.pem", i), Rule: "deny list: *.pem with a private key in it, wherever it lies in the source tree"})
	}
	long.Summary.FilesAdded, long.Summary.FilesChanged = 30, 4

	hostilePlan := usual
	hostilePlan.Files = []plan.FileChange{{Action: plan.Add, Path: "a\x1b[2J\u202eb\nc", After: file("x", 1)}}
	hostilePlan.ProcessTypes = []plan.ProcessChange{{Action: plan.Add, Name: "web", After: "echo \x1b]0;owned\x07"}}

	store := plan.Plan{Stack: "heroku-24", Why: "the slug is in the store", Slug: plan.SlugChange{Action: plan.Keep, Next: ref(int64(5000))}}
	same := plan.Plan{App: "example", Stack: "heroku-24", Changed: true, Why: "the inputs changed", Current: current, FilesKnown: true, Slug: plan.SlugChange{Action: plan.Change, Now: ref(int64(5000)), KnownAfter: "archive"}}

	compared := usual
	compared.Against = &plan.Against{Kind: plan.BaseRevision, Name: "main (1a2b3c4)"}
	compared.Release, compared.Drift = nil, nil
	compared.Steps = []plan.StepChange{
		{Action: plan.Keep, Name: "dependencies", State: plan.Reused, Why: "unchanged"},
		{Action: plan.Change, Name: "bundle", State: plan.Runs, Why: "inputs changed: src/a.js and 2 more; runtime node changed"},
	}
	compared.Slug = plan.SlugChange{
		Action: plan.Change, Now: ref(int64(48_100_000)), Next: ref(int64(48_900_000)), Limit: 500_000_000, PlatformLimit: 1_000_000_000,
		Dirs: []plan.DirChange{
			{Path: ".", Now: ref(int64(12_400)), Next: ref(int64(12_600))},
			{Path: "lib", Now: ref(int64(20_000)), Next: ref(int64(20_800))},
			{Path: "node", Now: ref(int64(102_300_000)), Next: ref(int64(104_300_000))},
			{Path: "node_modules", Now: ref(int64(33_000_000)), Next: ref(int64(33_000_000))},
		},
	}
	compared.FilesAfter = nil
	compared.Files = append([]plan.FileChange{
		{Action: plan.Change, Path: "config/old.conf", What: "kind", Before: file("config/old.conf", 300), After: &tree.Entry{Path: "config/old.conf", Kind: tree.Link, Target: "new.conf"}},
		{Action: plan.Change, Path: "current", What: "link", Before: &tree.Entry{Path: "current", Kind: tree.Link, Target: "releases/11"}, After: &tree.Entry{Path: "current", Kind: tree.Link, Target: "releases/12"}},
		{Action: plan.Change, Path: "logo.png", What: "content", Before: file("logo.png", 12_000), After: file("logo.png", 11_200), NoDiff: "binary"},
	}, compared.Files...)
	compared.Files[3].Diff = "--- a/web.js\n+++ b/web.js\n@@ -1,3 +1,4 @@\n const http = require('http')\n-http.createServer(old).listen(process.env.PORT)\n" +
		"+const handler = require('./lib/new')\n+\thttp.createServer(handler).listen(process.env.PORT, () => console.log('a line that is longer than the screen'))\n \n\\ No newline at end of file\n"
	compared.Summary = plan.Summary{Fetch: 1, StepsRun: 1, StepsReused: 1, FilesAdded: 1, FilesChanged: 4, FilesRemoved: 1, ProcessTypesAdded: 1}

	equal := none
	equal.Against, equal.Why = &plan.Against{Kind: plan.BaseRelease, Name: "v11"}, "v11 was made of the same inputs"

	drifted := none
	drifted.Drift = []plan.Drift{
		{Kind: plan.DriftRelease, Version: 13, By: "ops@example.com", Age: 7300, Description: "Deployed web (5f2d0e1)"},
		{Kind: plan.DriftRollback, Version: 14, By: "ops@example.com", Age: 300, To: 11},
		{Kind: plan.DriftRollback, Version: 14, Age: 30},
		{Kind: plan.DriftStack, Stack: "heroku-26", Want: "heroku-24"},
		{Kind: plan.DriftConfig, Missing: []string{"DATABASE_URL"}, Types: []string{"web"}},
		{Kind: plan.DriftConfig, Missing: []string{"A", "B", "C"}, Types: []string{"web", "worker"}},
	}

	// Nothing is known of the released slug, and nothing can be told of the next.
	sizes := same
	sizes.Slug = plan.SlugChange{
		Action: plan.Change, Now: ref(int64(48_100_000)), KnownAfter: "bundle", Limit: 1_000_000_000, PlatformLimit: 1_000_000_000,
		Dirs: []plan.DirChange{
			{Path: ".", Now: ref(int64(3000)), Next: ref(int64(3000))},
			{Path: "assets", Now: ref(int64(2_000_000)), KnownAfter: "bundle"},
			{Path: "gone", Now: ref(int64(500_000)), Next: ref(int64(0))},
			{Path: "new", Now: ref(int64(0)), Next: ref(int64(700_000))},
			{Path: "vendor", Next: ref(int64(900))},
		},
	}
	for i := range 12 {
		sizes.Slug.Dirs = append(sizes.Slug.Dirs, plan.DirChange{Path: fmt.Sprintf("x%02d", i), Now: ref(int64(1000)), Next: ref(int64(1000 + i*7))})
	}
	sizes.FilesKnown, sizes.FilesWhy = false, "the released slug was made elsewhere, and the platform has dropped it"
	sizes.FilesHint = "apply once from this machine, or compare with a revision: slugfile plan --against HEAD~1"

	folds := usual
	folds.FilesAfter, folds.Files = nil, []plan.FileChange{
		{Action: plan.Change, Path: "package.json", What: "content", Before: file("package.json", 900), After: file("package.json", 910)},
		{Action: plan.Change, Path: "src/index.js", What: "content", Before: file("src/index.js", 4000), After: file("src/index.js", 4100)},
	}
	for i := range 217 {
		path := fmt.Sprintf("node_modules/react/cjs/part%03d.js", i)
		f := plan.FileChange{Action: plan.Change, Path: path, What: "content", Before: file(path, 1000), After: file(path, 15_000)}
		if i%80 == 0 {
			f = plan.FileChange{Action: plan.Add, Path: path, After: file(path, 1000)}
		}
		folds.Files = append(folds.Files, f)
	}
	for i := range 3 {
		path := fmt.Sprintf("node_modules/left-pad/%d.js", i)
		folds.Files = append(folds.Files, plan.FileChange{Action: plan.Remove, Path: path, Before: file(path, 100)})
	}
	folds.Summary.FilesAdded, folds.Summary.FilesChanged, folds.Summary.FilesRemoved = 3, 216, 3

	all := map[string]plan.Plan{
		"compared": compared, "equal": equal, "drifted": drifted, "sizes": sizes, "folds": folds,
		"usual": usual, "none": none, "first": first, "elsewhere": elsewhere, "long": long,
		"hostile": hostilePlan, "store": store, "same": same,
	}
	for name, p := range all {
		p.V, p.Type = plan.Version, "plan"
		withLists(reflect.ValueOf(&p).Elem())
		all[name] = p
	}
	return all
}

// withLists makes lists that are not there empty ones, as plan.Build does.
func withLists(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			withLists(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			withLists(v.Field(i))
		}
	case reflect.Slice:
		if v.IsNil() {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
		for i := range v.Len() {
			withLists(v.Index(i))
		}
	}
}

func TestPlan_isDrawnInEightyColumnsAndEndsWithItsSummary(t *testing.T) {
	t.Parallel()
	for name, p := range plans() {
		for suffix, o := range map[string]PlanOptions{
			"":         {},
			"-colour":  {Style: NewStyle(true)},
			"-verbose": {Verbose: true},
		} {
			var b bytes.Buffer
			if err := Plan(&b, p, o); err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSuffix(withoutColours(b.String()), "\n"), "\n")
			for _, l := range lines {
				if w := width(l); w > 80 {
					t.Errorf("%s%s: %d columns: %s", name, suffix, w, l)
				}
				if i := strings.IndexFunc(l, hostile); i >= 0 {
					t.Errorf("%s%s: a control character in %q", name, suffix, l)
				}
			}
			last := lines[len(lines)-1]
			for i := len(lines) - 1; strings.HasPrefix(last, " "); i-- {
				last = lines[i-1]
			}
			if p.Changed != strings.HasPrefix(last, "Plan: ") || !p.Changed != strings.HasPrefix(last, "No changes. ") {
				t.Errorf("%s%s: the last line is %q", name, suffix, last)
			}
			goldie.New(t).Assert(t, "plan-"+name+suffix, b.Bytes())
		}
	}
}

func TestPlan_meansTheSameWithoutColour(t *testing.T) {
	t.Parallel()
	for name, p := range plans() {
		var plain, coloured bytes.Buffer
		if err := Plan(&plain, p, PlanOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := Plan(&coloured, p, PlanOptions{Style: NewStyle(true)}); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(plain.String(), withoutColours(coloured.String())); d != "" {
			t.Errorf("%s (-plain +coloured without its colours):\n%s", name, d)
		}
	}
}
