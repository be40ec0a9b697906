package plan

import (
	"cmp"
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
	out := make([]artifact.Member, len(l.members))
	for i, m := range l.members {
		out[i] = m.Member
	}
	return out, nil
}

// placed is a member and the part of the slug it belongs to: "runtime node", "step build"
// or "source".
type placed struct {
	artifact.Member
	part string
	// source is the path in the source tree that it was taken from, if it was.
	source string
}

// partSource is the part of everything that neither a runtime nor a step brought.
const partSource = "source"

func partRuntime(name string) string { return "runtime " + name }
func partStep(name string) string    { return "step " + name }

// laid is what layout found: the members, or every fault.
type laid struct {
	members   []placed
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
	size := len(t.Source.Tree)
	for _, o := range t.Outputs {
		size += len(o.Tree)
	}
	all := make([]placed, 0, size)
	for _, r := range t.Runtimes {
		members, err := runtimeMembers(r)
		if err != nil {
			l.nothing = append(l.nothing, err)
		}
		all = append(all, members...)
	}
	if files == nil {
		for _, o := range t.Outputs {
			part := partStep(o.Step)
			from := &artifact.Part{Origin: part, Dir: o.Dir}
			for _, e := range o.Tree {
				all = append(all, place(e, from, e.Path, artifact.LayerOutput, part))
			}
		}
		from := &artifact.Part{Origin: partSource, Dir: t.Source.Dir}
		for _, e := range t.Source.Tree {
			all = append(all, place(e, from, e.Path, artifact.LayerSource, partSource))
		}
	} else {
		members, nothing := entryMembers(files, t, later)
		all = append(all, members...)
		l.nothing = append(l.nothing, nothing...)
	}
	l.members, l.conflicts = merge(all)
	return l
}

func place(e tree.Entry, from *artifact.Part, at string, layer artifact.Layer, part string) placed {
	p := placed{Member: artifact.Member{Entry: e, Part: from, Layer: layer}, part: part}
	if part == partSource {
		p.source = e.Path
	}
	if e.Kind == tree.File {
		p.Src = e.Path
	}
	p.Path = at
	return p
}

// runtimeMembers is the part of a runtime that enters the slug.
func runtimeMembers(r artifact.Runtime) ([]placed, *NothingError) {
	if r.BuildOnly || r.Tool != "" {
		return nil, nil
	}
	origin, into := partRuntime(r.Name), cleanInto(r.Into)
	chosen := r.Tree
	if len(r.Only) > 0 {
		for _, p := range r.Only {
			if len(tree.Select(r.Tree, []string{p})) == 0 {
				return nil, &NothingError{Origin: origin, Field: "only", Pattern: p}
			}
		}
		chosen = tree.Select(r.Tree, r.Only)
	}
	from := &artifact.Part{Origin: origin, Dir: r.Dir, Pack: r.Pack}
	out := make([]placed, 0, len(chosen))
	at := 0 // of e in r.Tree: chosen is in the same order
	for _, e := range chosen {
		m := place(e, from, path.Join(into, e.Path), artifact.LayerRuntime, origin)
		if r.Pack != "" && e.Kind == tree.File {
			for r.Tree[at].Path != e.Path {
				at++
			}
			m.At = r.Offsets[at]
		}
		out = append(out, m)
	}
	return out, nil
}

// layer is one tree that `from` looks at.
type layer struct {
	tree tree.Manifest
	dir  string
	as   artifact.Layer
	part string
}

// entryMembers carries out the entries of `files`. A single file whose `into` has no final
// slash has to wait: where it goes depends on the directories of the others.
func entryMembers(files []config.FileEntry, t artifact.Tree, later []string) ([]placed, []*NothingError) {
	var layers []layer
	for _, o := range t.Outputs {
		layers = append(layers, layer{o.Tree, o.Dir, artifact.LayerOutput, partStep(o.Step)})
	}
	layers = append(layers, layer{t.Source.Tree, t.Source.Dir, artifact.LayerSource, partSource})
	secrets := namedSecrets(files)

	var nothing []*NothingError
	chosen := make([][]placed, len(files))
	dirs := directories{}
	for _, r := range t.Runtimes {
		if !r.BuildOnly && r.Tool == "" {
			dirs.add(-1, cleanInto(r.Into))
		}
	}
	single := make([]bool, len(files))
	for i, f := range files {
		origin := Origin(i)
		into := cleanInto(f.Into)
		if f.From == "" {
			content := []byte(f.Content)
			e := tree.Entry{Path: into, Kind: tree.File, Exec: f.Mode == "0755", Size: int64(len(content)), Digest: digest.Of(content)}
			p := place(e, &artifact.Part{Origin: origin, Content: content}, into, artifact.LayerSource, partSource)
			p.Src, p.source = "", ""
			chosen[i] = []placed{p}
			dirs.add(i, path.Dir(into))
			continue
		}
		for _, l := range layers {
			s := newSelector(f)
			from := &artifact.Part{Origin: origin, Dir: l.dir}
			for _, e := range l.tree {
				at, one, ok := s.match(e.Path)
				if !ok || l.as == artifact.LayerSource && secrets[e.Path] && !slices.Contains(f.IncludeSecrets, e.Path) {
					continue
				}
				if one && e.Kind == tree.Dir {
					continue // the directory itself: its content goes into `into`
				}
				if one {
					at = path.Base(e.Path)
				}
				single[i] = one && (single[i] || len(chosen[i]) == 0)
				chosen[i] = append(chosen[i], place(e, from, at, l.as, l.part))
			}
		}
		if len(chosen[i]) == 0 {
			// An empty directory, or one that `exclude` emptied, is no mistake.
			if !isDirectory(layers, f.From) && !mayBeAmong(f.From, later) {
				nothing = append(nothing, &NothingError{Origin: origin, Field: "from", Pattern: f.From})
			}
			continue
		}
		switch {
		case !single[i] || intoDirectory(f.Into):
			dirs.add(i, into)
		default:
			dirs.add(i, path.Dir(into))
		}
	}
	for i, f := range files {
		if f.From == "" {
			continue
		}
		into := cleanInto(f.Into)
		rename := single[i] && !intoDirectory(f.Into) && !dirs.by(into, i)
		for k := range chosen[i] {
			m := &chosen[i][k]
			if rename {
				m.Path = into
			} else {
				m.Path = path.Join(into, m.Path)
			}
		}
	}
	return slices.Concat(chosen...), nothing
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
		for _, e := range l.tree {
			if tree.Under(e.Path, from) && (e.Path != from || e.Kind == tree.Dir) {
				return true
			}
		}
	}
	return false
}

// selector decides what one entry takes.
type selector struct {
	from    string // clean; the fixed prefix for a glob
	pattern string // the glob, else empty
	exclude []string
	dirs    map[string]verdict // of directories, since most paths share theirs
}

type verdict struct{ in, out bool }

func newSelector(f config.FileEntry) *selector {
	s := &selector{from: cleanInto(f.From), exclude: f.Exclude, dirs: map[string]verdict{}}
	if hasMeta(s.from) {
		s.pattern = s.from
		s.from = fixedPrefix(s.pattern)
	}
	return s
}

// match returns where p goes below `into`; one is set when p is what `from` names itself.
func (s *selector) match(p string) (at string, one, ok bool) {
	if !tree.Under(p, s.from) {
		return "", false, false
	}
	if p == s.from {
		if s.pattern != "" {
			return "", false, false
		}
		return p, true, !s.excluded(path.Base(p))
	}
	at = p
	if s.from != "." {
		at = p[len(s.from)+1:]
	}
	v := s.verdict(p, at)
	return at, false, v.in && !v.out
}

// verdict says whether the path, or a directory that holds it, is meant and excluded.
func (s *selector) verdict(p, at string) verdict {
	v := verdict{in: s.pattern == ""}
	if dir := path.Dir(at); dir != "." {
		known, ok := s.dirs[dir]
		if !ok {
			known = s.verdict(path.Dir(p), dir)
			s.dirs[dir] = known
		}
		v.in = v.in || known.in
		v.out = known.out
	}
	v.in = v.in || tree.Glob(s.pattern, p)
	v.out = v.out || s.excluded(at)
	return v
}

func (s *selector) excluded(at string) bool {
	return slices.ContainsFunc(s.exclude, func(x string) bool {
		return tree.Glob(strings.TrimSuffix(strings.TrimPrefix(x, "./"), "/"), at)
	})
}

func hasMeta(p string) bool { return strings.ContainsAny(p, `*?[{\`) }

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

// merge puts the members into the order of the slug, adds parents and finds conflicts. all is
// used up: it may be large.
func merge(all []placed) ([]placed, []*ConflictError) {
	for i := range all {
		// What leaves the app keeps its target here, and is refused when the slug is made.
		if m := &all[i]; m.Kind == tree.Link {
			if to, err := tree.LinkTarget(m.Path, m.Target); err == nil {
				m.Target = to
			}
		}
	}
	slices.SortStableFunc(all, func(a, b placed) int {
		return cmp.Or(tree.Compare(a.Path, b.Path), int(a.Layer)-int(b.Layer))
	})
	var conflicts []*ConflictError
	at := make(map[string]int, len(all))
	out := all[:0]
	for _, m := range all {
		if m.Path == "." {
			continue // ./app itself is in every slug
		}
		if i, ok := at[m.Path]; ok {
			have := out[i]
			if have.Entry != m.Entry {
				conflicts = append(conflicts, &ConflictError{Path: m.Path, First: have.Origin, Second: m.Origin})
			}
			continue
		}
		at[m.Path] = len(out)
		out = append(out, m)
	}
	// A directory belongs to the lowest layer of what it holds, and to its own only when it
	// is empty. Empty ones come last and deepest first, so that those of one chain agree.
	lowest := map[string]artifact.Layer{}
	parents := func(m placed) {
		for dir := path.Dir(m.Path); dir != "."; dir = path.Dir(dir) {
			if l, seen := lowest[dir]; seen && l <= m.Layer {
				return
			}
			k, ok := at[dir]
			switch {
			case ok && out[k].Kind != tree.Dir:
				conflicts = append(conflicts, &ConflictError{Path: dir, First: out[k].Origin, Second: m.Origin, Parent: true})
				return
			case !ok:
				at[dir] = len(out)
				out = append(out, placed{
					Member: artifact.Member{Entry: tree.Entry{Path: dir, Kind: tree.Dir}, Part: m.Part},
					part:   m.part,
				})
			}
			lowest[dir] = m.Layer
		}
	}
	given := len(out)
	for _, m := range out[:given] {
		if m.Kind != tree.Dir {
			parents(m)
		}
	}
	for i := given - 1; i >= 0; i-- {
		m := out[i]
		if _, holds := lowest[m.Path]; m.Kind == tree.Dir && !holds {
			parents(m)
		}
	}
	if len(conflicts) > 0 {
		return nil, conflicts
	}
	for dir, l := range lowest {
		out[at[dir]].Layer = l
	}
	slices.SortFunc(out, func(a, b placed) int {
		return cmp.Or(int(a.Layer)-int(b.Layer), tree.Compare(a.Path, b.Path))
	})
	return out, nil
}
