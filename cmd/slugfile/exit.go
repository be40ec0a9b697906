package main

import (
	"context"
	"errors"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
	"github.com/slugfile/slugfile/config/diag"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/platform"
)

// The exit codes of every command.
const (
	exitDone         = 0
	exitFailed       = 1   // also: an answer "no", a missing app, a refused size or check
	exitChanges      = 2   // only plan --detailed-exitcode
	exitStale        = 3   // the plan or the release that it was made against has moved
	exitFile         = 4   // slug.yaml is wrong or missing
	exitUnauthorized = 5   // credentials
	exitMismatch     = 6   // bytes that do not match their digest
	exitRateLimited  = 7   //
	exitUsage        = 64  // EX_USAGE of sysexits.h
	exitHangup       = 129 // 128 + SIGHUP
	exitInterrupted  = 130 // 128 + SIGINT
	exitTerminated   = 143 // 128 + SIGTERM
)

// errChanges makes plan --detailed-exitcode exit with 2. It is no fault, so nothing is
// printed for it.
var errChanges = errors.New("there are changes")

// usageError is a command line that cannot be understood, or that lacks something.
type usageError struct {
	msg string
	// command is what --help is suggested for, such as "slugfile plan".
	command string
}

func (e *usageError) Error() string { return e.msg }

// Hint points to the help.
func (e *usageError) Hint() string {
	command := e.command
	if command == "" {
		command = name
	}
	return "see " + command + " --help"
}

// exitCode tells how a command ended. cause is why its context was cancelled, or nil: a run
// that a signal has ended is interrupted, whatever error came of it.
func exitCode(err, cause error) int {
	var stale interface{ Stale() bool }
	var process *processExit
	var other interface{ Mismatch() bool }
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errChanges):
		return exitChanges
	case errors.As(err, &process):
		return process.code
	case interrupted(err, cause) != nil:
		return interrupted(err, cause).ExitCode()
	case is[*usageError](err):
		return exitUsage
	case is[diag.List](err):
		return exitFile
	case is[*view.StaleError](err), errors.As(err, &stale) && stale.Stale():
		return exitStale
	case is[*digest.MismatchError](err), errors.As(err, &other) && other.Mismatch():
		return exitMismatch
	case errors.Is(err, platform.ErrRateLimited):
		return exitRateLimited
	case errors.Is(err, platform.ErrUnauthorized):
		return exitUnauthorized
	}
	return exitFailed
}

// interrupted returns the signal that ended a command, or nil.
func interrupted(err, cause error) *signalError {
	var s signalError
	if errors.As(err, &s) {
		return &s
	}
	if err != nil && errors.As(cause, &s) {
		return &s
	}
	return nil
}

func is[T error](err error) bool {
	var t T
	return errors.As(err, &t)
}

// causeOf is why ctx was cancelled, or nil while it was not.
func causeOf(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return context.Cause(ctx)
}
