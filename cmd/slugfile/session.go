package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
	"github.com/slugfile/slugfile/config/diag"
	"github.com/slugfile/slugfile/pipeline"
	"github.com/slugfile/slugfile/pipeline/archive"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/compile"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/fetch"
	"github.com/slugfile/slugfile/pipeline/journal"
	"github.com/slugfile/slugfile/pipeline/observe"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/release"
	"github.com/slugfile/slugfile/pipeline/store"
	"github.com/slugfile/slugfile/pipeline/tree"
	"github.com/slugfile/slugfile/pipeline/upload"
)

// buildingFlags are the flags of every command that may build.
type buildingFlags struct {
	projectFlags
	appFlag
	stackFlag
	fetchFlags
	progressFlags
}

// planningFlags are the flags of every command that makes a plan.
type planningFlags struct {
	buildingFlags
	jsonFlag
}

// session is what plan, apply and build share: what the user committed, the store, and where
// events go.
type session struct {
	app     *App
	dirs    dirs
	project *project
	inputs  plan.Inputs
	store   *store.Store
	mirrors []fetch.Mirror
	view    view.View
	// lockTimeout is how long to wait for another slugfile; 0 is as long as it takes.
	lockTimeout time.Duration
	// app name of the flag, or of slug.yaml
	name string
	// against is what plans are compared with, nil for the live release.
	against *plan.Base
	// stream allows to read a released slug from the platform, to tell what is in it.
	stream bool
	// allow are codes of findings that stop nothing, beside those of slug.yaml.
	allow []string
	// seen is what the last plan was made of.
	seen plan.Observed
	// vars names what --var has set.
	vars []string
	// key names the app in files, and journal remembers what applies to it were about; both
	// are there when the app is locked.
	key     string
	journal *journal.Journal
}

// loading is how the project of a plan is read.
func (f buildingFlags) loading() loadOptions {
	return loadOptions{projectFlags: f.projectFlags, App: f.App, Stack: f.Stack, Pinned: true}
}

// open reads the project and its source tree. outputs are files that this run writes; when
// they lie in the source tree they are no part of it.
func (f buildingFlags) open(ctx context.Context, app *App, outputs ...string) (*session, error) {
	s := &session{app: app, vars: f.overridden()}
	var err error
	if s.mirrors, err = parseMirrors(f.Mirror); err != nil {
		return nil, err
	}
	if s.dirs, err = app.dirs(); err != nil {
		return nil, err
	}
	var known observe.Indexes
	st, storeErr := openStore(s.dirs)
	if storeErr == nil {
		known = observe.Ahead(st, filepath.Dir(app.abs(app.slugFile(f.projectFlags))))
	}
	s.project, err = app.load(ctx, f.loading())
	if err = firstError(err, storeErr); err != nil {
		return nil, err
	}
	s.name, s.store = s.project.File.App, st
	if s.inputs, err = app.inputs(ctx, s.project, outputs, known); err != nil {
		return nil, err
	}
	if err := s.findSecrets(ctx); err != nil {
		return nil, err
	}
	app.hidePassed(s.project)
	return s, nil
}

// findSecrets looks into the files that the slug or a step can take.
func (s *session) findSecrets(ctx context.Context) (err error) {
	reach, _ := plan.Reachable(s.inputs)
	src := artifact.Source{Dir: s.inputs.Source.Dir, Tree: reach}
	s.inputs.Secrets, err = observe.SourceSecrets(ctx, src, s.project.File.Files, s.store)
	return err
}

// warnSecrets tells of what runtimes and steps brought into a slug that was just made. It is
// theirs, often a key for their own tests, so it stops nothing.
func (s *session) warnSecrets(ctx context.Context, slug artifact.Slug) error {
	hits, err := observe.SlugSecrets(ctx, s.inputs.Source.Dir, slug.Members, s.store)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		s.view.Emit(event.Warning{Stage: event.Archive, Subject: "slug", Message: err.Error()})
	case len(hits) > 0:
		s.view.Emit(event.Warning{
			Stage: event.Archive, Subject: "slug", Message: plan.TellSecrets(hits),
			Hint: "whoever can download the slug can read it: see whether it is more than a test's, and leave it out with exclude or only",
		})
	}
	return nil
}

// inputs reads the source tree and puts together what a plan is made of.
func (a *App) inputs(ctx context.Context, p *project, outputs []string, known observe.Indexes) (plan.Inputs, error) {
	in, err := a.given(p)
	if err != nil {
		return in, err
	}
	o := a.sourceOptions(p, outputs, known)
	source, withheld, git, faults, err := observe.Source(ctx, p.Dir, o)
	if err != nil {
		return in, err
	}
	in.Git = git
	return in, complete(&in, source, withheld, faults)
}

// given is what a plan is made of, apart from the source tree.
func (a *App) given(p *project) (plan.Inputs, error) {
	in := plan.Inputs{File: p.File, Lock: p.Lock, Epoch: plan.DefaultEpoch, OS: runtime.GOOS, Arch: runtime.GOARCH, Tool: a.Version}
	if text := a.Env["SOURCE_DATE_EPOCH"]; text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return in, &usageError{msg: fmt.Sprintf("SOURCE_DATE_EPOCH is %q: must be a number of seconds since 1970", text)}
		}
		in.Epoch = n
	}
	return in, nil
}

// sourceOptions say what of the directory of slug.yaml is no part of the source tree.
func (a *App) sourceOptions(p *project, outputs []string, known observe.Indexes) observe.SourceOptions {
	o := observe.SourceOptions{Env: a.Env, Indexes: known, Exclude: []string{filepath.Base(p.Path), lockName}}
	for _, step := range p.File.Build {
		o.Outputs = append(o.Outputs, step.Outputs...)
	}
	for _, r := range p.File.Runtimes {
		if r.Path != "" {
			o.Exclude = append(o.Exclude, r.Path)
		}
	}
	roots := []string{p.Dir}
	if resolved, err := filepath.EvalSymlinks(p.Dir); err == nil && resolved != p.Dir {
		roots = append(roots, resolved)
	}
	for _, out := range append(outputs, a.Redirected...) {
		for _, root := range roots {
			if rel, err := filepath.Rel(root, a.abs(out)); err == nil && filepath.IsLocal(rel) {
				o.Exclude = append(o.Exclude, filepath.ToSlash(rel))
			}
		}
	}
	for _, f := range p.File.Files {
		o.IncludeSecrets = append(o.IncludeSecrets, f.IncludeSecrets...)
	}
	return o
}

// complete adds the source tree, and checks slug.yaml against it. faults are those that were
// found on the way.
func complete(in *plan.Inputs, source artifact.Source, withheld []tree.Withheld, faults diag.List) error {
	in.Source, in.Withheld = source, withheld
	*in = plan.Prepare(*in)
	faults = append(faults, plan.Check(*in)...)
	faults.Sort()
	return faults.Err()
}

// hidePassed keeps the values that pass_env hands to steps out of everything that is written.
func (a *App) hidePassed(p *project) {
	for _, step := range p.File.Build {
		for _, name := range step.PassEnv {
			a.Redactor.Add(a.Env[name])
		}
	}
}

func parseMirrors(list []string) ([]fetch.Mirror, error) {
	var out []fetch.Mirror
	for _, text := range list {
		m, err := fetch.ParseMirror(text)
		if err != nil {
			return nil, &usageError{msg: "--mirror: " + err.Error()}
		}
		out = append(out, m)
	}
	return out, nil
}

// plan looks at the world and decides. c is nil when no platform takes part.
func (s *session) plan(ctx context.Context, c *connection) (plan.Plan, error) {
	if c != nil && s.name == "" {
		return plan.Plan{}, &usageError{msg: `no app is named: add "app:" to ` + s.project.Shown + " or give -a"}
	}
	var err error
	if s.seen, err = observe.World(ctx, s.looking(c)); err != nil {
		return plan.Plan{}, err
	}
	return plan.Build(s.inputs, s.seen), nil
}

// looking says where to look.
func (s *session) looking(c *connection) observe.Options {
	o := observe.Options{
		App: s.name, Store: s.store, Inputs: &s.inputs, Against: s.against, Stream: s.stream, Sink: s.view,
		Path: s.app.Env["PATH"], Now: s.app.Now().Unix(),
	}
	if c != nil {
		o.Platform, o.Local = c.platform, c.local
	}
	return o
}

// problems is the error of a plan that must not be carried out.
func problems(p plan.Plan) error {
	if len(p.Problems) == 0 {
		return nil
	}
	return &refusedError{p.Problems}
}

// refusedError says why a plan cannot be carried out.
type refusedError struct{ problems []plan.Problem }

func (e *refusedError) Error() string {
	lines := make([]string, len(e.problems))
	for i, p := range e.problems {
		lines[i] = p.Message
	}
	return "this plan cannot be applied: " + strings.Join(lines, "; ")
}

// Hint is what to do about the first problem.
func (e *refusedError) Hint() string { return e.problems[0].Hint }

// pipeline puts the five stages together. platform is nil for build.
func (s *session) pipeline(p platform.Platform) *pipeline.Pipeline {
	sink := event.Sink(s.view)
	runtimes := &fetch.Stage{
		Store: s.store, Mirrors: s.mirrors, Sink: sink,
		Options: fetch.Options{UserAgent: s.app.userAgent(), Idle: s.app.Patience.Idle},
	}
	run := &pipeline.Pipeline{
		Fetch:   runtimes,
		Compile: &compile.Stage{Store: s.store, Sink: sink, Env: s.app.Env, Redact: s.app.Redactor.String, Home: filepath.Join(s.dirs.Cache, "home"), LockTimeout: s.lockTimeout},
		Archive: &archive.Stage{Store: s.store, Sink: sink, Mend: runtimes.Mend},
		Sink:    sink,
		Now:     s.app.Now,
	}
	if p != nil {
		run.Upload = &upload.Stage{Platform: p, Store: s.store, Journal: s.journal, Sink: sink}
		run.Release = &release.Stage{Platform: p, Journal: s.journal, Sink: sink, Settle: s.app.Patience.Settle}
	}
	return run
}

// build makes the slug of a plan, and stops when it would not run on its stack.
func (s *session) build(ctx context.Context, run *pipeline.Pipeline, p plan.Plan) (pipeline.Built, error) {
	p.Work.Archive.Allow = slices.Concat(p.Work.Archive.Allow, s.allow)
	b, err := s.make(ctx, run, p)
	if err == nil {
		b.Slug, err = run.Check(ctx, p.Work, b.Slug)
	}
	var large *archive.TooLargeError
	if t := s.seen.Target; errors.As(err, &large) && t != nil && t.Current != nil && t.Current.Slug != nil {
		large.Released = fmt.Sprintf("v%d", t.Current.Version)
		if t.Local {
			large.Released += " --local"
		}
	}
	return b, err
}

// make makes the slug of a plan and remembers what it was made of, for later plans.
func (s *session) make(ctx context.Context, run *pipeline.Pipeline, p plan.Plan) (pipeline.Built, error) {
	b, err := run.Build(ctx, p.Work)
	if err != nil || p.Work.Archive.Known != nil {
		return b, err
	}
	if err := s.warnSecrets(ctx, b.Slug); err != nil {
		return b, err
	}
	return b, s.record(p, b)
}

// record remembers what a slug was made of.
func (s *session) record(p plan.Plan, b pipeline.Built) error {
	record := plan.NewRecord(s.inputs, p.Stack, b.Slug, b.Tree)
	text, err := record.MarshalBinary()
	if err != nil {
		return fmt.Errorf("remember what the slug was made of: %w", err)
	}
	return s.store.PutBytes("record", b.Slug.Digest.String(), text)
}

// deliver makes the slug of a plan and hands it to use, which checks the bytes when it reads
// them. A stored slug that turns out to be damaged there is gone from the store; it is made
// again, once, and nothing is taken from earlier ones.
func (s *session) deliver(ctx context.Context, run *pipeline.Pipeline, c *connection, p plan.Plan, use func(pipeline.Built) error) error {
	return s.deliverBy(ctx, s.build, run, c, p, use)
}

// deliverBy is deliver with another way to make the slug than build.
func (s *session) deliverBy(ctx context.Context, build func(context.Context, *pipeline.Pipeline, plan.Plan) (pipeline.Built, error), run *pipeline.Pipeline, c *connection, p plan.Plan, use func(pipeline.Built) error) error {
	built, err := build(ctx, run, p)
	if err != nil && p.Work.Archive.Known == nil {
		return err // no stored slug was read
	}
	if err == nil {
		if err = use(built); err == nil {
			s.tidy(ctx)
		}
	}
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	s.view.Emit(event.Warning{Stage: event.Archive, Subject: "slug", Message: "the stored slug was damaged, and is made again: " + err.Error()})
	if p, err = s.plan(ctx, c); err != nil {
		return err
	}
	run.Archive.Cold = true
	if built, err = build(ctx, run, p); err != nil {
		return err
	}
	return use(built)
}

func (a *App) userAgent() string { return name + "/" + a.Version }

// confirm asks on a terminal. Where there is none, silence is not a yes.
func (a *App) confirm(ctx context.Context, question, command string) error {
	if !a.InTerminal || !a.ErrTerminal {
		return &usageError{msg: "there is no terminal to ask on: read the plan, then add -y", command: command}
	}
	if _, err := fmt.Fprintf(a.Err, "%s [y/N] ", question); err != nil {
		return err
	}
	if err := a.flush(); err != nil {
		return err
	}
	answer := make(chan string, 1)
	go func() {
		// One byte at a time: nothing after the line may be swallowed. A goroutine, because a
		// read from a terminal cannot be interrupted; it ends with the process.
		var line []byte
		b := make([]byte, 1)
		for {
			n, err := a.In.Read(b)
			if n == 1 && b[0] != '\n' {
				line = append(line, b[0])
			}
			if err != nil || n == 1 && b[0] == '\n' {
				answer <- string(line)
				return
			}
		}
	}()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case text := <-answer:
		if yes := []string{"y", "yes"}; slices.Contains(yes, strings.ToLower(strings.TrimSpace(text))) {
			return nil
		}
		return errors.New("nothing was done: the answer was not yes")
	}
}
