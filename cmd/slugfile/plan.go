package main

import (
	"context"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
	"github.com/slugfile/slugfile/pipeline/platform/local"
)

type planCmd struct {
	planningFlags
	platformFlags
	planFlags
}

// Run shows what apply would do.
func (c *planCmd) Run(ctx context.Context, app *App) (err error) {
	s, err := c.open(ctx, app)
	if err != nil {
		return err
	}
	s.view = c.view(app, false)
	defer closing(s.view, &err)
	conn, err := app.connect(ctx, c.platformFlags, local.Options{Boots: noApp, Private: true}, brief, s.view)
	if err != nil {
		return err
	}
	defer func() { err = firstError(err, conn.close(ctx)) }()
	p, err := s.plan(ctx, conn)
	if err != nil {
		return err
	}
	if c.JSON {
		err = view.WriteDocument(app.Out, p)
	} else {
		err = view.Plan(app.Out, p, view.PlanOptions{Style: app.outStyle(), Verbose: c.Verbose > 0})
	}
	if err != nil {
		return err
	}
	if err := problems(p); err != nil {
		return err
	}
	if p.Changed && c.DetailedExitcode {
		return errChanges
	}
	return nil
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
