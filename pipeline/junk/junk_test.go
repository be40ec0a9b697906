package junk_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/slugfile/slugfile/pipeline/junk"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// one says what a single file is.
func one(path string) (kind, at string) {
	a := junk.Advise(tree.Manifest{{Path: path, Kind: tree.File, Size: 10}})
	if len(a) == 0 {
		return "", ""
	}
	return a[0].Kind, a[0].Paths[0].Path
}

func TestAdvise_knowsJunkByItsName(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ path, kind, at string }{
		{"vendor/lib/.git/objects/ab/cd", junk.History, "vendor/lib/.git"},
		{".vscode/settings.json", junk.Leftovers, ".vscode"},
		{"public/.DS_Store", junk.Leftovers, "public/.DS_Store"},
		{"node_modules/.cache/babel/x.json", junk.Caches, "node_modules/.cache"},
		{".next/cache/webpack/0.pack", junk.Caches, ".next/cache"},
		{"lib/__pycache__/a.cpython-312.pyc", junk.Caches, "lib/__pycache__"},
		{"vendor/bundle/ruby/3.3.0/cache/rack-3.1.8.gem", junk.Caches, "vendor/bundle/ruby/3.3.0/cache"},
		{"public/app.js.map", junk.SourceMaps, "public/app.js.map"},
		{"node_modules/a/dist/a.d.ts.map", junk.SourceMaps, "node_modules/a/dist/a.d.ts.map"},
		{"node_modules/typescript/lib/tsc.js", junk.BuildTools, "node_modules/typescript"},
		{"node_modules/@types/node/index.d.ts", junk.BuildTools, "node_modules/@types"},
		{"node/lib/node_modules/npm/index.js", junk.BuildTools, "node/lib/node_modules/npm"},
		{"node/include/node/v8.h", junk.Headers, "node/include/node"},
		{"python/include/python3.12/Python.h", junk.Headers, "python/include/python3.12"},
		{"ruby/lib/libruby-static.a", junk.Headers, "ruby/lib/libruby-static.a"},
		{"node/share/man/man1/node.1", junk.Documents, "node/share/man"},
		{"node_modules/a/index.d.ts", junk.Declarations, "node_modules/a/index.d.ts"},
		{"test/web.js", junk.Tests, "test"},
		{"node_modules/a/test/fixture.bin", junk.Tests, "node_modules/a/test"},
		{"node_modules/@s/a/tests/x.js", junk.Tests, "node_modules/@s/a/tests"},
		{"vendor/bundle/ruby/3.3.0/gems/rack-3.1.8/spec/x.rb", junk.Tests, "vendor/bundle/ruby/3.3.0/gems/rack-3.1.8/spec"},
		{"src/web.test.ts", junk.Tests, "src/web.test.ts"},
		{"web_test.go", junk.Tests, "web_test.go"},
	} {
		if kind, at := one(tt.path); kind != tt.kind || at != tt.at {
			t.Errorf("%s: %q at %q, want %q at %q", tt.path, kind, at, tt.kind, tt.at)
		}
	}
}

func TestAdvise_leavesTheAppAlone(t *testing.T) {
	t.Parallel()
	for _, path := range []string{
		"web.js", "node/bin/node", "lib/test/runner.js", "app/models/test/result.rb", "node_modules/a/lib/test/x.js", "node_modules/test/index.js",
		"node_modules/express/index.js", "node_modules/typescript-is/index.js", "public/sitemap.map", "data/europe.map", "contest.js", "latest.ts",
		".github/workflows/x.yml", "gitignore", "cache/x", "tmp/pids/x", "share/data", "src/types.ts", "a.dts", ".profile.d/a.sh", "gems/x.js", "spec", "test",
	} {
		if kind, _ := one(path); kind != "" {
			t.Errorf("%s is taken for %s", path, kind)
		}
	}
}

func TestAdvise_addsUpAndNamesTheLargestFirst(t *testing.T) {
	t.Parallel()
	m := tree.Manifest{
		{Path: "a.js.map", Kind: tree.File, Size: 5},
		{Path: "test", Kind: tree.Dir},
		{Path: "test/a", Kind: tree.File, Size: 100},
		{Path: "test/b", Kind: tree.Link, Target: "a"},
		{Path: "web.js", Kind: tree.File, Size: 1000},
		{Path: "web.test.js", Kind: tree.File, Size: 200},
	}
	got := junk.Advise(m)
	want := []junk.Advice{
		{Kind: junk.Tests, Files: 3, Bytes: 300, Paths: []junk.Path{{Path: "web.test.js", Files: 1, Bytes: 200}, {Path: "test", Files: 2, Bytes: 100}}, Hint: got[0].Hint},
		{Kind: junk.SourceMaps, Files: 1, Bytes: 5, Paths: []junk.Path{{Path: "a.js.map", Files: 1, Bytes: 5}}, Hint: got[1].Hint},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	var many tree.Manifest
	for i := range 50 {
		many = append(many, tree.Entry{Path: fmt.Sprintf("f%02d.css.map", i), Kind: tree.File, Size: int64(i)})
	}
	if a := junk.Advise(many)[0]; len(a.Paths) != junk.MaxPaths || a.More != 30 || a.Paths[0].Path != "f49.css.map" || a.Bytes != 49*50/2 {
		t.Errorf("%+v", a)
	}
	if got := junk.Advise(nil); got != nil {
		t.Errorf("%+v", got)
	}
}

// TestAdvise_isAFunctionOfTheTree: it says the same again, never counts more than there is, and
// has a hint for whatever it names.
func TestAdvise_isAFunctionOfTheTree(t *testing.T) {
	t.Parallel()
	part := rapid.SampledFrom([]string{"node_modules", "a", "@s", "test", ".git", "share", "man", "include", "node", "x.js.map", "b.d.ts", "gems", "cache", "ruby", "web.js"})
	rapid.Check(t, func(t *rapid.T) {
		var m tree.Manifest
		seen := map[string]bool{}
		for range rapid.IntRange(0, 20).Draw(t, "entries") {
			p := ""
			for i := range rapid.IntRange(1, 6).Draw(t, "depth") {
				if i > 0 {
					p += "/"
				}
				p += part.Draw(t, "part")
			}
			if !seen[p] {
				seen[p] = true
				m = append(m, tree.Entry{Path: p, Kind: tree.File, Size: rapid.Int64Range(0, 9).Draw(t, "size")})
			}
		}
		m.Sort()
		got := junk.Advise(m)
		if d := cmp.Diff(got, junk.Advise(m)); d != "" {
			t.Fatal(d)
		}
		files, size := 0, int64(0)
		for _, a := range got {
			files, size = files+a.Files, size+a.Bytes
			if a.Hint == "" || a.Files == 0 || len(a.Paths) == 0 {
				t.Fatalf("%+v", a)
			}
		}
		if files > len(m) || size > m.Size() {
			t.Fatalf("%d of %d files, %d of %d bytes", files, len(m), size, m.Size())
		}
	})
}
