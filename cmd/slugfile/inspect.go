package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
	"github.com/slugfile/slugfile/pipeline"
	"github.com/slugfile/slugfile/pipeline/archive"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/bom"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/inspect"
	"github.com/slugfile/slugfile/pipeline/observe"
	"github.com/slugfile/slugfile/pipeline/platform/local"
	"github.com/slugfile/slugfile/pipeline/slug"
	"github.com/slugfile/slugfile/pipeline/stack"
	"github.com/slugfile/slugfile/pipeline/tree"
)

type inspectCmd struct {
	planningFlags
	platformFlags
	lockFlag
	inspectFlags
	Target string `arg:"" optional:"" name:"slug" help:"A slug's file, a release such as v12, or \"tree\": what slug.yaml makes now, whatever its size. Default: tree."`
}

// treeTarget is the slug that slug.yaml makes now.
const treeTarget = "tree"

// looked is a slug that was looked at.
type looked struct {
	inspect.Slug
	// subject is what the user called it.
	subject, checksum string
	size, limit       int64
	// stack is the one that the slug is for; empty when nobody names one.
	stack        string
	processTypes map[string]string
}

// Run says what is in a slug and whether it would run on a stack, or how it differs from another.
// That it would not run is an answer "no".
func (c *inspectCmd) Run(ctx context.Context, app *App) error {
	if c.Target == "" {
		c.Target = treeTarget
	}
	switch {
	case c.Depth < 0:
		return &usageError{msg: "--depth: must be at least 1", command: "slugfile inspect"}
	case c.Share < 0 || c.Share > 100:
		return &usageError{msg: "--share: must be a percentage, from 0 to 100", command: "slugfile inspect"}
	case c.Depth > 0 && !c.Tree && c.Diff == "":
		return &usageError{msg: "--depth: there is no tree; add --tree or --diff", command: "slugfile inspect"}
	case c.Diff != "":
		return c.compare(ctx, app)
	}
	s, err := c.look(ctx, app, c.Target)
	r := inspect.Report{
		V: inspect.Version, Type: inspect.ReportType, Subject: c.Target, Checksum: s.checksum, Size: s.size, Limit: s.limit,
		Layout: inspect.Layout{OK: true}, ProcessTypes: s.processTypes, Findings: []artifact.Finding{},
	}
	var wrong *layoutError
	switch {
	case errors.As(err, &wrong):
		r.Layout = inspect.Layout{Why: wrong.Error()}
	case err != nil:
		return err
	}
	if r.ProcessTypes == nil {
		r.ProcessTypes = map[string]string{}
	}
	now := app.Now().Unix()
	r.Present = stackFacts(s.stack, now)
	if r.Checked = r.Present; c.Stack != "" && c.Stack != s.stack {
		r.Checked = stackFacts(c.Stack, now)
	}
	if r.Layout.OK {
		r.Contents = inspect.Describe(s.Slug)
		if c.Tree {
			r.Contents.Tree = inspect.Tree(s.Slug, c.folding())
		}
		onStack := ""
		if r.Checked != nil {
			onStack = r.Checked.Name
		}
		r.Findings = append(r.Findings, stack.Check(archive.Subject(s.Contents, onStack, r.ProcessTypes))...)
	}
	if c.JSON {
		err = view.WriteDocument(app.Out, r)
	} else {
		err = view.Inspection(app.Out, r, view.PlanOptions{Style: app.outStyle(), Verbose: c.Verbose > 0})
	}
	if err == nil && !r.Runs() {
		err = &wouldNotRunError{r}
	}
	return err
}

func (c *inspectCmd) folding() inspect.Folding {
	return inspect.Folding{Share: c.Share, Depth: c.Depth}
}

// compare says how the slug differs from another.
func (c *inspectCmd) compare(ctx context.Context, app *App) error {
	if c.same(app) {
		return &usageError{msg: fmt.Sprintf("%s is compared with itself: name another slug with --diff", c.Target), command: "slugfile inspect"}
	}
	before, err := c.whole(ctx, app, c.Diff)
	if err != nil {
		return err
	}
	after, err := c.whole(ctx, app, c.Target)
	if err != nil {
		return err
	}
	d := inspect.Compare(before.Slug, after.Slug, c.folding())
	d.Before, d.After = before.side(), after.side()
	d.Limit = cmp.Or(after.limit, before.limit)
	if c.JSON {
		return view.WriteDocument(app.Out, d)
	}
	return view.Comparison(app.Out, d, view.PlanOptions{Style: app.outStyle(), Verbose: c.Verbose > 0})
}

// same reports whether both arguments name one slug. Two files of the same content are two slugs.
func (c *inspectCmd) same(app *App) bool {
	if c.Target == c.Diff {
		return true
	}
	a, errA := os.Stat(app.abs(c.Target))
	b, errB := os.Stat(app.abs(c.Diff))
	return isFile(c.Target) && isFile(c.Diff) && errA == nil && errB == nil && os.SameFile(a, b)
}

// isFile reports whether a target is neither a release nor the tree.
func isFile(target string) bool { return target != treeTarget && !releaseVersion.MatchString(target) }

// whole looks at a slug that must be one.
func (c *inspectCmd) whole(ctx context.Context, app *App, target string) (looked, error) {
	s, err := c.look(ctx, app, target)
	if is[*layoutError](err) {
		err = fmt.Errorf("compare %s: it is no slug: %w", target, err)
	}
	return s, err
}

func (s looked) side() inspect.Side {
	out := inspect.Side{Subject: s.subject, Checksum: s.checksum, Packed: s.size}
	for i := range s.Tree {
		if e := &s.Tree[i]; e.Kind != tree.Dir {
			out.Files++
			out.Size += e.Size
		}
	}
	return out
}

// look reads the slug that a target names.
func (c *inspectCmd) look(ctx context.Context, app *App, target string) (looked, error) {
	s := looked{subject: target}
	var err error
	switch {
	case target == treeTarget:
		err = c.tree(ctx, app, &s)
	case releaseVersion.MatchString(target):
		err = c.release(ctx, app, target, &s)
	default:
		err = c.file(ctx, app, target, &s)
	}
	return s, err
}

// wouldNotRunError is the answer "no".
type wouldNotRunError struct{ r inspect.Report }

func (e *wouldNotRunError) Error() string {
	if !e.r.Layout.OK {
		return "this is no slug that a dyno could run"
	}
	return fmt.Sprintf("it would not run on %s", e.r.Checked.Name)
}

// layoutError says that bytes are not laid out as a slug.
type layoutError struct{ error }

func (e *layoutError) Unwrap() error { return e.error }

func stackFacts(name string, now int64) *inspect.Stack {
	if name == "" {
		return nil
	}
	s, known := stack.Known(name)
	if !known {
		return &inspect.Stack{Name: name}
	}
	return &inspect.Stack{
		Name: name, Known: true, Ubuntu: s.Ubuntu, State: s.State, EndOfLife: s.EndOfLife, Expected: s.Expected,
		Support: string(s.Support(now)), GLIBC: s.GLIBC, GLIBCXX: s.GLIBCXX, OpenSSL: s.OpenSSL,
	}
}

// examine reads a slug once, for all that is told of it.
func (s *looked) examine(ctx context.Context, app *App, r io.Reader) error {
	d, err := app.dirs()
	if err != nil {
		return err
	}
	runtimes, bill := &inspect.Look{}, &bom.Look{}
	o := slug.ExamineOptions{Looks: []slug.Look{runtimes, bill}, Links: true}
	if info, err := os.Stat(d.Cache); err == nil && info.IsDir() {
		o.Scratch = d.Cache
	}
	c, err := slug.Examine(ctx, r, o)
	switch {
	case ctx.Err() != nil:
		return err
	case err != nil:
		return &layoutError{err}
	}
	s.Slug = inspect.Slug{Contents: c, Runtimes: runtimes, Bill: bill.Contents(c.Tree)}
	return nil
}

// inspecting is the stage that events of reading a slug name.
const inspecting = "inspect"

// watched is examine of a slug on this machine, and shows how far it is.
func (s *looked) watched(ctx context.Context, app *App, v view.View, r io.Reader) error {
	began := app.Now()
	v.Emit(event.TaskStarted{Stage: inspecting, Subject: s.subject, Total: s.size})
	err := s.examine(ctx, app, &progressReader{r: r, total: s.size, tell: event.Thin(v, inspecting, s.subject)})
	if err != nil {
		v.Emit(event.TaskFailed{Stage: inspecting, Subject: s.subject, Error: err.Error(), Elapsed: app.Now().Sub(began)})
		return err
	}
	v.Emit(event.TaskFinished{Stage: inspecting, Subject: s.subject, Bytes: s.size, Elapsed: app.Now().Sub(began)})
	return nil
}

// progressReader tells how much was read.
type progressReader struct {
	r           io.Reader
	done, total int64
	tell        func(done, total int64)
}

func (p *progressReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.done += int64(n)
	p.tell(p.done, p.total)
	return n, err
}

// tree makes the slug, or takes it from the store. It is made for the stack of slug.yaml, whatever stack it is
// looked at for, and however large it is: what was refused for its size is what one wants to look into.
func (c *inspectCmd) tree(ctx context.Context, app *App, l *looked) (err error) {
	flags := c.planningFlags
	flags.Stack = ""
	s, err := flags.open(ctx, app)
	if err != nil {
		return err
	}
	if s.inputs.File.Stack == "" {
		s.inputs.File.Stack = c.Stack
	}
	l.limit, s.inputs.File.Limits.Slug = int64(s.inputs.File.Limits.Slug), 0
	s.view, s.lockTimeout = c.view(app, false), c.LockTimeout
	defer closing(s.view, &err)
	p, err := s.plan(ctx, nil)
	if err == nil {
		err = problems(p)
	}
	if err != nil {
		return err
	}
	l.stack, l.processTypes = p.Stack, s.inputs.File.ProcessTypes
	return s.deliverBy(ctx, s.make, s.pipeline(nil), nil, p, func(b pipeline.Built) error {
		f, err := s.store.Open(b.Slug.Digest)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // it was only read
		l.checksum, l.size = b.Slug.Digest.Checksum(), b.Slug.Size
		return l.watched(ctx, app, s.view, f)
	})
}

// release reads the slug of an earlier release.
func (c *inspectCmd) release(ctx context.Context, app *App, version string, l *looked) (err error) {
	name := c.App
	if name == "" {
		p, err := app.load(ctx, loadOptions{projectFlags: c.projectFlags})
		if err != nil {
			return err
		}
		if name = p.File.App; name == "" {
			return &usageError{msg: `no app is named: add "app:" to ` + p.Shown + " or give -a", command: "slugfile inspect"}
		}
		l.limit = int64(p.File.Limits.Slug)
	}
	d, err := app.dirs()
	if err != nil {
		return err
	}
	st, err := openStore(d)
	if err != nil {
		return err
	}
	v := c.view(app, false)
	defer closing(v, &err)
	conn, err := app.connect(ctx, c.platformFlags, local.Options{Boots: noApp, Private: true}, brief, v)
	if err != nil {
		return err
	}
	defer func() { err = firstError(err, conn.close(ctx)) }()
	var wrong error
	found, err := observe.ReadRelease(ctx, observe.Options{App: name, Platform: conn.platform, Store: st, Sink: v}, version, func(in io.Reader) error {
		wrong = l.examine(ctx, app, in)
		return wrong
	})
	l.stack, l.processTypes = found.Stack.Name, found.ProcessTypes
	if found.Checksum != nil {
		l.checksum = *found.Checksum
	}
	if found.Size != nil {
		l.size = *found.Size
	}
	if is[*layoutError](wrong) {
		err = wrong
	}
	return err
}

// file reads a slug's file. A slug does not say how it is started; slug.yaml does, if there is one.
func (c *inspectCmd) file(ctx context.Context, app *App, name string, l *looked) (err error) {
	f, err := os.Open(app.abs(name))
	if errors.Is(err, fs.ErrNotExist) {
		return &usageError{msg: fmt.Sprintf("%s: there is no such file; a release is named like v12, and the current tree %q", name, treeTarget), command: "slugfile inspect"}
	}
	if err != nil {
		return fmt.Errorf("read %w", unwrapOpen(err))
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read %w", unwrapOpen(err))
	}
	if !info.Mode().IsRegular() {
		return &usageError{msg: name + ": that is no file; a slug is one", command: "slugfile inspect"}
	}
	if p, err := app.load(ctx, loadOptions{projectFlags: c.projectFlags}); err == nil {
		l.stack, l.processTypes, l.limit = p.File.Stack, p.File.ProcessTypes, int64(p.File.Limits.Slug)
	}
	l.size = info.Size()
	v := c.view(app, false)
	defer closing(v, &err)
	h := digest.New()
	if err := l.watched(ctx, app, v, io.TeeReader(f, h)); err != nil {
		return err
	}
	l.checksum = digest.Sum(h).Checksum()
	return nil
}
