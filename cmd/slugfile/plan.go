package main

import (
	"context"
	"path/filepath"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
	"github.com/slugfile/slugfile/pipeline/observe"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform/local"
)

type planCmd struct {
	planningFlags
	platformFlags
	planFlags
}

// Run shows what apply would do, or what is different from what --against names.
func (c *planCmd) Run(ctx context.Context, app *App) (err error) {
	if err := c.check(app); err != nil {
		return err
	}
	g, err := app.parseAgainst(c.Against)
	if err != nil {
		return err
	}
	var outputs []string
	if c.Out != "" {
		outputs = append(outputs, c.Out)
	}
	if g.saved != nil {
		outputs = append(outputs, c.Against)
	}
	s, err := c.open(ctx, app, outputs...)
	if err != nil {
		return err
	}
	s.view, s.stream = c.view(app, false), true
	defer closing(s.view, &err)
	if err := g.open(ctx, s, c.loading()); err != nil {
		return err
	}
	var conn *connection
	if g.asks(s) {
		if conn, err = app.connect(ctx, c.platformFlags, local.Options{Boots: noApp, Private: true}, brief, s.view); err != nil {
			return err
		}
		defer func() { err = firstError(err, conn.close(ctx)) }()
	}
	if s.against, err = s.base(ctx, conn, &g); err != nil {
		return err
	}
	p, err := s.plan(ctx, conn)
	if err != nil {
		return err
	}
	if c.Diff {
		if err := observe.Diffs(ctx, &p, observe.DiffOptions{Options: s.looking(conn), Seen: s.seen, From: g.revision, Base: g.seen}); err != nil {
			return err
		}
	}
	// The live lines go before the plan comes: both would write to the same screen.
	if err := s.view.Close(); err != nil {
		return err
	}
	if err := c.show(app, p); err != nil {
		return err
	}
	if err := problems(p); err != nil {
		return err
	}
	if c.Out != "" {
		if err := c.save(ctx, app, s, p); err != nil {
			return err
		}
	}
	if p.Changed && c.DetailedExitcode {
		return errChanges
	}
	return nil
}

// check finds flags that do not go together.
func (c *planCmd) check(app *App) error {
	if c.Out == "" {
		return nil
	}
	if c.Against != "" {
		return &usageError{msg: "--out saves what apply is to do; --against compares, and there is nothing to apply: leave one of them out", command: "slugfile plan"}
	}
	return canBeWritten("--out", "slugfile plan", c.Out, app.abs(c.Out))
}

func (c *planCmd) show(app *App, p plan.Plan) error {
	o := view.PlanOptions{Style: app.outStyle(), Verbose: c.Verbose > 0}
	switch {
	case c.JSON || c.Format == "json":
		return view.WriteDocument(app.Out, p)
	case c.Format == "markdown":
		return view.PlanMarkdown(app.Out, p, o)
	}
	return view.Plan(app.Out, p, o)
}

// save writes the plan where --out says.
func (c *planCmd) save(ctx context.Context, app *App, s *session, p plan.Plan) error {
	o := plan.SavedOptions{App: c.App, Stack: c.Stack, Vars: c.Var, API: c.API, Local: c.Local}
	if err := app.writeSaved(c.Out, plan.Save(p, s.inputs, s.seen, o, app.Now().Unix())); err != nil {
		return err
	}
	if c.Quiet || c.JSON || c.Format == "json" {
		return nil
	}
	stray, err := s.stray(ctx, c.Out)
	if err != nil {
		return err
	}
	return view.Saved(app.Err, c.Out, stray, app.errStyle())
}

// stray reports whether a file is one that other plans take for a part of the app.
func (s *session) stray(ctx context.Context, file string) (bool, error) {
	// One that lies on another volume is as little in the source tree as one above it.
	rel, err := filepath.Rel(s.project.Dir, s.app.abs(file))
	inside := err == nil && filepath.IsLocal(rel)
	if !inside {
		return false, nil
	}
	source, _, _, _, err := observe.Source(ctx, s.project.Dir, s.app.sourceOptions(s.project, nil, s.store))
	if err != nil {
		return false, err
	}
	_, is := source.Tree.Find(filepath.ToSlash(rel))
	return is, nil
}

// closing closes a view at the end of a command.
func closing(v view.View, err *error) { *err = firstError(*err, v.Close()) }

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
