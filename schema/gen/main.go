// Command gen writes the JSON schema of slug.yaml from the types in config and their
// comments. It is run by "go generate" in the folder schema, and never linked into
// slugfile: the library that reads the types brings a parser of Go source along.
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run writes the schema into the current folder.
func run() error {
	b, err := generate("github.com/slugfile/slugfile/schema", "../config")
	if err != nil {
		return fmt.Errorf("generate schema: %w", err)
	}
	return os.WriteFile("slug.schema.json", b, 0o644)
}
