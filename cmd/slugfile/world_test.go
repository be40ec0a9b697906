package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asProgram makes the test binary behave as slugfile itself: tests that need a process of
// their own (to kill it, or to change its user) start it again with this variable.
const asProgram = "SLUGFILE_TEST_AS_PROGRAM"

// world is one user's machine: an environment with directories of its own.
type world struct {
	Env map[string]string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	home := t.TempDir()
	return &world{Env: map[string]string{
		"HOME":             home,
		"XDG_CACHE_HOME":   filepath.Join(home, "cache"),
		"XDG_STATE_HOME":   filepath.Join(home, "state"),
		"XDG_DATA_HOME":    filepath.Join(home, "data"),
		"PATH":             os.Getenv("PATH"),
		"SLUGFILE_MIRRORS": "",
	}}
}

// command is slugfile as a process of its own, run in dir.
func (w *world) command(dir string, args ...string) *exec.Cmd {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Dir = dir
	cmd.Env = []string{asProgram + "=1"}
	for k, v := range w.Env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	slices.Sort(cmd.Env)
	return cmd
}

// result is what a finished run left.
type result struct {
	Out, Err string
	Code     int
}

func (w *world) run(t testing.TB, dir string, args ...string) result {
	t.Helper()
	cmd := w.command(dir, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatalf("slugfile %s: %v", strings.Join(args, " "), err)
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// ok runs slugfile, wants exit code 0, and returns standard output.
func (w *world) ok(t testing.TB, dir string, args ...string) string {
	t.Helper()
	r := w.run(t, dir, args...)
	if r.Code != 0 {
		t.Fatalf("slugfile %s: exit code %d\n%s%s", strings.Join(args, " "), r.Code, r.Out, r.Err)
	}
	return r.Out
}

// applied is the last line of apply --json.
type applied struct {
	V       int    `json:"v"`
	Type    string `json:"type"`
	App     string `json:"app"`
	Release struct {
		ID      string `json:"id"`
		Version int    `json:"version"`
	} `json:"release"`
	Slug struct {
		ID       string `json:"id"`
		Checksum string `json:"checksum"`
		Size     int64  `json:"size"`
	} `json:"slug"`
	WebURL  string `json:"web_url"`
	Changed bool   `json:"changed"`
}

// apply runs slugfile with --json and reads the last line.
func (w *world) apply(t testing.TB, dir string, args ...string) applied {
	t.Helper()
	out := w.ok(t, dir, args...)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var a applied
	dec := json.NewDecoder(strings.NewReader(lines[len(lines)-1]))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&a); err != nil || a.V != 1 || a.Type != "applied" {
		t.Fatalf("slugfile %s: the last line is not \"applied\" (%v): %s", strings.Join(args, " "), err, lines[len(lines)-1])
	}
	return a
}

// startPlatform serves the embedded platform in the world's data directory until the test ends,
// and returns the lines for a shell that it prints.
func (w *world) startPlatform(t testing.TB, flags ...string) (exports []string) {
	t.Helper()
	cmd := w.command(t.TempDir(), append([]string{"platform", "--listen", "127.0.0.1:0"}, flags...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(45 * time.Second):
			_ = cmd.Process.Kill()
			t.Errorf("the platform did not stop on SIGTERM:\n%s", errs.String())
		}
	})
	ready := make(chan struct{})
	go func() {
		defer close(done)
		s := bufio.NewScanner(out)
		for s.Scan() {
			if line := strings.TrimSpace(s.Text()); strings.HasPrefix(line, "export ") {
				exports = append(exports, line)
			}
			if strings.Contains(s.Text(), "SLUGFILE_API") {
				close(ready)
				break
			}
		}
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	}()
	select {
	case <-ready:
		return exports
	case <-done:
		t.Fatalf("slugfile platform ended early:\n%s", errs.String())
	case <-time.After(30 * time.Second):
		t.Fatal("slugfile platform was not ready within 30 s")
	}
	return nil
}

func get(t testing.TB, url string) string {
	t.Helper()
	c := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{}}
	defer c.CloseIdleConnections()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %v\n%s", url, res.Status, err, b)
	}
	return string(b)
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func hash(b []byte) [sha256.Size]byte { return sha256.Sum256(b) }

// git runs git as a user without configuration.
func git(t testing.TB, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "init.defaultBranch=main"}, args...)...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// commit makes a repository of dir, if it is none, and commits everything.
func commit(t testing.TB, dir, message string) {
	t.Helper()
	git(t, dir, "init", "-q")
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "-m", message)
}
