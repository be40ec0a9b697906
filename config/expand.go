package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/slugfile/slugfile/config/diag"
	"github.com/slugfile/slugfile/config/yamlnode"
)

// gitNames may stand in release.* only: a slug must not depend on the commit.
var gitNames = []string{"git.sha", "git.short", "git.branch"}

// literal matches the paths whose text belongs to the shell, or to the app.
var literal = regexp.MustCompile(`^(process_types[.\[].*|build\[\d+\]\.run|files\[\d+\]\.content)$`)

// reread matches the paths whose value is no text: what a variable holds there is read
// as a number, or as true and false.
var reread = regexp.MustCompile(`^runtimes[.\[].*\.(strip|build_only)$`)

// expand replaces ${NAME} in the values of the tree.
func (l *loader) expand() {
	l.raw, l.unexpanded = map[*yamlnode.Node]string{}, map[string]bool{}
	vars := l.vars()
	for _, p := range slices.Sorted(maps.Keys(l.places)) {
		n := l.places[p].Value
		if n.Kind != yamlnode.ScalarNode || n.Tag != "!!str" || literal.MatchString(p) || strings.HasPrefix(p, "vars.") || strings.HasPrefix(p, "vars[") {
			continue
		}
		value := l.replace(n, p, func(name string) (string, string, string) { return l.lookup(vars, p, name) })
		if value == n.Value {
			continue
		}
		l.raw[n] = n.Value
		n.Value = value
		if reread.MatchString(p) && n.Style == 0 {
			n.Tag = ""
			n.Tag = n.ShortTag()
		}
	}
}

// lookup is the value of a name at a path; else what is wrong, and a hint.
func (l *loader) lookup(vars map[string]string, path, name string) (value, fault, hint string) {
	if v, ok := vars[name]; ok {
		return v, "", ""
	}
	if slices.Contains(gitNames, name) {
		if !strings.HasPrefix(path, "release.") {
			return "", fmt.Sprintf("${%s} can stand in release only", name), "a slug does not depend on the commit that it is made from"
		}
		if v := l.in.Git[strings.TrimPrefix(name, "git.")]; v != "" {
			return v, "", ""
		}
		return "unknown", "", ""
	}
	known := slices.Sorted(maps.Keys(vars))
	if strings.HasPrefix(path, "release.") {
		known = append(known, gitNames...)
	}
	if meant, ok := diag.Nearest(name, known); ok {
		return "", fmt.Sprintf("no variable %q (did you mean %q?)", name, meant), ""
	}
	if !variable.MatchString(name) {
		return "", fmt.Sprintf("%q is no name of a variable", name), "write $${ for a ${ that is meant literally"
	}
	return "", fmt.Sprintf("no variable %q", name), fmt.Sprintf("declare %s under vars, or write $${ for a ${ that is meant literally", name)
}

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// replace returns the value of n with every ${NAME} replaced. A fault is shown where
// the ${ stands. $${ is a literal ${.
func (l *loader) replace(n *yamlnode.Node, path string, lookup func(string) (value, fault, hint string)) string {
	var b strings.Builder
	s := n.Value
	for i := 0; i < len(s); {
		rest := s[i:]
		switch {
		case strings.HasPrefix(rest, "$${"):
			b.WriteString("${")
			i += 3
		case strings.HasPrefix(rest, "${"):
			end := strings.IndexByte(rest, '}')
			if end < 0 || strings.Contains(rest[2:end], "${") {
				l.unexpanded[path] = true
				l.faultAt(l.inside(n, i), path, `this "${" is never closed with "}"`, "write $${ for a ${ that is meant literally")
				return s
			}
			value, fault, hint := lookup(rest[2:end])
			if fault != "" {
				l.unexpanded[path] = true
				l.faultAt(l.inside(n, i), path, fault, hint)
			}
			b.WriteString(value)
			i += end + 1
		default:
			b.WriteByte(s[i])
			i++
		}
	}
	return b.String()
}

// vars are the variables with their values. One may refer to others; not to itself.
func (l *loader) vars() map[string]string {
	vars := map[string]string{}
	nodes := map[string]*yamlnode.Node{}
	names := l.keys("vars")
	for _, name := range names {
		p := yamlnode.Key("vars", name)
		if n := l.places[p].Value; n.Kind == yamlnode.ScalarNode {
			nodes[name] = n
		}
	}
	open := map[string]bool{}
	var resolve func(name string) string
	resolve = func(name string) string {
		if v, ok := vars[name]; ok {
			return v
		}
		n, p := nodes[name], yamlnode.Key("vars", name)
		open[name] = true
		v := l.replace(n, p, func(other string) (string, string, string) {
			switch {
			case open[other]:
				return "", fmt.Sprintf("the variable %q refers to itself", other), ""
			case nodes[other] != nil:
				return resolve(other), "", ""
			}
			known := map[string]string{}
			for name := range nodes {
				known[name] = ""
			}
			return l.lookup(known, p, other)
		})
		delete(open, name)
		if given, ok := l.in.Vars[name]; ok {
			v = given
		}
		vars[name] = v
		return v
	}
	for _, name := range names {
		if nodes[name] == nil {
			continue
		}
		v := resolve(name)
		if n := nodes[name]; n.Tag == "!!str" && n.Value != v {
			l.raw[n] = n.Value
			n.Value = v
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.in.Vars)) {
		if _, ok := nodes[name]; ok {
			continue
		}
		message, hint := fmt.Sprintf("--var %s: vars has no %q", name, name), "only a variable that slug.yaml declares can be given"
		if meant, ok := diag.Nearest(name, names); ok {
			message += fmt.Sprintf(" (did you mean %q?)", meant)
		}
		l.faultAt(l.f.position("vars"), "vars", message, hint)
	}
	return vars
}

// inside is the place of a byte of a scalar's text in the source; the place of the
// scalar where its text is not what the source says, as with escapes and folded lines.
func (l *loader) inside(n *yamlnode.Node, offset int) diag.Pos {
	whole := yamlnode.At(l.in.Path, n)
	text := n.Value
	if raw, ok := l.raw[n]; ok {
		text = raw
	}
	if offset < 0 || offset > len(text) {
		return whole
	}
	before := text[:offset]
	if n.Style&yamlnode.LiteralStyle != 0 {
		row := strings.Count(before, "\n")
		lines := strings.Split(text, "\n")
		source := strings.TrimSuffix(l.f.Snippet(n.Line+1+row), "\r")
		indent, ok := strings.CutSuffix(source, lines[row])
		if !ok || lines[row] == "" || strings.Trim(indent, " ") != "" {
			return whole
		}
		inLine := before[strings.LastIndexByte(before, '\n')+1:]
		return diag.Pos{File: l.in.Path, Line: n.Line + 1 + row, Column: len(indent) + utf8.RuneCountInString(inLine) + 1}
	}
	source := []rune(l.f.Snippet(n.Line))
	start := n.Column - 1
	if n.Style&(yamlnode.SingleQuotedStyle|yamlnode.DoubleQuotedStyle) != 0 {
		start++
	}
	if start > len(source) || !strings.HasPrefix(string(source[start:]), before) {
		return whole
	}
	return diag.Pos{File: l.in.Path, Line: n.Line, Column: start + utf8.RuneCountInString(before) + 1}
}
