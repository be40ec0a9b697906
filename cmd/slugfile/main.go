// Slugfile makes Heroku slugs from one committed file, slug.yaml.
//
// This package is the command line: its grammar, one file a command, and the wire to the
// world: standard streams, environment, clock, signals. What it does is done by package
// pipeline, and what it says is said by package view.
package main

import (
	"context"
	"os"

	"github.com/slugfile/slugfile/pipeline/sandbox"
)

func main() {
	// A sandbox starts with this program as its first process.
	if code, handled := sandbox.Main(os.Args); handled {
		os.Exit(code)
	}
	ctx, stop := withSignals(context.Background(), os.Exit)
	code := run(ctx, os.Args[1:], os.Environ(), streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}
