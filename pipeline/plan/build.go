package plan

import (
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
	if in.File == nil {
		p.Why = "there is no slug.yaml"
		p.Problems = append(p.Problems, Problem{Message: "there is no slug.yaml"})
		return p
	}
	b := &builder{in: in, seen: seen, p: &p}
	b.stack = TargetStack(in, seen)
	b.runtimes, p.Problems = resolve(in, seen)
	p.Problems = append([]Problem{}, p.Problems...)
	p.Stack = b.stack
	p.Key = key(in, b.stack, b.runtimes)
	b.steps = steps(in, b.stack, b.runtimes, seen)
	if s := seen.Slug; s != nil && !p.Key.IsZero() && s.PlanKey == p.Key {
		b.slug = s
	}
	if r := seen.Released; r != nil && seen.Target != nil && seen.Target.Slug != nil {
		b.released = r
	}

	b.target()
	b.decide()
	b.showRuntimes()
	b.showSteps()
	b.showSlug()
	b.showFiles()
	b.showProcessTypes()
	b.showRelease()
	b.warn()
	b.work()
	b.count()
	return p
}

// builder holds what Build has worked out so far.
type builder struct {
	in       Inputs
	seen     Observed
	p        *Plan
	stack    string
	runtimes []Runtime
	steps    []plannedStep
	// slug is the finished slug of this plan key, when the store has it.
	slug *artifact.Slug
	// released is what is remembered of the slug that runs now.
	released *Record
}

func (b *builder) problem(subject, message, hint string) {
	b.p.Problems = append(b.p.Problems, Problem{subject, message, hint})
}

func (b *builder) warning(subject, message, hint string) {
	b.p.Warnings = append(b.p.Warnings, Warning{subject, message, hint})
}

// current is the slug that runs now, or nil.
func (b *builder) current() *platform.Slug {
	if b.seen.Target == nil || b.seen.Target.Current == nil {
		return nil
	}
	return b.seen.Target.Slug
}

// target says where the slug goes, and whether the platform will take it.
func (b *builder) target() {
	p, t := b.p, b.seen.Target
	if t == nil {
		if b.stack == "" {
			b.problem("stack", "nobody says which stack the slug is for",
				`add "stack: heroku-24" to slug.yaml, or give --stack`)
		}
		return
	}
	p.App, p.Local = t.Name, t.Local
	if t.App == nil {
		p.Create = true
		if !t.Local && !b.in.Create {
			b.problem("app", fmt.Sprintf("there is no app %s", t.Name),
				"check the name, or let apply make it with --create")
		}
	} else {
		a := t.App
		p.App, p.AppID = a.Name, a.ID
		if a.Generation.Name == "fir" {
			b.problem("app", fmt.Sprintf("%s is a Fir app: Fir runs container images and takes no slugs", a.Name),
				"release to an app of the Cedar generation")
		}
		if a.ArchivedAt != nil {
			b.problem("app", fmt.Sprintf("%s is archived", a.Name), "restore it on the platform first")
		}
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
			ID: c.ID, Version: c.Version, Age: max(0, t.Now-c.CreatedAt.Unix()),
			By: c.User.Email, Description: c.Description,
		}
	}
	s := b.current()
	if s == nil {
		return
	}
	p.Current.SlugID, p.Current.Stack = s.ID, s.Stack.Name
	if s.Checksum != nil {
		p.Current.Checksum = *s.Checksum
	}
	if s.Stack.Name != b.stack {
		p.StackChange = &StackChange{s.Stack.Name, b.stack}
	}
	if _, ours := releasedKey(s); !ours {
		p.Drift = append(p.Drift, Drift{
			Kind: DriftRelease, Version: p.Current.Version, By: p.Current.By, Age: p.Current.Age, Description: p.Current.Description,
		})
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

// releasedKey is the plan key in the slug's commit description.
func releasedKey(s *platform.Slug) (digest.Digest, bool) {
	if s == nil || s.CommitDescription == nil {
		return digest.Digest{}, false
	}
	return ParseCommitDescription(*s.CommitDescription)
}

// decide answers the first question: is there anything to do? A slug without a checksum was
// made by another tool and is always another one.
func (b *builder) decide() {
	p, s := b.p, b.current()
	p.Changed = true
	switch {
	case b.seen.Target == nil && b.slug != nil:
		p.Changed, p.Why = false, "the slug is in the store"
	case b.seen.Target == nil:
		p.Why = "the slug has to be made"
	case p.Create:
		p.Why = "there is no such app yet"
	case s == nil:
		p.Why = "no slug is released yet"
	case p.Key.IsZero():
		p.Why = "not all inputs are known"
	case s.Stack.Name != b.stack:
		p.Why = "the stack changes"
	case !maps.Equal(s.ProcessTypes, b.in.File.ProcessTypes):
		p.Why = "the process types change"
	case s.Checksum == nil || *s.Checksum == "":
		p.Why = "the released slug has no checksum: another tool made it"
	default:
		have, ours := releasedKey(s)
		switch {
		case ours && have == p.Key:
			p.Changed, p.Why = false, fmt.Sprintf("v%d was made of the same inputs", b.version())
		case b.slug != nil && strings.EqualFold(*s.Checksum, b.slug.Digest.Checksum()):
			p.Changed, p.Why = false, fmt.Sprintf("v%d is the same slug", b.version())
		case !ours:
			p.Why = fmt.Sprintf("v%d was released outside slugfile", b.version())
		default:
			p.Why = "the inputs changed"
		}
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
	case !b.p.Changed:
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
	if b.released != nil {
		before = b.released.Runtimes
	}
	for _, r := range b.runtimes {
		c := RuntimeChange{Action: b.unremembered(), Name: r.Name, Digest: r.Digest, Bytes: r.Size}
		from := r.from()
		c.From, c.After = whence(r), versionOf(from)
		i := slices.IndexFunc(before, func(o RuntimeRecord) bool { return o.Name == r.Name })
		switch {
		case !b.p.Changed && b.seen.Target != nil:
			c.Action = Keep
		case i >= 0:
			c.Action, c.Before, c.After = compareRuntime(before[i], r)
		case b.released != nil:
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
	if b.current() == nil {
		return Add
	}
	return Unknown
}

func (b *builder) showSteps() {
	for _, s := range b.steps {
		c := StepChange{Action: Change, Name: s.Name}
		var old *StepRecord
		if b.released != nil {
			if i := slices.IndexFunc(b.released.Steps, func(o StepRecord) bool { return o.Name == s.Name }); i >= 0 {
				old = &b.released.Steps[i]
			}
		}
		switch {
		case b.done() != "":
			c.Action, c.State, c.Why = Keep, Reused, b.done()
		case s.Known != nil:
			c.Action, c.State, c.Why = Keep, Reused, "inputs unchanged"
			if old != nil && old.Key != s.key {
				c.Why = "built here before"
			}
		case s.after != "":
			c.State, c.After, c.Why = Open, s.after, "after step "+s.after
		default:
			c.State, c.Why = Runs, b.whyRuns(s, old)
		}
		if c.Action == Change && old == nil && (b.current() == nil || b.released != nil) {
			c.Action = Add
		}
		b.p.Steps = append(b.p.Steps, c)
	}
	if b.released == nil || !b.p.Changed {
		return
	}
	for _, o := range b.released.Steps {
		if !slices.ContainsFunc(b.steps, func(s plannedStep) bool { return s.Name == o.Name }) {
			b.p.Steps = append(b.p.Steps, StepChange{Action: Remove, Name: o.Name, State: Removed, Why: "no longer in slug.yaml"})
		}
	}
}

// whyRuns says what is different from the step that made the released slug.
func (b *builder) whyRuns(s plannedStep, old *StepRecord) string {
	if old == nil || old.Definition.IsZero() {
		return "never built here"
	}
	if old.Key == s.key {
		return "its output is no longer in the store"
	}
	var why []string
	if i := b.stepIndex(s.Name); i >= 0 && old.Definition != digest.OfJSON(definition(b.in.File, b.in.File.Build[i])) {
		why = append(why, "its definition changed")
	}
	if b.released.Stack != b.stack {
		why = append(why, "stack changed")
	}
	for _, name := range s.Runtimes {
		i := slices.IndexFunc(b.runtimes, func(r Runtime) bool { return r.Name == name })
		j := slices.IndexFunc(b.released.Runtimes, func(r RuntimeRecord) bool { return r.Name == name })
		if i >= 0 && j >= 0 && b.runtimes[i].Digest != b.released.Runtimes[j].Digest {
			why = append(why, partRuntime(name)+" changed")
		}
	}
	if i := b.stepIndex(s.Name); i >= 0 {
		was := stepInputs(b.in.File.Build[i], b.released.Source, namedSecrets(b.in.File.Files))
		switch n := len(fileChanges(entries(was), entries(s.Inputs))); n {
		case 0:
		case 1:
			why = append(why, "1 input changed")
		default:
			why = append(why, fmt.Sprintf("%d inputs changed", n))
		}
	}
	if len(why) == 0 {
		return "an earlier step's output changed"
	}
	return strings.Join(why, ", ")
}

func (b *builder) stepIndex(name string) int {
	for i, s := range b.in.File.Build {
		if s.Name == name {
			return i
		}
	}
	return -1
}

// open are the steps whose outputs are not known.
func (b *builder) open() []string {
	var names []string
	if b.done() == "" {
		for _, s := range b.steps {
			if s.Known == nil {
				names = append(names, s.Name)
			}
		}
	}
	return names
}

func (b *builder) showSlug() {
	c := &b.p.Slug
	c.Action, c.Limit, c.Dirs = Change, int64(b.in.File.Limits.Slug), []DirChange{}
	if s := b.current(); s != nil {
		c.Now = s.Size
		if c.Now == nil && b.released != nil {
			c.Now = &b.released.Size
		}
	} else {
		c.Action = Add
	}
	switch {
	case !b.p.Changed:
		c.Action, c.Next = Keep, c.Now
		if c.Next == nil && b.slug != nil {
			c.Next = &b.slug.Size
		}
	case b.slug != nil:
		c.Next = &b.slug.Size
	default:
		c.KnownAfter = "archive"
		if open := b.open(); len(open) > 0 {
			c.KnownAfter = open[len(open)-1]
		}
	}
	b.checkSize()
}

// Heroku takes slugs of up to 1 GB and says that bigger ones boot slower; from this size on
// plan says so too: https://devcenter.heroku.com/articles/limits
const largeSlug = 300 * 1000 * 1000

func (b *builder) checkSize() {
	c := b.p.Slug
	size := c.Next
	if size == nil {
		size = c.Now
	}
	if size == nil {
		return
	}
	which := "the slug"
	if c.Next == nil {
		which = "the released slug"
	}
	switch {
	case c.Limit > 0 && c.Next != nil && *c.Next > c.Limit && b.p.Changed:
		b.problem("slug", fmt.Sprintf("the slug has %d bytes, limits.slug allows %d", *c.Next, c.Limit), "leave files out, or raise limits.slug")
	case c.Limit > 0 && *size > c.Limit/10*9:
		b.warning("slug", fmt.Sprintf("%s has %d bytes, near limits.slug of %d", which, *size, c.Limit), "")
	case *size > largeSlug:
		b.warning("slug", fmt.Sprintf("%s has %d bytes: dynos with slugs over 300 MB boot slower", which, *size), "")
	}
}

func (b *builder) showProcessTypes() {
	before := map[string]string{}
	if s := b.current(); s != nil {
		before = s.ProcessTypes
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
	if b.seen.Target == nil || !b.p.Changed {
		return
	}
	r := &ReleaseChange{
		Action: Change, App: b.p.App, From: b.version(),
		Restarts: []string{}, Starts: []string{}, Adds: []string{}, Stops: []string{}, Description: b.description(),
	}
	if b.current() == nil {
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
	}
	if b.slug != nil {
		why := "the slug is in the store"
		w.Fetch.Decision = Decision[[]artifact.Runtime]{Why: why, Known: &[]artifact.Runtime{}}
		w.Compile.Decision = Decision[artifact.Tree]{Why: why, Known: &artifact.Tree{}}
		w.Archive.Decision = Decision[artifact.Slug]{Why: why, Known: b.slug}
	}
	t := b.seen.Target
	if t == nil {
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
	if b.current() != nil {
		w.Release.Baseline = b.p.Current.ID
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
