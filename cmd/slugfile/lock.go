package main

import (
	"context"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
	"github.com/slugfile/slugfile/pipeline/disk"
	"github.com/slugfile/slugfile/pipeline/fetch"
)

type lockCmd struct {
	projectFlags
	fetchFlags
	progressFlags
	jsonFlag
	lockFlags
	Runtimes []string `arg:"" optional:"" name:"runtime" help:"Pin these runtimes only."`
}

// Run writes slug.lock, and is the only one that does.
func (c *lockCmd) Run(ctx context.Context, app *App) (err error) {
	mirrors, err := parseMirrors(c.Mirror)
	if err != nil {
		return err
	}
	d, err := app.dirs()
	if err != nil {
		return err
	}
	p, err := app.load(ctx, loadOptions{projectFlags: c.projectFlags})
	if err != nil {
		return err
	}
	s, err := openStore(d)
	if err != nil {
		return err
	}
	v := c.view(app, c.JSON)
	stage := &fetch.Stage{
		Store: s, Mirrors: mirrors, Sink: v,
		Options: fetch.Options{UserAgent: app.userAgent(), Idle: app.Patience.Idle},
	}
	pinned, err := stage.Pin(ctx, p.Dir, p.File.Runtimes, p.Lock, fetch.PinOptions{Update: c.Update, Sums: c.Sums, Names: c.Runtimes})
	if err = firstError(err, v.Close()); err != nil {
		return err
	}
	// No runtime needs a pin: an empty file would only ask to be explained.
	if p.Lock != nil || len(pinned.Lock.Pins) > 0 {
		if err := disk.WriteFile(p.LockPath, pinned.Lock.Bytes(), 0o666); err != nil {
			return err
		}
	}
	if c.JSON {
		return view.WriteLine(app.Out, view.NewLocked(p.LockShown, pinned.Changes))
	}
	return view.Pinned(app.Out, p.LockShown, pinned.Changes, app.outStyle())
}
