package inspect_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/bom"
	"github.com/slugfile/slugfile/pipeline/inspect"
	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/slug"
	"github.com/slugfile/slugfile/schema"
)

// files are the contents of a slug by their paths; one that begins with "-> " is a link.
type files map[string]string

// read packs files and examines them as the command does.
func read(t testing.TB, in files) inspect.Slug {
	t.Helper()
	var entries []string
	for _, name := range slices.Sorted(maps.Keys(in)) {
		entries = append(entries, name, in[name])
	}
	b := pipetest.PlainSlug(t, gzip.DefaultCompression, entries...)
	runtimes, bill := &inspect.Look{}, &bom.Look{}
	c, err := slug.Examine(t.Context(), bytes.NewReader(b), slug.ExamineOptions{Looks: []slug.Look{runtimes, bill}})
	if err != nil {
		t.Fatal(err)
	}
	return inspect.Slug{Contents: c, Runtimes: runtimes, Bill: bill.Contents(c.Tree)}
}

// noise cannot be compressed.
func noise(seed byte, n int) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b) // it never fails
	return string(b)
}

// program is one that nothing can run, with a text in it.
func program(text string) string {
	return string(pipetest.ELF{Static: true}.Bytes()) + strings.Repeat("\x00", 100) + text + "\x00" + noise(9, 50)
}

func TestDescribe_recognisesRuntimes(t *testing.T) {
	t.Parallel()
	const nodeHeader = "#define NODE_MAJOR_VERSION 22\n#define NODE_MINOR_VERSION 11\n#define NODE_PATCH_VERSION 0\n"
	const nodeURL = "https://nodejs.org/download/release/v20.20.2/node-v20.20.2.tar.gz"
	const rbconfig = "  CONFIG[\"MAJOR\"] = \"3\"\n  CONFIG[\"MINOR\"] = \"3\"\n  CONFIG[\"TEENY\"] = \"6\"\n"
	for name, tt := range map[string]struct {
		in   files
		want []string // name, version, directory, file
	}{
		"a node with headers": {files{"node/bin/node": program(nodeURL), "node/include/node/node_version.h": nodeHeader}, []string{"node 22.11.0 node node/include/node/node_version.h"}},
		"node alone":          {files{"node/bin/node": program(nodeURL)}, []string{"node 20.20.2 node node/bin/node"}},
		"a node of one's own": {files{"bin/node": program("NODE_OPTIONS")}, []string{"node  . bin/node"}},
		"node of npm":         {files{"node_modules/node/bin/node": program(nodeURL)}, []string{"node 20.20.2 node_modules/node node_modules/node/bin/node"}},
		"another node":        {files{"bin/node": program("a cluster's"), "node": "text", "lib/node/x.js": ""}, nil},
		"where blocks meet":   {files{"bin/node": program(strings.Repeat("x", 1<<20-200) + nodeURL + noise(3, 1<<20))}, []string{"node 20.20.2 . bin/node"}},
		"ruby": {files{
			"ruby/lib/ruby/3.3.0/x86_64-linux/rbconfig.rb": rbconfig, "ruby/bin/ruby": program("ruby 3.3.6 (2024-11-05 revision 75015d4c1f) [x86_64-linux]"),
		}, []string{"ruby 3.3.6 ruby ruby/lib/ruby/3.3.0/x86_64-linux/rbconfig.rb"}},
		"ruby of Debian": {files{"usr/lib/x86_64-linux-gnu/ruby/3.3.0/rbconfig.rb": rbconfig}, []string{"ruby 3.3.6 usr usr/lib/x86_64-linux-gnu/ruby/3.3.0/rbconfig.rb"}},
		"ruby's program": {files{"r/lib/libruby.so.3.1": program("ruby 3.1.2p20 (2022-04-12 revision 4491bb740a) [x86_64-linux-gnu]")}, []string{"ruby 3.1.2 r r/lib/libruby.so.3.1"}},
		"python": {files{
			".heroku/python/include/python3.12/patchlevel.h": "#define PY_VERSION      \t\"3.12.7\"\n", ".heroku/python/bin/python3.12": program("\x003.12.9"),
		}, []string{"python 3.12.7 .heroku/python .heroku/python/include/python3.12/patchlevel.h"}},
		"python's program": {files{"py/bin/python3.12": program("no version"), "py/lib/libpython3.12.so.1.0": program("3.12.8")}, []string{"python 3.12.8 py py/lib/libpython3.12.so.1.0"}},
		"some python":      {files{"py/bin/python3.12": program("no version")}, []string{"python  py py/bin/python3.12"}},
		"java":             {files{"jdk/release": "IMPLEMENTOR=\"Eclipse Adoptium\"\nJAVA_VERSION=\"21.0.5\"\n", "jdk/bin/java": program("")}, []string{"java 21.0.5 jdk jdk/release"}},
		"a release file":   {files{"release": "JAVA_VERSION=\"21.0.5\"\n", "VERSION": "go1.23.4\n"}, nil},
		"go":               {files{"go/VERSION": "go1.23.4\ntime 2024-11-26T19:04:31Z\n", "go/bin/go": program("")}, []string{"go 1.23.4 go go/VERSION"}},
		"two":              {files{"a/bin/node": program(nodeURL), "b/include/node/node_version.h": nodeHeader}, []string{"node 20.20.2 a a/bin/node", "node 22.11.0 b b/include/node/node_version.h"}},
	} {
		var got []string
		for _, r := range inspect.Describe(read(t, tt.in)).Runtimes {
			got = append(got, fmt.Sprintf("%s %s %s %s", r.Name, r.Version, r.Dir, r.From))
			if r.Dir == "." != (r.Files == 0) {
				t.Errorf("%s: %+v", name, r)
			}
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// What real programs tell is what they say themselves. Those of some distributions do not tell their
// version, since all of it is in a library.
func TestLook_isRightAboutTheRuntimesHere(t *testing.T) {
	t.Parallel()
	ask := func(tool string, args ...string) string {
		pipetest.NeedTools(t, tool)
		out, err := exec.Command(tool, args...).Output()
		if err != nil {
			t.Skipf("%s: %v", tool, err)
		}
		return strings.TrimSpace(string(out))
	}
	for _, tt := range []struct{ path, file, version string }{
		{"bin/node", ask("node", "-p", "process.execPath"), ask("node", "-p", "process.versions.node")},
		{"lib/ruby/3.0.0/x/rbconfig.rb", ask("ruby", "-rrbconfig", "-e", `puts File.join(RbConfig::CONFIG["rubyarchdir"], "rbconfig.rb")`), ask("ruby", "-e", "puts RUBY_VERSION")},
		{"bin/python3.", ask("python3", "-c", "import os, sys; print(os.path.realpath(sys.executable))"), ask("python3", "-c", "import platform; print(platform.python_version())")},
	} {
		f, err := os.Open(tt.file)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() }) // it was only read
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(tt.path, ".") {
			tt.path += strings.Split(tt.version, ".")[1]
		}
		elf := filepath.Ext(tt.path) != ".rb"
		var l inspect.Look
		if !l.Wants(tt.path, info.Size(), elf) {
			t.Errorf("%s is not looked at", tt.path)
		}
		l.See(tt.path, info.Size(), f)
		got := inspect.Describe(inspect.Slug{Runtimes: &l}).Runtimes
		if len(got) != 1 || got[0].Version != tt.version && (got[0].Version != "" || !elf) {
			t.Errorf("%s %s: %+v", tt.file, tt.version, got)
		}
	}
}

func TestDescribe_addsUp(t *testing.T) {
	t.Parallel()
	c := inspect.Describe(read(t, files{
		"node/bin/node": program("x"), "lib/x.js": "one()", "lib/y.mjs": "two()", "lib/z.css": "a {}", "lib/link": "-> x.js",
		"run": "#!/bin/sh\n", "LICENSE-MIT": "do", "logo.PNG": noise(1, 5000), "blob": noise(2, 9000),
	}))
	if c.Files != 8 || c.Links != 1 || c.Dirs != 3 || c.Programs != 1 || c.Scripts != 1 {
		t.Errorf("%+v", c)
	}
	var size, packed int64
	for _, s := range c.Top {
		size += s.Size
		packed += s.Packed
	}
	if size != c.Size || packed < 13_500 {
		t.Errorf("the directories have %d bytes, %d packed; all files have %d", size, packed, c.Size)
	}
	kinds := map[string]int{}
	for _, k := range c.Kinds {
		kinds[k.Kind] = k.Files
	}
	if d := cmp.Diff(map[string]int{"programs": 1, "JavaScript": 2, "styles": 1, "scripts": 1, "documents": 1, "images": 1, "other": 1}, kinds); d != "" {
		t.Error(d)
	}
	if c.Top[0].Path != "." || c.Largest[0].Path != "blob" || len(c.Largest) != 8 {
		t.Errorf("%+v, %+v", c.Top, c.Largest)
	}
}

func TestDescribe_findsDuplicates(t *testing.T) {
	t.Parallel()
	big := noise(1, 200_000)
	c := inspect.Describe(read(t, files{
		"a/big": big, "b/big": big, "c/big": big, "a/small": "some text", "b/small": "some text", "a/empty": "", "b/empty": "", "only": "once",
	}))
	d := c.Duplicates
	if d.Contents != 2 || d.Files != 3 || d.Size != 400_000+9 || d.Packed < 390_000 || d.Packed > 410_000 {
		t.Errorf("%+v", d)
	}
	if first := d.Largest[0]; first.Files != 2 || !slices.Equal(first.Paths, []string{"a/big", "b/big", "c/big"}) || first.Size != 400_000 {
		t.Errorf("%+v", first)
	}
	// Where the copy comes right after, gzip has seen it, and it takes nearly nothing.
	near := inspect.Describe(read(t, files{"a": noise(1, 9000), "b": noise(1, 9000), "c": noise(1, 9000), "d": noise(1, 9000)})).Duplicates
	if near.Size != 27_000 || near.Packed > 9000 {
		t.Errorf("%+v", near)
	}
}

func TestDescribe_saysWhatCouldBeLeftOut(t *testing.T) {
	t.Parallel()
	in := files{"app.js.map": strings.Repeat("text", 50_000), "logo.png": noise(1, 1000)}
	for i := range 7 {
		in[fmt.Sprintf("node_modules/p%d/test/x", i)] = noise(byte(10+i), 9000)
	}
	c := inspect.Describe(read(t, in))
	if len(c.Advice) != 2 {
		t.Fatalf("%+v", c.Advice)
	}
	a := c.Advice[0] // the map has more bytes, and takes less
	if a.Kind != "tests" || a.Files != 7 || a.Size != 63_000 || a.Packed < 58_000 || len(a.Paths) != 5 || a.More != 2 || a.Paths[0].Size != 9000 {
		t.Errorf("%+v", a)
	}
	if m := c.Advice[1]; m.Kind != "source maps" || m.Size != 200_000 || m.Packed > 20_000 {
		t.Errorf("%+v", m)
	}
}

func TestDescribe_saysWhatTheMachineRuns(t *testing.T) {
	t.Parallel()
	needs := func(v ...string) []pipetest.ELFVersions {
		return []pipetest.ELFVersions{{Library: "libc.so.6", Versions: v}}
	}
	c := inspect.Describe(read(t, files{
		"bin/web":    string(pipetest.ELF{Interp: "/lib64/ld-linux-x86-64.so.2", Needed: []string{"libc.so.6", "libown.so.1", "libz.so.1"}, Requires: needs("GLIBC_2.9", "GLIBC_2.34")}.Bytes()),
		"lib/own.so": string(pipetest.ELF{Library: true, Soname: "libown.so.1", Needed: []string{"libc.so.6"}, Requires: needs("GLIBC_2.4", "GLIBC_PRIVATE")}.Bytes()),
		"bin/arm":    string(pipetest.ELF{Machine: 183, Interp: "/lib/ld-linux-aarch64.so.1"}.Bytes()),
		"bin/mac":    "\xcf\xfa\xed\xfe" + noise(1, 100),
	}))
	want := inspect.ELF{
		Machines: map[string]int{"x86-64": 2, "arm64": 1}, Dynamic: 1, Static: 1, Foreign: 1, GLIBC: "2.34", GLIBCOf: "bin/web",
		Needs: []inspect.Needed{{Name: "libc.so.6", Files: 2}, {Name: "libz.so.1", Files: 1}},
	}
	if d := cmp.Diff(want, c.ELF); d != "" {
		t.Error(d)
	}
}

// lines draws a tree for a test.
func lines(n inspect.Node, indent string) string {
	text := fmt.Sprintf("%s%s %d", indent, n.Path, n.Size)
	if n.More > 0 {
		text = fmt.Sprintf("%s+%d %d", indent, n.More, n.Size)
	}
	text += "\n"
	for _, c := range n.Nodes {
		text += lines(c, indent+" ")
	}
	return text
}

func TestTree_foldsWhatIsSmall(t *testing.T) {
	t.Parallel()
	in := files{"lib/deep/down/a": noise(1, 50_000), "lib/deep/down/b": noise(2, 30_000), "x/only/file": noise(3, 20_000), "small": noise(4, 100), "tiny/one": "1", "tiny/two": "2"}
	for i := range 20 {
		in[fmt.Sprintf("many/%02d", i)] = noise(byte(10+i), 500)
	}
	s := read(t, in)
	for _, tt := range []struct {
		o    inspect.Folding
		want string
	}{
		{inspect.Folding{Share: 5}, ". 110102\n lib/deep/down/ 80000\n  a 50000\n  b 30000\n x/only/file 20000\n many/ 10000\n +2 102\n"},
		{inspect.Folding{Share: 50}, ". 110102\n lib/deep/down/ 80000\n +4 30102\n"},
		{inspect.Folding{Share: 5, Depth: 1}, ". 110102\n lib/deep/down/ 80000\n x/only/file 20000\n many/ 10000\n +2 102\n"},
		{inspect.Folding{Share: 100}, ". 110102\n +5 110102\n"},
	} {
		if d := cmp.Diff(tt.want, lines(*inspect.Tree(s, tt.o), "")); d != "" {
			t.Errorf("%+v: %s", tt.o, d)
		}
	}
}

// TestTree_losesNothing folds random trees in many ways: what is in a node that was opened adds up.
func TestTree_losesNothing(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		in := files{}
		for range 1 + r.IntN(60) {
			name := ""
			for range 1 + r.IntN(4) {
				name += fmt.Sprintf("d%d/", r.IntN(4))
			}
			in[name+fmt.Sprintf("f%d", r.IntN(100))] = noise(byte(r.IntN(256)), r.IntN(2000))
		}
		s := read(t, in)
		for _, o := range []inspect.Folding{{}, {Share: 1}, {Share: 10}, {Share: 3, Depth: 2}} {
			var check func(n inspect.Node, top bool)
			check = func(n inspect.Node, top bool) {
				var sum inspect.Sizes
				for _, c := range n.Nodes {
					sum.Size += c.Size
					sum.Files += c.Files
					check(c, false)
				}
				if n.Nodes != nil && (sum.Size != n.Size || sum.Files != n.Files) {
					t.Errorf("%+v: %s has %+v, its nodes have %+v", o, n.Path, n.Sizes, sum)
				}
				if top && (n.Size != s.Tree.Size() || n.Files != len(in)) {
					t.Errorf("%+v: the whole has %+v", o, n.Sizes)
				}
			}
			check(*inspect.Tree(s, o), true)
		}
	}
}

// TestCompare_addsUp compares random trees: what the files differ by is what the tree does.
func TestCompare_addsUp(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	random := func() files {
		in := files{}
		for range 1 + r.IntN(60) {
			name := ""
			for range r.IntN(4) {
				name += fmt.Sprintf("d%d/", r.IntN(3))
			}
			in[name+fmt.Sprintf("f%d", r.IntN(12))] = noise(byte(r.IntN(3)), 100+r.IntN(3))
		}
		return in
	}
	for range 25 {
		before, after := read(t, random()), read(t, random())
		d := inspect.Compare(before, after, inspect.Folding{Share: float64(r.IntN(20))})
		grown := after.Tree.Size() - before.Tree.Size()
		if d.Same != (d.Tree == nil) || d.Same != cmp.Equal(before.Tree, after.Tree) {
			t.Fatalf("same: %v; %v, %v", d.Same, before.Tree, after.Tree)
		}
		if d.Tree != nil && d.Tree.Size-d.Tree.Before.Size != grown {
			t.Errorf("the tree grew by %d, not %d", d.Tree.Size-d.Tree.Before.Size, grown)
		}
		for _, f := range d.Files {
			if f.After != nil {
				grown -= f.After.Size
			}
			if f.Before != nil {
				grown += f.Before.Size
			}
		}
		if grown != 0 {
			t.Errorf("the files leave %d bytes unexplained", grown)
		}
	}
}

func TestCompare_saysWhatGrewAndWhy(t *testing.T) {
	t.Parallel()
	lock := func(version string) string {
		return fmt.Sprintf(`{"packages":{"node_modules/a":{"version":%q},"node_modules/b":{"version":"1.0.0"}}}`, version)
	}
	const header = "#define NODE_MAJOR_VERSION %d\n#define NODE_MINOR_VERSION 1\n#define NODE_PATCH_VERSION 0\n"
	before := read(t, files{
		"node/include/node/node_version.h": fmt.Sprintf(header, 20), "node/bin/node": noise(1, 90_000), "web.js": "serve()", "gone": noise(2, 5000), "link": "-> web.js",
		"node_modules/.package-lock.json": lock("1.0.0"), "node_modules/a/index.js": "a", "node_modules/b/index.js": "b",
	})
	after := read(t, files{
		"node/include/node/node_version.h": fmt.Sprintf(header, 22), "node/bin/node": noise(3, 140_000), "web.js": "serve()", "new/file": noise(4, 3000), "link": "-> new/file",
		"node_modules/.package-lock.json": lock("1.2.0"), "node_modules/a/index.js": "a", "node_modules/b/index.js": "b",
	})
	d := inspect.Compare(before, after, inspect.Folding{Share: 1})
	var got []string
	for _, f := range d.Files {
		got = append(got, f.Action+" "+f.Path+" "+f.What)
	}
	slices.Sort(got)
	want := []string{
		"added new/file ", "changed link link", "changed node/bin/node content", "changed node/include/node/node_version.h content",
		"changed node_modules/.package-lock.json content", "removed gone ",
	}
	if c := cmp.Diff(want, got); c != "" {
		t.Error(c)
	}
	if d.Files[0].Path != "node/bin/node" || d.Same {
		t.Errorf("%+v", d.Files[0])
	}
	if c := cmp.Diff([]inspect.VersionChange{{Kind: "runtime", Name: "node", Before: []string{"20.1.0"}, After: []string{"22.1.0"}}}, d.Runtimes); c != "" {
		t.Error(c)
	}
	if c := cmp.Diff([]inspect.VersionChange{{Kind: "npm", Name: "a", Before: []string{"1.0.0"}, After: []string{"1.2.0"}}}, d.Packages); c != "" {
		t.Error(c)
	}
	if n := d.Tree; n.Size-n.Before.Size != 50_000+3000-5000 || n.Nodes[0].Path != "node/" {
		t.Errorf("%+v", n)
	}
	valid(t, schema.Compared, d)
}

func TestCompare_findsNothingInTheSame(t *testing.T) {
	t.Parallel()
	in := files{"a/b": noise(1, 1000), "c": "text"}
	d := inspect.Compare(read(t, in), read(t, in), inspect.Folding{})
	if !d.Same || d.Tree != nil || len(d.Files)+len(d.Runtimes)+len(d.Packages) > 0 {
		t.Errorf("%+v", d)
	}
	valid(t, schema.Compared, d)
	in["a/b"] = "-> ../c"
	if d := inspect.Compare(read(t, files{"a/b": "x"}), read(t, in), inspect.Folding{}); d.Same || d.Files[0].What != "kind" && d.Files[1].What != "kind" {
		t.Errorf("%+v", d)
	}
}

func valid(t *testing.T, name string, doc any) {
	t.Helper()
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Check(name, b); err != nil {
		t.Errorf("%v\n%s", err, b)
	}
}

func TestReport_fitsItsSchema(t *testing.T) {
	t.Parallel()
	s := read(t, files{
		"bin/node": program("NODE_OPTIONS"), "a/x": "twice", "b/x": "twice", "bin/web": string(pipetest.ELF{Interp: "/lib64/ld-linux-x86-64.so.2", Needed: []string{"libc.so.6"}}.Bytes()),
		"node_modules/a/package.json": `{"name":"a","version":"1.0.0"}`, "Gemfile.lock": "GEM\n  specs:\n    rack (3.0.0)\n",
	})
	c := inspect.Describe(s)
	c.Tree = inspect.Tree(s, inspect.Folding{})
	if len(c.NPM) != 1 || len(c.Gems) != 1 {
		t.Errorf("%+v, %+v", c.NPM, c.Gems)
	}
	for _, r := range []inspect.Report{
		{V: inspect.Version, Type: inspect.ReportType, Subject: "tree", ProcessTypes: map[string]string{}, Contents: c},
		{V: inspect.Version, Type: inspect.ReportType, Subject: "page", ProcessTypes: map[string]string{"web": "x"}, Present: &inspect.Stack{Name: "heroku-24"}},
	} {
		r.Findings = []artifact.Finding{{Code: "glibc", Severity: artifact.Error, Message: "needs more"}}
		valid(t, schema.Inspected, r)
	}
}
