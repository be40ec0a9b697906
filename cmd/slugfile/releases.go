package main

import (
	"context"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
	"github.com/slugfile/slugfile/pipeline/platform/local"
)

type releasesCmd struct {
	projectFlags
	appFlag
	platformFlags
	progressFlags
	jsonFlag
	releasesFlags
}

// Run lists the releases of the app, the newest first.
func (c *releasesCmd) Run(ctx context.Context, app *App) (err error) {
	name := c.App
	if name == "" {
		p, err := app.load(ctx, loadOptions{projectFlags: c.projectFlags})
		if err != nil {
			return err
		}
		if name = p.File.App; name == "" {
			return &usageError{msg: `no app is named: add "app:" to ` + p.Shown + " or give -a", command: "slugfile releases"}
		}
	}
	v := c.view(app, false)
	defer closing(v, &err)
	conn, err := app.connect(ctx, c.platformFlags, local.Options{Boots: noApp, Private: true}, brief, v)
	if err != nil {
		return err
	}
	defer func() { err = firstError(err, conn.close(ctx)) }()
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
