package plan_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/lock"
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
		m := manifests.Draw(t, "tree")
		parts := rapid.SliceOfN(rapid.IntRange(-1, 5), 0, 6)
		if optional(t) {
			parts = rapid.SliceOfN(rapid.IntRange(-1, 5), len(m), len(m))
		}
		return &plan.Record{
			Key: digests.Draw(t, "key"), Stack: names.Draw(t, "stack"), Tree: m, Source: manifests.Draw(t, "source"), Parts: parts.Draw(t, "parts"),
			Steps: []plan.StepRecord{{Name: names.Draw(t, "step"), Key: digests.Draw(t, "key"), Definition: digests.Draw(t, "def"), Inputs: digests.Draw(t, "inputs"), Unknown: optional(t)}},
			Runtimes: []plan.RuntimeRecord{{
				Unknown: optional(t), Name: names.Draw(t, "runtime"), From: rapid.SampledFrom([]string{"", "x", node10, "://", "file:///x"}).Draw(t, "from"), Digest: digests.Draw(t, "was"),
			}},
		}
	})
	if optional(t) {
		w.seen.Released = record.Draw(t, "released")
	}
	if optional(t) {
		w.seen.Next = record.Draw(t, "next")
		if w.seen.Slug != nil && optional(t) {
			w.seen.Next.Key = w.seen.Slug.PlanKey
		}
	}
	if optional(t) {
		w.seen.Against = &plan.Base{
			Kind: rapid.SampledFrom([]string{"", plan.BaseRelease, plan.BaseRevision, plan.BaseSaved}).Draw(t, "kind"), Name: names.Draw(t, "base"),
			Stack: names.Draw(t, "stack"), ProcessTypes: types.Draw(t, "types"), Key: digests.Draw(t, "key"), Checksum: digests.Draw(t, "checksum"), Why: names.Draw(t, "why"),
		}
		if optional(t) {
			w.seen.Against.Record = record.Draw(t, "against")
		}
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
	for range rapid.IntRange(0, 3).Draw(t, "recent") {
		g.Recent = append(g.Recent, platform.Release{
			Version: rapid.IntRange(-1, 9).Draw(t, "recent"), Status: rapid.SampledFrom([]string{"", platform.Pending, platform.Succeeded, platform.Failed}).Draw(t, "status"),
			Description: rapid.SampledFrom([]string{"", "Rollback to v2", "Deploy [slugfile 01J]"}).Draw(t, "description"), Slug: &platform.SlugRef{ID: names.Draw(t, "slug")},
		})
	}
	g.ConfigKnown, g.ConfigNames = optional(t), rapid.SliceOfN(names, 0, 2).Draw(t, "config")
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

// named reports whether runtimes and steps have names of their own, as config demands.
func named(w world) bool {
	if w.in.File == nil {
		return false
	}
	var runtimes, steps []string
	for _, r := range w.in.File.Runtimes {
		runtimes = append(runtimes, r.Name)
	}
	for _, s := range w.in.File.Build {
		steps = append(steps, s.Name)
	}
	own := func(names []string) bool {
		slices.Sort(names)
		return !slices.Contains(names, "") && len(slices.Compact(slices.Clone(names))) == len(names)
	}
	return own(runtimes) && own(steps)
}

// text is everything that is in some values, to tell whether they were changed.
func text(t *rapid.T, values ...any) string {
	b, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestBuild_isTotalAndPure(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld.Draw(t, "world")
		other := anyWorld.Draw(t, "another world")
		before := text(t, w.in, w.seen)
		one, two := plan.Build(w.in, w.seen), plan.Build(w.in, w.seen)
		if diff := cmp.Diff(one, two); diff != "" {
			t.Fatalf("the same arguments gave two plans: %s", diff)
		}
		_ = text(t, one, plan.NextRecord(w.in, w.seen), plan.BaseOf(plan.BaseRevision, "main", w.in, w.seen))
		saved := plan.Save(one, w.in, w.seen, plan.SavedOptions{}, now)
		for _, m := range saved.Moved(plan.Build(other.in, other.seen), other.in, other.seen) {
			_ = m.String()
		}
		_ = plan.Check(w.in)
		if text(t, w.in, w.seen) != before {
			t.Fatal("the arguments were changed")
		}
		if (!one.Changed || one.Against != nil) && one.Release != nil {
			t.Fatal("nothing to release and yet a release")
		}
		if one.Against != nil && (!cmp.Equal(one.Work.Upload, plan.Upload{}) || one.Work.Release != plan.Release{}) {
			t.Fatal("a comparison uploads or releases")
		}
		if !one.Changed && len(one.Files)+len(one.Slug.Dirs) > 0 {
			t.Fatal("nothing changes and yet a file")
		}
	})
}

func TestBuild_namesAfterWhatAnUnknownValueIsKnown(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld.Filter(func(w world) bool { return named(w) && w.seen.Against == nil }).Draw(t, "world")
		p := plan.Build(w.in, w.seen)
		if !p.Changed {
			return
		}
		if (p.Slug.Next == nil) != (p.Slug.KnownAfter != "") {
			t.Fatalf("the size is %v, known after %q", p.Slug.Next, p.Slug.KnownAfter)
		}
		for _, d := range p.Slug.Dirs {
			if d.Next == nil && d.KnownAfter == "" && p.Slug.Next == nil && p.FilesKnown {
				t.Fatalf("nothing tells when the size of %s is known", d.Path)
			}
		}
		for _, s := range p.Steps {
			if s.Why == "" || (s.State == plan.Open) != (s.After != "") && s.Name != "" {
				t.Fatalf("step %+v", s)
			}
		}
	})
}

func TestBuild_givesReusedStepsTheirOutputs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld.Filter(func(w world) bool { return named(w) && w.seen.Slug == nil }).Draw(t, "world")
		p := plan.Build(w.in, w.seen)
		if !p.Changed {
			return
		}
		for i, s := range p.Work.Compile.Steps {
			if (p.Steps[i].State == plan.Reused) != (s.Known != nil) {
				t.Fatalf("step %d is %s, and its output %v", i, p.Steps[i].State, s.Known)
			}
			if s.Known != nil && !cmp.Equal(s.Known.Tree, w.seen.Outputs[s.Known.Key].Tree) {
				t.Fatalf("step %d has an output that was not seen", i)
			}
		}
	})
}

func TestBuild_doesNotDependOnTheOrderOfWhatWasSeen(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld.Draw(t, "world")
		w.in.Withheld = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) tree.Withheld {
			return tree.Withheld{Path: paths.Draw(t, "withheld"), Rule: names.Draw(t, "rule")}
		}), 0, 3).Draw(t, "withheld")
		w.in.Lock = &lock.File{Pins: rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) lock.Pin {
			return lock.Pin{Name: names.Draw(t, "pin"), URL: names.Draw(t, "url"), SHA256: digests.Draw(t, "pinned")}
		}), 0, 4, func(p lock.Pin) string { return p.Name + " " + p.URL }).Draw(t, "pins")}
		w.seen.Unpinned = rapid.MapOf(names, rapid.SliceOfN(names, 0, 3)).Draw(t, "unpinned")
		if g := w.seen.Target; g != nil {
			// A platform gives each version once.
			g.Recent = slices.CompactFunc(slices.SortedFunc(slices.Values(g.Recent), func(a, b platform.Release) int { return a.Version - b.Version }),
				func(a, b platform.Release) bool { return a.Version == b.Version })
		}
		one := plan.Build(w.in, w.seen)
		w.in.Withheld = rapid.Permutation(w.in.Withheld).Draw(t, "withheld")
		w.in.Lock = &lock.File{Pins: rapid.Permutation(w.in.Lock.Pins).Draw(t, "pins")}
		for step, tools := range w.seen.Unpinned {
			w.seen.Unpinned[step] = rapid.Permutation(tools).Draw(t, "tools")
		}
		if g := w.seen.Target; g != nil {
			other := *g
			other.Stacks = rapid.Permutation(g.Stacks).Draw(t, "stacks")
			other.Recent = rapid.Permutation(g.Recent).Draw(t, "recent")
			other.ConfigNames = rapid.Permutation(g.ConfigNames).Draw(t, "config")
			w.seen.Target = &other
		}
		if diff := cmp.Diff(one, plan.Build(w.in, w.seen), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("another order gave another plan: %s", diff)
		}
	})
}

// buildable are worlds that can be applied: everything is pinned, and what the steps leave
// behind is in the store.
var buildable = rapid.Custom(func(t *rapid.T) world {
	w := world{in: plan.Inputs{File: anyFile.Draw(t, "file"), Source: artifact.Source{Dir: "/src", Tree: manifests.Draw(t, "source")}}}
	f := w.in.File
	f.Stack, w.seen.Tools = "heroku-24", map[string]plan.Tool{}
	for i := range f.Runtimes {
		r := &f.Runtimes[i]
		r.Name, r.URL, r.Path, r.SHA256 = names.Draw(t, "name")+string(rune('0'+i)), node10, "", sum("x").String()
		if r.Host != "" {
			r.URL, r.SHA256 = "", ""
			w.seen.Tools[r.Name] = plan.Tool{Path: "/bin/tool", Digest: sum("tool")}
		}
	}
	for i := range f.Build {
		f.Build[i].Name += string(rune('0' + i))
		f.Build[i].Runtimes = nil
	}
	w.seen.Target = &plan.Target{Name: "example", App: &platform.App{ID: "id", Name: "example"}, Now: now}
	w.seen.Outputs = map[digest.Digest]artifact.Output{}
	for range f.Build {
		for _, k := range plan.Keys(w.in, "heroku-24", w.seen) {
			w.seen.Outputs[k] = artifact.Output{Key: k, Tree: manifests.Draw(t, "output")}
		}
	}
	return w
})

// apply does to the world what an apply would, and reports whether it could.
func (w *world) apply(t *rapid.T) bool {
	p := plan.Build(w.in, w.seen)
	given := artifact.Tree{Source: w.in.Source}
	for _, r := range plan.Runtimes(w.in, w.seen) {
		a := artifact.Runtime{Name: r.Name, Into: r.Into, Only: r.Only, BuildOnly: r.BuildOnly, Digest: r.Digest, Tool: r.Tool}
		if r.Tool == "" {
			a.Tree = manifests.Draw(t, "runtime")
		}
		given.Runtimes = append(given.Runtimes, a)
	}
	for _, s := range p.Work.Compile.Steps {
		if s.Known == nil {
			t.Fatalf("step %s is not known", s.Name)
		}
		given.Outputs = append(given.Outputs, *s.Known)
	}
	members, err := plan.Layout(w.in.File.Files, given)
	if err != nil || p.Key.IsZero() {
		return false
	}
	slug := artifact.Slug{Digest: sum("slug"), Size: 7, PlanKey: p.Work.Archive.Key, Members: members}
	r := plan.NewRecord(w.in, p.Stack, slug, given)
	g := *w.seen.Target
	g.Slug = &platform.Slug{
		ID: "slug-id", Checksum: ptr(slug.Digest.Checksum()), CommitDescription: ptr(p.Work.Upload.CommitDescription),
		ProcessTypes: p.Work.Upload.ProcessTypes, Size: &slug.Size, Stack: platform.Ref{Name: p.Work.Upload.Stack},
	}
	g.Current = &platform.Release{
		ID: "release-id", Version: g.Latest + 1, Current: true, Status: platform.Succeeded,
		Description: plan.Mark(p.Work.Release.Description, "01J"), CreatedAt: time.Unix(now, 0), Slug: &platform.SlugRef{ID: "slug-id"},
	}
	g.Newest, g.Latest, g.Recent = g.Current, g.Current.Version, append([]platform.Release{*g.Current}, g.Recent...)
	w.seen.Target, w.seen.Released = &g, &r
	return true
}

// unchanged says what of a plan is a change, or is empty.
func unchanged(p plan.Plan) string {
	if s := p.Summary; len(p.Files)+len(p.FilesAfter)+s.StepsRun+s.StepsOpen+s.Fetch > 0 || !p.FilesKnown {
		return "files or work: " + p.FilesWhy
	}
	for _, c := range p.Runtimes {
		if c.Action != plan.Keep {
			return "runtime " + c.Name
		}
	}
	for _, c := range p.Steps {
		if c.Action != plan.Keep {
			return "step " + c.Name + ": " + c.Why
		}
	}
	for _, d := range p.Slug.Dirs {
		if d.Now == nil || d.Next == nil || *d.Now != *d.Next {
			return "size of " + d.Path
		}
	}
	return ""
}

func TestBuild_findsNothingToDoAfterAnApply(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := buildable.Draw(t, "world")
		if !w.apply(t) {
			return
		}
		p := plan.Build(w.in, w.seen)
		if why := unchanged(p); p.Changed || p.Release != nil || len(p.Drift) > 0 || why != "" {
			t.Fatalf("with everything known: %s; %s", p.Why, why)
		}
		if p := plan.Build(w.in, plan.Observed{Target: w.seen.Target, Tools: w.seen.Tools}); p.Changed || p.Summary.StepsRun+p.Summary.Fetch > 0 {
			t.Fatalf("with an empty store: %s", p.Why)
		}

		// What only packs in another way changes the slug and nothing in it.
		other := *w.in.File
		other.Compression = "fast"
		w.in.File = &other
		w.seen.Stored = map[digest.Digest]bool{sum("x"): true}
		p = plan.Build(w.in, w.seen)
		if why := unchanged(p); !p.Changed || why != "" {
			t.Fatalf("packed in another way: %s; %s", p.Why, why)
		}
	})
}

func TestBaseOf_theSameInputsIsNoChange(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld.Filter(func(w world) bool { return named(w) && w.seen.Against == nil }).Draw(t, "world")
		b := plan.BaseOf(plan.BaseRevision, "main", w.in, w.seen)
		key := plan.Key(w.in, plan.TargetStack(w.in, w.seen), w.seen)
		for name, seen := range map[string]plan.Observed{
			"the same store": w.seen, "an empty store": {Target: w.seen.Target, Tools: w.seen.Tools, Archives: w.seen.Archives},
		} {
			seen.Against = &b
			p := plan.Build(w.in, seen)
			if !key.IsZero() && p.Changed {
				t.Fatalf("%s: %s", name, p.Why)
			}
			for _, c := range p.Steps {
				if c.Action != plan.Keep && b.Record != nil {
					t.Fatalf("%s: step %q %s: %s", name, c.Name, c.Action, c.Why)
				}
			}
			// Whether a single file becomes a name or goes into a directory may hang on an output.
			hangs := name != "the same store" && w.in.File.Files != nil
			if len(p.Files) > 0 && !hangs || p.StackChange != nil {
				t.Fatalf("%s: %+v", name, p.Files)
			}
		}
	})
}

func TestSave_survivesItsFormAndHasNotMoved(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld.Filter(func(w world) bool { return w.in.File != nil }).Draw(t, "world")
		p := plan.Build(w.in, w.seen)
		written := text(t, plan.Save(p, w.in, w.seen, plan.SavedOptions{Vars: types.Draw(t, "vars")}, now))
		s, err := plan.ReadSaved([]byte(written[1 : len(written)-1]))
		if err != nil {
			t.Fatal(err)
		}
		// Names that are not UTF-8 are whole in entries, and in words for people they are not.
		again := text(t, s)
		if back, err := plan.ReadSaved([]byte(again[1 : len(again)-1])); err != nil || text(t, back) != again {
			t.Fatalf("read and written again: %v %s", err, cmp.Diff(s, back))
		}
		if moved := s.Moved(p, w.in, w.seen); moved != nil {
			t.Fatalf("moved: %v", moved)
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
