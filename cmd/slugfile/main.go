// Slugfile makes Heroku slugs from one committed file, slug.yaml.
//
// This package is the command line: its grammar, one file a command, and the wire to the
// world: standard streams, environment, clock, signals. What it does is done by package
// pipeline, and what it says is said by package view.
package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/slugfile/slugfile/pipeline/sandbox"
)

func main() {
	// A sandbox starts with this program as its first process.
	if code, handled := sandbox.Main(os.Args); handled {
		os.Exit(code)
	}
	collectLater(os.Args[1:])
	ctx, stop := withSignals(context.Background(), os.Exit)
	code := run(ctx, os.Args[1:], os.Environ(), streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}

// collectLater has the first garbage collection wait until the heap has 24 MiB: most runs find
// that nothing has changed, and end before that. From there on memory is dearer than time, for
// next to compressing the collector's work does not count. A plan compresses nothing, holds two
// trees for a moment and ends: its wait is for 48 MiB.
func collectLater(args []string) {
	wait := 600 // percent of the 4 MiB that a heap starts with
	if slices.Contains(args, "plan") {
		wait *= 2
	}
	debug.SetGCPercent(wait)
	runtime.AddCleanup(new([64]byte), func(percent int) { debug.SetGCPercent(percent) }, 25)
}
