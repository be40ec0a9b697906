package main

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"sync"
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

// lastWord is what the second signal does before it ends the process; nil lets it end at once.
type lastWord struct {
	mu sync.Mutex
	do func()
}

type lastWordKey struct{}

// onSecondSignal lets a command end by itself after the second signal, which calls do and then
// leaves the process alone; a third one ends it.
func onSecondSignal(ctx context.Context, do func()) {
	if w, ok := ctx.Value(lastWordKey{}).(*lastWord); ok {
		w.mu.Lock()
		w.do = do
		w.mu.Unlock()
	}
}

// speak reports whether somebody had something to say.
func (w *lastWord) speak() bool {
	w.mu.Lock()
	do := w.do
	w.do = nil
	w.mu.Unlock()
	if do != nil {
		do()
	}
	return do != nil
}

// withSignals returns a context that the first INT, TERM or HUP cancels, with the signal as
// its cause, so that what runs can be ended and undone. The second one ends the process at
// once. The function it returns stops listening.
func withSignals(ctx context.Context, exit func(int)) (context.Context, func()) {
	word := &lastWord{}
	ctx, cancel := context.WithCancelCause(context.WithValue(ctx, lastWordKey{}, word))
	got := make(chan os.Signal, 2)
	signal.Notify(got, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		for first := true; ; first = false {
			select {
			case s := <-got:
				if !first && !word.speak() {
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
