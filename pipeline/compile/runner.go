package compile

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/slugfile/slugfile/pipeline/sandbox"
)

// grace is what a step that took too long has to end by itself.
const grace = 5 * time.Second

// Job is a command to run, as a value: whoever has these directories can run it.
type Job struct {
	// Argv starts with an absolute path.
	Argv []string
	// Env is the whole environment.
	Env []string
	// Work is the directory that the command sees at /app and starts in. It is changed.
	Work string
	// Tmp is the directory that the command sees at /tmp.
	Tmp string
	// Mounts are what it sees elsewhere, in their order.
	Mounts []sandbox.Mount
	// Plain has the command run in Work itself. Env then says so too, and Mounts is empty.
	Plain bool
	// Timeout is 0 for none.
	Timeout time.Duration
	// Output gets what the command writes to either of its outputs, in that order.
	Output io.Writer
}

// Runner carries out jobs. Run returns when every process of the job has ended, which it sees
// to when ctx ends. A command that ended with another code than 0, or that took longer than
// its timeout, is an *ExitError.
type Runner interface {
	Run(ctx context.Context, j Job) error
}

// ExitError says how a command ended.
type ExitError struct {
	// Code is the exit code, 128+n when signal n ended the command.
	Code int
	// Timeout is the limit that the command ran into; else 0.
	Timeout time.Duration
}

func (e *ExitError) Error() string {
	if e.Timeout > 0 {
		return fmt.Sprintf("not done within %s", e.Timeout)
	}
	if e.Code > 128 && e.Code <= 128+64 {
		return fmt.Sprintf("exit code %d (%s)", e.Code, syscall.Signal(e.Code-128))
	}
	return fmt.Sprintf("exit code %d", e.Code)
}

// Machine is the Runner that uses this machine.
type Machine struct {
	// Grace is the time between SIGTERM and SIGKILL. 0 means 5 seconds.
	Grace time.Duration
}

// Run runs the job in namespaces, or plainly when it says so.
func (m Machine) Run(ctx context.Context, j Job) error {
	p, err := sandbox.Start(ctx, sandbox.Spec{
		Argv:         j.Argv,
		Env:          j.Env,
		App:          j.Work,
		Tmp:          j.Tmp,
		Mounts:       j.Mounts,
		ReadOnlyRoot: true,
		Plain:        j.Plain,
	}, nil, j.Output, j.Output)
	if err != nil {
		return err
	}
	var late atomic.Bool
	if j.Timeout > 0 {
		ended := make(chan struct{})
		defer close(ended)
		go func() {
			if !wait(ended, j.Timeout) {
				late.Store(true)
				_ = p.Signal(syscall.SIGTERM) // it may have ended
				if !wait(ended, cmp.Or(m.Grace, grace)) {
					_ = p.Kill() // likewise
				}
			}
		}()
	}
	code, err := p.Wait()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	case late.Load():
		return &ExitError{Code: code, Timeout: j.Timeout}
	case code != 0:
		return &ExitError{Code: code}
	}
	return nil
}

// wait reports whether ended was closed within d.
func wait(ended <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ended:
		return true
	case <-t.C:
		return false
	}
}
