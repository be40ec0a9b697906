package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
)

// linkedVersion is set by the linker for released binaries: -X main.linkedVersion=v1.2.3.
var linkedVersion string

// version is the released version, else what Go knows of the build.
func version() string {
	if linkedVersion != "" {
		return linkedVersion
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

type versionCmd struct {
	jsonFlag
}

// Run prints the version, and what it was built with and for.
func (c *versionCmd) Run(_ context.Context, app *App) error {
	if c.JSON {
		return view.WriteDocument(app.Out, struct {
			V       int    `json:"v"`
			Version string `json:"version"`
			Go      string `json:"go"`
			OS      string `json:"os"`
			Arch    string `json:"arch"`
		}{1, app.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH})
	}
	_, err := fmt.Fprintf(app.Out, "%s %s (%s, %s/%s)\n", name, app.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
