//go:build unix

package main

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"
)

// TestWithSignals_firstCancelsAndSecondEnds sends real signals to this process, so it is
// not parallel.
func TestWithSignals_firstCancelsAndSecondEnds(t *testing.T) {
	exited := make(chan int, 1)
	ctx, stop := withSignals(t.Context(), func(code int) { exited <- code })
	defer stop()
	send := func() {
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	send()
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the first signal cancels nothing")
	}
	var s signalError
	if !errors.As(context.Cause(ctx), &s) || s.ExitCode() != exitTerminated {
		t.Errorf("cause %v", context.Cause(ctx))
	}
	if len(exited) > 0 {
		t.Error("the first signal ends the process")
	}
	send()
	select {
	case code := <-exited:
		if code != exitTerminated {
			t.Errorf("exit code %d", code)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the second signal does not end the process")
	}
}
