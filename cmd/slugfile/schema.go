package main

import (
	"context"
	"fmt"

	"github.com/slugfile/slugfile/schema"
)

type schemaCmd struct {
	Document string `arg:"" optional:"" enum:"slug,plan,saved-plan,inspected,compared" default:"slug" help:"What the schema is of: slug (slug.yaml), plan (plan --json), saved-plan (plan --out), inspected (inspect --json) or compared (inspect --diff --json)."`
}

// Run prints a schema that is built into this program, for editors and for other tools.
func (c *schemaCmd) Run(_ context.Context, app *App) error {
	text, ok := schema.Of(c.Document)
	if !ok {
		return fmt.Errorf("print schema: there is none of %s", c.Document)
	}
	_, err := app.Out.Write(text)
	return err
}
