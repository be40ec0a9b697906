package view

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/sebdah/goldie/v2"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/inspect"
)

func sizes(packed, size int64, files int) inspect.Sizes {
	return inspect.Sizes{Size: size, Packed: packed, Files: files}
}

// hostilePath would clear a screen.
const hostilePath = "node_modules/\x1b[2J/日本語/a-name-that-goes-on-and-on-and-on/and-another-one-that-does-so-too/index.js"

func reports() map[string]inspect.Report {
	heroku24 := &inspect.Stack{Name: "heroku-24", Known: true, Ubuntu: "24.04", GLIBC: "2.39", EndOfLife: "2029-04", Expected: true}
	heroku22 := &inspect.Stack{Name: "heroku-22", Known: true, Ubuntu: "22.04", GLIBC: "2.35", EndOfLife: "2027-04-30", Support: "ending"}
	checksum := digest.Of([]byte("slug")).Checksum()
	usual := inspect.Report{
		Subject: "tree", Checksum: checksum, Size: 49_303_694, Limit: 500_000_000, Layout: inspect.Layout{OK: true}, Present: heroku24, Checked: heroku24,
		ProcessTypes: map[string]string{"web": "node/bin/node web.js", "worker": "node/bin/node worker.js --with " + strings.Repeat("many-flags ", 10)},
		Contents: &inspect.Contents{
			Size: 147_242_788, Files: 763, Dirs: 157, Links: 1, Programs: 3, Libraries: 1, Scripts: 4,
			Top: []inspect.Share{
				{Path: "node", Sizes: sizes(35_258_579, 98_932_688, 1)}, {Path: "node_modules", Sizes: sizes(6_511_854, 34_554_920, 759)},
				{Path: "bin", Sizes: sizes(3_763_384, 6_865_080, 1)}, {Path: ".", Sizes: sizes(6300, 24_900, 3)},
			},
			Kinds:   []inspect.KindShare{{Kind: "programs", Sizes: sizes(42_800_000, 112_700_000, 3)}, {Kind: "JavaScript", Sizes: sizes(4_700_000, 26_200_000, 206)}},
			Largest: []inspect.Share{{Path: "node/bin/node", Sizes: sizes(35_258_579, 98_932_688, 1)}, {Path: hostilePath, Sizes: sizes(1_600_000, 9_100_000, 1)}},
			Duplicates: inspect.Duplicates{
				Contents: 20, Sizes: sizes(3_800_000, 6_900_000, 46),
				Largest: []inspect.Duplicate{
					{Sizes: sizes(3_763_384, 6_865_080, 1), Paths: []string{"bin/tool", "copies/tool"}},
					{Sizes: sizes(1500, 6400, 6), Paths: []string{"a/LICENSE", "b/LICENSE", "c/LICENSE", "d/LICENSE", "e/LICENSE"}, More: 2},
				},
			},
			Advice: []inspect.Advice{
				{
					Kind: "tests", Sizes: sizes(200_000, 900_000, 80), Hint: "name them in .slugignore, or exclude them", More: 3,
					Paths: []inspect.Share{{Path: "node_modules/a/test", Sizes: sizes(100_000, 400_000, 40)}, {Path: "b/test", Sizes: sizes(1, 2, 1)}, {Path: "c/test", Sizes: sizes(1, 2, 1)}, {Path: "d/test", Sizes: sizes(1, 2, 1)}},
				},
				{Kind: "caches", Sizes: sizes(20, 90, 1)},
			},
			Runtimes: []inspect.Runtime{
				{Name: "node", Version: "22.11.0", Dir: "node", Sizes: sizes(35_258_579, 98_932_688, 1)}, {Name: "python", Dir: "."},
			},
			GoPrograms: []inspect.GoProgram{{
				Path: "bin/tool", Go: "1.26.8", Module: "example.com/tool", Version: "v1.2.3", Sizes: sizes(3_763_384, 6_865_080, 1),
				Modules: []inspect.Package{{Name: "golang.org/x/sys", Version: "v0.20.0"}, {Name: "gopkg.in/yaml.v3", Version: "v3.0.1"}},
			}},
			NPM: make([]inspect.Package, 72), Gems: make([]inspect.Package, 1),
			ELF: inspect.ELF{
				Machines: map[string]int{"x86-64": 3, "arm64": 1}, Static: 1, Dynamic: 2, Damaged: 1, GLIBC: "2.34", GLIBCOf: "bin/tool",
				Needs: []inspect.Needed{
					{Name: "libc.so.6"}, {Name: "ld-linux-x86-64.so.2"}, {Name: "libdl.so.2"}, {Name: "libgcc_s.so.1"}, {Name: "libm.so.6"},
					{Name: "libpthread.so.0"}, {Name: "libstdc++.so.6"}, {Name: "libz.so.1"}, {Name: "libssl.so.3"}, {Name: "libcrypto.so.3"},
				},
			},
		},
	}
	wrong := inspect.Report{Subject: "../page.html", Size: 89, Layout: inspect.Layout{Why: `read slug: entry "node/": the name does not start with ./app/, so a dyno would not have the file where the app looks`}}
	large := usual
	large.Limit, large.Present, large.ProcessTypes = 20_000_000, heroku22, nil
	large.Findings = []artifact.Finding{{Code: "glibc", Severity: artifact.Advice, Path: "bin/tool", Message: "needs GLIBC_2.38; heroku-24 has 2.35", Hint: "link statically"}}
	many := *usual.Contents
	many.Top, many.Duplicates, many.Advice, many.Runtimes, many.GoPrograms, many.NPM, many.Gems, many.ELF = nil, inspect.Duplicates{}, nil, nil, nil, nil, nil, inspect.ELF{}
	for i := range 12 {
		many.Top = append(many.Top, inspect.Share{Path: fmt.Sprintf("directory-%d", i), Sizes: sizes(1_000_000, 2_000_000, 9)})
	}
	large.Contents = &many
	tree := usual
	contents := *usual.Contents
	contents.Tree = &inspect.Node{Path: ".", Sizes: sizes(49_300_000, 147_200_000, 763), Nodes: []inspect.Node{
		{Path: "node/bin/node", Sizes: sizes(35_258_579, 98_932_688, 1)},
		{Path: "node_modules/", Sizes: sizes(6_511_854, 34_554_920, 759), Nodes: []inspect.Node{
			{Path: "typescript/", Sizes: sizes(5_900_000, 32_400_000, 116), Nodes: []inspect.Node{
				{Path: "lib/a-directory-with-quite-a-long-name/and-another/typescript.js", Sizes: sizes(1_600_000, 9_100_000, 1)},
				{More: 106, Sizes: sizes(1_700_000, 8_600_000, 106)},
			}},
			{Path: hostilePath + "/", Sizes: sizes(100_000, 300_000, 12)},
			{More: 72, Sizes: sizes(653_500, 2_200_000, 640)},
		}},
		{Path: "bin/tool", Sizes: sizes(3_763_384, 6_865_080, 1)},
	}}
	tree.Contents, tree.Findings = &contents, large.Findings
	return map[string]inspect.Report{"usual": usual, "wrong": wrong, "large": large, "tree": tree}
}

func comparisons() map[string]inspect.Comparison {
	checksum := func(s string) string { return digest.Of([]byte(s)).Checksum() }
	one := func(packed, size int64) *inspect.Sizes { s := sizes(packed, size, 1); return &s }
	was := func(packed, size int64, files int) *inspect.Sizes { s := sizes(packed, size, files); return &s }
	usual := inspect.Comparison{
		Before: inspect.Side{Subject: "v12", Checksum: checksum("a"), Packed: 43_900_000, Size: 130_500_000, Files: 766},
		After:  inspect.Side{Subject: "tree", Checksum: checksum("b"), Packed: 49_300_000, Size: 147_200_000, Files: 773}, Limit: 45_000_000,
		Runtimes: []inspect.VersionChange{{Kind: "runtime", Name: "node", Before: []string{"20.1.0"}, After: []string{"22.1.0"}}, {Kind: "runtime", Name: "ruby", Before: []string{""}}},
		Packages: []inspect.VersionChange{
			{Kind: "go", Name: "github.com/a/very/long/module/name/that/goes/on", After: []string{"v1.2.3"}},
			{Kind: "npm", Name: "encodeurl", Before: []string{"1.0.4"}, After: []string{"1.0.4", "2.0.3"}},
		},
		Tree: &inspect.Node{Path: ".", Sizes: sizes(9_000_000, 20_000_000, 110), Before: was(3_600_000, 3_300_000, 100), Nodes: []inspect.Node{
			{Path: "copies/a/", Sizes: sizes(3_763_384, 6_865_080, 1), Before: was(0, 0, 0)},
			{Path: "node_modules/", Sizes: sizes(1_000_000, 2_000_000, 90), Before: was(2_700_000, 9_000_000, 90), Nodes: []inspect.Node{{Path: "typescript/lib/", Sizes: sizes(1_000_000, 2_000_000, 51), Before: was(2_700_000, 9_000_000, 50)}}},
			{More: 11, Sizes: sizes(20_000, 40_000, 30), Before: was(10_000, 20_000, 30)},
		}},
		Files: []inspect.FileDifference{
			{Action: inspect.Added, Path: "copies/a/tool", After: one(3_763_384, 6_865_080)},
			{Action: inspect.Removed, Path: "node_modules/typescript/lib/tsserver.js", Before: one(1_500_000, 8_600_000)},
			{Action: inspect.Changed, Path: hostilePath, What: "content", Before: one(1000, 3000), After: one(900, 3100)},
			{Action: inspect.Changed, Path: "bin/run", What: "mode", Before: one(100, 200), After: one(100, 200)},
		},
	}
	many := usual
	many.Runtimes, many.Limit, many.Files, many.Packages = nil, 0, nil, nil
	for i := range 40 {
		many.Files = append(many.Files, inspect.FileDifference{Action: inspect.Added, Path: fmt.Sprintf("f/%d", i), After: one(1000, 2000)})
		many.Packages = append(many.Packages, inspect.VersionChange{Kind: "gem", Name: fmt.Sprintf("gem-%d", i), Before: []string{"1.0"}, After: []string{"1.1"}})
	}
	identical := usual
	identical.After = identical.Before
	identical.After.Subject = "../slug.tgz"
	repacked := usual
	repacked.Same, repacked.Tree, repacked.Files, repacked.Runtimes, repacked.Packages = true, nil, nil, nil, nil
	repacked.After.Size, repacked.After.Files = repacked.Before.Size, repacked.Before.Files
	return map[string]inspect.Comparison{"usual": usual, "many": many, "identical": identical, "repacked": repacked}
}

// fits fails when a line is too wide or holds what a terminal acts on.
func fits(t *testing.T, name, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if w := width(line); w > columns {
			t.Errorf("%s: %d columns: %s", name, w, line)
		}
		if strings.ContainsRune(line, 0x1b) {
			t.Errorf("%s: %q", name, line)
		}
	}
}

func TestInspection_isDrawnForPeople(t *testing.T) {
	t.Parallel()
	g := goldie.New(t)
	for name, r := range reports() {
		for suffix, o := range map[string]PlanOptions{"": {}, "-verbose": {Verbose: true}, "-colour": {Style: NewStyle(true)}} {
			if name != "usual" && suffix == "-verbose" || name == "large" && suffix != "" {
				continue
			}
			var b bytes.Buffer
			if err := Inspection(&b, r, o); err != nil {
				t.Fatal(err)
			}
			if suffix != "-colour" {
				fits(t, name+suffix, b.String())
			}
			g.Assert(t, "inspect-"+name+suffix, b.Bytes())
		}
	}
}

func TestComparison_isDrawnForPeople(t *testing.T) {
	t.Parallel()
	g := goldie.New(t)
	for name, d := range comparisons() {
		for suffix, o := range map[string]PlanOptions{"": {}, "-colour": {Style: NewStyle(true)}} {
			if name != "usual" && suffix != "" {
				continue
			}
			var b bytes.Buffer
			if err := Comparison(&b, d, o); err != nil {
				t.Fatal(err)
			}
			if suffix == "" {
				fits(t, name, b.String())
			}
			g.Assert(t, "compared-"+name+suffix, b.Bytes())
		}
	}
	var short, long bytes.Buffer
	d := comparisons()["many"]
	if err := Comparison(&short, d, PlanOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := Comparison(&long, d, PlanOptions{Verbose: true}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(short.String(), "gem-"); n != maxVersions || strings.Count(long.String(), "gem-") != 40 || strings.Count(long.String(), " f/") != 40 {
		t.Errorf("%s\n%s", short.String(), long.String())
	}
}

func TestInspection_fitsHoweverDeepATreeIs(t *testing.T) {
	t.Parallel()
	n := inspect.Node{Path: strings.Repeat("a-long-name", 10) + "/", Sizes: sizes(1, 1, 1_000_000)}
	for range 60 {
		n = inspect.Node{Path: "directory/", Sizes: sizes(1, 1, 3), Nodes: []inspect.Node{n, {Path: "日本語/", Sizes: sizes(1, 1, 10_000)}}}
	}
	r := reports()["tree"]
	r.Contents.Tree = &n
	var b bytes.Buffer
	if err := Inspection(&b, r, PlanOptions{}); err != nil {
		t.Fatal(err)
	}
	fits(t, "deep", b.String())
	if c := strings.Count(b.String(), "directory/"); c != 60 {
		t.Errorf("%d directories are named", c)
	}
}

func TestShortPath_keepsTheFirstAndTheLastNames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		path string
		n    int
		want string
	}{
		{"a/b/c", 20, "a/b/c"},
		{"node_modules/typescript/lib/ru/messages.json", 40, "node_modules/…/lib/ru/messages.json"},
		{"node_modules/typescript/lib/ru/messages.json", 34, "node_modules/…/ru/messages.json"},
		{"node_modules/typescript/lib/ru/", 25, "node_modules/…/lib/ru/"},
		{"node_modules/call-bind-apply-helpers/LICENSE", 34, "…/call-bind-apply-helpers/LICENSE"},
		{"node_modules/call-bind-apply-helpers/LICENSE", 30, "node_modules/…/LICENSE"},
		{"node_modules/typescript/lib/ru/messages.json", 18, "…/ru/messages.json"},
		{"node_modules/typescript/", 20, "…/typescript/"},
		{"a-name-without-any-slash", 11, "a-nam…slash"},
	} {
		if got := shortPath(tt.path, tt.n); got != tt.want {
			t.Errorf("%s in %d columns: %s, not %s", tt.path, tt.n, got, tt.want)
		}
	}
}
