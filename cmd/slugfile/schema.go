package main

import (
	"context"

	"github.com/slugfile/slugfile/schema"
)

type schemaCmd struct{}

// Run prints the schema that is built into this program, for editors and for other tools.
func (c *schemaCmd) Run(_ context.Context, app *App) error {
	_, err := app.Out.Write(schema.JSON())
	return err
}
