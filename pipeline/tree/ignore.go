package tree

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/slugfile/slugfile/config/diag"
)

// Ignore is a .slugignore. The zero value ignores nothing.
type Ignore struct {
	rules []ignoreRule
}

type ignoreRule struct {
	text    string // for people: ".slugignore:3: *.log"
	glob    string
	plain   bool   // the glob is a name, or names, without a special character
	suffix  string // of a glob that is a star and this, without a special character
	rooted  bool   // else it is matched against the last component
	dirOnly bool
}

// ParseIgnore reads Heroku's format: one pattern a line, and a `#` at the start of a line or
// after a blank opens a comment. A pattern without a slash matches at any depth. One with a
// slash, wherever it stands, is anchored at the root, as the platform's published compiler
// anchors it; a final slash limits it to directories. There is no `!`. The file's name is
// used in rules and positions only.
func ParseIgnore(file string, text []byte) (Ignore, diag.List) {
	var ig Ignore
	var faults diag.List
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if n == 1 {
			line = strings.TrimPrefix(line, "\ufeff") // some editors write a byte order mark
		}
		pattern := strings.TrimLeft(line, " \t")
		indent := len(line) - len(pattern)
		for i := range len(pattern) {
			if pattern[i] == '#' && (i == 0 || pattern[i-1] == ' ' || pattern[i-1] == '\t') {
				pattern = pattern[:i]
				break
			}
		}
		pattern = strings.TrimRight(pattern, " \t")
		if pattern == "" {
			continue
		}
		fault := func(message, hint string) {
			faults.Add(diag.Diagnostic{
				Pos:     diag.Pos{File: file, Line: n, Column: utf8.RuneCountInString(line[:indent]) + 1},
				Message: message, Snippet: line, Hint: hint,
			})
		}
		if strings.HasPrefix(pattern, "!") {
			fault(fmt.Sprintf("pattern %q: there is no negation in .slugignore", pattern),
				`list what stays out; a name that starts with ! is written \!name`)
			continue
		}
		rule := ignoreRule{text: fmt.Sprintf("%s:%d: %s", file, n, pattern)}
		rule.rooted = strings.Contains(pattern, "/")
		rule.dirOnly = strings.HasSuffix(pattern, "/")
		rule.glob = strings.TrimPrefix(strings.Trim(pattern, "/"), "./")
		switch {
		case rule.glob == "" || rule.glob == ".":
			fault(fmt.Sprintf("pattern %q leaves nothing of the app", pattern), "name what stays out")
			continue
		case strings.Contains("/"+rule.glob+"/", "/../"):
			fault(fmt.Sprintf("pattern %q leaves the app's directory", pattern), "write it from the directory of slug.yaml")
			continue
		}
		if err := ValidGlob(rule.glob); err != nil {
			fault(err.Error(), `a bracket or brace that is meant word for word is written with a backslash before it`)
			continue
		}
		rule.plain = !strings.ContainsAny(rule.glob, special)
		if after, ok := strings.CutPrefix(rule.glob, "*"); ok && !rule.rooted && !strings.ContainsAny(after, special) {
			rule.suffix = after
		}
		ig.rules = append(ig.rules, rule)
	}
	return ig, faults
}

// Match says whether a path is ignored, itself or through a directory above it, and by
// which rule: ".slugignore:3: *.log". The first rule of the file that matches is named.
func (ig Ignore) Match(rel string, isDir bool) (rule string, ok bool) {
	for n := range ig.rules {
		r := &ig.rules[n]
		for i := 0; i < len(rel); i++ {
			end := strings.IndexByte(rel[i:], '/')
			if end < 0 {
				end = len(rel)
			} else {
				end += i
			}
			whole := end == len(rel)
			if (!r.dirOnly || !whole || isDir) && r.matches(rel, i, end) {
				return r.text, true
			}
			i = end
		}
	}
	return "", false
}

// special are the characters that make a glob of a name.
const special = `*?[]{}\`

// matches tests the component rel[start:end], or the path that ends with it.
func (r *ignoreRule) matches(rel string, start, end int) bool {
	part := rel[start:end]
	if r.rooted {
		part = rel[:end]
	}
	switch { // most rules are of these two forms, and most names match none
	case r.plain:
		return part == r.glob
	case r.suffix != "":
		return strings.HasSuffix(part, r.suffix)
	}
	return Glob(r.glob, part)
}
