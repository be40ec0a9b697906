package plan

import (
	"cmp"
	"slices"
	"sort"
	"strings"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// run is what one part takes of one tree, and where that goes. Its members are made one by
// one, so that a million of them is held once: in the slug's list.
type run struct {
	layer
	from *artifact.Part
	// picks are the indices of what is taken, in their order; nil for everything.
	picks []int32
	// offsets are those of a runtime that is one file.
	offsets []int64
	// strip is how many bytes a path loses before it is put below into.
	strip int
	into  string

	// order is the place among the runs.
	order int
	next  int
	path  string // of the member that is next
}

func (r *run) len() int {
	if r.picks != nil {
		return len(r.picks)
	}
	return len(r.tree)
}

// index says where the i-th of what is taken stands in the tree.
func (r *run) index(i int) int {
	if r.picks != nil {
		return int(r.picks[i])
	}
	return i
}

// look makes path that of the next member, and reports whether there is one.
func (r *run) look() bool {
	if r.next == r.len() {
		return false
	}
	switch p := r.tree[r.index(r.next)].Path[r.strip:]; {
	case p == "":
		r.path = r.into
	case r.into == ".":
		r.path = p
	default:
		r.path = r.into + "/" + p
	}
	return true
}

// member is the next one.
func (r *run) member() artifact.Member {
	i := r.index(r.next)
	m := artifact.Member{Entry: r.tree[i], Part: r.from, Layer: r.as}
	m.Path = r.path
	switch m.Kind {
	case tree.File:
		if r.from.Content == nil {
			m.Src = r.tree[i].Path
		}
		if r.from.Pack != "" {
			m.At = r.offsets[i]
		}
	case tree.Link:
		// What leaves the app keeps its target here, and is refused when the slug is made.
		if to, err := tree.LinkTarget(m.Path, m.Target); err == nil {
			m.Target = to
		}
	}
	return m
}

// before says that the next member of r comes before that of o.
func (r *run) before(o *run) bool {
	return cmp.Or(tree.Compare(r.path, o.path), cmp.Compare(r.as, o.as), r.order-o.order) < 0
}

// find returns what goes to that path of the slug.
func (r *run) find(p string) (tree.Entry, bool) {
	switch rest, below := strings.CutPrefix(p, r.into+"/"); {
	case p == r.into:
		p = ""
	case below:
		p = rest
	case r.into != ".":
		return tree.Entry{}, false
	}
	own := func(i int) string { return r.tree[r.index(i)].Path[r.strip:] }
	i := sort.Search(r.len(), func(i int) bool { return tree.Compare(own(i), p) >= 0 })
	if i == r.len() || own(i) != p {
		return tree.Entry{}, false
	}
	return r.tree[r.index(i)], true
}

// picked are the indices of the chosen entries among all.
func picked(all, chosen tree.Manifest) []int32 {
	picks := make([]int32, 0, len(chosen))
	for i := range all {
		if n := len(picks); n < len(chosen) && all[i].Path == chosen[n].Path {
			picks = append(picks, int32(i))
		}
	}
	return picks
}

// merge puts the members of all runs into the order of their paths, adds parents, gives each
// directory its layer, and finds conflicts. Of equal members the one in the lowest layer stays.
func merge(runs []*run) ([]artifact.Member, []*ConflictError) {
	var waiting []*run
	size := 0
	for i := range runs {
		r := *runs[i] // the runs may be needed again
		r.order = i
		if r.look() {
			waiting = append(waiting, &r)
			size += r.len()
		}
	}
	slices.SortFunc(waiting, func(a, b *run) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	m := merged{out: make([]artifact.Member, 0, size+size/8+8)}
	for len(waiting) > 0 {
		r := waiting[0]
		m.add(r.member())
		r.next++
		if !r.look() {
			waiting = waiting[1:]
			continue
		}
		for i := 1; i < len(waiting) && waiting[i].before(waiting[i-1]); i++ {
			waiting[i-1], waiting[i] = waiting[i], waiting[i-1]
		}
	}
	for len(m.open) > 0 {
		m.close()
	}
	if conflicts := slices.Concat(m.twice, m.below); len(conflicts) > 0 {
		return nil, conflicts
	}
	return m.out, nil
}

// merged is what a merge made so far.
type merged struct {
	out []artifact.Member
	// open are the directories that the last member is in, outermost first, and itself if it is one.
	open []directory
	// twice are paths that are written twice, below those below a file.
	twice, below []*ConflictError
}

// directory is one whose members are not all known yet.
type directory struct {
	at int // in out
	// lowest is the lowest layer of what it holds, if it holds something.
	lowest artifact.Layer
	holds  bool
}

// add takes the member that comes next in the order of paths.
func (d *merged) add(m artifact.Member) {
	if m.Path == "." {
		return // ./app itself is in every slug
	}
	if len(d.out) > 0 {
		last := &d.out[len(d.out)-1]
		switch {
		case last.Path == m.Path:
			if last.Entry != m.Entry {
				d.twice = append(d.twice, &ConflictError{Path: m.Path, First: last.Origin, Second: m.Origin})
			}
			return
		case last.Kind != tree.Dir && tree.Under(m.Path, last.Path):
			c := ConflictError{Path: last.Path, First: last.Origin, Second: m.Origin, Parent: true}
			if n := len(d.below); n == 0 || *d.below[n-1] != c {
				d.below = append(d.below, &c)
			}
			return
		}
	}
	top := 0 // how much of the path is open
	for len(d.open) > 0 {
		dir := d.out[d.open[len(d.open)-1].at].Path
		if tree.Under(m.Path, dir) {
			top = len(dir) + 1
			break
		}
		d.close()
	}
	for {
		i := strings.IndexByte(m.Path[top:], '/')
		if i < 0 {
			break
		}
		d.open = append(d.open, directory{at: len(d.out)})
		d.out = append(d.out, artifact.Member{Entry: tree.Entry{Path: m.Path[:top+i], Kind: tree.Dir}, Part: m.Part, Layer: m.Layer})
		top += i + 1
	}
	if m.Kind == tree.Dir {
		d.open = append(d.open, directory{at: len(d.out)})
	} else {
		d.hold(m.Layer)
	}
	d.out = append(d.out, m)
}

// close ends the innermost directory. It belongs to the lowest layer of what it holds, and to
// its own only when it is empty.
func (d *merged) close() {
	last := d.open[len(d.open)-1]
	d.open = d.open[:len(d.open)-1]
	m := &d.out[last.at]
	if last.holds {
		m.Layer = last.lowest
	}
	d.hold(m.Layer)
}

// hold notes that the innermost directory holds something of that layer.
func (d *merged) hold(l artifact.Layer) {
	if len(d.open) == 0 {
		return
	}
	dir := &d.open[len(d.open)-1]
	if !dir.holds || l < dir.lowest {
		dir.holds, dir.lowest = true, l
	}
}

// byLayer brings members from the order of their paths into that of the slug, by layer first.
// It needs four bytes a member: a copy of them all would be the most that is held at a time.
func byLayer(members []artifact.Member) {
	var next [256]int32 // where the next member of each layer goes
	for i := range members {
		next[members[i].Layer]++
	}
	start := int32(0)
	for l, n := range next {
		if int(n) == len(members) {
			return
		}
		next[l], start = start, start+n
	}
	to := make([]int32, len(members))
	for i := range members {
		l := members[i].Layer
		to[i] = next[l]
		next[l]++
	}
	for i := range members {
		for int(to[i]) != i {
			j := to[i]
			members[i], members[j] = members[j], members[i]
			to[i], to[j] = to[j], to[i]
		}
	}
}
