package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/schema"
)

const readmeFile = "../../README.md"

// block finds the text between <!-- name --> and <!-- /name --> in README.md.
func block(t *testing.T, readme, name string) (before, inside, after string) {
	t.Helper()
	open, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
	before, rest, ok := strings.Cut(readme, open)
	inside, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("README.md has no block %q", name)
	}
	return before + open, inside, end + after
}

// inReadme compares a block with what it should be, both made equal by same. With
// GOLDIE_UPDATE=true it writes the block.
func inReadme(t *testing.T, name, want string, same func(string) string) {
	t.Helper()
	b, err := os.ReadFile(readmeFile)
	if err != nil {
		t.Fatal(err)
	}
	before, inside, after := block(t, string(b), name)
	diff := cmp.Diff(same(inside), same(want))
	if diff == "" {
		return
	}
	if os.Getenv("GOLDIE_UPDATE") == "" {
		t.Errorf("README.md, block %q, is out of date; GOLDIE_UPDATE=true writes it (-README +now):\n%s", name, diff)
		return
	}
	if err := os.WriteFile(readmeFile, []byte(before+want+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func exactly(s string) string { return s }

// alike hides what differs from run to run and from machine to machine: times, sizes,
// ports, and the width of the columns that hold them.
func alike(s string) string {
	for _, r := range []struct{ find, put string }{
		{`\d\d:\d\d:\d\d`, "TIME"},
		{`\d+(\.\d+)? (B|kB|MB|GB)\b`, "SIZE"},
		{`\((\d+h)?(\d+m)?\d+(\.\d+)?(ms|s)\)`, "(DURATION)"},
		{`127\.0\.0\.1:\d+`, "127.0.0.1:PORT"},
		{`\S+/bin/go\b`, "GO"},
		{`[…/\w.-]*…\S*`, "GO"},
		{` +`, " "},
	} {
		s = regexp.MustCompile(r.find).ReplaceAllString(s, r.put)
	}
	return s
}

func fence(lang, text string) string {
	return "```" + lang + "\n" + strings.TrimRight(text, "\n") + "\n```\n"
}

// TestREADME_showsWhatIsPrinted runs the README's example as a newcomer would and holds the
// text against it.
func TestREADME_showsWhatIsPrinted(t *testing.T) {
	pipetest.NeedTools(t, "go")
	if os.Getenv("GOLDIE_UPDATE") == "" {
		t.Parallel()
	}
	file, err := os.ReadFile("../../examples/go/slug.yaml")
	if err != nil {
		t.Fatal(err)
	}
	inReadme(t, "example", fence("yaml", string(file)), exactly)
	inReadme(t, "reference", string(schema.Markdown()), exactly)

	w := newWorld(t)
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../examples/go")); err != nil {
		t.Fatal(err)
	}
	show := func(command string, args ...string) string {
		r := w.run(t, dir, args...)
		if r.Code != 0 {
			t.Fatalf("%s: exit code %d\n%s%s", command, r.Code, r.Out, r.Err)
		}
		// On a terminal progress stands between the plan and the result.
		out := r.Out
		if i := strings.Index(out, "Releasing "); i >= 0 {
			out = out[:i] + "\n" + r.Err + out[i:]
		}
		return fence("", "$ slugfile "+command+"\n"+out)
	}
	inReadme(t, "first", show("apply --local", "apply", "--local"), alike)
	inReadme(t, "second", show("apply --local", "apply", "--local"), alike)
	replace(t, filepath.Join(dir, "web.go"), "hello, world", "good morning, world")
	replace(t, filepath.Join(dir, "slug.yaml"), "  web: ./web\n", "  web: ./web\n  check: ./web --check\n")
	inReadme(t, "plan", show("plan --local", "plan", "--local"), alike)
}

// TestREADME_beginsWithTheTwoCommands, exactly as .ci/run types them.
func TestREADME_beginsWithTheTwoCommands(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(readmeFile)
	if err != nil {
		t.Fatal(err)
	}
	top, _, _ := strings.Cut(string(b), "\n## ")
	for _, command := range []string{"    go run ./cmd/slugfile apply --local -C examples/go\n", "    go test ./...\n"} {
		if !strings.Contains(top, command) {
			t.Errorf("the top of README.md has no line %q", command)
		}
	}
}

// TestREADME_listsEveryCommandAndExitCode holds the tables against the program.
func TestREADME_listsEveryCommandAndExitCode(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(readmeFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, leaf := range leaves(t) {
		if !strings.Contains(string(b), "| `slugfile "+leaf.Name+"` |") {
			t.Errorf("README.md does not list slugfile %s", leaf.Name)
		}
	}
	for _, code := range []int{exitDone, exitFailed, exitChanges, exitStale, exitFile, exitUnauthorized, exitMismatch, exitRateLimited, exitUsage} {
		if !strings.Contains(string(b), fmt.Sprintf("\n| %d | ", code)) {
			t.Errorf("README.md does not list exit code %d", code)
		}
	}
	if !strings.Contains(string(b), fmt.Sprintf("\n| %d, %d, %d | ", exitHangup, exitInterrupted, exitTerminated)) {
		t.Error("README.md does not list the exit codes of signals")
	}
}

// TestExampleFile_isPlanned plans slug.yaml.example in a directory that has what it names.
func TestExampleFile_isPlanned(t *testing.T) {
	t.Parallel()
	pipetest.NeedTools(t, "go")
	w := newWorld(t)
	dir := t.TempDir()
	b, err := os.ReadFile("../../slug.yaml.example")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "slug.yaml"), string(b))
	for name, text := range map[string]string{
		"package.json": "{}\n", "package-lock.json": "{}\n", "go.mod": "module helper\n", "helper/main.go": "package main\n",
		"web.js": "\n", "config/public.pem": "-----BEGIN PUBLIC KEY-----\n",
		"third_party/tools.tar.gz": string(pipetest.TarGz(t, map[string]string{"bin/tool*": "#!/bin/sh\n"})),
	} {
		write(t, filepath.Join(dir, name), text)
	}
	w.ok(t, dir, "lock") // node is pinned by its sha256; tools is in the repository
	out := w.ok(t, dir, "plan", "--local")
	for _, want := range []string{"runtime  node", "runtime  tools", "runtime  go", "step     dependencies", "step     helper", "process  worker"} {
		if !strings.Contains(alike(out), alike(want)) {
			t.Errorf("the plan does not tell of %q:\n%s", want, out)
		}
	}
}
