//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform/local"
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

// TestExitCode_isThatOfTheSignal cuts an upload short.
func TestExitCode_isThatOfTheSignal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.startPlatform(t)
	info, running := local.Discover(filepath.Join(w.Env["XDG_DATA_HOME"], "slugfile", "platform"))
	if !running {
		t.Fatal("no platform runs")
	}
	ask := func(method, body string) string {
		req, err := http.NewRequest(method, info.API+"/_fault", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+info.Token.Reveal())
		c := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text))
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "slug.yaml"), "app: example\nstack: heroku-24\nprocess_types: {web: bash web}\n")
	for sig, want := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143, syscall.SIGHUP: 129} {
		ask(http.MethodDelete, "")
		ask(http.MethodPost, `latency=60s on="PUT blob" times=1`)
		cmd := w.command(dir, "apply", "--local")
		var errs bytes.Buffer
		cmd.Stderr = &errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(30 * time.Second); !strings.Contains(ask(http.MethodGet, ""), `"left":0`); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the upload never began:\n%s", &errs)
			}
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // the exit code tells
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("%v: exit code %d, want %d\n%s", sig, got, want, &errs)
		}
		text := errs.String()
		if !strings.Contains(text, "\nslugfile: stopped by a signal ("+sig.String()+"): upload: ") || !strings.Contains(text, "\nhint: run it again") || strings.Contains(text, "context canceled") {
			t.Errorf("%v: it says\n%s", sig, text)
		}
	}
}
