package plan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// changes are the files of a plan, one word each.
func changes(p plan.Plan) []string {
	var out []string
	for _, f := range p.Files {
		s := string(f.Action) + f.Path
		if f.What != "" {
			s += " " + f.What
		}
		out = append(out, s)
	}
	return out
}

// sizes are the directories of a plan: "lib 10>20", with "?dist" for one known after dist.
func sizes(p plan.Plan) []string {
	show := func(n *int64) string {
		if n == nil {
			return "?"
		}
		return fmt.Sprint(*n)
	}
	var out []string
	for _, d := range p.Slug.Dirs {
		out = append(out, d.Path+" "+show(d.Now)+">"+show(d.Next)+d.KnownAfter)
	}
	return out
}

func TestBuild_tellsEveryKindOfChangeOfAFile(t *testing.T) {
	t.Parallel()
	w := nodeApp()
	w.in.File.Build = nil
	w.in.Source = source("a", "both=1", "content=1", "current->a", "kind", "mode", "same", "was/dir")
	w.release()
	w.in.Source = source("b", "both*=2", "content=2", "current->b", "kind->b", "mode*", "same", "was")
	want := []string{"-a", "+b", "~both content, mode", "~content content", "~current link", "~kind kind", "~mode mode", "+was", "-was/dir"}
	if diff := cmp.Diff(want, changes(plan.Build(w.in, w.seen))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A slug that was read from the platform is a list of files, and nothing else.
func TestBuild_comparesAListOfFilesByTheirPlace(t *testing.T) {
	t.Parallel()
	there := []string{"bin/app", "dist/app.js", "lib/a.js", "node/bin/node*", "node_modules/x.js", "vendor/run", "web.js"}
	for name, c := range map[string]struct {
		change func(*world)
		files  []string
		after  []string
		why    string
	}{
		"outputs that are known": {func(w *world) { w.build("dependencies", "bundle") },
			[]string{"-bin/app", "-lib/a.js", "+lib/b.js", "-vendor/run"}, nil, "files that lie where runtime node goes"},
		"an output that is not": {func(w *world) { w.build("dependencies") },
			[]string{"-bin/app", "-lib/a.js", "+lib/b.js", "-vendor/run"}, []string{"bundle"}, "files that lie where runtime node goes"},
		"no runtime": {func(w *world) { w.in.File.Runtimes = nil; w.build("dependencies", "bundle") },
			[]string{"-bin/app", "-lib/a.js", "+lib/b.js", "-node/bin/node", "-vendor/run"}, nil, ""},
		"a runtime elsewhere": {func(w *world) { w.in.File.Runtimes[0].Into = "vendor/"; w.build("dependencies", "bundle") },
			[]string{"-bin/app", "-lib/a.js", "+lib/b.js", "-node/bin/node"}, nil, "files that lie where runtime node goes"},
		"outputs that go elsewhere": {func(w *world) {
			w.in.File.Files = []config.FileEntry{{From: "web.js", Into: "."}, {From: "dist", Into: "bin"}, {From: "lib", Into: "lib"}}
			w.build("dependencies")
		}, []string{"-dist/app.js", "-lib/a.js", "+lib/b.js", "-node_modules/x.js", "-vendor/run"}, []string{"bundle"}, "files that lie where"},
		"an output that goes everywhere": {func(w *world) {
			w.in.File.Files = []config.FileEntry{{From: "dist", Into: "."}}
			w.build("dependencies")
		}, nil, nil, "nothing tells which files of v12 came from a runtime or a step"},
		"outputs by a pattern": {func(w *world) {
			w.in.File.Build[1].Outputs = []string{"{bin,dist}/**/a*"}
			w.build("dependencies")
		}, []string{"-lib/a.js", "+lib/b.js", "-vendor/run"}, []string{"bundle"}, "files that lie where"},
	} {
		w := nodeApp().release()
		w.seen.Outputs = nil
		w.seen.Released = &plan.Record{Tree: files(there...)}
		w.in.Source = source("lib/b.js", "node/own.txt", "web.js")
		if name == "no runtime" || name == "a runtime elsewhere" {
			w.in.Source = source("lib/b.js", "web.js")
		}
		c.change(w)
		p := plan.Build(w.in, w.seen)
		if diff := cmp.Diff(c.files, changes(p)); diff != "" || !slices.Equal(p.FilesAfter, c.after) || !strings.HasPrefix(p.FilesWhy, c.why) || (c.why == "") != (p.FilesWhy == "") {
			t.Errorf("%s: after %v, %q (-want +got):\n%s", name, p.FilesAfter, p.FilesWhy, diff)
		}
		for _, s := range p.Steps {
			if s.Action != plan.Unknown {
				t.Errorf("%s: step %s: %s, though nothing tells", name, s.Name, s.Action)
			}
		}
	}
}

func TestBuild_tellsSizesByDirectory(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*world)
		want   []string
	}{
		"a file": {func(w *world) {
			w.in.Source.Tree = files("lib/old.js=longer than it was", "package.json", "web.js", "x/y")
		},
			[]string{". 31>18", "dist 11>?bundle", "lib 10>18", "node 8>8", "node_modules 17>17", "x 0>3"}},
		"a runtime": {func(w *world) { w.in.File.Runtimes[0].URL, w.in.File.Build = node11, nil },
			[]string{". 31>31", "dist 11>0", "lib 10>10", "node 8>?fetch", "node_modules 17>0"}},
		"a runtime for the steps only": {func(w *world) { w.in.File.Runtimes[0].BuildOnly = true },
			[]string{". 31>31", "dist 11>11", "lib 10>10", "node 8>0", "node_modules 17>17"}},
		"a runtime deep down": {func(w *world) { w.in.File.Runtimes[0].Into = "vendor/node" },
			[]string{". 31>31", "dist 11>?bundle", "lib 10>10", "node 8>0", "node_modules 17>?dependencies", "vendor 0>?fetch"}},
		"a runtime at the top": {func(w *world) { w.in.File.Runtimes[0].Into, w.in.File.Build = ".", nil },
			[]string{". 31>?fetch", "dist 11>?fetch", "lib 10>?fetch", "node 8>?fetch", "node_modules 17>?fetch"}},
		"an output that is a file": {func(w *world) { w.in.File.Build[1].Outputs = []string{"dist", "run.sh", "web.map"} },
			[]string{". 31>31", "dist 11>?bundle", "lib 10>10", "node 8>8", "node_modules 17>17", "run.sh 0>?bundle", "web.map 0>?bundle"}},
		"an output that was a file": {func(w *world) {
			w.in.Source = source("lib/old.js", "migrate.js", "package.json", "current->lib")
			w.in.File.Build[1].Outputs = []string{"web.js"}
		}, []string{". 31>?bundle", "dist 11>0", "lib 10>10", "node 8>8", "node_modules 17>17"}},
		"outputs at the top by a pattern": {func(w *world) { w.in.File.Build[1].Outputs = []string{"*.so"} },
			[]string{". 31>?bundle", "dist 11>?bundle", "lib 10>?bundle", "node 8>?bundle", "node_modules 17>?bundle"}},
		"nothing known of before": {func(w *world) { w.seen.Released, w.in.File.Compression = nil, "fast" },
			[]string{". ?>31", "dist ?>11", "lib ?>10", "node ?>?fetch", "node_modules ?>17"}},
		"a slug in the store": {func(w *world) {
			w.in.File.Compression = "fast"
			w.seen.Slug = &artifact.Slug{PlanKey: plan.Key(w.in, "heroku-24", w.seen), Size: 1}
		}, []string{". 31>?", "dist 11>?", "lib 10>?", "node 8>?", "node_modules 17>?"}},
		"a slug in the store that is remembered": {func(w *world) {
			w.in.File.Compression = "fast"
			key := plan.Key(w.in, "heroku-24", w.seen)
			w.seen.Slug = &artifact.Slug{PlanKey: key, Size: 1}
			w.seen.Next = &plan.Record{Key: key, Tree: files("node/x", "web.js"), Parts: []int{0, 3}}
		}, []string{". 31>6", "dist 11>0", "lib 10>0", "node 8>6", "node_modules 17>0"}},
	} {
		w := nodeApp().release()
		c.change(w)
		if diff := cmp.Diff(c.want, sizes(plan.Build(w.in, w.seen))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestBuild_speaksOfBothLimits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		limit, size      int64
		local            bool
		warning, problem string
	}{
		{500, 451, false, "the slug has 451 bytes, near limits.slug of 500", ""},
		{500, 501, false, "", "the slug has 501 bytes, limits.slug allows 500"},
		{5_000_000_000, 950_000_000, false, "the slug has 950000000 bytes, near Heroku's limit of 1000000000", ""},
		{5_000_000_000, 1_000_000_001, false, "the slug has 1000000001 bytes, Heroku takes 1000000000 unless you agreed on more", ""},
		{5_000_000_000, 1_000_000_001, true, "the slug has 1000000001 bytes: dynos with slugs over 300 MB boot slower", ""},
		{5_000_000_000, 299_000_000, false, "", ""},
	} {
		w := nodeApp()
		w.in.File.Limits.Slug, w.seen.Target.Local = config.Size(c.limit), c.local
		w.seen.Slug = &artifact.Slug{Digest: sum("x"), Size: c.size, PlanKey: plan.Key(w.in, "heroku-24", w.seen)}
		p := plan.Build(w.in, w.seen)
		var warning, problem string
		if len(p.Warnings) > 0 {
			warning = p.Warnings[0].Message
		}
		if len(p.Problems) > 0 {
			problem = p.Problems[0].Message
		}
		if warning != c.warning || problem != c.problem {
			t.Errorf("%d of %d: warning %q, problem %q", c.size, c.limit, warning, problem)
		}
		if (p.Slug.PlatformLimit == 0) != c.local {
			t.Errorf("the platform's limit is %d, local %v", p.Slug.PlatformLimit, c.local)
		}
	}
}

// What was not built in what the plan is compared with is left out on both sides.
func TestBuild_comparesNoOutputThatTheOtherSideLacks(t *testing.T) {
	t.Parallel()
	before := nodeApp()
	before.in.Source = source("lib/old.js", "migrate.js", "package.json", "run*", "current->lib", "web.js=before")
	b := plan.BaseOf(plan.BaseRevision, "main", before.in, plan.Observed{Target: before.seen.Target})
	w := nodeApp().build("dependencies", "bundle").against(b)
	p := plan.Build(w.in, w.seen)
	if diff := cmp.Diff([]string{"~web.js content"}, changes(p)); diff != "" || p.FilesAfter != nil {
		t.Errorf("after %v (-want +got):\n%s", p.FilesAfter, diff)
	}
	if p.FilesWhy != "what step bundle left behind in main is not known" || p.FilesHint != `run "slugfile build" there once` {
		t.Errorf("why: %q, hint %q", p.FilesWhy, p.FilesHint)
	}
	got := map[string]string{}
	for _, s := range p.Steps {
		got[s.Name] = string(s.Action) + " " + s.State + ": " + s.Why
	}
	want := map[string]string{"dependencies": "= reused: unchanged", "bundle": "~ reused: input changed: web.js; built here before"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

func TestNextRecord_marksWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	owners := func(r plan.Record) map[string]int {
		out := map[string]int{}
		for i, e := range r.Tree {
			if e.Kind != tree.Dir {
				out[e.Path] = r.Parts[i]
			}
		}
		return out
	}
	w := nodeApp().build("dependencies")
	r := plan.NextRecord(w.in, w.seen)
	if !r.Runtimes[0].Unknown || r.Steps[0].Unknown || !r.Steps[1].Unknown || r.Steps[1].Key.IsZero() || r.Steps[0].Inputs.IsZero() {
		t.Errorf("runtimes %+v, steps %+v", r.Runtimes, r.Steps)
	}
	want := map[string]int{"current": 3, "lib/old.js": 3, "migrate.js": 3, "node_modules/x.js": 1, "package.json": 3, "run": 3, "web.js": 3}
	if diff := cmp.Diff(want, owners(r)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	w = nodeApp().release()
	whole := owners(*w.seen.Released)
	if diff := cmp.Diff(whole, owners(plan.NextRecord(w.in, w.seen))); diff != "" || len(whole) != 9 || whole["node/bin/node"] != 0 {
		t.Errorf("with the runtime of what is released (-want +got):\n%s", diff)
	}
}

func TestBaseOf_saysWhyNothingIsKnown(t *testing.T) {
	t.Parallel()
	if b := plan.BaseOf(plan.BaseRevision, "main", plan.Inputs{}, plan.Observed{}); b.Record != nil || b.Why != "there is no slug.yaml in main" {
		t.Errorf("got %+v", b)
	}
	w := nodeApp()
	w.in.File.Files = []config.FileEntry{{From: "web.js", Into: "x"}, {Content: "other", Into: "x"}}
	b := plan.BaseOf(plan.BaseRevision, "main", w.in, w.seen)
	if b.Record != nil || !strings.Contains(b.Why, "both write x") {
		t.Errorf("got %+v", b)
	}
	w = nodeApp().against(b)
	if p := plan.Build(w.in, w.seen); p.FilesKnown || p.FilesWhy != b.Why || !p.Changed {
		t.Errorf("changed %v, files %v: %s", p.Changed, p.FilesKnown, p.FilesWhy)
	}
}

func TestBuild_seesAFileThatAStepAndTheSourceTreeBothBring(t *testing.T) {
	t.Parallel()
	both := func() *world {
		w := nodeApp()
		w.in.Source = source("dist/app.js", "package.json", "web.js")
		return w
	}
	for name, c := range map[string]struct{ before, now *world }{
		"known before": {both().build("dependencies", "bundle"), both().build("dependencies")},
		"known now":    {both().build("dependencies"), both().build("dependencies", "bundle")},
	} {
		b := plan.BaseOf(plan.BaseRevision, "main", c.before.in, c.before.seen)
		c.now.in.File.Compression = "fast"
		if got := changes(plan.Build(c.now.in, c.now.against(b).seen)); len(got) > 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestBuild_saysThatThePlatformRemovedTheLiveSlug(t *testing.T) {
	t.Parallel()
	w := nodeApp().release()
	w.seen.Target.Slug, w.seen.Released = nil, nil
	w.seen.ReleasedWhy, w.seen.ReleasedHint = "the platform has removed the slug of v12", "apply once"
	p := plan.Build(w.in, w.seen)
	if !p.Changed || p.Why != w.seen.ReleasedWhy || p.FilesKnown || p.FilesWhy != w.seen.ReleasedWhy || p.FilesHint != "apply once" {
		t.Errorf("changed %t, why %q; files known %t, %q, %q", p.Changed, p.Why, p.FilesKnown, p.FilesWhy, p.FilesHint)
	}
	if p.Current == nil || p.Work.Release.Baseline != p.Current.ID {
		t.Error("what runs now is no longer what the release is checked against")
	}
}
