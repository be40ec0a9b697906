//go:build linux

package main

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/pipetest"
)

func runApp(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "slug.yaml"), "app: tiny\nstack: heroku-24\nprocess_types:\n  web: ./greeter\n  worker: read line; echo \"got $line\"; exit 4\n")
	return dir
}

// nothingLeft checks that no tree of a dyno stays behind.
func (w *world) nothingLeft(t *testing.T) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(w.Env["XDG_CACHE_HOME"], "slugfile", "run", "dyno-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestRun_isTheProcess(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), runApp(t)
	data := []byte("\x00\xff\r\nno end")
	write(t, filepath.Join(dir, "vars.env"), "export WORD=\"a b\" # kept\n")
	for _, c := range []struct {
		args []string
		code int
		out  string
	}{
		{[]string{"run", "--", "cat"}, 0, string(data)},
		{[]string{"run", "worker"}, 4, "got \ufffd\r\n"},
		{[]string{"run", "--", "sh", "-c", "kill -9 $$"}, 137, ""},
		{[]string{"run", "--env-file", "vars.env", "--", `echo "$WORD|$DYNO" | cut -d. -f1; exit 3`}, 3, "a b|run\n"},
		{[]string{"run", "--", "printf", "%s.", "a b", "$HOME"}, 0, "a b.$HOME."},
		{[]string{"run", "--", "no-such-command"}, 127, ""},
	} {
		cmd := w.command(dir, c.args...)
		cmd.Stdin = bytes.NewReader(data)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		_ = cmd.Run() // the exit code tells
		if c.args[1] == "worker" {
			c.out = "got " + "\xff\r\n" // read drops the NUL
		}
		if got := cmd.ProcessState.ExitCode(); got != c.code || out.String() != c.out {
			t.Errorf("%v: exit code %d, want %d; output %q, want %q\n%s", c.args, got, c.code, out.String(), c.out, errs.String())
		}
		if note := "runs on this machine's libraries, not on those of heroku-24."; strings.Count(errs.String(), note) != 1 || strings.Contains(errs.String(), "slugfile:") {
			t.Errorf("%v: standard error %q", c.args, errs.String())
		}
	}
	w.nothingLeft(t)
}

func TestRun_takesASlugOfAnyTar(t *testing.T) {
	t.Parallel()
	pipetest.NeedTools(t, "tar")
	w, dir := newWorld(t), t.TempDir()
	write(t, filepath.Join(dir, "app", "Procfile"), "job: cat note\n")
	write(t, filepath.Join(dir, "app", "note"), "from tar\n")
	if out, err := exec.Command("tar", "-C", dir, "-czf", filepath.Join(dir, "slug.tgz"), "./app").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	if out := w.ok(t, dir, "run", "--slug", "slug.tgz", "job"); out != "from tar\n" {
		t.Errorf("output %q", out)
	}
	if r := w.run(t, dir, "run", "--slug", "slug.tgz"); r.Code != exitFailed || !strings.Contains(r.Err, `the Procfile in slug.tgz has no process type "web"; it has job`) {
		t.Errorf("without web: code %d, %s", r.Code, r.Err)
	}
	write(t, filepath.Join(dir, "slug.yaml"), "app: tiny\nprocess_types: {job: cat Procfile}\n")
	if out := w.ok(t, dir, "run", "--slug", "slug.tgz", "job"); out != "job: cat note\n" {
		t.Errorf("with slug.yaml beside it: output %q", out)
	}
	w.nothingLeft(t)
}

func TestRun_webPrintsItsAddressAndEndsWithSIGTERM(t *testing.T) {
	t.Parallel()
	pipetest.NeedTools(t, "go")
	w, dir := newWorld(t), runApp(t)
	if err := os.WriteFile(filepath.Join(dir, "greeter"), buildGreeter(t), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := w.command(dir, "run", "web")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	url := ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if url = lines.Text(); strings.HasPrefix(url, "http://127.0.0.1:") {
			break
		}
	}
	c := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Get(url)
	if err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	_ = res.Body.Close() // the status is enough
	if res.StatusCode != http.StatusOK {
		t.Errorf("status %d", res.StatusCode)
	}
	port := url[strings.LastIndex(url, ":")+1 : len(url)-1]
	if r := w.run(t, dir, "run", "--port", port); r.Code != exitFailed || !strings.Contains(r.Err, "--port "+port+": address already in use") {
		t.Errorf("on the same port: code %d, %s", r.Code, r.Err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out) // what it says at its end
	_ = cmd.Wait()                  // the exit code tells
	if code := cmd.ProcessState.ExitCode(); code != 0 && code != 128+int(syscall.SIGTERM) {
		t.Errorf("exit code %d\n%s", code, errs.String())
	}
	w.nothingLeft(t)
}

func TestRun_webThatDoesNotListenIsStopped(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), t.TempDir()
	write(t, filepath.Join(dir, "slug.yaml"), "app: tiny\nstack: heroku-24\nprocess_types: {web: sleep 1000}\n")
	r := w.run(t, dir, "run", "--boot-timeout", "200ms")
	if r.Code != exitFailed || !strings.Contains(r.Err, "Error R10 (Boot timeout)") || !strings.Contains(r.Err, "hint: the process type \"web\" must listen on 0.0.0.0") || r.Out != "" {
		t.Errorf("code %d, output %q, errors %s", r.Code, r.Out, r.Err)
	}
	w.nothingLeft(t)
}

// The second Ctrl-C kills what heeds no SIGTERM, and even then the tree goes.
func TestRun_secondInterruptKills(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), runApp(t)
	cmd := w.command(dir, "run", "--", "trap 'echo no' TERM; echo ready; while :; do sleep 0.1; done")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	var seen []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		seen = append(seen, lines.Text())
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if len(seen) == 2 {
			break
		}
	}
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait() // the exit code tells
	if code := cmd.ProcessState.ExitCode(); code != 137 || !cmp.Equal(seen, []string{"ready", "no"}) {
		t.Errorf("exit code %d, lines %q", code, seen)
	}
	w.nothingLeft(t)
}

func TestRun_givesACommandTheTerminal(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), runApp(t)
	screen, code := w.dialogue(t, dir, [][2]string{
		{"go> ", "sh -c 'test -t 0 && echo re\"\"ady; exec sleep 1000'\r"}, {"ready\r\n", "\x03"}, {"go> ", "exit 5\r"},
	}, "run", "--", "env", "PS1=go> ", "bash", "--norc", "-i")
	if code != 5 {
		t.Errorf("exit code %d, screen %q", code, screen)
	}
	w.nothingLeft(t)
}

func TestParseEnvFile_readsWhatDotenvToolsAgreeOn(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]map[string]string{
		"": {}, "# no\n\n  # no\n": {},
		"A=1\nexport B = two words  \nC=\nD=a#b #c\r\n":        {"A": "1", "B": "two words", "C": "", "D": "a#b"},
		`A="x\ny\t\"\\\$z" # c` + "\nB='x\\ny'\nC=\"$A ${B}\"": {"A": "x\ny\t\"\\$z", "B": `x\ny`, "C": "$A ${B}"},
		"A='one\n#two\n'\nB=\"three\n\nfour\"\nC=last":         {"A": "one\n#two\n", "B": "three\n\nfour", "C": "last"},
		"A=1\nA=2": {"A": "2"}, "A=a=b": {"A": "a=b"}, "A=it's": {"A": "it's"}, "A=": {"A": ""}, "A=#c": {"A": ""},
	} {
		got := map[string]string{}
		if err := parseEnvFile("f", text, got); err != nil {
			t.Errorf("%q: %v", text, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
	for text, want := range map[string]string{
		"A=1\nsecret\n":          "f:2: is not KEY=VALUE",
		"\n\n1A=secret":          `f:3: "1A" is no name of a variable: letters, digits and _, with no digit first`,
		"B='x\ny'\nA=\"secret\n": "f:3: the value begins with \", which is never closed",
		"A='x' secret":           "f:1: something stands behind the closing quote of the value",
		"A=\"\x00\"":             "f:1: a NUL byte cannot stand in a variable",
		"A=\xff":                 "f:1: this line is not UTF-8",
	} {
		err := parseEnvFile("f", text, map[string]string{})
		if err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
