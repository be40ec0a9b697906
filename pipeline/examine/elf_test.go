package examine_test

import (
	"bytes"
	"debug/elf"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/slugfile/slugfile/pipeline/examine"
	"github.com/slugfile/slugfile/pipeline/pipetest"
)

func file(name string, b []byte) examine.Facts {
	return examine.File(name, int64(len(b)), bytes.NewReader(b))
}

var program = pipetest.ELF{
	Interp: "/lib64/ld-linux-x86-64.so.2", Needed: []string{"libfoo.so.1", "libc.so.6"},
	RunPath: "$ORIGIN/../lib:/app/lib",
	Requires: []pipetest.ELFVersions{
		{Library: "libfoo.so.1", Versions: []string{"FOO_2"}},
		{Library: "libc.so.6", Versions: []string{"GLIBC_2.38", "?GLIBC_2.99", "GLIBC_2.2.5"}},
	},
}

func TestELF_tellsWhatAProgramNeeds(t *testing.T) {
	t.Parallel()
	want := &examine.ELF{
		Class: 64, Machine: "x86-64", Type: "program", Interp: "/lib64/ld-linux-x86-64.so.2",
		Needed: []string{"libfoo.so.1", "libc.so.6"}, RunPath: []string{"$ORIGIN/../lib", "/app/lib"},
		Requires: []examine.Requirement{{Library: "libfoo.so.1", Versions: []string{"FOO_2"}}, {Library: "libc.so.6", Versions: []string{"GLIBC_2.2.5", "GLIBC_2.38"}}},
	}
	if got := file("bin/x", program.Bytes()).ELF; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	library := pipetest.ELF{Library: true, Soname: "libfoo.so.1", RPath: "/opt/lib", Defines: []string{"FOO_1", "FOO_2"}}
	want = &examine.ELF{Class: 64, Machine: "x86-64", Type: "library", Soname: "libfoo.so.1", RPath: []string{"/opt/lib"}, Defines: []string{"FOO_1", "FOO_2"}}
	if got := file("lib/libfoo.so.1", library.Bytes()).ELF; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got := file("x", pipetest.ELF{Static: true}.Bytes()).ELF; got.Type != "program" || got.Interp != "" || got.Damaged != "" {
		t.Errorf("a static program: %+v", got)
	}
	if got := file("x", pipetest.ELF{Machine: 183, Interp: "/lib/ld-linux-aarch64.so.1"}.Bytes()).ELF; got.Machine != "arm64" || got.X86() {
		t.Errorf("one of arm64: %+v", got)
	}
}

// A made-up program is one to other readers as well, or the tests prove nothing.
func TestELF_madeUpProgramsAreReal(t *testing.T) {
	t.Parallel()
	b := program.Bytes()
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil || f.Machine != elf.EM_X86_64 || len(f.Progs) != 3 {
		t.Fatalf("%+v, %v", f, err)
	}
	readelf, err := exec.LookPath("readelf")
	if err != nil {
		absent(t, "readelf (binutils)")
	}
	name := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(readelf, "-dlV", "--use-dynamic", name).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"[libfoo.so.1]", "[libc.so.6]", "[$ORIGIN/../lib:/app/lib]", "interpreter: /lib64/ld-linux-x86-64.so.2]"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("readelf does not say %s:\n%s", want, out)
		}
	}
}

// A real system is full of programs and libraries. What the standard library's reader says of
// them, by another way (by sections), is what this one says.
func TestELF_agreesWithTheStandardLibraryOnThisSystem(t *testing.T) {
	t.Parallel()
	compared := 0
	for _, dir := range []string{"/usr/bin", "/usr/sbin", "/usr/lib/x86_64-linux-gnu", "/usr/libexec"} {
		list, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			name := filepath.Join(dir, e.Name())
			if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() || !e.Type().IsRegular() {
				continue
			}
			if compare(t, name) {
				compared++
			}
		}
	}
	t.Logf("%d files compared", compared)
	if compared == 0 {
		absent(t, "a system with programs in /usr/bin")
	}
}

func compare(t *testing.T, name string) bool {
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Error(err)
		return false
	}
	got := examine.File("x", info.Size(), f).ELF
	x, err := elf.NewFile(f)
	if got == nil || err != nil || x.Machine != elf.EM_X86_64 || x.Class != elf.ELFCLASS64 || x.Type != elf.ET_DYN && x.Type != elf.ET_EXEC {
		if got != nil && err == nil && got.X86() && (got.Type == "program" || got.Type == "library") {
			t.Errorf("%s: taken for %+v", name, got)
		}
		return false
	}
	if got.Damaged != "" {
		t.Errorf("%s: %s", name, got.Damaged)
		return true
	}
	needed, _ := x.DynString(elf.DT_NEEDED)
	var rpath, runpath []string
	for tag, to := range map[elf.DynTag]*[]string{elf.DT_RPATH: &rpath, elf.DT_RUNPATH: &runpath} {
		all, _ := x.DynString(tag)
		*to = slices.DeleteFunc(strings.Split(strings.Join(all, ":"), ":"), func(s string) bool { return s == "" })
	}
	soname, _ := x.DynString(elf.DT_SONAME)
	needs, _ := x.DynamicVersionNeeds()
	defs, _ := x.DynamicVersions()
	var wanted []string
	for _, n := range needs {
		for _, v := range n.Needs {
			if v.Flags&2 == 0 {
				wanted = append(wanted, n.Name+" "+v.Dep)
			}
		}
	}
	var defines []string
	for _, d := range defs {
		if d.Flags&1 == 0 {
			defines = append(defines, d.Name)
		}
	}
	var ours []string
	for _, r := range got.Requires {
		for _, v := range r.Versions {
			ours = append(ours, r.Library+" "+v)
		}
	}
	slices.Sort(wanted)
	slices.Sort(ours)
	slices.Sort(defines)
	interp := ""
	for _, p := range x.Progs {
		if p.Type == elf.PT_INTERP {
			b := make([]byte, p.Filesz)
			if _, err := p.ReadAt(b, 0); err == nil {
				interp = strings.TrimRight(string(b), "\x00")
			}
		}
	}
	for what, pair := range map[string][2]any{
		"needed": {needed, got.Needed}, "rpath": {rpath, got.RPath}, "runpath": {runpath, got.RunPath}, "loader": {interp, got.Interp},
		"soname": {strings.Join(soname, ""), got.Soname}, "wanted versions": {wanted, ours}, "versions": {defines, got.Defines},
	} {
		a, b := pair[0], pair[1]
		if list, ok := a.([]string); ok && len(list) == 0 && len(b.([]string)) == 0 {
			continue
		}
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s: %s: debug/elf says %v, examine %v", name, what, a, b)
		}
	}
	return true
}

func TestELF_survivesDamage(t *testing.T) {
	t.Parallel()
	whole := program.Bytes()
	for n := range whole {
		file("x", whole[:n])
	}
	for i := range whole {
		for _, v := range []byte{0, 1, 0x7f, 0x80, 0xff} {
			b := slices.Clone(whole)
			b[i] = v
			file("x", b)
		}
	}
}

func FuzzFile(f *testing.F) {
	f.Add("x", program.Bytes())
	f.Add("lib/libfoo.so", pipetest.ELF{Library: true, Soname: "a", Defines: []string{"A", "B"}, RPath: "x:y"}.Bytes())
	f.Add(".profile.d/a.sh", []byte("export PATH=\"$HOME/bin:$PATH\"; LD_LIBRARY_PATH=/app/lib\r\n"))
	f.Add("bin/x", []byte("#!/usr/bin/env -S node --x\r\n"))
	f.Add("x.exe", []byte("MZ\x00\x00"))
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		facts := file(name, b)
		if facts.ELF != nil {
			total := 0
			for _, s := range slices.Concat(facts.ELF.Needed, facts.ELF.RPath, facts.ELF.RunPath, facts.ELF.Defines) {
				total += len(s)
			}
			if total > 1<<20 {
				t.Errorf("%d bytes of names", total)
			}
		}
	})
}

// absent ends a test that needs something of the machine: with a reason, and on CI with a failure.
func absent(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing", what)
	}
	t.Skipf("%s is missing", what)
}
