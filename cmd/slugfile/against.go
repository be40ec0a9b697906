package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/slugfile/slugfile/config/diag"
	"github.com/slugfile/slugfile/pipeline/observe"
	"github.com/slugfile/slugfile/pipeline/plan"
)

// against is what a plan is compared with, as the user named it: the live release, or one of
// the others.
type against struct {
	// saved is a saved plan, in the file that name names.
	saved *plan.Saved
	name  string
	// version is an earlier release: "v11".
	version string
	// revision is a git revision, project what was committed there, and seen what the plan of it
	// was made of.
	revision *observe.Revision
	project  *project
	seen     plan.Observed
}

// A tag of that form can be named in full: refs/tags/v11.
var releaseVersion = regexp.MustCompile(`^v[0-9]+$`)

// parseAgainst finds out what the flag means: vN is a release, a file that begins like JSON a
// saved plan, and all else a git revision, which open finds.
func (a *App) parseAgainst(name string) (against, error) {
	g := against{name: name}
	if releaseVersion.MatchString(name) {
		g.version = name
		return g, nil
	}
	is, err := a.isSaved(name)
	if err != nil || !is {
		return g, err
	}
	saved, err := a.readSaved(name)
	g.saved = &saved
	return g, err
}

// open reads slug.yaml at a git revision, if g names one.
func (g *against) open(ctx context.Context, s *session, o loadOptions) (err error) {
	if g.name == "" || g.saved != nil || g.version != "" {
		return nil
	}
	if g.revision, err = observe.OpenRevision(ctx, s.project.Dir, g.name, s.app.Env); err != nil {
		return err
	}
	g.project, err = s.app.loadRevision(ctx, g.revision, s.project, o)
	return err
}

// loadRevision reads slug.yaml and what stands beside it as they were committed.
func (a *App) loadRevision(ctx context.Context, r *observe.Revision, now *project, o loadOptions) (*project, error) {
	p := newProject(now.Path, r.Name+":"+now.Shown)
	p.Git = gitVars(plan.Git{SHA: r.Commit})
	err := p.load(o, func(name string) ([]byte, error) { return r.ReadFile(ctx, name) })
	if errors.Is(err, errNoFile) {
		return nil, diag.List{{
			Pos: diag.Pos{File: p.Shown}, Message: "there is no such file in that revision",
			Hint: "name a revision that has it; git log --follow shows where it came in",
		}}
	}
	return p, err
}

// asks reports whether the platform has to be asked: releases are known to it alone, and so is
// the stack when a file leaves it to the app.
func (g against) asks(s *session) bool {
	switch {
	case g.saved != nil:
		return s.project.File.Stack == ""
	case g.revision != nil:
		return s.project.File.Stack == "" || g.project.File.Stack == ""
	}
	return true
}

// base looks at what the plan is compared with. It is nil for the live release.
func (s *session) base(ctx context.Context, c *connection, g *against) (*plan.Base, error) {
	switch {
	case g.saved != nil:
		b := g.saved.Base(g.name)
		return &b, nil
	case g.version != "":
		b, err := observe.Release(ctx, s.looking(c), g.version)
		return &b, err
	case g.revision == nil:
		return nil, nil
	}
	in, err := s.app.given(g.project)
	if err != nil {
		return nil, err
	}
	in.Git = plan.Git{SHA: g.revision.Commit}
	source, withheld, faults, err := g.revision.Source(ctx, s.app.sourceOptions(g.project, nil, s.store))
	if err != nil {
		return nil, err
	}
	if err := complete(&in, source, withheld, faults); err != nil {
		return nil, err
	}
	o := s.looking(c)
	o.Inputs, o.Revision, o.Stream = &in, g.revision, false
	if g.seen, err = observe.World(ctx, o); err != nil {
		return nil, fmt.Errorf("look at %s: %w", g.revision.Name, err)
	}
	b := plan.BaseOf(plan.BaseRevision, g.revision.Name, in, g.seen)
	return &b, nil
}
