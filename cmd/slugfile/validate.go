package main

import (
	"context"
	"fmt"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
)

type validateCmd struct {
	projectFlags
	appFlag
	stackFlag
	jsonFlag
	Effective bool `help:"Print slug.yaml as slugfile sees it: values replaced, defaults added."`
}

// Run shows every fault of slug.yaml and slug.lock, or says that there is none.
func (c *validateCmd) Run(ctx context.Context, app *App) error {
	p, err := app.load(ctx, loadOptions{projectFlags: c.projectFlags, App: c.App, Stack: c.Stack, Pinned: true})
	if err != nil {
		return err
	}
	switch {
	case c.Effective && c.JSON:
		return view.WriteDocument(app.Out, struct {
			V         int `json:"v"`
			Effective any `json:"effective"`
		}{1, p.File})
	case c.Effective:
		_, err = app.Out.Write(p.File.Effective())
	case c.JSON:
		return view.WriteDocument(app.Out, struct {
			V     int    `json:"v"`
			File  string `json:"file"`
			Valid bool   `json:"valid"`
		}{1, p.Shown, true})
	default:
		_, err = fmt.Fprintf(app.Out, "%s is valid.\n", view.Clean(p.Shown))
	}
	return err
}
