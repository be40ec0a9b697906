package stack

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/examine"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// realFiles are the programs and libraries of this system, with what they need. SLUGFILE_LONG takes all of
// them, else there are up to 150 of each directory.
func realFiles(t *testing.T) map[string]*examine.ELF {
	t.Helper()
	files := map[string]*examine.ELF{}
	for _, pattern := range []string{"/usr/bin/*", "/usr/sbin/*", "/usr/lib/x86_64-linux-gnu/*.so*", "/usr/lib/*/perl*/*/auto/*/*.so", "/usr/libexec/*"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		step := 1
		if os.Getenv("SLUGFILE_LONG") == "" {
			step += len(names) / 150
		}
		for i := 0; i < len(names); i += step {
			f, err := os.Open(names[i])
			if err != nil {
				continue
			}
			info, err := f.Stat()
			if link, lerr := os.Lstat(names[i]); err == nil && lerr == nil && info.Mode().IsRegular() && link.Mode().IsRegular() {
				if e := examine.File("x", info.Size(), f).ELF; e != nil && e.X86() && (e.Type == "program" || e.Type == "library") {
					files[names[i]] = e
				}
			}
			f.Close()
		}
	}
	if len(files) == 0 {
		missing(t, "a system with programs for x86-64")
	}
	return files
}

func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing", what)
	}
	t.Skipf("%s is missing", what)
}

// tell runs a tool over all files, many at a time, and returns what it prints of each.
func tell(t *testing.T, files []string, header func(line string) (string, bool), tool string, args ...string) map[string]string {
	t.Helper()
	at, err := exec.LookPath(tool)
	if err != nil {
		missing(t, tool)
	}
	out := map[string]string{}
	for batch := range slices.Chunk(files, 100) {
		cmd := exec.Command(at, append(slices.Clone(args), batch...)...)
		cmd.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}
		text, _ := cmd.Output() // ldd fails for a static program, and goes on
		name := ""
		if len(batch) == 1 {
			name = batch[0] // then there is no header
		}
		lines := bufio.NewScanner(bytes.NewReader(text))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if n, ok := header(lines.Text()); ok {
				name = n
				continue
			}
			out[name] += lines.Text() + "\n"
		}
	}
	return out
}

// errorsOf are the errors that a check finds in one file as the only one of a slug: those about
// versions with what is needed, and the libraries that are missing.
func errorsOf(s Stack, e *examine.ELF) (codes, libraries []string) {
	none := func(string) (tree.Entry, bool) { return tree.Entry{}, false }
	c := &checker{stack: s, known: true, reached: map[string]string{"x": "web"}, Subject: Subject{Stack: s.Name, Find: none}}
	c.program("x", e)
	for _, f := range c.found {
		switch {
		case f.Severity != artifact.Error:
		case f.Code == CodeLibrary:
			libraries = append(libraries, f.Needs)
		default:
			codes = append(codes, f.Code+" "+f.Needs)
		}
	}
	return codes, libraries
}

// What runs here is no error on a stack that is as this system: nothing is called wrong that ldd
// loads.
func TestReal_noFalseErrorBesideLDD(t *testing.T) {
	t.Parallel()
	files := realFiles(t)
	names := []string{}
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	loaded := tell(t, names, func(line string) (string, bool) {
		name, ok := strings.CutSuffix(line, ":")
		return name, ok && !strings.HasPrefix(line, "\t")
	}, "ldd")
	here := thisSystem(t)
	bad := 0
	for _, name := range names {
		if files[name].Damaged != "" {
			t.Errorf("%s: %s", name, files[name].Damaged)
		}
		refused := strings.Contains(loaded[name], "version `")
		if got, missing := errorsOf(here, files[name]); (len(got) > 0) != refused || len(missing) > 0 {
			t.Errorf("%s: errors %v %v, and ldd says\n%s", name, got, missing, loaded[name])
		}
		if refused {
			bad++
		}
	}
	t.Logf("%d files, of which ldd refuses %d; as on glibc %s, %s, %s", len(names), bad, here.GLIBC, here.GLIBCXX, here.CXXABI)
}

// thisSystem is a stack with the versions that the libraries of this system define.
func thisSystem(t *testing.T) Stack {
	t.Helper()
	top := func(pattern, prefix string) string {
		names, _ := filepath.Glob(pattern)
		best, text := version{}, "0"
		for _, name := range names {
			f, err := os.Open(name)
			if err != nil {
				continue
			}
			if info, err := f.Stat(); err == nil {
				if e := examine.File("x", info.Size(), f).ELF; e != nil {
					for _, v := range e.Defines {
						if n, ok := wanted(scheme{prefix: prefix}, v); ok && best.less(n) {
							best, text = n, strings.TrimPrefix(v, prefix)
						}
					}
				}
			}
			f.Close()
		}
		return text
	}
	s := Stack{Name: "this system", GLIBC: top("/lib/x86_64-linux-gnu/libc.so.6", "GLIBC_")}
	s.GLIBCXX = top("/usr/lib/x86_64-linux-gnu/libstdc++.so.6", "GLIBCXX_")
	s.CXXABI = top("/usr/lib/x86_64-linux-gnu/libstdc++.so.6", "CXXABI_")
	s.GCC = top("/lib/x86_64-linux-gnu/libgcc_s.so.1", "GCC_")
	if s.GLIBC == "0" {
		missing(t, "glibc in /lib/x86_64-linux-gnu")
	}
	return s
}

// On the real stacks exactly those are errors that by readelf need more than the stack has.
func TestReal_findsWhatReadelfSees(t *testing.T) {
	t.Parallel()
	files := realFiles(t)
	names := []string{}
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	told := tell(t, names, func(line string) (string, bool) { return strings.CutPrefix(line, "File: ") }, "readelf", "-V", "-W")
	for _, s := range stacks {
		found := 0
		for _, name := range names {
			var want []string
			needs := false
			tops := map[string]version{}
			texts := map[string]string{}
			for line := range strings.Lines(told[name]) {
				switch {
				case strings.HasPrefix(line, "Version needs"):
					needs = true
				case strings.HasPrefix(line, "Version "):
					needs = false
				}
				_, after, ok := strings.Cut(line, "Name: ")
				if !needs || !ok || strings.Contains(line, "WEAK") {
					continue
				}
				v := strings.Fields(after)[0]
				for _, sc := range schemes {
					if n, ok := wanted(sc, v); ok && tops[sc.prefix].less(n) {
						tops[sc.prefix], texts[sc.prefix] = n, v
					}
				}
			}
			for _, sc := range schemes {
				if v, ok := tops[sc.prefix]; ok && parseVersion(sc.of(s)).less(v) {
					want = append(want, sc.code+" "+texts[sc.prefix])
				}
			}
			got, _ := errorsOf(s, files[name])
			// Several libraries of one project may each want a version: what counts is the highest.
			for _, w := range want {
				if !slices.Contains(got, w) {
					t.Errorf("%s on %s: %s is not found, only %v", name, s.Name, w, got)
				}
			}
			if (len(got) > 0) != (len(want) > 0) {
				t.Errorf("%s on %s: %v, and readelf says %v", name, s.Name, got, want)
			}
			if len(got) > 0 {
				found++
			}
		}
		t.Logf("%s: %d of %d files would not run", s.Name, found, len(names))
	}
}

// A library is called missing only if the package that has it here, by its own records, is in no list of the
// stack's packages.
func TestReal_callsNoLibraryMissingThatAPackageHas(t *testing.T) {
	t.Parallel()
	from := map[string][]string{} // packages by soname
	for name, list := range shlibs(t) {
		for so := range list {
			from[so] = append(from[so], name)
		}
	}
	// Debian 12 has it in the package of the linker's own libraries; Ubuntu, from 24.04 on, in one of its own.
	delete(from, "libsframe.so.0")
	files := realFiles(t)
	for _, s := range stacks {
		told, silent := map[string]bool{}, map[string]bool{}
		for name, e := range files {
			_, missing := errorsOf(s, e)
			for _, so := range e.Needed {
				if len(from[so]) == 0 {
					continue
				}
				there := s.hasPackage(from[so])
				switch said := slices.Contains(missing, so); {
				case said && there:
					t.Errorf("%s: %s is called missing on %s; its packages are %v", name, so, s.Name, from[so])
				case said:
					told[so] = true
				case !there:
					silent[so] = true
				}
			}
		}
		t.Logf("%s: %d libraries are called missing, and rightly; of %d more nothing is known", s.Name, len(told), len(silent))
	}
}
