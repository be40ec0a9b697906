package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
	"github.com/slugfile/slugfile/pipeline/archive"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/observe"
	"github.com/slugfile/slugfile/pipeline/platform/local"
	"github.com/slugfile/slugfile/pipeline/slug"
	"github.com/slugfile/slugfile/pipeline/stack"
)

type inspectCmd struct {
	planningFlags
	platformFlags
	lockFlag
	Target string `arg:"" optional:"" name:"slug" help:"A slug's file, a release such as v12, or \"tree\": what slug.yaml makes now. Default: tree."`
}

// treeTarget is the slug that slug.yaml makes now.
const treeTarget = "tree"

// Run says what is in a slug and whether it would run on a stack. That it would not is an answer "no".
func (c *inspectCmd) Run(ctx context.Context, app *App) (err error) {
	r := view.Inspected{V: 1, Type: "inspected", Subject: c.Target}
	var contents slug.Contents
	var own string // the stack that the slug is for
	switch {
	case c.Target == "" || c.Target == treeTarget:
		r.Subject = treeTarget
		own, err = c.tree(ctx, app, &r, &contents)
	case releaseVersion.MatchString(c.Target):
		own, err = c.release(ctx, app, &r, &contents)
	default:
		own, err = c.file(ctx, app, &r, &contents)
	}
	var wrong *layoutError
	switch {
	case errors.As(err, &wrong):
		r.Layout = view.Layout{Why: wrong.Error()}
	case err != nil:
		return err
	default:
		r.Layout.OK = true
	}
	now := app.Now().Unix()
	r.Present = stackFacts(own, now)
	if c.Stack != "" && c.Stack != own {
		r.Checked = stackFacts(c.Stack, now)
	} else {
		r.Checked = r.Present
	}
	r.Findings = []artifact.Finding{}
	if r.Layout.OK {
		s := contents.Summary()
		r.Summary = &s
		onStack := ""
		if r.Checked != nil {
			onStack = r.Checked.Name
		}
		r.Findings = append(r.Findings, stack.Check(archive.Subject(contents, onStack, r.ProcessTypes))...)
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

// wouldNotRunError is the answer "no".
type wouldNotRunError struct{ r view.Inspected }

func (e *wouldNotRunError) Error() string {
	if !e.r.Layout.OK {
		return "this is no slug that a dyno could run"
	}
	return fmt.Sprintf("it would not run on %s", e.r.Checked.Name)
}

// layoutError says that bytes are not laid out as a slug.
type layoutError struct{ error }

func (e *layoutError) Unwrap() error { return e.error }

func stackFacts(name string, now int64) *view.StackFacts {
	if name == "" {
		return nil
	}
	s, known := stack.Known(name)
	if !known {
		return &view.StackFacts{Name: name}
	}
	return &view.StackFacts{
		Name: name, Known: true, Ubuntu: s.Ubuntu, State: s.State, EndOfLife: s.EndOfLife, Expected: s.Expected,
		Support: string(s.Support(now)), GLIBC: s.GLIBC, GLIBCXX: s.GLIBCXX, OpenSSL: s.OpenSSL,
	}
}

// examine reads a slug.
func examine(ctx context.Context, r io.Reader, to *slug.Contents) error {
	var err error
	if *to, err = slug.Examine(ctx, r, slug.ExamineOptions{}); err != nil && ctx.Err() == nil {
		return &layoutError{err}
	}
	return err
}

// tree makes the slug, or takes it from the store. It is made for the stack of slug.yaml, whatever stack it is
// looked at for.
func (c *inspectCmd) tree(ctx context.Context, app *App, r *view.Inspected, to *slug.Contents) (own string, err error) {
	flags := c.planningFlags
	flags.Stack = ""
	s, err := flags.open(ctx, app)
	if err != nil {
		return "", err
	}
	if s.inputs.File.Stack == "" {
		s.inputs.File.Stack = c.Stack
	}
	s.view, s.lockTimeout = c.view(app, false), c.LockTimeout
	defer closing(s.view, &err)
	p, err := s.plan(ctx, nil)
	if err == nil {
		err = problems(p)
	}
	if err != nil {
		return "", err
	}
	b, err := s.make(ctx, s.pipeline(nil), p)
	if err != nil {
		return "", err
	}
	f, err := s.store.Open(b.Slug.Digest)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // it was only read
	r.Checksum, r.Size, r.ProcessTypes = b.Slug.Digest.Checksum(), b.Slug.Size, s.inputs.File.ProcessTypes
	return p.Stack, examine(ctx, f, to)
}

// release reads the slug of an earlier release.
func (c *inspectCmd) release(ctx context.Context, app *App, r *view.Inspected, to *slug.Contents) (own string, err error) {
	name := c.App
	if name == "" {
		p, err := app.load(ctx, loadOptions{projectFlags: c.projectFlags})
		if err != nil {
			return "", err
		}
		if name = p.File.App; name == "" {
			return "", &usageError{msg: `no app is named: add "app:" to ` + p.Shown + " or give -a", command: "slugfile inspect"}
		}
	}
	d, err := app.dirs()
	if err != nil {
		return "", err
	}
	st, err := openStore(d)
	if err != nil {
		return "", err
	}
	v := c.view(app, false)
	defer closing(v, &err)
	conn, err := app.connect(ctx, c.platformFlags, local.Options{Boots: noApp, Private: true}, brief, v)
	if err != nil {
		return "", err
	}
	defer func() { err = firstError(err, conn.close(ctx)) }()
	var wrong error
	found, err := observe.ReadRelease(ctx, observe.Options{App: name, Platform: conn.platform, Store: st, Sink: v}, c.Target, func(in io.Reader) error {
		wrong = examine(ctx, in, to)
		return wrong
	})
	r.ProcessTypes = found.ProcessTypes
	if found.Checksum != nil {
		r.Checksum = *found.Checksum
	}
	if found.Size != nil {
		r.Size = *found.Size
	}
	if is[*layoutError](wrong) {
		err = wrong
	}
	return found.Stack.Name, err
}

// file reads a slug's file. A slug does not say how it is started; slug.yaml does, if there is one.
func (c *inspectCmd) file(ctx context.Context, app *App, r *view.Inspected, to *slug.Contents) (own string, err error) {
	f, err := os.Open(app.abs(c.Target))
	if errors.Is(err, fs.ErrNotExist) {
		return "", &usageError{msg: fmt.Sprintf("%s: there is no such file; a release is named like v12, and the current tree %q", c.Target, treeTarget), command: "slugfile inspect"}
	}
	if err != nil {
		return "", fmt.Errorf("read %w", unwrapOpen(err))
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("read %w", unwrapOpen(err))
	}
	if !info.Mode().IsRegular() {
		return "", &usageError{msg: c.Target + ": that is no file; a slug is one", command: "slugfile inspect"}
	}
	if p, err := app.load(ctx, loadOptions{projectFlags: c.projectFlags}); err == nil {
		own, r.ProcessTypes = p.File.Stack, p.File.ProcessTypes
	}
	h := digest.New()
	err = examine(ctx, io.TeeReader(f, h), to)
	r.Size = info.Size()
	if err == nil {
		r.Checksum = digest.Sum(h).Checksum()
	}
	return own, err
}
