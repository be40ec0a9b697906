package view

import (
	"bytes"
	"fmt"
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
	long.ProcessTypes = []plan.ProcessChange{{Action: plan.Add, Name: "worker", After: "bundle exec sidekiq --config config/sidekiq.yml --queue default --queue mailers --verbose"}}
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

	return map[string]plan.Plan{
		"usual": usual, "none": none, "first": first, "elsewhere": elsewhere, "long": long,
		"hostile": hostilePlan, "store": store, "same": same,
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
			for i, l := range lines {
				free := strings.HasPrefix(l, "hint:") || strings.HasPrefix(l, "warning:") || strings.HasPrefix(l, "problem:")
				if w := width(l); w > 80 && i < len(lines)-1 && !free {
					t.Errorf("%s%s: %d columns: %s", name, suffix, w, l)
				}
				if i := strings.IndexFunc(l, hostile); i >= 0 {
					t.Errorf("%s%s: a control character in %q", name, suffix, l)
				}
			}
			last := lines[len(lines)-1]
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
