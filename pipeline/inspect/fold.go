package inspect

import (
	"cmp"
	"slices"
	"strings"

	"github.com/slugfile/slugfile/pipeline/tree"
)

// Folding says what of a tree is shown.
type Folding struct {
	// Share is the smallest part of the whole that has a line of its own, in percent.
	Share float64
	// Depth is how many levels there are; 0 is any number.
	Depth int
}

// Tree is the tree of a slug, folded.
func Tree(s Slug, o Folding) *Node {
	root := &branch{}
	for i := range s.Tree {
		e, n := &s.Tree[i], s.sizes(i)
		root.add(e.Path, e.Kind == tree.Dir, Sizes{}, n, n.Packed)
	}
	root.close()
	out := root.node(o, root.weight, false)
	out.Path = "."
	return &out
}

// branch is a directory or file while a tree is put together.
type branch struct {
	name          string
	dir           bool
	before, after Sizes
	// weight is what a line is shown for: what it takes, or how much of it differs.
	weight int64
	// own says that something of a directory itself is in its sum, which has no branch.
	own      bool
	branches []*branch
	byName   map[string]*branch
}

// add puts an entry in. The sum of a directory is that of what was added below it, and itself.
func (b *branch) add(name string, dir bool, before, after Sizes, weight int64) {
	b.dir = true
	b.sum(before, after, weight)
	head, rest, deeper := strings.Cut(name, "/")
	next := b.byName[head]
	if next == nil {
		next = &branch{name: head}
		if b.byName == nil {
			b.byName = map[string]*branch{}
		}
		b.byName[head] = next
		b.branches = append(b.branches, next)
	}
	if deeper {
		next.add(rest, dir, before, after, weight)
		return
	}
	next.dir = next.dir || dir
	next.own = next.own || after.Files+before.Files > 0
	next.sum(before, after, weight)
}

func (b *branch) sum(before, after Sizes, weight int64) {
	b.before.add(before)
	b.after.add(after)
	b.weight += weight
}

// close joins directories with nothing beside what is in them, and sorts.
func (b *branch) close() {
	b.byName = nil
	for _, c := range b.branches {
		c.close()
	}
	for i, c := range b.branches {
		if c.dir && !c.own && len(c.branches) == 1 {
			only := c.branches[0]
			only.name = c.name + "/" + only.name
			only.before, only.after, only.weight = c.before, c.after, c.weight
			b.branches[i] = only
		}
	}
	slices.SortFunc(b.branches, func(x, y *branch) int {
		return cmp.Or(cmp.Compare(y.weight, x.weight), bySize(x.after, y.after), tree.Compare(x.name, y.name))
	})
}

// node makes the lines of a branch. What has less than its share of the whole stands together in
// the last line; one alone is told instead.
func (b *branch) node(o Folding, whole int64, compared bool) Node {
	n := Node{Path: b.name, Sizes: b.after}
	if compared {
		n.Before = &b.before
	}
	if b.dir {
		n.Path += "/"
	}
	if o.Depth < 0 {
		return n
	}
	shown := 0
	for shown < len(b.branches) && float64(b.branches[shown].weight) >= float64(whole)*o.Share/100 && b.branches[shown].weight > 0 {
		shown++
	}
	if shown == 0 && b.name != "" { // nothing stands out
		return n
	}
	if len(b.branches)-shown == 1 {
		shown++
	}
	inner := o
	if o.Depth > 0 {
		inner.Depth--
		if inner.Depth == 0 {
			inner.Depth = -1
		}
	}
	for _, c := range b.branches[:shown] {
		n.Nodes = append(n.Nodes, c.node(inner, whole, compared))
	}
	if rest := b.branches[shown:]; len(rest) > 0 {
		more := Node{More: len(rest)}
		var before Sizes
		for _, c := range rest {
			more.add(c.after)
			before.add(c.before)
		}
		if compared {
			more.Before = &before
		}
		n.Nodes = append(n.Nodes, more)
	}
	return n
}
