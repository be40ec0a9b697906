package main

import (
	"context"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
	"github.com/slugfile/slugfile/pipeline/archive"
)

type buildCmd struct {
	planningFlags
	buildFlags
}

// Run makes the slug and asks no platform.
func (c *buildCmd) Run(ctx context.Context, app *App) (err error) {
	var outputs []string
	if c.Output != "" {
		outputs = append(outputs, c.Output)
	}
	s, err := c.open(ctx, app, outputs...)
	if err != nil {
		return err
	}
	s.view = c.view(app, c.JSON)
	p, err := s.plan(ctx, nil)
	if err == nil {
		err = problems(p)
	}
	if err != nil {
		return firstError(err, s.view.Close())
	}
	built, err := s.build(ctx, s.pipeline(nil), p)
	if err = firstError(err, s.view.Close()); err != nil {
		return err
	}
	path := built.Slug.Path
	if c.Output != "" {
		path = app.abs(c.Output)
		if err := archive.Export(ctx, s.store, built.Slug, path); err != nil {
			return err
		}
	}
	done := view.Built{Slug: view.BuiltSlug{Checksum: built.Slug.Digest.Checksum(), Size: built.Slug.Size, Path: path}}
	if c.JSON {
		return view.WriteLine(app.Out, done)
	}
	return view.WriteBuilt(app.Out, done, app.outStyle())
}
