// Package junk finds in a tree what an app does not need at run time, and says how much smaller
// the slug's content would be without it.
//
// It is for whoever shows what is in a slug. It looks at names alone, reads nothing and decides
// nothing: what it names may be needed all the same, so it is advice and never an error.
package junk

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/slugfile/slugfile/pipeline/tree"
)

// Advice is one kind of what could be left out.
type Advice struct {
	// Kind is one of the constants below.
	Kind string `json:"kind"`
	// Files and Bytes are what would be saved, before compression.
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	// Paths are where it lies, the largest first: directories that are of the kind as a whole, and
	// single files. There are at most MaxPaths; More counts the others.
	Paths []Path `json:"paths"`
	More  int    `json:"more,omitempty"`
	// Hint says how to leave it out, in a sentence without a final stop.
	Hint string `json:"hint"`
}

// Path is a directory or a file, and the size of its files in bytes.
type Path struct {
	Path  string `json:"path"`
	Files int    `json:"files"`
	Bytes int64  `json:"bytes"`
}

// MaxPaths is how many paths an Advice names.
const MaxPaths = 20

// The kinds of junk.
const (
	History      = "version control"
	Leftovers    = "leftovers of editors and systems"
	Caches       = "caches"
	SourceMaps   = "source maps"
	BuildTools   = "build tools"
	Headers      = "headers and libraries to link with"
	Declarations = "type declarations"
	Tests        = "tests"
	Documents    = "documents"
)

// hints say what to do about each kind.
var hints = map[string]string{
	History:      "exclude them from the outputs that bring them: a clone in a step can drop its .git",
	Leftovers:    "name them in .slugignore",
	Caches:       `let the step write them to $HOME, which is kept and never part of the slug, or exclude them`,
	SourceMaps:   `exclude "**/*.map", and hand them to your error tracker instead`,
	BuildTools:   `install without them ("npm ci --omit=dev"), or limit the runtime with "only"`,
	Headers:      `limit the runtime with "only"; nothing is compiled on a dyno`,
	Declarations: `exclude "**/*.d.ts"; only the TypeScript compiler reads them`,
	Tests:        `name them in .slugignore, or exclude them`,
	Documents:    `limit the runtime with "only", or exclude them`,
}

// order is that of the kinds among which the first that fits counts.
var order = []string{History, Leftovers, Caches, SourceMaps, BuildTools, Headers, Tests, Documents, Declarations}

// Advise looks at a tree, such as what a slug holds below ./app. Each file counts once. The kind
// that would save most comes first; what is empty is left out.
func Advise(m tree.Manifest) []Advice {
	found := map[string]map[string]*Path{}
	for i := range m {
		e := &m[i]
		if e.Kind == tree.Dir {
			continue
		}
		kind, at := classify(e.Path)
		if kind == "" {
			continue
		}
		if found[kind] == nil {
			found[kind] = map[string]*Path{}
		}
		p := found[kind][at]
		if p == nil {
			p = &Path{Path: at}
			found[kind][at] = p
		}
		p.Files++
		p.Bytes += e.Size
	}
	var out []Advice
	for _, kind := range order {
		if found[kind] == nil {
			continue
		}
		a := Advice{Kind: kind, Hint: hints[kind]}
		for _, p := range found[kind] {
			a.Files += p.Files
			a.Bytes += p.Bytes
			a.Paths = append(a.Paths, *p)
		}
		slices.SortFunc(a.Paths, func(x, y Path) int {
			return cmp.Or(cmp.Compare(y.Bytes, x.Bytes), tree.Compare(x.Path, y.Path))
		})
		if a.More = len(a.Paths) - MaxPaths; a.More > 0 {
			a.Paths = slices.Clip(a.Paths[:MaxPaths])
		} else {
			a.More = 0
		}
		out = append(out, a)
	}
	slices.SortStableFunc(out, func(a, b Advice) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return out
}

// dirs are the kinds of directories by their name, wherever they are.
var dirs = map[string]string{
	".git": History, ".hg": History, ".svn": History,
	".idea": Leftovers, ".vscode": Leftovers, "__MACOSX": Leftovers,
	".cache": Caches, "__pycache__": Caches, ".npm": Caches, ".pytest_cache": Caches, ".mypy_cache": Caches, ".ruff_cache": Caches,
	".parcel-cache": Caches, ".turbo": Caches, ".nyc_output": Caches, ".sass-cache": Caches, ".gradle": Caches, ".tox": Caches,
	"__tests__": Tests, "__mocks__": Tests, "__snapshots__": Tests,
}

// pairs are those by the names of two directories, one in the other.
var pairs = map[string]string{
	".next/cache": Caches, ".yarn/cache": Caches, "tmp/cache": Caches, ".nuxt/cache": Caches,
	"include/node": Headers, "share/man": Documents, "share/doc": Documents, "share/info": Documents, "share/ri": Documents, "share/gtk-doc": Documents,
	"node_modules/npm": BuildTools, "node_modules/corepack": BuildTools, "pkg/tool": BuildTools, "go/misc": BuildTools, "lib/pkgconfig": Headers,
}

// tools are npm packages that build, check or test, and that no app runs. Their scopes come first.
var tools = map[string]bool{
	"@types": true, "@babel": true, "@esbuild": true, "@rollup": true, "@swc": true, "@eslint": true, "@typescript-eslint": true, "@jest": true,
	"@parcel": true, "@typescript": true, "@storybook": true, "@vitejs": true,
	"typescript": true, "webpack": true, "webpack-cli": true, "webpack-dev-server": true, "esbuild": true, "vite": true, "rollup": true, "parcel": true,
	"eslint": true, "prettier": true, "jest": true, "mocha": true, "vitest": true, "cypress": true, "playwright": true, "playwright-core": true,
	"karma": true, "nyc": true, "node-gyp": true, "nodemon": true, "ts-node": true, "tsx": true, "terser": true, "uglify-js": true,
	"sass": true, "node-sass": true, "less": true, "postcss-cli": true, "tailwindcss": true, "gulp": true, "grunt": true, "husky": true, "lint-staged": true,
}

// testDirs are names that mean tests at the top of an app or a package. Further down they may
// mean anything.
var testDirs = map[string]bool{"test": true, "tests": true, "spec": true, "e2e": true, "testdata": true, "coverage": true, "benchmark": true, "benchmarks": true}

// classify says what a file is, and which path of it is so as a whole: a directory above it, or
// the file. The kind is empty for what belongs into a slug.
func classify(name string) (kind, at string) {
	parts := strings.Split(name, "/")
	files := len(parts) - 1
	top := 0 // where the innermost package, or the app, begins
	for i := range files {
		part := parts[i]
		kind := dirs[part]
		if i > 0 && kind == "" {
			kind = pairs[parts[i-1]+"/"+part]
		}
		if kind == "" && i > 0 && parts[i-1] == "include" && (strings.HasPrefix(part, "python3") || strings.HasPrefix(part, "ruby-")) {
			kind = Headers
		}
		if kind == "" && i > 0 && parts[i-1] == "node_modules" && tools[part] {
			kind = BuildTools
		}
		if kind == "" && i == top && testDirs[part] {
			kind = Tests
		}
		if kind == "" && part == "cache" && i > 1 && parts[i-2] == "ruby" && files-i == 1 && strings.HasSuffix(name, ".gem") {
			kind = Caches
		}
		if kind != "" {
			return kind, strings.Join(parts[:i+1], "/")
		}
		switch {
		case part == "node_modules":
			top = i + 2
			if i+1 < files && strings.HasPrefix(parts[i+1], "@") {
				top++
			}
		case part == "gems" && i > 0:
			top = i + 2
		}
	}
	return classifyFile(path.Base(name)), name
}

// classifyFile goes by the name of a file alone.
func classifyFile(base string) string {
	switch base {
	case ".DS_Store", "Thumbs.db", "desktop.ini", "npm-debug.log", "yarn-error.log", ".eslintcache":
		return Leftovers
	}
	switch path.Ext(base) {
	case ".map":
		for _, of := range []string{".js.map", ".css.map", ".mjs.map", ".cjs.map", ".ts.map", ".mts.map"} {
			if strings.HasSuffix(base, of) {
				return SourceMaps
			}
		}
	case ".swp", ".swo", ".orig", ".rej":
		return Leftovers
	case ".a", ".la":
		return Headers
	case ".ts", ".mts", ".cts":
		if strings.HasSuffix(strings.TrimSuffix(base, path.Ext(base)), ".d") {
			return Declarations
		}
		if strings.Contains(base, ".test.") || strings.Contains(base, ".spec.") {
			return Tests
		}
	case ".js", ".jsx", ".mjs", ".cjs", ".tsx":
		if strings.Contains(base, ".test.") || strings.Contains(base, ".spec.") {
			return Tests
		}
	case ".go":
		if strings.HasSuffix(base, "_test.go") {
			return Tests
		}
	}
	return ""
}
