package plan_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/tree"
)

var (
	names    = rapid.SampledFrom([]string{"", "a", "b", "node", "web", "dist", "heroku-24", "heroku-20", "dependencies", "bundle"})
	paths    = rapid.SampledFrom([]string{"a", "a/b", "a/b/c", "dist", "dist/x", "lib/x.js", "lib", ".env", "node", "node/bin", "\xff", "*"})
	patterns = rapid.SampledFrom([]string{".", "a", "a/", "lib/*.js", "**", "[", "../x", "/abs", "", "dist", "{a,b}"})
	digests  = rapid.Custom(func(t *rapid.T) digest.Digest {
		if n := rapid.IntRange(0, 4).Draw(t, "digest"); n > 0 {
			return sum(string(rune('a' + n)))
		}
		return digest.Digest{}
	})
	manifests = rapid.Custom(func(t *rapid.T) tree.Manifest {
		var m tree.Manifest
		for _, p := range rapid.SliceOfNDistinct(paths, 0, 6, rapid.ID).Draw(t, "paths") {
			e := tree.Entry{Path: p, Kind: rapid.SampledFrom([]tree.Kind{tree.File, tree.File, tree.Dir, tree.Link}).Draw(t, "kind")}
			if e.Kind == tree.File {
				e.Digest, e.Exec = digests.Draw(t, "content"), rapid.Bool().Draw(t, "exec")
			}
			m = append(m, e)
		}
		m.Sort()
		return m
	})
	optional = func(t *rapid.T) bool { return rapid.Bool().Draw(t, "there") }
	types    = rapid.MapOf(names, names)
	lists    = rapid.SliceOfN(patterns, 0, 3)
)

var anyFile = rapid.Custom(func(t *rapid.T) *config.File {
	f := &config.File{
		App: names.Draw(t, "app"), Stack: names.Draw(t, "stack"), ProcessTypes: types.Draw(t, "types"),
		Limits: config.Limits{Slug: config.Size(rapid.Int64().Draw(t, "limit"))},
	}
	for range rapid.IntRange(0, 3).Draw(t, "runtimes") {
		f.Runtimes = append(f.Runtimes, config.Runtime{
			Name: names.Draw(t, "name"), URL: names.Draw(t, "url"), Path: names.Draw(t, "path"), Host: names.Draw(t, "host"),
			SHA256: rapid.SampledFrom([]string{"", "x", sum("x").String()}).Draw(t, "sha256"),
			Into:   patterns.Draw(t, "into"), Only: lists.Draw(t, "only"), BuildOnly: optional(t),
		})
	}
	for range rapid.IntRange(0, 3).Draw(t, "steps") {
		f.Build = append(f.Build, config.Step{
			Name: names.Draw(t, "name"), Run: names.Draw(t, "run"), Runtimes: rapid.SliceOfN(names, 0, 2).Draw(t, "sees"),
			Inputs: lists.Draw(t, "inputs"), Outputs: lists.Draw(t, "outputs"), Env: types.Draw(t, "env"),
		})
	}
	if optional(t) {
		for range rapid.IntRange(0, 3).Draw(t, "files") {
			f.Files = append(f.Files, config.FileEntry{
				From: patterns.Draw(t, "from"), Into: patterns.Draw(t, "into"), Exclude: lists.Draw(t, "exclude"),
				IncludeSecrets: []string{paths.Draw(t, "secret")}, Content: names.Draw(t, "content"),
			})
		}
	}
	return f
})

var anyWorld = rapid.Custom(func(t *rapid.T) world {
	w := world{in: plan.Inputs{Source: artifact.Source{Dir: "/src", Tree: manifests.Draw(t, "source")}, Create: optional(t)}}
	if rapid.IntRange(0, 9).Draw(t, "file") > 0 {
		w.in.File = anyFile.Draw(t, "file")
	}
	stack := plan.TargetStack(w.in, w.seen)
	tools := rapid.MapOf(names, rapid.Custom(func(t *rapid.T) plan.Tool { return plan.Tool{Digest: digests.Draw(t, "tool")} }))
	w.seen.Tools, w.seen.Archives = tools.Draw(t, "tools"), tools.Draw(t, "archives")
	if optional(t) {
		w.seen.Slug = &artifact.Slug{Digest: digests.Draw(t, "slug"), PlanKey: plan.Key(w.in, stack, w.seen)}
	}
	w.seen.Outputs = map[digest.Digest]artifact.Output{}
	for range 3 {
		for _, k := range plan.Keys(w.in, stack, w.seen) {
			if optional(t) {
				w.seen.Outputs[k] = artifact.Output{Tree: manifests.Draw(t, "output")}
			}
		}
	}
	record := rapid.Custom(func(t *rapid.T) *plan.Record {
		return &plan.Record{
			Key: digests.Draw(t, "key"), Stack: names.Draw(t, "stack"), Tree: manifests.Draw(t, "tree"), Source: manifests.Draw(t, "source"),
			Parts: rapid.SliceOfN(rapid.IntRange(-1, 5), 0, 6).Draw(t, "parts"),
			Steps: []plan.StepRecord{{Name: names.Draw(t, "step"), Key: digests.Draw(t, "key"), Definition: digests.Draw(t, "def")}},
			Runtimes: []plan.RuntimeRecord{{
				Name: names.Draw(t, "runtime"), From: rapid.SampledFrom([]string{"", "x", node10, "://", "file:///x"}).Draw(t, "from"), Digest: digests.Draw(t, "was"),
			}},
		}
	})
	if optional(t) {
		w.seen.Released = record.Draw(t, "released")
	}
	if optional(t) {
		w.seen.Next = record.Draw(t, "next")
	}
	if !optional(t) {
		return w
	}
	g := &plan.Target{Name: names.Draw(t, "name"), Local: optional(t), Now: rapid.Int64Range(-1e10, 1e10).Draw(t, "now")}
	w.seen.Target = g
	if optional(t) {
		g.App = &platform.App{Name: names.Draw(t, "app"), Stack: platform.Ref{Name: names.Draw(t, "stack")}}
	}
	for range rapid.IntRange(0, 2).Draw(t, "stacks") {
		g.Stacks = append(g.Stacks, platform.Stack{Name: names.Draw(t, "stack"), State: names.Draw(t, "state"), Default: optional(t)})
	}
	if optional(t) {
		g.Current = &platform.Release{Version: rapid.Int().Draw(t, "version"), CreatedAt: time.Unix(rapid.Int64Range(0, 1e10).Draw(t, "at"), 0)}
	}
	if optional(t) {
		g.Newest = &platform.Release{Version: rapid.Int().Draw(t, "newest"), Status: platform.Failed}
	}
	if optional(t) {
		g.Slug = &platform.Slug{ProcessTypes: types.Draw(t, "types"), Stack: platform.Ref{Name: names.Draw(t, "stack")}}
		if optional(t) {
			g.Slug.Checksum = ptr(digests.Draw(t, "sum").Checksum())
		}
		if optional(t) {
			g.Slug.CommitDescription = ptr(plan.CommitDescription(digests.Draw(t, "key")))
		}
	}
	return w
})

func TestBuild_isTotalAndPure(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld.Draw(t, "world")
		before, err := json.Marshal([]any{w.in.Source, w.seen.Tools, w.seen.Target, w.seen.Released})
		if err != nil {
			t.Fatal(err)
		}
		one, two := plan.Build(w.in, w.seen), plan.Build(w.in, w.seen)
		if diff := cmp.Diff(one, two); diff != "" {
			t.Fatalf("the same arguments gave two plans: %s", diff)
		}
		if _, err := json.Marshal(one); err != nil {
			t.Fatal(err)
		}
		_ = plan.Check(w.in)
		after, err := json.Marshal([]any{w.in.Source, w.seen.Tools, w.seen.Target, w.seen.Released})
		if err != nil {
			t.Fatal(err)
		}
		if string(before) != string(after) {
			t.Fatal("Build changed its arguments")
		}
		if !one.Changed && one.Release != nil {
			t.Fatal("no change and yet a release")
		}
	})
}

func TestKey_ignoresWhatTheSlugDoesNotDependOn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld.Filter(func(w world) bool { return w.in.File != nil }).Draw(t, "world")
		key := plan.Key(w.in, "heroku-24", w.seen)
		other := *w.in.File
		other.App, other.Stack = names.Draw(t, "app"), names.Draw(t, "stack")
		other.Release.Description = names.Draw(t, "description")
		other.Limits.Slug = config.Size(rapid.Int64().Draw(t, "limit"))
		other.Vars = types.Draw(t, "vars")
		other.Build = slices.Clone(other.Build)
		for i := range other.Build {
			other.Build[i].Timeout = config.Duration(rapid.Int64().Draw(t, "timeout"))
		}
		in := w.in
		in.File, in.Git, in.Create = &other, plan.Git{SHA: names.Draw(t, "sha")}, !in.Create
		in.OS, in.Arch, in.Source.Dir = "plan9", "arm", "/elsewhere"
		seen := plan.Observed{Tools: w.seen.Tools, Archives: w.seen.Archives}
		if got := plan.Key(in, "heroku-24", seen); got != key {
			t.Fatal("the key depends on app, release, limits, git, machine or caches")
		}
	})
}

func TestKey_dependsOnEveryInput(t *testing.T) {
	t.Parallel()
	key := func(change func(*world)) digest.Digest {
		w := nodeApp()
		change(w)
		return plan.Key(w.in, plan.TargetStack(w.in, w.seen), w.seen)
	}
	same := key(func(*world) {})
	if same.IsZero() {
		t.Fatal("no key")
	}
	seen := map[digest.Digest]string{same: "nothing"}
	for name, change := range map[string]func(*world){
		"compression":   func(w *world) { w.in.File.Compression = "fast" },
		"mtime":         func(w *world) { w.in.Epoch = 1 },
		"stack":         func(w *world) { w.in.File.Stack = "heroku-22" },
		"runtime bytes": func(w *world) { w.in.File.Runtimes[0].URL = node11 },
		"strip":         func(w *world) { w.in.File.Runtimes[0].Strip = 0 },
		"into":          func(w *world) { w.in.File.Runtimes[0].Into = "vendor" },
		"only":          func(w *world) { w.in.File.Runtimes[0].Only = nil },
		"build_only":    func(w *world) { w.in.File.Runtimes[0].BuildOnly = true },
		"run":           func(w *world) { w.in.File.Build[0].Run = "true" },
		"env":           func(w *world) { w.in.File.Build[0].Env = map[string]string{"A": ""} },
		"inputs":        func(w *world) { w.in.File.Build[0].Inputs = nil },
		"outputs":       func(w *world) { w.in.File.Build[0].Outputs = []string{"x"} },
		"no runtimes":   func(w *world) { w.in.File.Build[0].Runtimes = []string{} },
		"files":         func(w *world) { w.in.File.Files = []config.FileEntry{{From: ".", Into: "."}} },
		"process types": func(w *world) { w.in.File.ProcessTypes["web"] = "other" },
		"content":       func(w *world) { w.in.Source.Tree[0].Digest = sum("other") },
		"mode":          func(w *world) { w.in.Source.Tree[0].Exec = true },
		"a raw name":    func(w *world) { w.in.Source = source("\xff") },
		"another":       func(w *world) { w.in.Source = source("\xfe=\xff") },
	} {
		k := key(change)
		if was, ok := seen[k]; ok {
			t.Errorf("%s gives the same key as %s", name, was)
		}
		seen[k] = name
	}
	if k := key(func(w *world) {
		w.in.File.Runtimes[0].URL = "https://mirror/node.tar.xz"
		w.in.File.Runtimes[0].SHA256 = sum("node 22.10.0").String()
	}); k != same {
		t.Error("another URL of the same bytes is another key")
	}
	if k := key(func(w *world) {
		w.in.Source.Tree = append(w.in.Source.Tree, tree.Entry{Path: "lib", Kind: tree.Dir})
		w.in.Source.Tree.Sort()
	}); k != same {
		t.Error("a directory that only a walk lists gives another key")
	}
}

func TestKey_ignoresFilesThatNothingTakes(t *testing.T) {
	t.Parallel()
	w := nodeApp()
	w.in.File.Files = []config.FileEntry{{From: "lib", Into: "lib"}, {From: "dist", Into: "dist"}}
	key := plan.Key(w.in, "heroku-24", w.seen)
	w.in.Source = source("lib/old.js", "package.json", "web.js", "README.md")
	if plan.Key(w.in, "heroku-24", w.seen) != key {
		t.Error("a file that no step and no entry can reach changes the key")
	}
	w.in.Source = source("lib/old.js", "package.json=1", "web.js")
	if plan.Key(w.in, "heroku-24", w.seen) == key {
		t.Error("a step's input does not change the key")
	}
}

func TestLayout_isInTheOrderOfTheSlug(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld.Filter(func(w world) bool { return w.in.File != nil }).Draw(t, "world")
		members, err := plan.Layout(w.in.File.Files, artifact.Tree{
			Runtimes: []artifact.Runtime{{Name: "r", Into: patterns.Draw(t, "into"), Tree: manifests.Draw(t, "runtime")}},
			Outputs:  []artifact.Output{{Step: "s", Tree: manifests.Draw(t, "output")}},
			Source:   w.in.Source,
		})
		if err != nil {
			return
		}
		seen := map[string]tree.Kind{}
		for i, m := range members {
			if i > 0 {
				p := members[i-1]
				if p.Layer > m.Layer || p.Layer == m.Layer && tree.Compare(p.Path, m.Path) >= 0 {
					t.Fatalf("%s comes after %s", m.Path, p.Path)
				}
			}
			if _, twice := seen[m.Path]; twice {
				t.Fatalf("%s stands twice", m.Path)
			}
			for j, c := range m.Path {
				if c == '/' && seen[m.Path[:j]] != tree.Dir {
					t.Fatalf("%s comes before its directory", m.Path)
				}
			}
			seen[m.Path] = m.Kind
		}
	})
}

func TestMark_keepsTheMarkWithinTwoHundredCharacters(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		got := plan.Mark(text, "01JABC")
		if n := utf8.RuneCountInString(got); n > 200 {
			t.Fatalf("%d characters", n)
		}
		if _, id, ok := plan.ParseMark(got); !ok || id != "01JABC" {
			t.Fatalf("%q has no mark", got)
		}
	})
	if got := plan.Mark("Deploy\nit \x1b[31m", "X"); got != "Deploy it [31m [slugfile X]" {
		t.Errorf("got %q", got)
	}
	for _, s := range []string{"", "Deploy", "[slugfile ]", "[slugfile a b]", "x [slugfile X] y"} {
		if _, _, ok := plan.ParseMark(s); ok {
			t.Errorf("%q is taken for marked", s)
		}
	}
}

func TestParseCommitDescription_takesOnlyItsOwn(t *testing.T) {
	t.Parallel()
	key := sum("x")
	if got, ok := plan.ParseCommitDescription(plan.CommitDescription(key)); !ok || got != key {
		t.Error("the key is lost on the way")
	}
	h := key.String()
	for _, s := range []string{"", h, "slugfile/1 plan=", "slugfile/1 plan=" + h[1:], "slugfile/2 plan=" + h, "slugfile/1 plan=" + h + " ", "x slugfile/1 plan=" + h, "slugfile/1 plan=" + digest.Digest{}.String()} {
		if _, ok := plan.ParseCommitDescription(s); ok {
			t.Errorf("%q is taken for a plan key", s)
		}
	}
}
