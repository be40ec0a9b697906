// Command gen writes the JSON schema of slug.yaml from the types in config and their
// comments, and those of plans and of what inspect writes from the types in pipeline/plan and pipeline/inspect. It is run by
// "go generate" in the folder schema, and never linked into slugfile: the library that reads the types brings a parser of Go source along.
package main

import (
	"fmt"
	"os"
	"reflect"

	"github.com/slugfile/slugfile/pipeline/inspect"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/schema"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run writes the schemas into the current folder.
func run() error {
	const base = "github.com/slugfile/slugfile/schema"
	for _, of := range []struct {
		name  string
		write func() ([]byte, error)
	}{
		{schema.Slug, func() ([]byte, error) { return generate(base, "../config") }},
		{schema.Plan, func() ([]byte, error) {
			return generateDocument(base, "../pipeline", reflect.TypeFor[plan.Plan](), schema.Plan)
		}},
		{schema.SavedPlan, func() ([]byte, error) {
			return generateDocument(base, "../pipeline", reflect.TypeFor[plan.Saved](), schema.SavedPlan)
		}},
		{schema.Inspected, func() ([]byte, error) {
			return generateDocument(base, "../pipeline", reflect.TypeFor[inspect.Report](), schema.Inspected)
		}},
		{schema.Compared, func() ([]byte, error) {
			return generateDocument(base, "../pipeline", reflect.TypeFor[inspect.Comparison](), schema.Compared)
		}},
	} {
		b, err := of.write()
		if err != nil {
			return fmt.Errorf("generate schema %s: %w", of.name, err)
		}
		if err := os.WriteFile(of.name+".schema.json", b, 0o644); err != nil {
			return err
		}
	}
	return nil
}
