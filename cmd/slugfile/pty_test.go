//go:build unix

package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/platform/local"
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

// dialogue runs slugfile on a terminal. Whenever the screen has shown the next text of says,
// the keys beside it are pressed.
func (w *world) dialogue(t *testing.T, dir string, says [][2]string, args ...string) (screen string, code int) {
	t.Helper()
	cmd := w.command(dir, args...)
	master, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = master.Close() }() // reading ends before
	timer := time.AfterFunc(60*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	var b bytes.Buffer
	seen := 0
	piece := make([]byte, 4096)
	for {
		n, err := master.Read(piece)
		b.Write(piece[:n])
		for len(says) > 0 {
			i := strings.Index(b.String()[seen:], says[0][0])
			if i < 0 {
				break
			}
			seen += i + len(says[0][0])
			if _, err := io.WriteString(master, says[0][1]); err != nil {
				t.Fatal(err)
			}
			says = says[1:]
		}
		if err != nil {
			break // Linux answers EIO when the other side of the terminal is closed
		}
	}
	_ = cmd.Wait() // the exit code tells
	for _, s := range says {
		t.Errorf("the screen never showed %q", s[0])
	}
	return strings.ReplaceAll(b.String(), "\r\n", "\n"), cmd.ProcessState.ExitCode()
}

// TestApply_onATerminalShowsTheAddressAndStays: what is drawn live must be gone before the
// result is there, since both write to one screen.
func TestApply_onATerminalShowsTheAddressAndStays(t *testing.T) {
	t.Parallel()
	pipetest.NeedTools(t, "go")
	w := newWorld(t)
	w.Env["TERM"] = "xterm-256color"
	dir := t.TempDir()
	greeterApp(t, dir, "stays")
	w.ok(t, dir, "lock")
	screen, code := w.dialogue(t, dir, [][2]string{{"Ctrl-C stops stays.", ""}, {"\n", "\x03"}}, "apply", "--local")
	if code != exitDone {
		t.Errorf("exit code %d", code)
	}
	_, end, ok := strings.Cut(screen, "Releasing ")
	if !ok || !strings.Contains(end, "\nhttp://127.0.0.1:") || strings.Contains(end, "\x1b[J") {
		t.Errorf("the end of the screen is %q", end)
	}
	if !strings.Contains(end, "Stopping all processes with SIGTERM") || !strings.Contains(end, "State changed from up to down") {
		t.Errorf("the dyno was not stopped: %q", end)
	}
}

func TestApply_onATerminalAsks(t *testing.T) {
	t.Parallel()
	pipetest.NeedTools(t, "go")
	w := newWorld(t)
	w.startPlatform(t)
	info, _ := local.Discover(filepath.Join(w.Env["XDG_DATA_HOME"], "slugfile", "platform"))
	w.Env["SLUGFILE_API"], w.Env["HEROKU_API_KEY"] = info.API, info.Token.Reveal()
	dir := t.TempDir()
	greeterApp(t, dir, "asks")
	w.ok(t, dir, "lock")
	question := "Apply this plan to asks? [y/N] "
	for _, answer := range []string{"\r", "n\r", "nay\r"} {
		screen, code := w.dialogue(t, dir, [][2]string{{question, answer}}, "apply", "--create")
		if code != exitFailed || !strings.Contains(screen, "nothing was done: the answer was not yes") {
			t.Errorf("answer %q: exit code %d, screen %q", answer, code, screen)
		}
	}
	if screen, code := w.dialogue(t, dir, [][2]string{{question, "\x03"}}, "apply", "--create"); code != exitInterrupted {
		t.Errorf("Ctrl-C at the question: exit code %d, screen %q", code, screen)
	}
	if r := w.run(t, dir, "releases"); r.Code != exitFailed {
		t.Errorf("an app was made without a yes: %s", r.Out)
	}
	if screen, code := w.dialogue(t, dir, [][2]string{{question, "Yes\r"}}, "apply", "--create"); code != exitDone || !strings.Contains(screen, "\nhttp://127.0.0.1:") {
		t.Errorf("yes: exit code %d, screen %q", code, screen)
	}
}

// TestBuild_leavesOutTheLogThatItIsRedirectedTo: the log grows while the tree is read.
func TestBuild_leavesOutTheLogThatItIsRedirectedTo(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells the name of a stream's file")
	}
	w := newWorld(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "slug.yaml"), "app: example\nstack: heroku-24\nprocess_types: {web: bash web}\n")
	write(t, filepath.Join(dir, "page"), "page\n")
	want := w.ok(t, dir, "build", "--json")
	log, err := os.Create(filepath.Join(dir, "deploy.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := w.command(dir, "build", "--json", "-v")
	cmd.Stdout, cmd.Stderr = log, log
	err = errors.Join(cmd.Run(), log.Close())
	text, readErr := os.ReadFile(log.Name())
	if err != nil || readErr != nil {
		t.Fatalf("%v, %v\n%s", err, readErr, text)
	}
	last := func(s string) string {
		lines := strings.Split(strings.TrimSpace(s), "\n")
		return lines[len(lines)-1]
	}
	if d := cmp.Diff(last(want), last(string(text))); d != "" {
		t.Error(d)
	}
}
