//go:build !linux

package sandbox

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"syscall"
)

// Main has nothing to do here.
func Main([]string) (code int, handled bool) {
	ready.Store(true)
	return 0, false
}

// Supported says that there are no namespaces on this system.
func Supported() error {
	return fmt.Errorf("namespaces are a feature of Linux, and this is %s", runtime.GOOS)
}

// Process is a process that was started.
type Process struct{}

// Start fails: steps and dynos are Linux programs.
func Start(context.Context, Spec, io.Reader, io.Writer, io.Writer) (*Process, error) {
	return nil, fmt.Errorf("steps and dynos run on linux only, and this is %s", runtime.GOOS)
}

// Signal fails: nothing was started.
func (p *Process) Signal(syscall.Signal) error { return errNotStarted() }

// Wait fails: nothing was started.
func (p *Process) Wait() (code int, err error) { return -1, errNotStarted() }

// Kill fails: nothing was started.
func (p *Process) Kill() error { return errNotStarted() }

func errNotStarted() error { return fmt.Errorf("no process can be started on %s", runtime.GOOS) }
