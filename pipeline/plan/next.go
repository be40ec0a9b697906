package plan

import (
	"path"
	"slices"
	"strings"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// NextRecord is what the slug would be made of and what it would hold, as far as that can be
// told before anything is built. What is not known yet is marked so.
func NextRecord(in Inputs, seen Observed) Record {
	if in.File == nil {
		return Record{Tree: tree.Manifest{}, Source: tree.Manifest{}}
	}
	r, _ := newBuilder(Prepare(in), seen).record()
	return r
}

// record is NextRecord. It has no files when the slug cannot be made, which the error tells.
func (b *builder) record() (Record, error) {
	source := b.in.prepare().reachable.tree
	if r := b.whole(); r != nil {
		out := *r
		out.Source = source
		return out, nil
	}
	r := Record{Key: b.key, Stack: b.stack, Runtimes: []RuntimeRecord{}, Steps: []StepRecord{}, Source: source}
	if b.slug != nil {
		r.Size = b.slug.Size
	}
	part := map[string]int{}
	brought := b.brought()
	for i, a := range b.runtimes {
		part[partRuntime(a.Name)] = i
		o := RuntimeRecord{Name: a.Name, From: a.from(), Digest: a.Digest, Unknown: a.enters() && !slices.Contains(brought, i)}
		if !a.Digest.IsZero() {
			o.Layout = a.layout()
		}
		r.Runtimes = append(r.Runtimes, o)
	}
	for i, s := range b.steps {
		part[partStep(s.Name)] = len(b.runtimes) + i
		r.Steps = append(r.Steps, StepRecord{
			Name: s.Name, Key: s.key, Definition: digest.OfJSON(definition(b.in.File, b.in.File.Build[i])),
			Inputs: s.InputsDigest, Unknown: s.Known == nil,
		})
	}
	part[partSource] = len(b.runtimes) + len(b.steps)
	known := b.known()
	members, runtimes := known.members, b.broughtEntries(part)
	r.Tree, r.Parts = make(tree.Manifest, 0, len(members)+len(runtimes)), make([]int, 0, len(members)+len(runtimes))
	add := func(e tree.Entry, part int) {
		if n := len(r.Tree); n == 0 || r.Tree[n-1].Path != e.Path { // of a directory of both, one is enough
			r.Tree, r.Parts = append(r.Tree, e), append(r.Parts, part)
		}
	}
	for i := range members {
		m := &members[i]
		for len(runtimes) > 0 && tree.Compare(runtimes[0].Path, m.Path) <= 0 {
			add(runtimes[0].Entry, runtimes[0].part)
			runtimes = runtimes[1:]
		}
		add(m.Entry, part[m.Owner])
	}
	for _, e := range runtimes {
		add(e.Entry, e.part)
	}
	return r, known.err
}

// whole is what the store remembers of the finished slug of this plan, or nil.
func (b *builder) whole() *Record {
	if r := b.seen.Next; b.slug != nil && r.tells() && r.Key == b.key {
		return r
	}
	return nil
}

// enters reports whether something of the runtime is in the slug.
func (r Runtime) enters() bool { return !r.BuildOnly && r.Tool == "" }

// brought are the runtimes whose files are known, by their place in slug.yaml: what plan is
// compared with holds the same.
func (b *builder) brought() []int {
	var same []int
	for i, r := range b.runtimes {
		if b.sameRuntime(r) >= 0 {
			same = append(same, i)
		}
	}
	return same
}

// sameRuntime returns the part of what the plan is compared with that holds the very files of
// the runtime, or -1.
func (b *builder) sameRuntime(r Runtime) int {
	if b.base == nil || !b.base.Record.tells() || !r.enters() || r.Digest.IsZero() {
		return -1
	}
	old, part := b.base.Record.runtime(r.Name)
	if part < 0 || old.Unknown || old.Layout != r.layout() {
		return -1
	}
	return part
}

type broughtEntry struct {
	tree.Entry
	part int
}

// broughtEntries are the files of those runtimes, with their part of the next slug.
func (b *builder) broughtEntries(parts map[string]int) []broughtEntry {
	now := map[int]int{}
	for _, i := range b.brought() {
		now[b.sameRuntime(b.runtimes[i])] = parts[partRuntime(b.runtimes[i].Name)]
	}
	if len(now) == 0 {
		return nil
	}
	var out []broughtEntry
	for i, was := range b.base.Record.Parts {
		if is, ok := now[was]; ok {
			out = append(out, broughtEntry{b.base.Record.Tree[i], is})
		}
	}
	return out
}

// contents is what the next slug holds, as far as it is known.
type contents struct {
	// whole is everything, runtimes too, or nil.
	whole *Record
	// members are else those of the source tree and of the steps whose outputs are there. Where
	// the source tree goes into the slug as it is, it stands here in their place.
	members []artifact.Member
	source  tree.Manifest
	// err says why the slug cannot be made.
	err error
}

// compared is known for a comparison, which needs no members of a tree that is taken as it is.
func (b *builder) compared() contents {
	asItIs := b.in.File.Files == nil && b.whole() == nil && !slices.ContainsFunc(b.steps, func(s plannedStep) bool { return s.Known != nil })
	if asItIs {
		return contents{source: b.in.Source.Tree}
	}
	return b.known()
}

func (b *builder) known() contents {
	if r := b.whole(); r != nil {
		return contents{whole: r}
	}
	var outputs []artifact.Output
	var later []string
	for _, s := range b.steps {
		if s.Known != nil {
			outputs = append(outputs, *s.Known)
		} else {
			later = append(later, s.Outputs...)
		}
	}
	l := layout(b.in.File.Files, artifact.Tree{Outputs: outputs, Source: b.in.Source}, later)
	return contents{members: l.members, err: l.err()}
}

// files are the entries that no runtime and none of the given steps brings.
func (c contents) files(without map[string]bool) []*tree.Entry {
	if c.whole != nil {
		return c.whole.files(without)
	}
	if c.source != nil {
		out := entries(c.source)
		for i, e := range out {
			out[i] = packed(e)
		}
		return out
	}
	out := make([]*tree.Entry, 0, len(c.members))
	for i := range c.members {
		m := &c.members[i]
		if len(without) > 0 {
			if step, ok := strings.CutPrefix(m.Owner, partStep("")); ok && without[step] {
				continue
			}
		}
		out = append(out, &m.Entry)
	}
	return out
}

// packed is an entry as the slug has it: the target of a link is written in one way only.
func packed(e *tree.Entry) *tree.Entry {
	if e.Kind != tree.Link {
		return e
	}
	to, err := tree.LinkTarget(e.Path, e.Target)
	if err != nil || to == e.Target {
		return e
	}
	link := *e
	link.Target = to
	return &link
}

// find returns what is known to be at a path.
func (c contents) find(path string) (tree.Entry, bool) {
	if c.whole != nil {
		return c.whole.Tree.Find(path)
	}
	if c.source != nil {
		e, ok := c.source.Find(path)
		return *packed(&e), ok
	}
	i, ok := slices.BinarySearchFunc(c.members, path, func(m artifact.Member, p string) int { return tree.Compare(m.Path, p) })
	if !ok {
		return tree.Entry{}, false
	}
	return c.members[i].Entry, true
}

// places are where the outputs of a step go below ./app, which nobody may have seen yet: paths
// or globs, each with all that lies below it. It names rather too much than too little.
func places(files []config.FileEntry, outputs []string) []string {
	if files == nil {
		files = []config.FileEntry{{From: ".", Into: "."}}
	}
	var out []string
	for _, o := range outputs {
		o = cleanInto(o)
		for _, f := range files {
			if f.From == "" || !mayBeAmong(f.From, []string{o}) {
				continue
			}
			from, into := cleanInto(f.From), cleanInto(f.Into)
			if hasMeta(from) {
				from = fixedPrefix(from)
			}
			switch {
			case from == ".":
				into = path.Join(into, o)
			case o != from && tree.Under(o, from):
				into = path.Join(into, o[len(from)+1:])
			}
			out = append(out, into)
		}
	}
	return out
}

// lies reports whether a path is at one of the places.
func lies(p string, places []string) bool {
	return slices.ContainsFunc(places, func(place string) bool {
		if !hasMeta(place) {
			return tree.Under(p, place)
		}
		for ; p != "."; p = path.Dir(p) {
			if tree.Glob(place, p) {
				return true
			}
		}
		return false
	})
}
