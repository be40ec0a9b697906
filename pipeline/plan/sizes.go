package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/slugfile/slugfile/pipeline/tree"
)

// Heroku takes slugs of up to 1 GB, where nothing else was agreed on, and says that large ones
// boot slower; from largeSlug on plan says so too: https://devcenter.heroku.com/articles/limits.
// The page does not say which gigabyte it means; this is the smaller.
const (
	herokuLimit = 1000 * 1000 * 1000
	largeSlug   = 300 * 1000 * 1000
)

func (b *builder) showSlug() {
	c := &b.p.Slug
	c.Action, c.Limit, c.Dirs = Change, int64(b.in.File.Limits.Slug), []DirChange{}
	if t := b.seen.Target; t != nil && !t.Local {
		c.PlatformLimit = herokuLimit
	}
	if b.base == nil {
		c.Action = Add
	} else if c.Now = b.base.Size; c.Now == nil && b.base.Record != nil && b.base.Record.Size > 0 {
		c.Now = &b.base.Record.Size
	}
	switch {
	case !b.p.Changed:
		c.Action, c.Next = Keep, c.Now
		if c.Next == nil && b.slug != nil {
			c.Next = &b.slug.Size
		}
	case b.slug != nil:
		c.Next = &b.slug.Size
	default:
		c.KnownAfter = "archive"
		if open := b.open(); len(open) > 0 {
			c.KnownAfter = open[len(open)-1]
		}
	}
	b.checkSize()
}

// open are the steps whose outputs are not known.
func (b *builder) open() []string {
	var names []string
	if b.done() == "" {
		for _, s := range b.steps {
			if s.Known == nil {
				names = append(names, s.Name)
			}
		}
	}
	return names
}

func (b *builder) checkSize() {
	c := b.p.Slug
	size := c.Next
	if size == nil {
		size = c.Now
	}
	if size == nil {
		return
	}
	which := "the slug"
	if c.Next == nil {
		which = "the released slug"
	}
	tooLarge := func(limit int64) bool { return limit > 0 && c.Next != nil && *c.Next > limit && b.p.Changed }
	near := func(limit int64) bool { return limit > 0 && *size > limit/10*9 }
	switch {
	case tooLarge(c.Limit):
		b.problem("slug", fmt.Sprintf("the slug has %d bytes, limits.slug allows %d", *c.Next, c.Limit), "leave files out, or raise limits.slug; "+b.whatGrew())
	case tooLarge(c.PlatformLimit):
		b.warning("slug", fmt.Sprintf("the slug has %d bytes, Heroku takes %d unless you agreed on more", *c.Next, c.PlatformLimit), "leave files out")
	case near(c.Limit):
		b.warning("slug", fmt.Sprintf("%s has %d bytes, near limits.slug of %d", which, *size, c.Limit), "")
	case near(c.PlatformLimit):
		b.warning("slug", fmt.Sprintf("%s has %d bytes, near Heroku's limit of %d", which, *size, c.PlatformLimit), "")
	case *size > largeSlug:
		b.warning("slug", fmt.Sprintf("%s has %d bytes: dynos with slugs over 300 MB boot slower", which, *size), "")
	}
}

// whatGrew says how to find out what makes a slug large.
func (b *builder) whatGrew() string {
	t := b.seen.Target
	if t == nil || t.Current == nil || t.Current.Slug == nil {
		return "\"slugfile inspect\" shows what takes the room"
	}
	local := ""
	if t.Local {
		local = " --local"
	}
	return fmt.Sprintf("\"slugfile inspect --diff v%d%s\" shows what is more than in the live release", t.Current.Version, local)
}

// topFiles stands for the files at the top of the slug, which are in no directory.
const topFiles = "."

// measured are the sizes of the directories at the top of a slug.
type measured struct {
	sizes map[string]*int64
	// top is the directory of the entry before, and size its size: most entries share theirs.
	top  string
	size *int64
	// open are those that are not known whole, with the step or the stage after which they
	// are; it is empty when no work of this plan tells. With all set, none is known.
	open     map[string]string
	all      bool
	allAfter string
}

func newMeasured() *measured {
	return &measured{sizes: map[string]*int64{}, open: map[string]string{}}
}

func (m *measured) add(e *tree.Entry) {
	if m.top != "" && len(e.Path) > len(m.top) && e.Path[len(m.top)] == '/' && e.Path[:len(m.top)] == m.top {
		*m.size += e.Size
		return
	}
	top, _, below := strings.Cut(e.Path, "/")
	if !below && e.Kind != tree.Dir {
		top = topFiles
	}
	n := m.sizes[top]
	if n == nil {
		n = new(int64)
		m.sizes[top] = n
	}
	*n += e.Size
	m.top, m.size = top, n
}

// leave marks what lies at a place as not known. As what an entry at the top turns out to be
// is told by old, where it is known.
func (m *measured) leave(place, after string, old *Record) {
	top, _, below := strings.Cut(place, "/")
	switch {
	case top == "." || hasMeta(top):
		m.all, m.allAfter = true, after
		return
	case !below && old != nil:
		if e, ok := old.Tree.Find(top); ok && e.Kind != tree.Dir {
			top = topFiles
		}
	}
	m.open[top] = after
}

// at is the size of a directory, or nil and after what it is known.
func (m *measured) at(dir string) (size *int64, after string) {
	if m.all {
		return nil, m.allAfter
	}
	if after, open := m.open[dir]; open {
		return nil, after
	}
	if n := m.sizes[dir]; n != nil {
		return n, ""
	}
	return new(int64), ""
}

// showDirs tells the sizes by directory at the top of the slug.
func (b *builder) showDirs(next contents, left []leftStep) {
	var old *Record
	if b.base != nil {
		old = b.base.Record
	}
	before, after := newMeasured(), newMeasured()
	before.all = b.base != nil && old == nil
	same := map[int]bool{} // parts of old that the next slug holds too
	for i, r := range b.runtimes {
		switch part := b.sameRuntime(r); {
		case part >= 0:
			same[part] = true
		case !r.enters() || next.whole != nil:
		case b.seen.Against != nil && b.p.Runtimes[i].Action == Keep:
			before.leave(r.Into, "", old)
			after.leave(r.Into, "", old)
		default:
			after.leave(r.Into, "fetch", old)
		}
	}
	if old != nil {
		for i := range old.Tree {
			before.add(&old.Tree[i])
			if len(same) > 0 && next.whole == nil && same[old.Parts[i]] {
				after.add(&old.Tree[i])
			}
		}
		for _, r := range old.Runtimes {
			if r.Unknown { // it went where it goes now, or nobody knows
				if i := slices.IndexFunc(b.runtimes, func(n Runtime) bool { return n.Name == r.Name }); i >= 0 {
					before.leave(b.runtimes[i].Into, "", old)
				}
			}
		}
	}
	switch {
	case next.whole != nil:
		for i := range next.whole.Tree {
			after.add(&next.whole.Tree[i])
		}
	case next.err != nil || b.slug != nil: // no work of this plan tells
		after.all = true
	default:
		for i := range next.members {
			after.add(&next.members[i].Entry)
		}
		for i := range next.source {
			after.add(&next.source[i])
		}
	}
	for _, s := range left {
		for _, place := range places(b.in.File.Files, s.outputs) {
			switch {
			case s.same:
				before.leave(place, "", old)
				after.leave(place, "", old)
			case s.later:
				after.leave(place, s.name, old)
			}
			if s.missing {
				before.leave(place, "", old)
			}
		}
	}
	names := map[string]bool{}
	for _, m := range []*measured{before, after} {
		for n := range m.sizes {
			names[n] = true
		}
		for n := range m.open {
			names[n] = true
		}
	}
	for _, n := range slices.Sorted(maps.Keys(names)) {
		c := DirChange{Path: n}
		c.Now, _ = before.at(n)
		c.Next, c.KnownAfter = after.at(n)
		if c.Now != nil || c.Next != nil || c.KnownAfter != "" {
			b.p.Slug.Dirs = append(b.p.Slug.Dirs, c)
		}
	}
}
