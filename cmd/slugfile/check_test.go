package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/inspect"
	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/stack"
	"github.com/slugfile/slugfile/schema"
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
	if r := w.run(t, dir, "build", "--allow", "glibc"); r.Code != exitDone || !strings.Contains(r.Err, "warning: bin/web: needs GLIBC_2.38; heroku-22 has 2.35") {
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

func TestInspect_rehearsesAnotherStack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "slug.yaml"), checkYAML)
	executable(t, filepath.Join(dir, "bin/web"), tooNew.Bytes())
	w.run(t, dir, "build", "--allow", "glibc", "-o", "../slug.tgz")
	slug := filepath.Join(filepath.Dir(dir), "slug.tgz")
	for _, target := range [][]string{nil, {"tree"}, {slug}} {
		if r := w.run(t, dir, append([]string{"inspect"}, target...)...); r.Code != exitFailed || !strings.Contains(r.Out, "It would not run on heroku-22: 1 error, 0 warnings.") {
			t.Errorf("%v: exit code %d\n%s%s", target, r.Code, r.Out, r.Err)
		}
		r := w.run(t, dir, append([]string{"inspect", "--stack", "heroku-24"}, target...)...)
		if r.Code != exitDone || !strings.Contains(r.Out, "Nothing keeps it from running on heroku-24.") ||
			!strings.Contains(r.Out, "stack     heroku-22: Ubuntu 22.04, glibc 2.35, end of life 2027-04-30") {
			t.Errorf("%v on heroku-24: exit code %d\n%s%s", target, r.Code, r.Out, r.Err)
		}
	}
	r := w.run(t, dir, "inspect", "--json")
	var got inspect.Report
	if err := json.Unmarshal([]byte(r.Out), &got); err != nil { // one document, and nothing else
		t.Fatalf("%v\n%s", err, r.Out)
	}
	if got.V != 1 || got.Type != "inspected" || !got.Layout.OK || got.Present.Name != "heroku-22" || len(got.Findings) != 1 || got.Findings[0].Needs != "GLIBC_2.38" || got.Contents.Programs != 1 {
		t.Errorf("%s", r.Out)
	}
}

func TestInspect_readsARelease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "slug.yaml"), "app: example\nstack: heroku-24\nprocess_types: {clock: python3 clock.py}\n")
	write(t, filepath.Join(dir, "clock.py"), "")
	w.ok(t, dir, "apply", "--local", "--allow", "program")
	if r := w.run(t, dir, "inspect", "v3", "--local"); r.Code != exitFailed || !strings.Contains(r.Out, "error [program] starts python3, which neither the slug nor heroku-24 has") {
		t.Errorf("exit code %d\n%s%s", r.Code, r.Out, r.Err)
	}
	if r := w.run(t, dir, "inspect", "v3", "--local", "--stack", "heroku-22"); r.Code != exitDone {
		t.Errorf("on heroku-22: exit code %d\n%s%s", r.Code, r.Out, r.Err)
	}
	if r := w.run(t, dir, "inspect", "v9", "--local"); r.Code != exitFailed || !strings.Contains(r.Err, "there is no such release") {
		t.Errorf("v9: exit code %d\n%s%s", r.Code, r.Out, r.Err)
	}
}

func TestInspect_saysWhatIsNoSlug(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "page"), "<html>")
	if r := w.run(t, dir, "inspect", "page"); r.Code != exitFailed || !strings.Contains(r.Out, "layout    wrong: read slug: it is not gzip") {
		t.Errorf("exit code %d\n%s%s", r.Code, r.Out, r.Err)
	}
	for _, odd := range []string{"nothing", "."} {
		if r := w.run(t, dir, "inspect", odd); r.Code != exitUsage {
			t.Errorf("%s: exit code %d\n%s%s", odd, r.Code, r.Out, r.Err)
		}
	}
}

// Slugs of Heroku's own builds have links into the system, and run.
func TestInspect_tellsLinksThatLeaveTheApp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	tw := tar.NewWriter(gz)
	for name, target := range map[string]string{"./app/bin/python": "/usr/bin/python3", "./app/up": "../../etc/hosts", "./app/in": "/app/bin"} {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), gz.Close()); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "slug.tgz"), b.String())
	write(t, filepath.Join(dir, "slug.yaml"), "app: example\nstack: heroku-22\nprocess_types: {web: bin/python -m http.server}\n")
	r := w.run(t, dir, "inspect", "slug.tgz")
	for _, want := range []string{"[link] is a link to /usr/bin/python3, outside the app's directory", "[link] is a link to ../../etc/hosts, outside", "Nothing keeps it from running on heroku-22: 2 warnings."} {
		if r.Code != exitDone || !strings.Contains(r.Out, want) {
			t.Errorf("exit code %d, want %q\n%s%s", r.Code, want, r.Out, r.Err)
		}
	}
	if r := w.run(t, dir, "inspect", "slug.tgz", "--stack", "heroku-24"); r.Code != exitFailed || !strings.Contains(r.Out, "[program] starts bin/python, a link to /usr/bin/python3, which") {
		t.Errorf("exit code %d\n%s%s", r.Code, r.Out, r.Err)
	}
}

// checks.allow in slug.yaml takes the codes that the check gives, all of them and no other.
func TestBuild_takesEveryCodeOfTheCheck(t *testing.T) {
	t.Parallel()
	var doc struct {
		Defs struct {
			Checks struct {
				Properties struct {
					Allow struct{ Items struct{ Enum []string } }
				}
			}
		} `json:"$defs"`
	}
	if err := json.Unmarshal(schema.JSON(), &doc); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(stack.Codes(), doc.Defs.Checks.Properties.Allow.Items.Enum); diff != "" {
		t.Errorf("codes (-check +schema):\n%s", diff)
	}
}

func TestInspect_makesADamagedSlugAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "slug.yaml"), "stack: heroku-24\nprocess_types: {web: sh web.sh}\n")
	write(t, filepath.Join(dir, "web.sh"), "exec sleep 1\n")
	path, _, _ := strings.Cut(strings.TrimPrefix(w.ok(t, dir, "build", "-q"), "Built "), "  ")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 0xff
	if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, b, 0o600)); err != nil {
		t.Fatal(err)
	}
	if r := w.run(t, dir, "inspect"); r.Code != exitDone || !strings.Contains(r.Err, "the stored slug was damaged, and is made again") || !strings.Contains(r.Out, "web.sh") {
		t.Errorf("exit code %d\n%s%s", r.Code, r.Out, r.Err)
	}
}

// Here it may well run; what is said is about the stack.
func TestRun_bootsHereWhatWouldNotRunThere(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("dynos run on Linux")
	}
	w := newWorld(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "slug.yaml"), "app: example\nstack: heroku-22\nprocess_types: {worker: bin/job}\n")
	executable(t, filepath.Join(dir, "bin/job"), []byte("#!/bin/sh\necho worked\n"))
	executable(t, filepath.Join(dir, "lib/x.node"), tooNew.Bytes())
	r := w.run(t, dir, "run", "worker")
	if r.Code != exitDone || !strings.Contains(r.Out, "worked") || !strings.Contains(r.Err, "warning: lib/x.node: needs GLIBC_2.38; heroku-22 has 2.35") {
		t.Errorf("exit code %d\n%s%s", r.Code, r.Out, r.Err)
	}
}

// A program that gcc has just made needs what it calls, and no more.
func TestBuild_judgesWhatGCCMakes(t *testing.T) {
	t.Parallel()
	pipetest.NeedTools(t, "gcc")
	w := newWorld(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "slug.yaml"), checkYAML)
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	compile := func(source string, args ...string) {
		t.Helper()
		cmd := exec.Command("gcc", append([]string{"-x", "c", "-", "-o", filepath.Join(dir, "bin/web")}, args...)...)
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

// One real program of each kind that a stack cannot run, beside the one that is linked with a newer glibc above.
// What they need comes out of compilers, not out of the test kit.
func TestBuild_stopsRealPrograms(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("the programs of this system are for another one than a dyno's")
	}
	compile := func(t *testing.T, compiler, web string, args ...string) {
		t.Helper()
		pipetest.NeedTools(t, compiler)
		cmd := exec.Command(compiler, append([]string{"-o", web, "-x", "c", "-"}, args...)...)
		cmd.Stdin, cmd.Dir = strings.NewReader("int f(void);\n#ifdef USE\nint main(void) { return f(); }\n#else\nint f(void) { return 0; }\nint main(void) { return f(); }\n#endif\n"), filepath.Dir(web)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", compiler, err, out)
		}
	}
	golang := func(goos, goarch string) func(t *testing.T, web string) {
		return func(t *testing.T, web string) {
			pipetest.Need(t, "go") // it compiles the runtime for that system
			source := filepath.Join(t.TempDir(), "main.go")
			write(t, source, "package main\n\nfunc main() {}\n")
			cmd := exec.Command("go", "build", "-o", web, source)
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch, "GOWORK=off", "GOFLAGS=")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("go build: %v\n%s", err, out)
			}
		}
	}
	for _, c := range []struct {
		name, stack string
		make        func(t *testing.T, web string)
		want        string
	}{
		{"a library that the stack dropped", "heroku-26", func(t *testing.T, web string) {
			dir := t.TempDir() // and not the slug's
			compile(t, "gcc", filepath.Join(dir, "libxml2.so"), "-shared", "-fPIC", "-Wl,-soname,libxml2.so.2")
			compile(t, "gcc", web, "-DUSE", "-L", dir, "-Wl,--as-needed", "-xnone", "-lxml2")
		}, `(?m)^    bin/web, of process type web \[library\]\n      needs libxml2\.so\.2; heroku-26 has libxml2\.so\.16$`},
		{"another machine", "heroku-24", golang("linux", "arm64"), `\[machine\]\n      built for arm64 Linux; heroku-24 runs x86-64 Linux\n`},
		{"another system", "heroku-24", golang("darwin", "arm64"), `\[machine\]\n      built for macOS; heroku-24 runs x86-64 Linux\n`},
		{"Windows", "heroku-24", golang("windows", "amd64"), `\[machine\]\n      built for Windows; heroku-24 runs x86-64 Linux\n`},
		{"musl", "heroku-24", func(t *testing.T, web string) { compile(t, "musl-gcc", web) },
			`\[loader\]\n      needs musl \(/lib/ld-musl-x86_64\.so\.1\), as programs built on Alpine do; heroku-24 has glibc\n`},
		{"a script without its interpreter", "heroku-24", func(t *testing.T, web string) { executable(t, web, []byte("#!/usr/bin/env python3\nprint(1)\n")) },
			`\[interpreter\]\n      its #! line wants python3, which neither the slug nor heroku-24 has\n`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			dir := t.TempDir()
			write(t, filepath.Join(dir, "slug.yaml"), strings.Replace(checkYAML, "heroku-22", c.stack, 1))
			write(t, filepath.Join(dir, "bin", "about"), "")
			c.make(t, filepath.Join(dir, "bin", "web"))
			r := w.run(t, dir, "apply", "--local")
			if r.Code != exitFailed || !regexp.MustCompile(c.want).MatchString(r.Err) || strings.Contains(r.Err, "upload") || strings.Count(r.Err, "bin/web") != 1 {
				t.Errorf("exit code %d\n%s", r.Code, r.Err)
			}
		})
	}
}
