package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slugfile/slugfile/pipeline/pipetest"
)

const checkYAML = "app: example\nstack: heroku-22\nprocess_types: {web: bin/web}\n"

// executable writes an executable file.
func executable(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o755); err != nil {
		t.Fatal(err)
	}
}

// tooNew needs a newer glibc than heroku-22 has, and less than heroku-24.
var tooNew = pipetest.ELF{
	Interp: "/lib64/ld-linux-x86-64.so.2", Needed: []string{"libc.so.6"},
	Requires: []pipetest.ELFVersions{{Library: "libc.so.6", Versions: []string{"GLIBC_2.38"}}},
}

func TestBuild_stopsWhatWouldNotRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "slug.yaml"), checkYAML)
	executable(t, filepath.Join(dir, "bin/web"), tooNew.Bytes())
	for range 2 { // the second time the slug is in the store
		r := w.run(t, dir, "build", "-o", "slug.tgz")
		if r.Code != exitFailed || !strings.Contains(r.Err, "needs GLIBC_2.38; heroku-22 has 2.35") ||
			!strings.Contains(r.Err, "\nhint: build on heroku-22, link statically, or move to heroku-24; --allow glibc lets it pass\n") {
			t.Fatalf("exit code %d\n%s", r.Code, r.Err)
		}
		if _, err := os.Stat(filepath.Join(dir, "slug.tgz")); err == nil {
			t.Fatal("the slug was written all the same")
		}
	}
	if r := w.run(t, dir, "apply", "--local"); r.Code != exitFailed || strings.Contains(r.Err, "upload") {
		t.Errorf("apply: exit code %d\n%s", r.Code, r.Err)
	}
	if r := w.run(t, dir, "build", "--allow", "glibc"); r.Code != exitDone || !strings.Contains(r.Err, "warning: bin/web: needs GLIBC_2.38; heroku-22 has 2.35 (glibc is allowed)") {
		t.Errorf("--allow: exit code %d\n%s", r.Code, r.Err)
	}
	if r := w.run(t, dir, "build", "--allow", "everything"); r.Code != exitUsage {
		t.Errorf("a code that is none: exit code %d\n%s", r.Code, r.Err)
	}
	write(t, filepath.Join(dir, "slug.yaml"), checkYAML+"checks: {allow: [glibc]}\n")
	if r := w.run(t, dir, "build"); r.Code != exitDone || !strings.Contains(r.Err, "the slug is in the store") {
		t.Errorf("checks.allow, which is no part of the key: exit code %d\n%s", r.Code, r.Err)
	}
}

// A program that gcc has just made needs what it calls, and no more.
func TestBuild_judgesWhatGCCMakes(t *testing.T) {
	t.Parallel()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("gcc is missing: nothing can be compiled here")
	}
	w := newWorld(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "slug.yaml"), checkYAML)
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	compile := func(source string, args ...string) {
		t.Helper()
		cmd := exec.Command(gcc, append([]string{"-x", "c", "-", "-o", filepath.Join(dir, "bin/web")}, args...)...)
		cmd.Stdin = strings.NewReader(source)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("gcc cannot make it: %v\n%s", err, out)
		}
	}
	// arc4random came with glibc 2.36: https://sourceware.org/glibc/wiki/Release/2.36
	const newer = "#include <stdlib.h>\nint main(void) { return arc4random() == 1; }\n"
	compile(newer)
	if r := w.run(t, dir, "build"); r.Code != exitFailed || !strings.Contains(r.Err, "needs GLIBC_2.") {
		t.Errorf("linked with a newer glibc: exit code %d\n%s", r.Code, r.Err)
	}
	compile(newer, "-static")
	if r := w.run(t, dir, "build"); r.Code != exitDone {
		t.Errorf("linked statically: exit code %d\n%s", r.Code, r.Err)
	}
}
