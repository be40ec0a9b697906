package main

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// signalError is why a context was cancelled by a signal.
type signalError struct{ signal os.Signal }

func (e signalError) Error() string { return "stopped by a signal (" + e.signal.String() + ")" }

// ExitCode is 128 and the signal's number, as shells have it.
func (e signalError) ExitCode() int {
	switch e.signal {
	case syscall.SIGHUP:
		return exitHangup
	case syscall.SIGTERM:
		return exitTerminated
	}
	return exitInterrupted
}

// stoppedError is what a command was about when a signal ended it.
type stoppedError struct {
	signal signalError
	err    error
}

// Error leaves out how the news of the signal travelled, and keeps what it interrupted.
func (e *stoppedError) Error() string {
	text := e.err.Error()
	for _, noise := range []string{e.signal.Error(), context.Canceled.Error()} {
		text = strings.ReplaceAll(strings.ReplaceAll(text, ": "+noise, ""), noise+": ", "")
		if text == noise {
			text = ""
		}
	}
	if text == "" {
		return e.signal.Error()
	}
	return e.signal.Error() + ": " + text
}

func (e *stoppedError) Unwrap() error { return e.err }

// Hint says that nothing is lost.
func (e *stoppedError) Hint() string { return "run it again to go on: what is done is reused" }

// withSignals returns a context that the first INT, TERM or HUP cancels, with the signal as
// its cause, so that what runs can be ended and undone. The second one ends the process at
// once. The function it returns stops listening.
func withSignals(ctx context.Context, exit func(int)) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	got := make(chan os.Signal, 2)
	signal.Notify(got, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		for first := true; ; first = false {
			select {
			case s := <-got:
				if !first {
					exit(signalError{s}.ExitCode())
				}
				cancel(signalError{s})
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(got)
		close(done)
		cancel(nil)
	}
}
