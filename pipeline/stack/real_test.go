package stack

import (
	"bufio"
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/examine"
	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// addons are packages of npm with programs that others have built. Most hold one for each of many systems.
var addons = []pipetest.NpmPackage{
	{Name: "bcrypt", Version: "6.0.0", SHA256: "3b2478cda06f066c744e06cd0b68f55e14cc546c19ee2b80be600dfc65b5ae20"},
	{Name: "argon2", Version: "0.45.1", SHA256: "4acffbd5e5a87fe8fad926afc9a9ac450d69b7082686dd2836be0d8309dbd8aa"},
	{Name: "bufferutil", Version: "4.1.0", SHA256: "19af5978088739b8baf861a95ab4a1feb69a2d30830ced707c37920591046a87"},
	{Name: "utf-8-validate", Version: "6.0.6", SHA256: "f65e05feb1174937bd67b5ddb7a70d5eed314989d2bc8637e1594e1623c4a00f"},
	{Name: "classic-level", Version: "3.0.0", SHA256: "d9e6af24197bcc8a4575c89df3d6d3aab8be0b182d26d0ee80355d4c8ee442d7"},
	{Name: "sodium-native", Version: "5.1.0", SHA256: "d04447bdd3f91a14517bb57b87dd06db12b443bb3afea04a2fc48f4adf2a42de"},
	{Name: "@img/sharp-linux-x64", Version: "0.35.5", SHA256: "556787285d3244c07686a355de5b5a4c4d0019a12785bf24764e756a96ea3334"},
	{Name: "@img/sharp-libvips-linux-x64", Version: "1.3.4", SHA256: "e371cb713fc8822c96a0d3fb60a3d092799d0aefab6d7f1fb3b72d8d75f1d109"},
	{Name: "@node-rs/bcrypt-linux-x64-gnu", Version: "2.0.0", SHA256: "b171635d4ccab26e26a05e6e1cc07632f0e74e7f0e45fd4386ec853a7ae5a26b"},
	{Name: "@parcel/watcher-linux-x64-glibc", Version: "2.6.0", SHA256: "71577edb66f1f63e7b8b9c47cb69347bb9724b2a2ce9c9a1bd47ea985a9777c9"},
	{Name: "@rollup/rollup-linux-x64-gnu", Version: "4.68.8", SHA256: "a8a6ebee01451319263c1dede3a4bea618960b24c744d35f1318711583da435d"},
	{Name: "@rollup/rollup-linux-arm64-gnu", Version: "4.68.8", SHA256: "61e53e7afa1eaadf9c27a52cdc726a33d8d9743643b0bb35b1064824c155697b"},
	{Name: "@rollup/rollup-linux-x64-musl", Version: "4.68.8", SHA256: "441576bdc4ca13a9d5fb4996fbcf9d942a81cf39d4dcf56ce94138eaf9d30a6a"},
	{Name: "@msgpackr-extract/msgpackr-extract-linux-x64", Version: "3.0.7", SHA256: "ec75cfd36ab615166d08f079e4af4e7405e45cd3e08095b74ce6fcfb3a795faf"},
	{Name: "lightningcss-linux-x64-gnu", Version: "1.33.0", SHA256: "fd485dfd57082c4ef864dd867fa87fd8e1a9b5d58ee85c2b76e28e42c8f3e1d3"},
	{Name: "fsevents", Version: "2.3.3", SHA256: "c77e7a5d5ff31dd7acea7c44d4a0455e0528cdacbd24a8cb6c82b66d239b587e"},
}

// npmTree is a directory with the addons, as npm lays them out.
func npmTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, p := range addons {
		p.Unpack(t, dir)
	}
	return dir
}

// realFiles are the programs and libraries of this system, with what they need. SLUGFILE_LONG takes all of
// them, else there are up to 150 of each directory. With SLUGFILE_E2E they are joined by the addons.
func realFiles(t *testing.T) map[string]*examine.ELF {
	t.Helper()
	files := map[string]*examine.ELF{}
	patterns := []string{"/usr/bin/*", "/usr/sbin/*", "/usr/lib/x86_64-linux-gnu/*.so*", "/usr/lib/*/perl*/*/auto/*/*.so", "/usr/libexec/*"}
	if os.Getenv("SLUGFILE_E2E") != "" {
		dir := npmTree(t)
		for deep := range 5 {
			patterns = append(patterns, filepath.Join(dir, "node_modules", strings.Repeat("*/", deep+1)+"*.[ns]o*"))
		}
	}
	for _, pattern := range patterns {
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

const muslLibrary = "libc.musl-x86_64.so.1"

// errorsOf are the errors that a check finds in one file as the only one of a slug: those about
// versions with what is needed, and the libraries that are missing.
func errorsOf(s Stack, e *examine.ELF) (codes, libraries []string) {
	none := func(string) (tree.Entry, bool) { return tree.Entry{}, false }
	c := &checker{stack: s, known: true, reached: map[string]string{"x": "web"}, Subject: Subject{Stack: s.Name, Find: none}}
	c.program("x", e)
	for _, f := range c.found {
		switch {
		case f.Severity != artifact.Error:
		case f.Code == CodeLibrary, f.Needs == muslLibrary:
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
		if got, missing := errorsOf(here, files[name]); (len(got) > 0) != refused || (len(missing) > 0) != strings.Contains(loaded[name], muslLibrary+" => not found") {
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

// Of a tree with addons for many systems, what is for others is no error, and what is for this one runs.
func TestReal_findsNoErrorInAddonsOfNpm(t *testing.T) {
	t.Parallel()
	pipetest.Need(t, "npm")
	dir := npmTree(t)
	in := Subject{Facts: map[string]examine.Facts{}}
	var m tree.Manifest
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		e := tree.Entry{Path: name, Kind: tree.Dir}
		if !d.IsDir() {
			f, err := os.Open(filepath.Join(dir, name))
			if err != nil {
				return err
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				return err
			}
			e.Kind, e.Size, e.Exec = tree.File, info.Size(), info.Mode()&0o100 != 0
			if facts := examine.File(name, e.Size, f); !facts.None() {
				in.Facts[name] = facts
			}
		}
		m = append(m, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	m.Sort()
	in.Find, in.Entries = m.Find, func(yield func(*tree.Entry) bool) {
		for i := range m {
			if !yield(&m[i]) {
				return
			}
		}
	}
	// As readelf -V tells of these versions of the packages.
	older := []string{
		"glibc node_modules/sodium-native/prebuilds/linux-x64/sodium-native.bare GLIBC_2.33",
		"glibc node_modules/sodium-native/prebuilds/linux-x64/sodium-native.node GLIBC_2.33",
		"glibc node_modules/argon2/prebuilds/linux-x64/argon2.glibc.node GLIBC_2.34",
	}
	for _, s := range stacks {
		in.Stack = s.Name
		var want, got []string
		if s.Name == "heroku-20" {
			want = append(want, older...)
		}
		want = append(want, "machine node_modules/fsevents/fsevents.node macOS")
		for _, f := range Check(in) {
			if f.Severity == artifact.Error {
				t.Errorf("%s: %+v", s.Name, f)
			}
			got = append(got, f.Code+" "+f.Path+" "+f.Needs)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n got %s\nwant %s", s.Name, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
	}
	t.Logf("%d files of which %d are programs, libraries or scripts", len(m), len(in.Facts))
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
