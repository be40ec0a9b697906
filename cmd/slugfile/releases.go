package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/local"
)

type releasesCmd struct {
	projectFlags
	appFlag
	platformFlags
	progressFlags
	jsonFlag
	releasesFlags
	Version string `arg:"" optional:"" name:"version" help:"Show one release, such as v10: its slug, process types and the names of its config vars."`
}

// Run lists the releases of the app, the newest first, or shows one.
func (c *releasesCmd) Run(ctx context.Context, app *App) (err error) {
	switch {
	case c.Version != "" && !rollbackVersion.MatchString(c.Version):
		return &usageError{msg: fmt.Sprintf("%q is no version: it is a number, such as v10", c.Version), command: "slugfile releases"}
	case c.Output && c.Version == "":
		return &usageError{msg: "--output shows what the release phase of one release wrote: name it, such as v10", command: "slugfile releases"}
	case c.Output && c.JSON:
		return &usageError{msg: "--output is the text of the release phase: leave --json out", command: "slugfile releases"}
	}
	name, err := app.named(ctx, c.projectFlags, c.appFlag, "slugfile releases")
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
	if c.Version != "" {
		return c.one(ctx, app, conn, name)
	}
	list, err := conn.platform.Releases(ctx, name, c.Number)
	if err != nil {
		return err
	}
	if !c.JSON {
		return view.Releases(app.Out, name, list, app.Now(), app.outStyle())
	}
	for _, r := range list {
		if err := view.WriteLine(app.Out, view.NewReleased(r)); err != nil {
			return err
		}
	}
	return nil
}

// one shows one release, or what its release phase wrote.
func (c *releasesCmd) one(ctx context.Context, app *App, conn *connection, name string) error {
	r, err := conn.platform.Release(ctx, name, c.Version)
	if err != nil {
		return err
	}
	if c.Output {
		return c.output(ctx, app, conn, r)
	}
	d := view.ReleaseDetails{Release: r}
	if r.Slug != nil {
		slug, err := conn.platform.Slug(ctx, name, r.Slug.ID)
		switch {
		case err == nil:
			d.Slug = &slug
		case !errors.Is(err, platform.ErrNotFound): // that it is gone is a thing to show
			return err
		}
	}
	if configs, ok := conn.platform.(platform.Configs); ok {
		names, err := configs.ReleaseConfigNames(ctx, name, r.ID)
		switch {
		case err == nil:
			d.Config, d.ConfigKnown = names, true
		case !errors.Is(err, platform.ErrUnauthorized) && !errors.Is(err, platform.ErrNotFound):
			return err
		}
	}
	if c.JSON {
		return view.WriteLine(app.Out, view.NewReleaseDetail(d))
	}
	return view.Release(app.Out, d, app.Now(), app.outStyle())
}

// output copies what a release phase wrote, and waits for its end when it still runs.
func (c *releasesCmd) output(ctx context.Context, app *App, conn *connection, r platform.Release) error {
	if r.OutputStreamURL == nil {
		return fmt.Errorf("v%d has no output: no release phase ran", r.Version)
	}
	body, err := conn.platform.ReleaseOutput(ctx, r)
	if errors.Is(err, platform.ErrNotFound) {
		return fmt.Errorf("the output of v%d is not there: its release phase has not begun, or was long ago", r.Version)
	}
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // it was only read
	return view.Lines(app.Out, io.Reader(body), app.flush, app.outStyle())
}
