package view

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// changes lists changed files, each one byte larger than before.
func changes(paths ...string) []plan.FileChange {
	var out []plan.FileChange
	for _, p := range paths {
		out = append(out, plan.FileChange{Action: plan.Change, Path: p, Before: file(p, 1), After: file(p, 2)})
	}
	return out
}

// many are n paths below a directory.
func many(dir string, n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("%s/%04d", dir, i))
	}
	return out
}

func foldedPaths(lines []folded) []string {
	var out []string
	for _, l := range lines {
		out = append(out, fmt.Sprintf("%s %d", l.path, len(l.files)))
	}
	return out
}

func TestFold_tellsTheRareFileByFileAndTheCommonByDirectory(t *testing.T) {
	t.Parallel()
	var paths []string
	for _, p := range [][]string{
		many("node_modules/a", 300), many("node_modules/b/lib", 200), {"package.json"}, many("src/deep/er", 1), many("src/web", 3),
	} {
		paths = append(paths, p...)
	}
	for most, want := range map[int][]string{
		8: {
			"node_modules/a/ 300", "node_modules/b/lib/ 200", "package.json 1",
			"src/deep/er/0000 1", "src/web/0000 1", "src/web/0001 1", "src/web/0002 1",
		},
		7: {
			"node_modules/a/ 300", "node_modules/b/lib/ 200", "package.json 1",
			"src/deep/er/0000 1", "src/web/0000 1", "src/web/0001 1", "src/web/0002 1",
		},
		6: {"node_modules/ 500", "package.json 1", "src/deep/er/0000 1", "src/web/0000 1", "src/web/0001 1", "src/web/0002 1"},
		5: {"node_modules/a/ 300", "node_modules/b/lib/ 200", "package.json 1", "src/deep/er/0000 1", "src/web/ 3"},
		3: {"node_modules/ 500", "package.json 1", "src/ 4"},
	} {
		lines, rest := fold(changes(paths...), most)
		if d := cmp.Diff(want, foldedPaths(lines)); d != "" || len(rest.files) > 0 {
			t.Errorf("%d lines (-want +got), %d left:\n%s", most, len(rest.files), d)
		}
	}
}

func TestFold_neverHidesADiff(t *testing.T) {
	t.Parallel()
	files := changes(many("lib", 50)...)
	files[7].Diff = "@@ -1 +1 @@\n-a\n+b\n"
	lines, rest := fold(files, 20)
	if d := cmp.Diff([]string{"lib/ 49", "lib/0007 1"}, foldedPaths(lines)); d != "" || len(rest.files) > 0 {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestFold_keepsTheLargestDirectoriesWhenThereAreTooMany(t *testing.T) {
	t.Parallel()
	var paths []string
	for i := range 30 {
		paths = append(paths, many(fmt.Sprintf("dir%02d", i), i+1)...)
	}
	lines, rest := fold(changes(paths...), 5)
	if d := cmp.Diff([]string{"dir26/ 27", "dir27/ 28", "dir28/ 29", "dir29/ 30"}, foldedPaths(lines)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if len(rest.files) != 26*27/2 || rest.amount() != "351 changed, +351 B" {
		t.Errorf("the rest is %d files: %s", len(rest.files), rest.amount())
	}
}

func TestFold_tellsEveryFileOnceInAsManyLinesAsThereAre(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		paths := rapid.SliceOfN(rapid.StringMatching(`([abc]/){0,4}[a-d/]{0,2}`), 0, 60).Draw(t, "paths")
		files, diffs := changes(paths...), 0
		for i := range files {
			if rapid.IntRange(0, 9).Draw(t, "diff") == 0 {
				files[i].Diff = "x"
				diffs++
			}
		}
		most := rapid.IntRange(2, 40).Draw(t, "most")
		lines, rest := fold(files, most)
		told := map[string]int{}
		for _, l := range append(lines, rest) {
			for _, f := range l.files {
				told[f.Path]++
				if !strings.HasPrefix(f.Path, l.path) {
					t.Fatalf("%q stands for %q", l.path, f.Path)
				}
			}
		}
		for _, p := range paths {
			told[p]--
		}
		for p, n := range told {
			if n != 0 {
				t.Fatalf("%q is told %+d times too often", p, n)
			}
		}
		if len(lines) > max(most, diffs+2) {
			t.Fatalf("%d lines of %d, with %d diffs", len(lines), most, diffs)
		}
		for i := 1; i < len(lines); i++ {
			if len(files) > most && tree.Compare(strings.TrimSuffix(lines[i-1].path, "/"), strings.TrimSuffix(lines[i].path, "/")) > 0 {
				t.Fatalf("%q comes before %q", lines[i-1].path, lines[i].path)
			}
		}
	})
}
