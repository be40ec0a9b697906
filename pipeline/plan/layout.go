package plan

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// ConflictError says that two entries want different things at one path of the slug.
type ConflictError struct {
	// Path is below ./app.
	Path string
	// First and Second name who asked, as artifact.Member.Origin does.
	First, Second string
	// Parent is set when Path is a file or link for First and Second needs a directory there.
	Parent bool
}

func (e *ConflictError) Error() string {
	if e.Parent {
		return fmt.Sprintf("%s is not a directory for %s, and %s puts files below it", e.Path, e.First, e.Second)
	}
	return fmt.Sprintf("%s and %s both write %s, with different content", e.First, e.Second, e.Path)
}

// NothingError says that an entry selects nothing.
type NothingError struct {
	// Origin names the entry, such as "files[2]" or "runtime node".
	Origin string
	// Field and Pattern are what matches nothing: `from` and its value.
	Field, Pattern string
}

func (e *NothingError) Error() string {
	return fmt.Sprintf("%s: %s %q matches nothing", e.Origin, e.Field, e.Pattern)
}

// Layout decides what the slug holds below ./app and where each byte comes from, in the
// order of the slug: by layer, then by tree.Compare, every directory right before its first
// member. With no files it is the source tree and all outputs; the runtimes come on top.
//
// An equal file in two layers belongs to the lowest. Layout fails with a *ConflictError
// when two entries write one path with different bytes, and with a *NothingError when an
// entry selects nothing.
func Layout(files []config.FileEntry, t artifact.Tree) ([]artifact.Member, error) {
	l := layout(files, t, nil)
	if err := l.err(); err != nil {
		return nil, err
	}
	byLayer(l.members)
	return l.members, nil
}

// partSource is the part of everything that neither a runtime nor a step brought.
const partSource = "source"

func partRuntime(name string) string { return "runtime " + name }
func partStep(name string) string    { return "step " + name }

// laid is what layout found: the members in the order of their paths, or every fault.
type laid struct {
	members   []artifact.Member
	nothing   []*NothingError
	conflicts []*ConflictError
}

func (l laid) err() error {
	switch {
	case len(l.nothing) > 0:
		return l.nothing[0]
	case len(l.conflicts) > 0:
		return l.conflicts[0]
	}
	return nil
}

// layout is Layout with every fault. later are outputs that are not there yet: an entry
// that may be about them is allowed to select nothing.
func layout(files []config.FileEntry, t artifact.Tree, later []string) laid {
	var l laid
	var runs []*run
	for _, r := range t.Runtimes {
		given, err := runtimeRun(r)
		if err != nil {
			l.nothing = append(l.nothing, err)
		}
		if given != nil {
			runs = append(runs, given)
		}
	}
	if files == nil {
		for _, g := range layersOf(t) {
			runs = append(runs, &run{layer: g, from: &artifact.Part{Origin: g.owner, Owner: g.owner, Dir: g.dir}, into: "."})
		}
	} else {
		given, nothing := entryRuns(files, t, later)
		runs = append(runs, given...)
		l.nothing = append(l.nothing, nothing...)
	}
	l.members, l.conflicts = merge(runs)
	return l
}

// runtimeRun is the part of a runtime that enters the slug, or nil.
func runtimeRun(r artifact.Runtime) (*run, *NothingError) {
	if r.BuildOnly || r.Tool != "" {
		return nil, nil
	}
	owner := partRuntime(r.Name)
	out := &run{
		layer: layer{r.Tree, r.Dir, artifact.LayerRuntime, owner},
		from:  &artifact.Part{Origin: owner, Owner: owner, Dir: r.Dir, Pack: r.Pack}, offsets: r.Offsets, into: cleanInto(r.Into),
	}
	if len(r.Only) == 0 {
		return out, nil
	}
	for _, p := range r.Only {
		if len(tree.Select(r.Tree, []string{p})) == 0 {
			return nil, &NothingError{Origin: owner, Field: "only", Pattern: p}
		}
	}
	out.picks = picked(r.Tree, tree.Select(r.Tree, r.Only))
	return out, nil
}

// layersOf are the trees that `from` looks at.
func layersOf(t artifact.Tree) []layer {
	var layers []layer
	for _, o := range t.Outputs {
		layers = append(layers, layer{o.Tree, o.Dir, artifact.LayerOutput, partStep(o.Step)})
	}
	return append(layers, layer{t.Source.Tree, t.Source.Dir, artifact.LayerSource, partSource})
}

// layer is one tree that members are taken from.
type layer struct {
	tree tree.Manifest
	dir  string
	as   artifact.Layer
	// owner is as in artifact.Part.
	owner string
}

// entryRuns carries out the entries of `files`. Where a single file goes whose `into` has no
// final slash depends on the directories of the others, and is decided last.
func entryRuns(files []config.FileEntry, t artifact.Tree, later []string) ([]*run, []*NothingError) {
	layers := layersOf(t)
	var nothing []*NothingError
	chosen := make([][]*run, len(files))
	single := make([]bool, len(files)) // everything chosen is what `from` names itself
	dirs := directories{}
	for _, r := range t.Runtimes {
		if !r.BuildOnly && r.Tool == "" {
			dirs.add(-1, cleanInto(r.Into))
		}
	}
	secrets := namedSecrets(files)
	for i, f := range files {
		origin, into := Origin(i), cleanInto(f.Into)
		if f.From == "" {
			chosen[i] = []*run{inline(f, origin)}
			dirs.add(i, path.Dir(into))
			continue
		}
		single[i] = true
		s := newSelector(f)
		for _, l := range layers {
			keep := func(string) bool { return true }
			if l.as == artifact.LayerSource && len(secrets) > 0 {
				keep = func(p string) bool { return !secrets[p] || slices.Contains(f.IncludeSecrets, p) }
			}
			from := &artifact.Part{Origin: origin, Owner: l.owner, Dir: l.dir}
			one, rest := s.choose(l.tree, keep)
			if one >= 0 {
				p := l.tree[one].Path
				chosen[i] = append(chosen[i], &run{layer: l, from: from, picks: []int32{int32(one)}, into: into, strip: len(p) - len(path.Base(p))})
			}
			if len(rest) > 0 {
				single[i] = false
				r := &run{layer: l, from: from, picks: rest, into: into, strip: s.strip()}
				if s.from == into {
					r.into, r.strip = ".", 0 // their paths are what they are
				}
				chosen[i] = append(chosen[i], r)
			}
		}
		switch {
		case len(chosen[i]) == 0:
			// An empty directory, or one that `exclude` emptied, is no mistake.
			if !isDirectory(layers, f.From) && !mayBeAmong(f.From, later) {
				nothing = append(nothing, &NothingError{Origin: origin, Field: "from", Pattern: f.From})
			}
		case !single[i] || intoDirectory(f.Into):
			dirs.add(i, into)
		default:
			dirs.add(i, path.Dir(into))
		}
	}
	for i, f := range files {
		if f.From != "" && single[i] && !intoDirectory(f.Into) && !dirs.by(cleanInto(f.Into), i) {
			for _, r := range chosen[i] {
				r.strip = len(r.tree[r.picks[0]].Path) // its name too: it gets another
			}
		}
	}
	return slices.Concat(chosen...), nothing
}

// inline is the file whose content stands in slug.yaml.
func inline(f config.FileEntry, origin string) *run {
	content := []byte(f.Content)
	e := tree.Entry{Path: cleanInto(f.Into), Kind: tree.File, Exec: f.Mode == "0755", Size: int64(len(content)), Digest: digest.Of(content)}
	return &run{
		layer: layer{tree: tree.Manifest{e}, as: artifact.LayerSource, owner: partSource},
		from:  &artifact.Part{Origin: origin, Owner: partSource, Content: content}, into: ".",
	}
}

// Origin is the name of an entry of `files` in messages; it is the path of a diagnostic too.
func Origin(i int) string { return fmt.Sprintf("files[%d]", i) }

// namedSecrets are the paths of the source tree that are there only because an entry's
// include_secrets asks for them. No other entry takes them along, and no step sees them.
func namedSecrets(files []config.FileEntry) map[string]bool {
	named := map[string]bool{}
	for _, f := range files {
		for _, p := range f.IncludeSecrets {
			// Its content is not known here: what may be a secret by its name is treated as one.
			if _, denied := tree.Denied(p, nil); denied {
				named[p] = true
			}
		}
	}
	return named
}

// directories are those that entries make, with the entries that make each.
type directories map[string][]int

func (d directories) add(entry int, dir string) {
	for ; dir != "."; dir = path.Dir(dir) {
		if !slices.Contains(d[dir], entry) {
			d[dir] = append(d[dir], entry)
		}
	}
}

// by reports whether an entry other than self makes dir.
func (d directories) by(dir string, self int) bool {
	return slices.ContainsFunc(d[dir], func(e int) bool { return e != self })
}

// cleanInto is into without "./" and final slashes; an into that leaves ./app is refused by
// config, and is kept inside here.
func cleanInto(into string) string {
	return relative(path.Clean("/" + into))
}

func intoDirectory(into string) bool {
	return strings.HasSuffix(into, "/") || cleanInto(into) == "."
}

// relative turns a clean absolute path into one without the first slash.
func relative(p string) string {
	if p = strings.TrimPrefix(p, "/"); p == "" {
		return "."
	}
	return p
}

// mayBeAmong reports whether from can name something of outputs that nobody has seen yet.
func mayBeAmong(from string, outputs []string) bool {
	from = cleanInto(from)
	if hasMeta(from) {
		from = fixedPrefix(from)
	}
	return slices.ContainsFunc(outputs, func(o string) bool {
		o = cleanInto(o)
		return hasMeta(o) || tree.Under(from, o) || tree.Under(o, from)
	})
}

// isDirectory reports whether from names a directory of some layer, listed or implied.
func isDirectory(layers []layer, from string) bool {
	from = cleanInto(from)
	if from == "." {
		return true
	}
	for _, l := range layers {
		start, end := l.tree.Below(from)
		if end-start > 1 || end > start && (l.tree[start].Path != from || l.tree[start].Kind == tree.Dir) {
			return true
		}
	}
	return false
}

// selector decides what one entry takes.
type selector struct {
	from    string  // clean; the fixed prefix for a glob
	pattern *glob   // nil when from is none
	exclude []*glob // of what is left of a path when from is taken off
	// The verdicts on directories, since most paths share theirs, and the last that was asked for.
	dirs map[string]verdict
	dir  string
	last verdict
}

// verdict says whether a path, or a directory that holds it, is meant, and whether excluded.
type verdict struct{ in, out bool }

func newSelector(f config.FileEntry) *selector {
	s := &selector{from: cleanInto(f.From), dirs: map[string]verdict{}}
	if hasMeta(s.from) {
		s.pattern = newGlob(s.from)
		s.from = fixedPrefix(s.from)
	}
	for _, x := range f.Exclude {
		s.exclude = append(s.exclude, newGlob(strings.TrimSuffix(strings.TrimPrefix(x, "./"), "/")))
	}
	return s
}

// strip is how many bytes of a path from takes off.
func (s *selector) strip() int {
	if s.from == "." {
		return 0
	}
	return len(s.from) + 1
}

// choose returns the index of the file or link that from itself names, or -1, and those of
// what else is taken of a tree.
func (s *selector) choose(m tree.Manifest, keep func(path string) bool) (one int, rest []int32) {
	one = -1
	start, end := m.Below(s.from)
	for i := start; i < end; i++ {
		p := m[i].Path
		switch {
		case p == s.from: // of a directory, the content goes into `into`
			if s.pattern == nil && m[i].Kind != tree.Dir && !s.excluded(path.Base(p)) && keep(p) {
				one = i
			}
		case s.takes(p) && keep(p):
			if rest == nil {
				rest = make([]int32, 0, end-i)
			}
			rest = append(rest, int32(i))
		}
	}
	return one, rest
}

func (s *selector) takes(p string) bool {
	above := s.above(p)
	return !above.out && (above.in || s.pattern.match(p)) && !s.excluded(p[s.strip():])
}

// above is the verdict on the directory that holds p.
func (s *selector) above(p string) verdict {
	i := strings.LastIndexByte(p[s.strip():], '/')
	if i < 0 {
		return verdict{in: s.pattern == nil}
	}
	dir := p[:s.strip()+i]
	if dir == s.dir {
		return s.last
	}
	v, known := s.dirs[dir]
	if !known {
		v = s.above(dir)
		v.in = v.in || s.pattern.match(dir)
		v.out = v.out || s.excluded(dir[s.strip():])
		s.dirs[dir] = v
	}
	s.dir, s.last = dir, v
	return v
}

func (s *selector) excluded(at string) bool {
	for _, x := range s.exclude {
		if x.match(at) {
			return true
		}
	}
	return false
}
