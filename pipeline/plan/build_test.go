package plan_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sebdah/goldie/v2"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/lock"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/tree"
)

const (
	now    = 1_790_000_000
	node10 = "https://nodejs.org/dist/v22.10.0/node-v22.10.0-linux-x64.tar.xz"
	node11 = "https://nodejs.org/dist/v22.11.0/node-v22.11.0-linux-x64.tar.xz"
)

func sum(s string) digest.Digest { return digest.Of([]byte(s)) }
func ptr[T any](v T) *T          { return &v }

// world is a case: what the user committed and what is there.
type world struct {
	in   plan.Inputs
	seen plan.Observed
}

// nodeApp is an app with a runtime, two steps and two process types, never released.
func nodeApp() *world {
	return &world{
		in: plan.Inputs{
			File: &config.File{
				App: "example", Stack: "heroku-24",
				Runtimes: config.Runtimes{{Name: "node", URL: node10, Strip: 1, Into: "node", Only: []string{"bin/node"}}},
				Build: []config.Step{
					{Name: "dependencies", Run: "npm ci", Inputs: []string{"package.json"}, Outputs: []string{"node_modules"}},
					{Name: "bundle", Run: "npm run bundle", Inputs: []string{"lib", "web.js"}, Outputs: []string{"dist"}},
				},
				ProcessTypes: map[string]string{"web": "node/bin/node web.js", "release": "node/bin/node migrate.js"},
				Compression:  "default",
				Limits:       config.Limits{Slug: 500_000_000},
				Release:      config.Release{Description: "Deploy 0123456"},
			},
			Lock: &lock.File{Pins: []lock.Pin{
				{Name: "node", URL: node10, SHA256: sum("node 22.10.0"), Size: 27_700_000},
				{Name: "node", URL: node11, SHA256: sum("node 22.11.0"), Size: 27_800_000},
			}},
			Source: source("lib/old.js", "migrate.js", "package.json", "run*", "current->lib", "web.js"),
			Git:    plan.Git{SHA: "0123456789abcdef0123456789abcdef01234567", Branch: "main"},
			OS:     "linux", Arch: "amd64",
		},
		seen: plan.Observed{Target: &plan.Target{
			Name:   "example",
			App:    &platform.App{ID: "app-id", Name: "example", Generation: platform.Ref{Name: "cedar"}, Stack: platform.Ref{Name: "heroku-24"}},
			Stacks: []platform.Stack{{Name: "heroku-22", State: "deprecated"}, {Name: "heroku-24", State: "public", Default: true}},
			Now:    now,
		}},
	}
}

// outputs are what the steps of nodeApp leave behind.
func outputs(names ...string) map[string]tree.Manifest {
	all := map[string]tree.Manifest{"dependencies": files("node_modules/x.js"), "bundle": files("dist/app.js")}
	out := map[string]tree.Manifest{}
	for _, n := range names {
		out[n] = all[n]
	}
	return out
}

// build answers the open questions of the world: outputs of the named steps are there.
func (w *world) build(names ...string) *world {
	have := outputs(names...)
	if w.seen.Outputs == nil {
		w.seen.Outputs = map[digest.Digest]artifact.Output{}
	}
	stack := plan.TargetStack(w.in, w.seen)
	for _, name := range names {
		for _, key := range plan.Keys(w.in, stack, w.seen) {
			w.seen.Outputs[key] = artifact.Output{Step: name, Key: key, Dir: "/store/" + name, Tree: have[name]}
		}
	}
	return w
}

// release makes what the world wants the live release, as apply would.
func (w *world) release() *world {
	w.build("dependencies", "bundle")
	stack := plan.TargetStack(w.in, w.seen)
	slug := artifact.Slug{Digest: sum("slug"), Size: 48_100_000, PlanKey: plan.Key(w.in, stack, w.seen)}
	p := plan.Build(w.in, w.seen)
	t := artifact.Tree{Source: w.in.Source}
	for _, r := range p.Work.Fetch.Runtimes {
		t.Runtimes = append(t.Runtimes, artifact.Runtime{Name: r.Name, Into: r.Into, Only: r.Only, Digest: r.Digest, Dir: "/store/node", Tree: files("bin/node*", "bin/npm")})
	}
	for _, s := range p.Work.Compile.Steps {
		if s.Known != nil {
			t.Outputs = append(t.Outputs, *s.Known)
		}
	}
	r := plan.NewRecord(w.in, stack, slug, t)
	w.seen.Released = &r
	w.seen.Stored = map[digest.Digest]bool{sum("node 22.10.0"): true}
	types := map[string]string{}
	for k, v := range w.in.File.ProcessTypes {
		types[k] = v
	}
	w.seen.Target.Current = &platform.Release{
		ID: "release-id", Version: 12, Current: true, Status: platform.Succeeded, Description: "Deploy 89abcde [slugfile 01J]",
		CreatedAt: time.Unix(now-7200, 0), User: platform.Owner{Email: "ops@example.com"}, Slug: &platform.SlugRef{ID: "slug-id"},
	}
	w.seen.Target.Newest, w.seen.Target.Latest = w.seen.Target.Current, 12
	w.seen.Target.Slug = &platform.Slug{
		ID: "slug-id", Checksum: ptr(slug.Digest.Checksum()), CommitDescription: ptr(plan.CommitDescription(slug.PlanKey)),
		ProcessTypes: types, Size: ptr(slug.Size), Stack: platform.Ref{Name: stack},
	}
	return w
}

// against compares with another base than the live release.
func (w *world) against(b plan.Base) *world {
	w.seen.Against = &b
	return w
}

var cases = []struct {
	name string
	make func() *world
}{
	{"first_apply", nodeApp},
	{"no_change", func() *world { return nodeApp().release() }},
	{"no_change_empty_cache", func() *world {
		w := nodeApp().release()
		w.seen = plan.Observed{Target: w.seen.Target}
		return w
	}},
	{"same_slug_other_inputs", func() *world {
		w := nodeApp().release()
		w.in.File.Build[0].Run = "npm ci --omit=dev"
		w.seen.Slug = &artifact.Slug{Digest: sum("slug"), Size: 48_100_000, PlanKey: plan.Key(w.in, "heroku-24", w.seen)}
		return w
	}},
	{"runtime_bump", func() *world {
		w := nodeApp().release()
		w.in.File.Runtimes[0].URL = node11
		return w
	}},
	{"step_reruns", func() *world {
		w := nodeApp().release()
		w.in.Source = source("lib/new.js", "migrate.js", "package.json", "run*", "current->lib", "web.js=changed")
		return w
	}},
	{"files_change", func() *world {
		w := nodeApp().release()
		w.in.Source = source("lib/old.js", "migrate.js=changed", "package.json", "run", "current->src", "web.js", "robots.txt")
		return w
	}},
	{"slug_in_store", func() *world {
		w := nodeApp().release()
		w.in.Source = source("lib/old.js", "package.json", "web.js")
		w.seen.Outputs = nil
		w.seen.Slug = &artifact.Slug{Digest: sum("other"), Size: 600_000_000, PlanKey: plan.Key(w.in, "heroku-24", w.seen)}
		return w
	}},
	{"process_types_change", func() *world {
		w := nodeApp().release()
		w.in.File.ProcessTypes = map[string]string{"web": "node/bin/node server.js", "worker": "node/bin/node worker.js"}
		return w
	}},
	{"stack_change", func() *world {
		w := nodeApp().release()
		w.in.File.Stack = "heroku-22"
		return w
	}},
	{"missing_app", func() *world {
		w := nodeApp()
		w.seen.Target.App = nil
		return w
	}},
	{"missing_app_local", func() *world {
		w := nodeApp()
		w.in.File.Stack = ""
		w.seen.Target.App, w.seen.Target.Local = nil, true
		return w
	}},
	{"fir_app_and_archived", func() *world {
		w := nodeApp()
		w.seen.Target.App.Generation.Name, w.seen.Target.App.ArchivedAt = "fir", ptr(time.Unix(now, 0))
		return w
	}},
	{"drift", func() *world {
		w := nodeApp().release()
		w.seen.Target.Slug.CommitDescription, w.seen.Target.Slug.Checksum = ptr("Merge branch main"), nil
		w.seen.Released = nil
		w.seen.Target.Newest = &platform.Release{Version: 13, Status: platform.Failed}
		return w
	}},
	{"rolled_back", func() *world {
		w := nodeApp().release()
		w.in.File.Compression = "fast"
		w.next("Deploy 1a2b3c4 [slugfile 01K]", &platform.SlugRef{ID: "b"})
		w.next("Rollback to v12", &platform.SlugRef{ID: "slug-id"})
		w.next("Set A config vars", &platform.SlugRef{ID: "slug-id"})
		ours := nodeApp().release().seen.Target.Slug
		w.seen.Target.Slug = ours
		return w
	}},
	{"config_and_stack_drift", func() *world {
		w := nodeApp()
		w.in.File.ProcessTypes = map[string]string{"web": "web $PORT $DATABASE_URL ${X:-x}", "worker": "worker $QUEUE $DATABASE_URL $SECRET"}
		w.release()
		w.seen.Target.ConfigKnown, w.seen.Target.ConfigNames = true, []string{"SECRET"}
		w.seen.Target.App.BuildStack.Name = "heroku-26"
		return w
	}},
	{"read_from_platform", func() *world {
		w := nodeApp().release()
		w.seen.Released = &plan.Record{Tree: files(
			"dist/app.js", "lib/old.js", "migrate.js=before", "node/bin/node*", "node_modules/gone.js", "package.json", "run*", "web.js")}
		w.seen.Outputs = nil
		w.in.Source = source("lib/old.js", "lib/new.js", "migrate.js", "node/own.txt", "package.json", "run", "web.js")
		return w.build("dependencies")
	}},
	{"gone_from_platform", func() *world {
		w := nodeApp().release()
		w.in.File.Compression = "fast"
		w.seen.Released, w.seen.ReleasedWhy, w.seen.ReleasedHint = nil, "the platform has removed the slug of v12", "apply once, and the next plan compares files"
		return w
	}},
	{"against_revision", func() *world {
		before := nodeApp()
		before.in.File.Build = before.in.File.Build[:1]
		before.in.File.ProcessTypes = map[string]string{"web": "node web.js"}
		w := nodeApp().release()
		w.in.File.Runtimes[0].URL = node11
		w.in.Source = source("lib/old.js", "migrate.js", "package.json", "run", "current->lib", "web.js=edited")
		return w.against(plan.BaseOf(plan.BaseRevision, "main (1a2b3c4)", before.in, before.seen))
	}},
	{"against_revision_same", func() *world {
		before, w := nodeApp(), nodeApp()
		w.seen.Target = nil
		return w.against(plan.BaseOf(plan.BaseRevision, "main (1a2b3c4)", before.in, plan.Observed{}))
	}},
	{"against_saved", func() *world {
		before := nodeApp().build("dependencies", "bundle")
		w := nodeApp().build("dependencies")
		w.seen.Target = nil
		w.in.Source = source("lib/new.js", "migrate.js", "package.json", "run*", "current->lib", "web.js")
		return w.against(plan.Save(plan.Build(before.in, before.seen), before.in, before.seen, plan.SavedOptions{}, now).Base("plan.json"))
	}},
	{"against_release", func() *world {
		w := nodeApp().release()
		was := nodeApp().release()
		r := was.seen.Released
		r.Steps = r.Steps[:1]
		return w.against(plan.Base{
			Kind: plan.BaseRelease, Name: "v11", Stack: "heroku-24", ProcessTypes: map[string]string{"web": "x"},
			Key: sum("v11"), Checksum: sum("slug of v11"), Size: ptr(int64(40_000_000)), Record: r,
		})
	}},
	{"unpinned_and_withheld", func() *world {
		w := nodeApp()
		w.in.Withheld = []tree.Withheld{{Path: ".env", Rule: "deny list: .env"}}
		w.in.OS, w.in.Arch = "darwin", "arm64"
		w.in.Lock = nil
		w.in.File.Build[0].Inputs = []string{"package.json", "yarn.lock"}
		w.seen.Unpinned = map[string][]string{"bundle": {"make", "jq"}}
		return w
	}},
	{"host_runtime_build", func() *world {
		return &world{
			in: plan.Inputs{
				File: &config.File{
					Stack:        "heroku-24",
					Runtimes:     config.Runtimes{{Name: "go", Host: "go"}},
					Build:        []config.Step{{Name: "compile", Run: "go build -o bin/web .", Outputs: []string{"bin/web"}}},
					Files:        []config.FileEntry{{From: "bin/web", Into: "bin/"}},
					ProcessTypes: map[string]string{"web": "bin/web"},
				},
				Source: source("go.mod", "main.go"), OS: "linux", Arch: "amd64",
			},
			seen: plan.Observed{Tools: map[string]plan.Tool{"go": {Path: "/usr/local/go/bin/go", Digest: sum("go"), Size: 15_000_000}}},
		}
	}},
	{"host_runtime_missing", func() *world {
		return &world{
			in: plan.Inputs{File: &config.File{
				Stack: "heroku-24", Runtimes: config.Runtimes{{Name: "go", Host: "go"}},
				Build: []config.Step{{Name: "compile", Run: "go build .", Outputs: []string{"web"}}},
			}},
		}
	}},
}

func TestBuild_tellsTheWholePlan(t *testing.T) {
	t.Parallel()
	g := goldie.New(t, goldie.WithNameSuffix(".json"))
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := c.make()
			b, err := json.MarshalIndent(plan.Build(w.in, w.seen), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			g.Assert(t, c.name, append(b, '\n'))
		})
	}
}

func TestBuild_reusesSlugWhenInputsAreUnchanged(t *testing.T) {
	t.Parallel()
	w := nodeApp().release()
	if p := plan.Build(w.in, plan.Observed{Target: w.seen.Target}); p.Changed || p.Release != nil || p.Summary.Fetch != 0 {
		t.Errorf("an empty cache asks for work: %s, %+v", p.Why, p.Summary)
	}
	w.seen.Target.Slug.Checksum = nil
	if p := plan.Build(w.in, w.seen); !p.Changed {
		t.Error("a slug without a checksum counts as equal")
	}
}

func TestBuild_givesTheStagesWhatIsKnown(t *testing.T) {
	t.Parallel()
	w := nodeApp().release()
	w.in.Source = source("lib/new.js", "package.json", "web.js")
	work := plan.Build(w.in, w.seen).Work
	first, second := work.Compile.Steps[0], work.Compile.Steps[1]
	if first.Known == nil || first.Known.Dir != "/store/dependencies" || first.Why != "inputs unchanged" {
		t.Errorf("the step with the same inputs does not carry its output: %+v", first.Decision)
	}
	if second.Known != nil || second.Why != "inputs changed: lib/new.js and 1 more" {
		t.Errorf("the changed step is taken for known: %+v", second.Decision)
	}
	if work.Upload.App != "app-id" || work.Upload.Create != nil || work.Release.Baseline != "release-id" || work.Release.BaselineVersion != 12 {
		t.Errorf("upload %+v, release %+v", work.Upload, work.Release)
	}

	slug := artifact.Slug{Digest: sum("x"), PlanKey: work.Archive.Key}
	w.seen.Slug = &slug
	work = plan.Build(w.in, w.seen).Work
	if work.Archive.Known == nil || work.Compile.Known == nil || work.Fetch.Known == nil {
		t.Error("a slug in the store leaves work to the stages above it")
	}
	slug.PlanKey = sum("another plan")
	if plan.Build(w.in, w.seen).Work.Archive.Known != nil {
		t.Error("a slug of another plan is used")
	}
}

func TestBuild_fetchesNoRuntimeThatOnlyReusedStepsSee(t *testing.T) {
	t.Parallel()
	w := nodeApp()
	w.in.File.Runtimes[0].BuildOnly, w.in.File.Runtimes[0].Only = true, nil
	if p := plan.Build(w.in, w.seen); len(p.Work.Fetch.Runtimes) != 1 || p.Summary.Fetch != 1 {
		t.Errorf("steps that run get no runtime: %+v", p.Runtimes)
	}
	w.build("dependencies", "bundle")
	if p := plan.Build(w.in, w.seen); len(p.Work.Fetch.Runtimes) != 0 || p.Summary.Fetch != 0 || p.Runtimes[0].Why != "no step needs it" {
		t.Errorf("a runtime that nobody needs is fetched: %+v", p.Runtimes)
	}
}

// A target below /app is another way to write a relative one, and the slug holds that.
func TestBuild_showsNoChangeOfALinkThatTheSlugHoldsAlready(t *testing.T) {
	t.Parallel()
	w := nodeApp()
	w.in.Source = source("lib/old.js", "migrate.js", "package.json", "current->/app/lib", "web.js")
	w.release()
	w.in.Source = source("lib/old.js", "migrate.js", "package.json", "current->lib", "web.js", "new.js")
	p := plan.Build(w.in, w.seen)
	var got []string
	for _, f := range p.Files {
		got = append(got, string(f.Action)+f.Path)
	}
	if want := []string{"+new.js"}; !p.FilesKnown || !slices.Equal(got, want) {
		t.Errorf("files: %v, known %v (%s); want %v", got, p.FilesKnown, p.FilesWhy, want)
	}
	w.in.Source = source("lib/old.js", "migrate.js", "package.json", "current->/app/lib/old.js", "web.js")
	if p := plan.Build(w.in, w.seen); len(p.Files) != 1 || p.Files[0].What != "link" || p.Files[0].After.Target != "lib/old.js" {
		t.Errorf("a link that changes: %+v", p.Files)
	}
}

func TestKeys_opensOneQuestionAfterTheOther(t *testing.T) {
	t.Parallel()
	w := nodeApp()
	w.seen.Outputs = map[digest.Digest]artifact.Output{}
	var asked []digest.Digest
	for _, step := range []string{"dependencies", "bundle"} {
		keys := plan.Keys(w.in, "heroku-24", w.seen)
		if len(keys) != 1 {
			t.Fatalf("before %s: %d questions", step, len(keys))
		}
		asked = append(asked, keys[0])
		w.seen.Outputs[keys[0]] = artifact.Output{Tree: outputs(step)[step]}
	}
	if keys := plan.Keys(w.in, "heroku-24", w.seen); len(keys) != 0 || asked[0] == asked[1] {
		t.Errorf("still open: %v after %v", keys, asked)
	}
	p := plan.Build(w.in, w.seen)
	for i, s := range p.Work.Compile.Steps {
		var rs []artifact.Runtime
		for _, r := range p.Work.Fetch.Runtimes {
			rs = append(rs, artifact.Runtime{Name: r.Name, Into: r.Into, Digest: r.Digest})
		}
		var earlier []artifact.Output
		for _, e := range p.Work.Compile.Steps[:i] {
			earlier = append(earlier, *e.Known)
		}
		if got := plan.StepKey(s, rs, earlier); got != asked[i] {
			t.Errorf("the stage computes another key for step %s than the plan", s.Name)
		}
	}
}

func TestBuild_namesWhatAStepRunsFor(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*world){
		"its definition changed": func(w *world) { w.in.File.Build[0].Env = map[string]string{"A": "b"} },
		"stack changed":          func(w *world) { w.in.File.Stack = "heroku-22" },
		"runtime node changed":   func(w *world) { w.in.File.Runtimes[0].URL = node11 },
		"input changed: package.json": func(w *world) {
			w.in.Source = source("lib/old.js", "migrate.js", "package.json=1", "run*", "current->lib", "web.js")
		},
		"its definition changed; runtime node changed": func(w *world) {
			w.in.File.Build[0].Run = "npm install"
			w.in.File.Runtimes[0].URL = node11
		},
		"input removed: package.json": func(w *world) {
			w.in.Source = source("lib/old.js", "migrate.js", "run*", "current->lib", "web.js")
		},
		"inputs added: package.json/a and 1 more": func(w *world) {
			w.seen.Released.Source = files("lib/old.js")
			w.in.Source = source("package.json/a", "package.json/b")
		},
		"inputs changed: package.json and 1 more": func(w *world) {
			w.in.Source = source("lib/old.js", "package.json/a", "web.js")
		},
		"inputs changed": func(w *world) {
			w.seen.Released.Source, w.seen.Released.Steps[0].Inputs = nil, sum("other inputs")
			w.in.Source = source("lib/old.js", "web.js")
		},
		"runtime node is unpacked in another way": func(w *world) { w.in.File.Runtimes[0].Strip = 0 },
		"SOURCE_DATE_EPOCH changed":               func(w *world) { w.in.Epoch = 1 },
		"its output is no longer in the store": func(w *world) {
			w.seen.Outputs = nil
			w.in.File.ProcessTypes = map[string]string{"web": "other"}
		},
		"never built here": func(w *world) { w.seen.Released = nil; w.in.File.Build[0].Run = "true" },
	} {
		w := nodeApp().release()
		change(w)
		s := plan.Build(w.in, w.seen).Steps
		if s[0].State != plan.Runs || s[0].Why != want {
			t.Errorf("got %s %q, want %q", s[0].State, s[0].Why, want)
		}
		if s[1].State != plan.Open || s[1].After != "dependencies" {
			t.Errorf("%s: the second step is %s after %q", want, s[1].State, s[1].After)
		}
	}
}

func TestBuild_saysWhenAnEarlierStepMadeTheDifference(t *testing.T) {
	t.Parallel()
	w := nodeApp().release()
	w.in.Source = source("lib/old.js", "migrate.js", "package.json=1", "run*", "current->lib", "web.js")
	for _, k := range plan.Keys(w.in, "heroku-24", w.seen) {
		w.seen.Outputs[k] = artifact.Output{Key: k, Tree: files("node_modules/y.js")}
	}
	s := plan.Build(w.in, w.seen).Steps
	if s[0].Action != plan.Change || s[0].State != plan.Reused || s[0].Why != "input changed: package.json; built here before" {
		t.Errorf("the first step: %+v", s[0])
	}
	if s[1].Action != plan.Change || s[1].State != plan.Runs || s[1].Why != "an earlier step's output changed" {
		t.Errorf("the second step: %+v", s[1])
	}
}

func TestBuild_tellsRuntimesApartInTheFewestWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ old, now, before, after string }{
		{node10, node11, "22.10.0", "22.11.0"},
		{"https://a/ruby-3.3.6.tar.gz", "https://a/ruby-3.4.0-rc1.tar.gz", "3.3.6", "3.4.0-rc1"},
		{"https://a.example/x-1.0.tar.gz", "https://b.example/x-1.0.tar.gz", "a.example", "b.example"},
		{"https://a/x/one.tar.gz", "https://a/x/two.tar.gz", "one.tar.gz", "two.tar.gz"},
		{"https://a/1.0/x-2.0.tgz", "https://a/1.1/x-2.1.tgz", "x-2.0.tgz", "x-2.1.tgz"},
		{"https://u:p@a/x.tgz?sig=1", "https://u:p@a/x.tgz?sig=2", sum("old").Short(), sum("new").Short()},
	} {
		w := nodeApp()
		r := &w.in.File.Runtimes[0]
		r.URL, r.SHA256 = c.old, sum("old").String()
		w.release()
		r.URL, r.SHA256 = c.now, sum("new").String()
		got := plan.Build(w.in, w.seen).Runtimes[0]
		if got.Action != plan.Change || got.Before != c.before || got.After != c.after {
			t.Errorf("%s to %s: %s %q %q", c.old, c.now, got.Action, got.Before, got.After)
		}
	}
}

func TestCheck_findsEveryFaultBesideTheSourceTree(t *testing.T) {
	t.Parallel()
	in := plan.Inputs{
		File: &config.File{
			Runtimes: config.Runtimes{{Name: "node", URL: node10}},
			Build:    []config.Step{{Name: "b", Run: "make", Outputs: []string{"dist"}}},
			Files: []config.FileEntry{
				{From: "web.js", Into: "bin/x"}, {Into: "bin/x", Content: "other"}, {From: "mising", Into: "."},
				{From: "dist/app", Into: "a"}, {From: "secret", Into: "."}, {Into: "node", Content: "a file"},
			},
		},
		Source:   source("web.js"),
		Withheld: []tree.Withheld{{Path: "secret/.env", Rule: "deny list: .env"}},
	}
	var got []string
	for _, d := range plan.Check(in) {
		got = append(got, d.Error()+" | "+d.Hint)
	}
	want := []string{
		`files[1]: files[0] and files[1] both write bin/x, with different content | use "exclude" or another "into" in one of them`,
		`files[2].from: "mising" matches nothing in the source tree or among the outputs | paths start at the directory of slug.yaml`,
		`files[4].from: "secret" matches nothing in the source tree or among the outputs | secret/.env is withheld (deny list: .env)`,
		`runtimes.node.into: node is not a directory for files[5], and runtime node puts files below it | choose another "into", or exclude the file`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	in.File.Files = nil
	if faults := plan.Check(in); len(faults) != 0 {
		t.Errorf("the default layout has faults: %v", faults)
	}
}
