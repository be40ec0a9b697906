package main

import (
	"context"
	"os"
	"os/signal"
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
