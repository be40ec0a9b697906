package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
	"github.com/slugfile/slugfile/pipeline"
	"github.com/slugfile/slugfile/pipeline/archive"
)

type buildCmd struct {
	planningFlags
	lockFlag
	checkFlags
	buildFlags
}

// Run makes the slug and asks no platform.
func (c *buildCmd) Run(ctx context.Context, app *App) (err error) {
	var outputs []string
	if c.Output != "" {
		if err := canBeWritten("--output", "slugfile build", c.Output, app.abs(c.Output)); err != nil {
			return err
		}
		outputs = append(outputs, c.Output)
	}
	s, err := c.open(ctx, app, outputs...)
	if err != nil {
		return err
	}
	s.view, s.lockTimeout, s.allow = c.view(app, c.JSON), c.LockTimeout, c.Allow
	p, err := s.plan(ctx, nil)
	if err == nil {
		err = problems(p)
	}
	if err != nil {
		return firstError(err, s.view.Close())
	}
	var done view.Built
	err = s.deliver(ctx, s.pipeline(nil), nil, p, func(b pipeline.Built) error {
		path := b.Slug.Path
		if c.Output != "" {
			path = app.abs(c.Output)
			if err := archive.Export(ctx, s.store, b.Slug, path); err != nil {
				return err
			}
		}
		done.Slug = view.BuiltSlug{Checksum: b.Slug.Digest.Checksum(), Size: b.Slug.Size, Path: path}
		return nil
	})
	if err = firstError(err, s.view.Close()); err != nil {
		return err
	}
	if c.JSON {
		return view.WriteLine(app.Out, done)
	}
	return view.WriteBuilt(app.Out, done, app.outStyle())
}

// canBeWritten finds out before the work what would spoil its end. shown is how the user
// named the file that a flag of a command names.
func canBeWritten(flag, command, shown, path string) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return &usageError{msg: fmt.Sprintf("%s %s: there is something that is no regular file; name a file that does not exist", flag, shown), command: command}
	}
	dir := filepath.Dir(path)
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return &usageError{msg: fmt.Sprintf("%s %s: the directory %s does not exist; make it first", flag, shown, dir), command: command}
	case err != nil:
		return fmt.Errorf("%s %s: %w", flag, shown, unwrapOpen(err))
	case !info.IsDir():
		return &usageError{msg: fmt.Sprintf("%s %s: %s is no directory", flag, shown, dir), command: command}
	}
	return nil
}
