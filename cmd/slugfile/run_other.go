//go:build !linux

package main

import "github.com/slugfile/slugfile/pipeline/platform/dyno"

// runDir is for systems on which dynos run.
func (a *App) runDir() (string, func(), error) { return "", nil, dyno.ErrUnsupported }

type terminal struct{ close, hangUp func() }

func openTerminal(streams, *dyno.Spec) (*terminal, error) { return nil, dyno.ErrUnsupported }
