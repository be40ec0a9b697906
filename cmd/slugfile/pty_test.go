//go:build unix

package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// onTerminal runs slugfile on a terminal of its own and returns what the screen was sent.
func (w *world) onTerminal(t *testing.T, dir string, args ...string) (screen string, code int) {
	t.Helper()
	cmd := w.command(dir, args...)
	master, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 60})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = master.Close() }() // reading ends before
	var b bytes.Buffer
	read := make(chan struct{})
	go func() {
		// Linux answers EIO when the other side of the terminal is closed.
		_, _ = io.Copy(&b, master)
		close(read)
	}()
	_ = cmd.Wait() // the exit code tells
	select {
	case <-read:
	case <-time.After(10 * time.Second):
		t.Fatal("the terminal stays open after the program")
	}
	return strings.ReplaceAll(b.String(), "\r\n", "\n"), cmd.ProcessState.ExitCode()
}

func TestTerminal_getsColourUnlessTheEnvironmentSaysNo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Env["TERM"] = "xterm-256color"
	dir := t.TempDir()
	write(t, dir+"/slug.yaml", "app: [example]\n")
	screen, code := w.onTerminal(t, dir, "validate")
	if code != exitFile || !strings.Contains(screen, "\x1b[1mslug.yaml:1:6:\x1b[0m") || !strings.Contains(screen, "\x1b[31m^\x1b[0m") {
		t.Errorf("exit code %d, screen %q", code, screen)
	}
	for variable, value := range map[string]string{"NO_COLOR": "1", "TERM": "dumb"} {
		w := newWorld(t)
		w.Env["TERM"] = "xterm-256color"
		w.Env[variable] = value
		if screen, _ := w.onTerminal(t, dir, "validate"); strings.Contains(screen, "\x1b") || !strings.Contains(screen, "slug.yaml:1:6:") {
			t.Errorf("%s=%s: screen %q", variable, value, screen)
		}
	}
}
