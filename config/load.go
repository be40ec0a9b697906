package config

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/slugfile/slugfile/config/diag"
	"github.com/slugfile/slugfile/config/yamlnode"
	"github.com/slugfile/slugfile/schema"
)

// Source is what Load needs to know, as plain data.
type Source struct {
	// Path is the name of slug.yaml in messages.
	Path string
	// Text is the content of slug.yaml.
	Text []byte
	// Procfile is the content of the Procfile beside it, if HasProcfile is set.
	Procfile    []byte
	HasProcfile bool
	// Vars are given on the command line. They win over those of the file, and are taken literally.
	Vars map[string]string
	// Git holds sha, short and branch. What is not there, as outside of a checkout, is written as "unknown".
	Git map[string]string
	// Pins are those of slug.lock. Nil asks for no check of pins.
	Pins []Pin
	// App and Stack win over those of the file when they are not empty.
	App, Stack string
}

// Pin is what Load must know of an entry of slug.lock. URL is expanded.
type Pin struct{ Name, URL string }

// The defaults of slug.yaml.
const (
	defaultTimeout = Duration(30 * time.Minute)
	// Heroku refuses slugs over 1 GB compressed: https://devcenter.heroku.com/articles/slug-compiler
	defaultLimit       = Size(1e9)
	defaultCompression = "default"
	defaultMode        = "0644"
)

// Stacks are the stacks that a slug can be made for.
func Stacks() []string { return []string{"heroku-22", "heroku-24", "heroku-26"} }

// Load reads slug.yaml: it parses, replaces ${}, validates against the schema, decodes,
// sets defaults and checks what a schema cannot say. It reports all faults of the file
// in one pass, sorted by position; the file is nil when there is one.
//
// ${} comes before validation, so that what a variable holds is held to the schema too.
// It is replaced in values after parsing: what a variable holds is never read as YAML.
func Load(in Source) (*File, diag.List) {
	f, faults := load(in)
	faults.Conceal()
	return f, faults
}

func load(in Source) (*File, diag.List) {
	root, faults := yamlnode.Parse(in.Path, in.Text)
	if root == nil {
		return nil, faults
	}
	f := &File{path: in.Path, source: yamlnode.Lines(in.Text), positions: map[string]diag.Pos{}}
	l := loader{in: in, f: f, root: root, places: yamlnode.Index(root), faults: faults, broken: map[string]bool{}}
	for p, place := range l.places {
		f.positions[p] = place.Pos(in.Path)
	}
	// A fault of the whole file is shown where it begins, not at its first key.
	f.positions[""] = diag.Pos{File: in.Path, Line: 1, Column: 1}

	l.expand()
	for _, d := range schema.Validate(root, in.Path) {
		// The text of a value whose variables are not known is not its value.
		if !l.unexpanded[d.Path] {
			l.faults.Add(d)
		}
	}
	for _, d := range l.faults {
		l.broken[d.Path] = true
	}
	// What has a wrong type is reported already; what can be decoded is decoded and checked.
	_ = root.Decode(f)
	l.overrides()
	f.setDefaults()
	l.check()

	l.faults.Sort()
	for i, d := range l.faults {
		if d.Snippet == "" && d.Pos.File == in.Path {
			l.faults[i].Snippet = f.Snippet(d.Pos.Line)
		}
	}
	if len(l.faults) > 0 {
		return nil, l.faults
	}
	return f, nil
}

// loader holds what one Load knows.
type loader struct {
	in     Source
	f      *File
	root   *yamlnode.Node
	places map[string]yamlnode.Place
	faults diag.List
	// broken are the paths that have a fault: later checks of the same value would say it twice.
	broken map[string]bool
	// raw are the texts that ${} was replaced in.
	raw map[*yamlnode.Node]string
	// unexpanded are the paths of values that have a ${} which could not be replaced.
	unexpanded map[string]bool
}

// fault reports a fault at the value of a path, once.
func (l *loader) fault(path, message, hint string) {
	l.faultAt(l.f.position(path), path, message, hint)
}

func (l *loader) faultAt(pos diag.Pos, path, message, hint string) {
	l.broken[path] = true
	l.faults.Add(l.f.diagnoseAt(pos, path, message, hint))
}

// keyFault reports a fault at the key of a path.
func (l *loader) keyFault(path, message, hint string) {
	pos := l.f.position(path)
	if p, ok := l.places[path]; ok && p.Key != nil {
		pos = yamlnode.At(l.in.Path, p.Key)
	}
	l.faultAt(pos, path, message, hint)
}

// node is the value at a path, if it is there and has no fault yet.
func (l *loader) node(path string, kind yaml) *yamlnode.Node {
	p, ok := l.places[path]
	if !ok || l.broken[path] && kind == scalar || !kind.is(p.Value) {
		return nil
	}
	return p.Value
}

// yaml is a kind of node.
type yaml int

const (
	scalar yaml = iota
	list
	mapping
)

func (k yaml) is(n *yamlnode.Node) bool {
	switch n.Kind {
	case yamlnode.ScalarNode:
		return k == scalar && n.Tag != "!!null"
	case yamlnode.SequenceNode:
		return k == list
	}
	return k == mapping
}

// text is the text at a path; false when there is none, or none that can be judged.
func (l *loader) text(path string) (string, bool) {
	n := l.node(path, scalar)
	if n == nil {
		return "", false
	}
	return n.Value, true
}

// has tells whether the key stands in the file, whatever its value.
func (l *loader) has(path string) bool {
	_, ok := l.places[path]
	return ok
}

// keys are the keys of the mapping at a path, in the order of the file.
func (l *loader) keys(path string) []string {
	n := l.node(path, mapping)
	if n == nil {
		return nil
	}
	var keys []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		keys = append(keys, n.Content[i].Value)
	}
	return keys
}

// items are the paths of the items of the list at a path.
func (l *loader) items(path string) []string {
	n := l.node(path, list)
	if n == nil {
		return nil
	}
	paths := make([]string, len(n.Content))
	for i := range n.Content {
		paths[i] = yamlnode.Item(path, i)
	}
	return paths
}

// misspelt tells whether a key of the mapping at a path may stand for one of names: its
// absence is then explained by the unknown key.
func (l *loader) misspelt(path string, names ...string) bool {
	if !l.broken[path] {
		return false
	}
	for _, key := range l.keys(path) {
		if _, ok := diag.Nearest(key, names); ok && !slices.Contains(names, key) {
			return true
		}
	}
	return false
}

// overrides takes what the command line gives.
func (l *loader) overrides() {
	if l.in.App != "" {
		l.f.App = l.in.App
	}
	for name, value := range l.in.Vars {
		if _, ok := l.f.Vars[name]; ok {
			l.f.Vars[name] = value
		}
	}
	if s := l.in.Stack; s != "" {
		l.f.Stack = s
		if !slices.Contains(Stacks(), s) {
			message := fmt.Sprintf("--stack: %q is not one of %s", s, strings.Join(Stacks(), ", "))
			if meant, ok := diag.Nearest(s, Stacks()); ok {
				message += fmt.Sprintf(" (did you mean %q?)", meant)
			}
			l.faults.Add(diag.Diagnostic{Message: message})
		}
	}
}

// setDefaults fills in what the file leaves out. It never fails.
func (f *File) setDefaults() {
	if f.Compression == "" {
		f.Compression = defaultCompression
	}
	if f.Limits.Slug == 0 {
		f.Limits.Slug = defaultLimit
	}
	for i := range f.Runtimes {
		r := &f.Runtimes[i]
		r.SHA256 = strings.ToLower(r.SHA256)
		if r.Host != "" {
			r.BuildOnly = true
			continue
		}
		if r.Into == "" {
			r.Into = r.Name
		}
		r.Into = path.Clean(r.Into)
	}
	for i := range f.Build {
		if f.Build[i].Timeout == 0 {
			f.Build[i].Timeout = defaultTimeout
		}
	}
	for i := range f.Files {
		if e := &f.Files[i]; e.From == "" && e.Mode == "" {
			e.Mode = defaultMode
		}
	}
}
