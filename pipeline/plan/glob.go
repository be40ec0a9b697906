package plan

import (
	"path"
	"strings"

	"github.com/slugfile/slugfile/pipeline/tree"
)

// glob is a pattern for many paths. It knows texts that are in every match, by which nearly
// all paths are told apart: matching is twenty times the work of looking for a text.
type glob struct {
	pattern string
	plain   bool // it stands for itself
	// What a match begins with, ends with and has somewhere, each without slashes at its ends:
	// "a/**" matches "a" too.
	prefix, suffix, within string
	// slashes is how many a match has, or -1 when that is open.
	slashes int
}

// meta are the characters that make a pattern of a name.
const meta = `*?[{\`

func hasMeta(p string) bool { return strings.ContainsAny(p, meta) }

func newGlob(pattern string) *glob {
	g := &glob{pattern: pattern, slashes: -1}
	if !strings.ContainsAny(pattern, meta+`]}`) {
		g.plain = true
		return g
	}
	if strings.ContainsAny(pattern, `[]{}\`) {
		return g // what these stand for is not read here
	}
	if !strings.Contains(pattern, "**") {
		g.slashes = strings.Count(pattern, "/")
	}
	isWild := func(r rune) bool { return r == '*' || r == '?' }
	g.prefix = strings.TrimRight(pattern[:strings.IndexFunc(pattern, isWild)], "/")
	g.suffix = strings.TrimLeft(pattern[strings.LastIndexFunc(pattern, isWild)+1:], "/")
	for text := range strings.FieldsFuncSeq(pattern, isWild) {
		if text = strings.Trim(text, "/"); len(text) > len(g.within) {
			g.within = text
		}
	}
	return g
}

// match is tree.Glob.
func (g *glob) match(p string) bool {
	if g.plain {
		return p == g.pattern
	}
	return strings.HasPrefix(p, g.prefix) && strings.HasSuffix(p, g.suffix) && strings.Contains(p, g.within) &&
		(g.slashes < 0 || g.slashes == strings.Count(p, "/")) && tree.Glob(g.pattern, p)
}

// selects reports whether tree.Select would find anything for the pattern.
func selects(m tree.Manifest, pattern string) bool {
	pattern = path.Clean(pattern)
	if start, end := m.Below(pattern); start < end {
		return true
	}
	if !hasMeta(pattern) {
		return false
	}
	g, before := newGlob(pattern), ""
	for i := range m {
		// The directories that hold the path before it too were looked at there.
		for p := m[i].Path; p != "." && (p == before || !tree.Under(before, p)); p = path.Dir(p) {
			if g.match(p) {
				return true
			}
		}
		before = m[i].Path
	}
	return false
}

// fixedPrefix is the directory above the first component that holds a wildcard.
func fixedPrefix(pattern string) string {
	var fixed []string
	for part := range strings.SplitSeq(pattern, "/") {
		if hasMeta(part) {
			break
		}
		fixed = append(fixed, part)
	}
	if len(fixed) == 0 {
		return "."
	}
	return strings.Join(fixed, "/")
}
