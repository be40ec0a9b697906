package tree

import (
	"fmt"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Glob reports whether a path matches a pattern: `*` and `?` stop at a slash, `**` as a
// whole component stands for any number of directories, `[a-z]` and `{a,b}` are as in a
// shell. A name that starts with a dot is no exception. A malformed pattern matches nothing.
func Glob(pattern, path string) bool {
	return doublestar.MatchUnvalidated(pattern, path)
}

// ValidGlob says what is wrong with a pattern, or nil.
func ValidGlob(pattern string) error {
	if pattern == "" {
		return fmt.Errorf("pattern is empty")
	}
	if !doublestar.ValidatePattern(pattern) {
		return fmt.Errorf("pattern %q: a bracket, a brace or a backslash is not closed", pattern)
	}
	return nil
}

// Select returns what the patterns name, in the manifest's order: a file or a link, a
// directory with all below it, or whatever a glob matches, again with all below it. The
// pattern "." names everything. A name is tried word for word before it is read as a glob.
func Select(m Manifest, patterns []string) Manifest {
	plain := make(map[string]bool, len(patterns))
	var globs []string
	for _, p := range patterns {
		p = path.Clean(p)
		plain[p] = true
		if strings.ContainsAny(p, `*?[{\`) {
			globs = append(globs, p)
		}
	}
	if plain["."] {
		return m.Filter(func(Entry) bool { return true })
	}
	// The answer for a directory serves everything below it.
	known := map[string]bool{}
	var named func(p string) bool
	named = func(p string) bool {
		if plain[p] {
			return true
		}
		for _, g := range globs {
			if Glob(g, p) {
				return true
			}
		}
		dir := path.Dir(p)
		if dir == "." {
			return false
		}
		in, ok := known[dir]
		if !ok {
			in = named(dir)
			known[dir] = in
		}
		return in
	}
	return m.Filter(func(e Entry) bool { return named(e.Path) })
}
