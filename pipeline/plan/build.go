package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/stack"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// Build decides. It is total and pure: the same arguments give the same plan, and whatever
// is wrong or missing becomes a Problem of the plan.
func Build(in Inputs, seen Observed) Plan {
	p := Plan{
		V: Version, Type: "plan",
		Runtimes: []RuntimeChange{}, Steps: []StepChange{}, Files: []FileChange{}, ProcessTypes: []ProcessChange{},
		Drift: []Drift{}, Withheld: append([]tree.Withheld{}, in.Withheld...), Unpinned: []Unpinned{},
		Warnings: []Warning{}, Problems: []Problem{},
	}
	slices.SortFunc(p.Withheld, func(a, b tree.Withheld) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Rule, b.Rule))
	})
	if in.File == nil {
		p.Why = "there is no slug.yaml"
		p.Problems = append(p.Problems, Problem{Message: "there is no slug.yaml"})
		return p
	}
	in = Prepare(in)
	b := newBuilder(in, seen)
	b.p = &p
	p.Problems = append(p.Problems, b.unresolved...)
	p.Stack, p.Key = b.stack, b.key
	p.Basis = basis(in, seen)

	b.secrets()
	b.target()
	b.decide()
	b.drift()
	b.showRuntimes()
	b.showSteps()
	b.showSlug()
	b.showContents()
	b.showProcessTypes()
	b.showRelease()
	b.warn()
	b.work()
	b.count()
	return p
}

// builder holds what Build has worked out so far.
type builder struct {
	in   Inputs
	seen Observed
	// base is what the plan is compared with, or nil.
	base     *Base
	stack    string
	key      digest.Digest
	runtimes []Runtime
	// unresolved are the runtimes whose bytes nobody knows.
	unresolved []Problem
	steps      []plannedStep
	// slug is the finished slug of this plan key, when the store has it.
	slug *artifact.Slug
	p    *Plan
}

// newBuilder works out what the inputs lead to; there must be a slug.yaml.
func newBuilder(in Inputs, seen Observed) *builder {
	b := &builder{in: in, seen: seen, base: base(seen), stack: TargetStack(in, seen)}
	b.runtimes, b.unresolved = resolve(in, seen)
	b.key = key(in, b.stack, b.runtimes)
	b.steps = steps(in, b.stack, b.runtimes, seen)
	if s := seen.Slug; s != nil && !b.key.IsZero() && s.PlanKey == b.key {
		b.slug = s
	}
	return b
}

func (b *builder) problem(subject, message, hint string) {
	b.p.Problems = append(b.p.Problems, Problem{subject, message, hint})
}

func (b *builder) warning(subject, message, hint string) {
	b.p.Warnings = append(b.p.Warnings, Warning{subject, message, hint})
}

// target says where the slug goes, and whether the platform will take it.
func (b *builder) target() {
	p, t := b.p, b.seen.Target
	if g := b.seen.Against; g != nil {
		p.App = b.in.File.App // a comparison need not ask a platform
		p.Against = &Against{Kind: g.Kind, Name: g.Name, Stack: g.Stack, Key: g.Key}
	}
	if b.base != nil && b.base.Stack != b.stack && b.base.Stack != "" && b.stack != "" {
		p.StackChange = &StackChange{b.base.Stack, b.stack}
	}
	if t == nil {
		if b.stack == "" {
			b.problem("stack", "nobody says which stack the slug is for",
				`add "stack: heroku-24" to slug.yaml, or give --stack`)
		}
		return
	}
	p.App, p.Local = t.Name, t.Local
	if t.App != nil {
		p.App, p.AppID = t.App.Name, t.App.ID
	}
	if p.Against == nil { // a comparison needs no app that takes the slug
		b.app()
	}
	if b.stack == "" {
		b.problem("stack", "neither slug.yaml nor the platform says which stack the slug is for",
			`add "stack: heroku-24" to slug.yaml, or give --stack`)
	}
	var names []string
	deprecated := false
	for _, s := range t.Stacks {
		names = append(names, s.Name)
		deprecated = deprecated || s.Name == b.stack && s.State == "deprecated"
	}
	b.supported(deprecated)
	if b.stack != "" && len(names) > 0 && !slices.Contains(names, b.stack) {
		slices.Sort(names)
		b.problem("stack", fmt.Sprintf("%s may not use %s", p.App, b.stack), "it may use "+strings.Join(names, ", "))
	}
	if c := t.Current; c != nil {
		p.Current = &Current{
			ID: c.ID, Version: c.Version, Age: t.age(*c),
			By: c.User.Email, Description: c.Description,
		}
	}
	s := currentSlug(b.seen)
	if s == nil {
		return
	}
	p.Current.SlugID, p.Current.Stack = s.ID, s.Stack.Name
	if s.Checksum != nil {
		p.Current.Checksum = *s.Checksum
	}
	if n := t.Newest; n != nil && n.Version > p.Current.Version {
		switch n.Status {
		case platform.Failed:
			b.warning("release", fmt.Sprintf("v%d failed; v%d is still live", n.Version, p.Current.Version), "")
		case platform.Pending:
			b.warning("release", fmt.Sprintf("v%d is pending: its release phase may still run", n.Version), "wait for it, or it may come after yours")
		}
	}
}

// supported warns of a stack that Heroku has given up or is about to.
func (b *builder) supported(deprecated bool) {
	s, known := stack.Known(b.stack)
	switch {
	case known && s.Support(b.seen.Target.Now) == stack.Ended:
		b.warning("stack", fmt.Sprintf("%s had its end of life on %s", b.stack, s.EndOfLife), "move to a newer stack")
	case known && (deprecated || s.Support(b.seen.Target.Now) == stack.Ending):
		word := "reaches its end of life on"
		if deprecated {
			word = "is deprecated, its end of life is"
		}
		b.warning("stack", fmt.Sprintf("%s %s %s", b.stack, word, s.EndOfLife), "move to a newer stack")
	case deprecated:
		b.warning("stack", fmt.Sprintf("%s is deprecated by the platform", b.stack), "move to a newer stack")
	}
}

// decide answers the first question: is there anything to do? A released slug without a
// checksum was made by another tool and is always another one.
func (b *builder) decide() {
	p, old := b.p, b.base
	p.Changed = true
	switch {
	case old == nil && b.seen.Target == nil && b.slug != nil:
		p.Changed, p.Why = false, "the slug is in the store"
	case old == nil && b.seen.Target == nil:
		p.Why = "the slug has to be made"
	case p.Create:
		p.Why = "there is no such app yet"
	case old == nil && b.seen.ReleasedWhy != "": // the platform no longer has it
		p.Why = b.seen.ReleasedWhy
	case old == nil:
		p.Why = "no slug is released yet"
	case p.Key.IsZero():
		p.Why = "not all inputs are known"
	case old.Stack != b.stack:
		p.Why = "the stack changes"
	case !maps.Equal(old.ProcessTypes, b.in.File.ProcessTypes):
		p.Why = "the process types change"
	case old.Kind == BaseRelease && old.Checksum.IsZero():
		p.Why = "the released slug has no checksum: another tool made it"
	case old.Key == p.Key:
		p.Changed, p.Why = false, old.Name+" was made of the same inputs"
		if old.Kind != BaseRelease {
			p.Why = old.Name + " has the same inputs"
		}
	case b.slug != nil && old.Checksum == b.slug.Digest:
		p.Changed, p.Why = false, old.Name+" is the same slug"
	case !old.Key.IsZero():
		p.Why = "the inputs changed"
	case old.Kind == BaseRelease:
		p.Why = old.Name + " was released outside slugfile"
	default:
		p.Why = "not all inputs of " + old.Name + " are known"
	}
}

// app says whether there is an app that takes slugs.
func (b *builder) app() {
	t := b.seen.Target
	if t.App == nil {
		b.p.Create = true
		if !t.Local && !b.in.Create {
			b.problem("app", fmt.Sprintf("there is no app %s", t.Name),
				"check the name, or let apply make it with --create")
		}
		return
	}
	if t.App.Generation.Name == "fir" {
		b.problem("app", fmt.Sprintf("%s is a Fir app: Fir runs container images and takes no slugs", t.App.Name),
			"release to an app of the Cedar generation")
	}
	if t.App.ArchivedAt != nil {
		b.problem("app", fmt.Sprintf("%s is archived", t.App.Name), "restore it on the platform first")
	}
}

func (b *builder) version() int {
	if b.p.Current == nil {
		return 0
	}
	return b.p.Current.Version
}

// done is the reason why neither a download nor a step is needed, or empty.
func (b *builder) done() string {
	switch {
	case b.slug != nil:
		return "the slug is in the store"
	case !b.p.Changed && b.seen.Against == nil:
		return "the release has this slug"
	}
	return ""
}

// needed reports whether the runtime has to be on this machine: it enters the slug, or a
// step that may run sees it.
func (b *builder) needed(r Runtime) bool {
	if !r.BuildOnly {
		return true
	}
	return slices.ContainsFunc(b.steps, func(s plannedStep) bool {
		return s.Known == nil && slices.Contains(s.Runtimes, r.Name)
	})
}

func (b *builder) showRuntimes() {
	var before []RuntimeRecord
	told := b.base != nil && b.base.Record.tells()
	if told {
		before = b.base.Record.Runtimes
	}
	for _, r := range b.runtimes {
		c := RuntimeChange{Action: b.unremembered(), Name: r.Name, Digest: r.Digest, Bytes: r.Size}
		from := r.from()
		c.From, c.After = whence(r), versionOf(from)
		i := slices.IndexFunc(before, func(o RuntimeRecord) bool { return o.Name == r.Name })
		switch {
		case b.base != nil && !b.p.Changed:
			c.Action = Keep
		case i >= 0:
			c.Action, c.Before, c.After = compareRuntime(before[i], r)
		case told:
			c.Action = Add
		}
		switch {
		case r.Tool != "":
			c.Why = "a tool of this machine"
		case b.done() != "":
			c.Why = b.done()
		case !b.needed(r):
			c.Why = "no step needs it"
		case r.Path != "":
			c.Why = "in the repository"
		case b.seen.Stored[r.Digest]:
			c.Why = "in the store"
		case r.URL != "":
			c.Fetch = true
		}
		b.p.Runtimes = append(b.p.Runtimes, c)
	}
	for _, o := range before {
		if !slices.ContainsFunc(b.runtimes, func(r Runtime) bool { return r.Name == o.Name }) {
			b.p.Runtimes = append(b.p.Runtimes, RuntimeChange{
				Action: Remove, Name: o.Name, Before: versionOf(o.From), From: hostOf(o.From), Digest: o.Digest,
			})
		}
	}
}

// unremembered is the action for a part when nothing is remembered of the released slug.
func (b *builder) unremembered() Action {
	if b.base == nil {
		return Add
	}
	return Unknown
}

// showContents tells files and sizes. It looks at whole trees, so it does nothing when nothing
// changes.
func (b *builder) showContents() {
	if !b.p.Changed {
		b.p.FilesKnown = true
		return
	}
	if b.base == nil && b.seen.Target == nil {
		b.showFiles(contents{}, nil)
		return
	}
	next := b.compared()
	left := b.left(next)
	b.showFiles(next, left)
	b.showDirs(next, left)
}

func (b *builder) showProcessTypes() {
	var before map[string]string
	if b.base != nil {
		before = b.base.ProcessTypes
	}
	names := map[string]bool{}
	for n := range before {
		names[n] = true
	}
	for n := range b.in.File.ProcessTypes {
		names[n] = true
	}
	for _, n := range slices.Sorted(maps.Keys(names)) {
		was, had := before[n]
		is, has := b.in.File.ProcessTypes[n]
		c := ProcessChange{Action: Change, Name: n, Before: was, After: is}
		switch {
		case !b.p.Changed:
			c.Action, c.Before = Keep, is
		case !had:
			c.Action = Add
		case !has:
			c.Action = Remove
		case was == is:
			c.Action = Keep
		}
		b.p.ProcessTypes = append(b.p.ProcessTypes, c)
	}
}

// releasePhase is the process type whose command runs once before a release is live.
const releasePhase = "release"

// webType is the process type that gets a dyno with the first slug, on Heroku as here.
const webType = "web"

func (b *builder) showRelease() {
	if b.seen.Target == nil || b.seen.Against != nil || !b.p.Changed {
		return
	}
	r := &ReleaseChange{
		Action: Change, App: b.p.App, From: b.version(),
		Restarts: []string{}, Starts: []string{}, Adds: []string{}, Stops: []string{}, Description: b.description(),
	}
	if b.base == nil {
		r.Action = Add
	}
	for _, c := range b.p.ProcessTypes {
		switch {
		case c.Name == releasePhase:
			r.ReleasePhase = c.Action != Remove
		case c.Action == Add && c.Name == webType && r.Action == Add:
			r.Starts = append(r.Starts, c.Name)
		case c.Action == Add:
			r.Adds = append(r.Adds, c.Name)
		case c.Action == Remove:
			r.Stops = append(r.Stops, c.Name)
		default:
			r.Restarts = append(r.Restarts, c.Name)
		}
	}
	b.p.Release = r
}

// description is the user's text, else what Heroku writes for a deploy.
func (b *builder) description() string {
	if d := b.in.File.Release.Description; d != "" {
		return d
	}
	if sha := b.in.Git.SHA; len(sha) > 7 {
		return "Deploy " + sha[:7]
	}
	return "Deploy"
}

func (b *builder) warn() {
	in := b.in
	if in.OS != "" && (in.OS != "linux" || in.Arch != "amd64") && (len(in.File.Build) > 0 || b.p.Local) {
		b.warning("", fmt.Sprintf("this machine is %s/%s: steps and dynos run on linux/amd64 only", in.OS, in.Arch), "")
	}
	for _, c := range in.File.Build {
		for _, pattern := range c.Inputs {
			if !selects(in.Source.Tree, pattern) {
				b.warning(partStep(c.Name), fmt.Sprintf("input %q matches nothing in the source tree", pattern), "")
			}
		}
		if tools := b.seen.Unpinned[c.Name]; len(tools) > 0 {
			b.p.Unpinned = append(b.p.Unpinned, Unpinned{c.Name, slices.Sorted(slices.Values(tools))})
		}
	}
}

func (b *builder) work() {
	in, w := b.in, &b.p.Work
	for _, r := range b.runtimes {
		if r.Tool != "" || b.needed(r) {
			w.Fetch.Runtimes = append(w.Fetch.Runtimes, r)
		}
	}
	w.Compile.Source = in.Source
	for _, s := range b.steps {
		if s.Known != nil {
			s.Why = "inputs unchanged"
		} else if s.after != "" {
			s.Why = "after step " + s.after
		}
		w.Compile.Steps = append(w.Compile.Steps, s.Step)
	}
	for i, c := range b.p.Steps {
		if i < len(w.Compile.Steps) && w.Compile.Steps[i].Why == "" {
			w.Compile.Steps[i].Why = c.Why
		}
	}
	w.Archive = Archive{
		Key: b.p.Key, Files: in.File.Files, Level: level(in.File), Epoch: in.Epoch, Limit: int64(in.File.Limits.Slug),
		Stack: b.stack, ProcessTypes: in.File.ProcessTypes, Allow: in.File.Checks.Allow,
	}
	if b.slug != nil {
		why := "the slug is in the store"
		w.Fetch.Decision = Decision[[]artifact.Runtime]{Why: why, Known: &[]artifact.Runtime{}}
		w.Compile.Decision = Decision[artifact.Tree]{Why: why, Known: &artifact.Tree{}}
		w.Archive.Decision = Decision[artifact.Slug]{Why: why, Known: b.slug}
	}
	t := b.seen.Target
	if t == nil || b.seen.Against != nil {
		return
	}
	app := b.p.AppID
	if b.p.Create {
		app = t.Name
		w.Upload.Create = &platform.AppCreate{Name: t.Name, Stack: b.stack}
	}
	w.Upload.App, w.Upload.ProcessTypes, w.Upload.Stack = app, in.File.ProcessTypes, b.stack
	w.Upload.Commit, w.Upload.CommitDescription = in.Git.SHA, CommitDescription(b.p.Key)
	w.Release = Release{App: app, AppName: b.p.App, BaselineVersion: t.Latest, Description: b.description()}
	if c := t.Current; c != nil && (c.Slug != nil || t.Slug != nil) {
		w.Release.Baseline = c.ID
	}
}

func (b *builder) count() {
	s := &b.p.Summary
	for _, r := range b.p.Runtimes {
		if r.Fetch {
			s.Fetch++
			s.FetchBytes += max(0, r.Bytes)
		}
	}
	for _, c := range b.p.Steps {
		switch c.State {
		case Runs:
			s.StepsRun++
		case Reused:
			s.StepsReused++
		case Open:
			s.StepsOpen++
		}
	}
	for _, f := range b.p.Files {
		switch f.Action {
		case Add:
			s.FilesAdded++
		case Remove:
			s.FilesRemoved++
		default:
			s.FilesChanged++
		}
	}
	for _, c := range b.p.ProcessTypes {
		switch c.Action {
		case Add:
			s.ProcessTypesAdded++
		case Remove:
			s.ProcessTypesRemoved++
		case Change:
			s.ProcessTypesChanged++
		}
	}
}
