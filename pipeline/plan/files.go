package plan

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// layout is the digest of a runtime's bytes and of how they enter the slug.
func (r Runtime) layout() digest.Digest { return digest.OfJSON(r.key()) }

// NewRecord is what the store keeps of a slug, so that a later plan can say what changes.
// slug.Members may be missing; stack is the plan's, and t is what the slug was made of.
func NewRecord(in Inputs, stack string, slug artifact.Slug, t artifact.Tree) Record {
	r := Record{
		Key: slug.PlanKey, Size: slug.Size, Stack: stack,
		Runtimes: []RuntimeRecord{}, Steps: []StepRecord{}, Tree: tree.Manifest{},
	}
	if in.File == nil {
		return r
	}
	in = Prepare(in)
	parts := map[string]int{}
	seen := Observed{Tools: map[string]Tool{}, Archives: map[string]Tool{}}
	for _, a := range t.Runtimes {
		tool := Tool{Path: a.Tool, Digest: a.Digest, Size: a.Size}
		if a.Tool != "" {
			seen.Tools[a.Name] = tool
		}
	}
	for _, c := range in.File.Runtimes {
		for _, a := range t.Runtimes {
			if c.Path != "" && a.Name == c.Name {
				seen.Archives[c.Name] = Tool{Path: in.Source.Dir + "/" + c.Path, Digest: a.Digest, Size: a.Size}
			}
		}
	}
	runtimes, _ := resolve(in, seen)
	for _, a := range runtimes {
		parts[partRuntime(a.Name)] = len(parts)
		r.Runtimes = append(r.Runtimes, RuntimeRecord{Name: a.Name, From: a.from(), Digest: a.Digest, Layout: a.layout()})
	}
	for i, c := range in.File.Build {
		s := StepRecord{Name: c.Name, Definition: digest.OfJSON(definition(in.File, c)), Inputs: in.prepare().steps[i].digest}
		for _, o := range t.Outputs {
			if o.Step == c.Name {
				s.Key = o.Key
			}
		}
		parts[partStep(c.Name)] = len(parts)
		r.Steps = append(r.Steps, s)
	}
	parts[partSource] = len(parts)
	if len(in.File.Build) > 0 {
		r.Source = in.prepare().reachable.tree
	}
	members := slug.Members
	if members == nil {
		members = layout(in.File.Files, t, nil).members
	}
	r.Tree, r.Parts = make(tree.Manifest, 0, len(members)), make([]int, 0, len(members))
	for m := range byPath(members) {
		r.Tree, r.Parts = append(r.Tree, m.Entry), append(r.Parts, parts[m.Owner])
	}
	return r
}

// byPath yields members that are in the order of the slug, or of their paths, in that of
// their paths.
func byPath(members []artifact.Member) iter.Seq[*artifact.Member] {
	return func(yield func(*artifact.Member) bool) {
		var layers [][]artifact.Member
		for start, i := 0, 0; i < len(members); i++ {
			if i+1 == len(members) || tree.Compare(members[i].Path, members[i+1].Path) > 0 {
				layers = append(layers, members[start:i+1])
				start = i + 1
			}
		}
		for {
			first := -1
			for i, l := range layers {
				if len(l) > 0 && (first < 0 || tree.Compare(l[0].Path, layers[first][0].Path) < 0) {
					first = i
				}
			}
			if first < 0 || !yield(&layers[first][0]) {
				return
			}
			layers[first] = layers[first][1:]
		}
	}
}

// showFiles compares the files of what the plan is compared with, with those of the next slug,
// as far as both are known: runtimes are told as a whole, and outputs only when they are there.
func (b *builder) showFiles(next contents, left []leftStep) {
	p := b.p
	unknown := func(why, hint string) { p.FilesKnown, p.FilesAfter, p.FilesWhy, p.FilesHint = false, nil, why, hint }
	switch {
	case b.base == nil && b.seen.Target == nil:
		unknown("nothing is compared without a platform", "")
		return
	case b.base == nil:
		unknown(cmp.Or(b.seen.ReleasedWhy, "nothing is released yet"), b.seen.ReleasedHint)
		return
	case b.base.Record == nil && b.base.Why != "":
		unknown(b.base.Why, b.base.Hint)
		return
	case b.base.Record == nil && b.base.Kind == BaseRelease:
		unknown("the released slug was not made on this machine", b.base.Hint)
		return
	case b.base.Record == nil:
		unknown("nothing is known of what is in "+b.base.Name, b.base.Hint)
		return
	case next.err != nil:
		unknown(next.err.Error(), "")
		return
	}
	p.FilesKnown = true
	without := map[string]bool{}
	var missing []string
	for _, l := range left {
		without[l.name] = true
		switch {
		case l.same:
		case l.later && b.slug != nil: // no step will run and tell
			unknown("nothing is remembered of what is in the slug", "")
			return
		case l.later:
			p.FilesAfter = append(p.FilesAfter, l.name)
		case l.missing:
			missing = append(missing, partStep(l.name))
		}
	}
	if missing != nil {
		p.FilesWhy = fmt.Sprintf("what %s left behind in %s is not known", strings.Join(missing, " and "), b.base.Name)
		p.FilesHint = `run "slugfile build" there once`
		if b.base.Kind == BaseSaved {
			p.FilesHint = "build first, and then save the plan"
		}
	}
	after := next.files(without)
	if old := b.base.Record; old.tells() {
		changes := fileChanges(old.files(without), after)
		if len(without) > 0 {
			changes = slices.DeleteFunc(changes, func(f FileChange) bool { return stays(f, old, next) })
		}
		p.Files = append(p.Files, changes...)
		return
	}
	b.compareByPlace(after, left)
}

// stays reports whether a file that seems to come or go is on both sides: where a step and the
// source tree bring the same one, it goes by the step's name, and may have been left out with it.
func stays(f FileChange, old *Record, next contents) bool {
	var e tree.Entry
	var there bool
	switch f.Action {
	case Add:
		e, there = old.Tree.Find(f.Path)
		return there && e == *f.After
	case Remove:
		e, there = next.find(f.Path)
		return there && e == *f.Before
	}
	return false
}

// compareByPlace compares with a slug of which only the files are known, and not what brought
// them: what lies where a runtime or an unknown output goes is left out on both sides.
func (b *builder) compareByPlace(after []*tree.Entry, left []leftStep) {
	p := b.p
	var apart, runtimes []string
	for _, r := range b.runtimes {
		if r.enters() {
			apart, runtimes = append(apart, r.Into), append(runtimes, partRuntime(r.Name))
		}
	}
	for _, l := range left {
		apart = append(apart, places(b.in.File.Files, l.outputs)...)
	}
	if slices.Contains(apart, ".") {
		p.FilesKnown, p.FilesAfter = false, nil
		p.FilesWhy = "nothing tells which files of " + b.base.Name + " came from a runtime or a step"
		return
	}
	if runtimes != nil {
		p.FilesWhy = "files that lie where " + strings.Join(runtimes, " and ") + " goes are not compared: nothing tells what they came from"
	}
	outside := func(list []*tree.Entry) []*tree.Entry {
		return slices.DeleteFunc(list, func(e *tree.Entry) bool { return lies(e.Path, apart) })
	}
	p.Files = append(p.Files, fileChanges(outside(entries(b.base.Record.Tree)), outside(after))...)
}

// files are the entries of the slug that no runtime and none of the given steps brought.
func (r *Record) files(without map[string]bool) []*tree.Entry {
	n := min(len(r.Tree), len(r.Parts))
	out := make([]*tree.Entry, 0, n)
	for i, part := range r.Parts[:n] {
		step := part - len(r.Runtimes)
		if step < 0 || step < len(r.Steps) && without[r.Steps[step].Name] {
			continue
		}
		out = append(out, &r.Tree[i])
	}
	return out
}

// entries are pointers to those of a manifest.
func entries(m tree.Manifest) []*tree.Entry {
	out := make([]*tree.Entry, len(m))
	for i := range m {
		out[i] = &m[i]
	}
	return out
}

// fileChanges lists the files and links that differ between two lists in the order of paths.
// A directory is told by what is in it.
func fileChanges(before, after []*tree.Entry) []FileChange {
	var out []FileChange
	for {
		before, after = pastDirs(before), pastDirs(after)
		var order int
		switch {
		case len(before) == 0 && len(after) == 0:
			return out
		case len(before) == 0:
			order = 1
		case len(after) == 0:
			order = -1
		default:
			order = tree.Compare(before[0].Path, after[0].Path)
		}
		switch {
		case order < 0:
			e := *before[0]
			out = append(out, FileChange{Action: Remove, Path: e.Path, Before: &e})
		case order > 0:
			e := *after[0]
			out = append(out, FileChange{Action: Add, Path: e.Path, After: &e})
		case *before[0] != *after[0]:
			b, a := *before[0], *after[0]
			out = append(out, FileChange{Action: Change, Path: a.Path, What: whatChanged(b, a), Before: &b, After: &a})
		}
		if order <= 0 {
			before = before[1:]
		}
		if order >= 0 {
			after = after[1:]
		}
	}
}

// pastDirs is what is left from the first entry on that is no directory.
func pastDirs(list []*tree.Entry) []*tree.Entry {
	for len(list) > 0 && list[0].Kind == tree.Dir {
		list = list[1:]
	}
	return list
}

// whatChanged names what differs of a file or link. A file's content and mode may both.
func whatChanged(before, after tree.Entry) string {
	switch {
	case before.Kind != after.Kind:
		return "kind"
	case before.Kind == tree.Link:
		return "link"
	case before.Digest == after.Digest && before.Size == after.Size:
		return "mode"
	case before.Exec != after.Exec:
		return "content, mode"
	}
	return "content"
}
