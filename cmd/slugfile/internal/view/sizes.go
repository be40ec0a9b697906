package view

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/slugfile/slugfile/pipeline/plan"
)

// nested is what stands before a line about the slug: blanks.
const nested = "      "

// slug draws the size of the slug beside what it is now, and what it may be.
func (d *planDrawing) slug() {
	c := d.p.Slug
	text, limit := slugSize(c), slugLimit(c)
	start := pad("slug", kindWidth) + "  "
	if limit != "" && width(start)+width(text)+width(limit)+6 <= columns {
		text, limit = text+"; "+limit, ""
	}
	text = start + shorten(text, columns-4-width(start))
	if c.Action == plan.Keep {
		text = d.s.dim(text)
	}
	d.line("  %s %s", d.s.symbol(symbolOf(c.Action)), text)
	if limit != "" {
		d.line("%s", nested+limit)
	}
}

// slugSize is "48.1 MB → 49.0 MB  +900.0 kB", as far as it is known.
func slugSize(c plan.SlugChange) string {
	switch {
	case c.Next == nil && c.KnownAfter == "" && c.Now == nil:
		return "size not known"
	case c.Action == plan.Keep || c.Now == nil:
		return next(c.Next, c.KnownAfter)
	case c.Next == nil:
		return Size(*c.Now) + " → " + next(c.Next, c.KnownAfter)
	}
	return Size(*c.Now) + " → " + Size(*c.Next) + "  " + difference(*c.Now, *c.Next)
}

// next is a size, or after what it is known.
func next(size *int64, after string) string {
	switch {
	case size != nil:
		return Size(*size)
	case after != "":
		return "known after " + shorten(quoted(after), widestName)
	}
	return "not known"
}

func difference(now, next int64) string {
	if now == next {
		return "the same"
	}
	return delta(next - now)
}

// slugLimit names the limit of slug.yaml, and that of the platform where it differs.
func slugLimit(c plan.SlugChange) string {
	switch {
	case c.Limit <= 0 && c.PlatformLimit <= 0:
		return ""
	case c.Limit <= 0:
		return "limit of the platform " + Size(c.PlatformLimit)
	case c.PlatformLimit <= 0 || c.PlatformLimit == c.Limit:
		return "limit " + Size(c.Limit)
	}
	return "limit " + Size(c.Limit) + ", platform " + Size(c.PlatformLimit)
}

// dirs draws a table of the directories at the top of the slug: what is in them now and then,
// unpacked. Without Verbose those stay out that are as large as before.
func (d *planDrawing) dirs() {
	shown := d.p.Slug.Dirs
	if !d.verbose {
		shown = moved(shown)
	}
	if !d.verbose && !told(shown) || len(shown) == 0 {
		return
	}
	more := len(shown) - d.most(len(shown), shownDirs)
	table := sizeTable(d.p.Slug, largest(shown, len(shown)-more))
	var name, now, next int
	for _, r := range table {
		name, now, next = max(name, width(r.name)), max(now, width(r.now)), max(next, width(r.next))
	}
	for _, r := range table {
		text := pad(r.name, name) + "  "
		if r.now != "" {
			text += right(r.now, now) + " → "
		}
		if r.next != "" {
			text += right(r.next, next) + "  "
		}
		d.line("%s", nested+shorten(text+r.note, columns-len(nested)))
	}
	if more > 0 {
		d.line("%s", nested+d.s.dim(fmt.Sprintf("  and %d more (-v shows all)", more)))
	}
}

// moved are the directories that change, or may: not those of which nothing can be told.
func moved(dirs []plan.DirChange) []plan.DirChange {
	return slices.DeleteFunc(slices.Clone(dirs), func(c plan.DirChange) bool {
		return c.Next == nil && c.KnownAfter == "" || c.Now != nil && c.Next != nil && *c.Now == *c.Next
	})
}

// told reports whether the size of any of them is known: a table of what is known later would
// only say again what stands beside the slug.
func told(dirs []plan.DirChange) bool {
	return slices.ContainsFunc(dirs, func(c plan.DirChange) bool { return c.Next != nil })
}

// largest are the n directories that change most, in their order; what is not known counts as
// much as it is now.
func largest(dirs []plan.DirChange, n int) []plan.DirChange {
	if len(dirs) <= n {
		return dirs
	}
	weight := func(c plan.DirChange) int64 {
		w := value(c.Next) - value(c.Now)
		return max(w, -w)
	}
	order := make([]int, len(dirs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(weight(dirs[b]), weight(dirs[a])) })
	order = order[:n]
	slices.Sort(order)
	out := make([]plan.DirChange, n)
	for i, at := range order {
		out[i] = dirs[at]
	}
	return out
}

func value(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

// sizeRow is the sizes of a directory in words.
type sizeRow struct {
	// now is empty when nothing is said of it, and next when it is not known.
	name, now, next string
	// note is the difference, or when next is known.
	note string
}

// fromTo is the sizes of a row without the difference.
func (r sizeRow) fromTo() string {
	to := r.next
	if to == "" {
		to = r.note
	}
	return join([]string{r.now, to}, " → ")
}

// sizeTable has a row for the sum of all directories, then one for each that is shown. Nothing
// is said of now when nothing is there.
func sizeTable(slug plan.SlugChange, shown []plan.DirChange) []sizeRow {
	none := !slices.ContainsFunc(slug.Dirs, func(c plan.DirChange) bool { return value(c.Now) > 0 })
	rows := []sizeRow{sizeOf("unpacked", sum(slug), none)}
	for _, c := range shown {
		rows = append(rows, sizeOf("  "+dirName(c), c, none))
	}
	return rows
}

func dirName(c plan.DirChange) string {
	if c.Path == "." {
		return "files at the top"
	}
	return shorten(quoted(c.Path), 28)
}

func sizeOf(name string, c plan.DirChange, none bool) sizeRow {
	r := sizeRow{name: name}
	switch {
	case none:
	case c.Now == nil:
		r.now = "not known"
	default:
		r.now = Size(*c.Now)
	}
	if c.Next == nil {
		r.note = next(nil, c.KnownAfter)
		return r
	}
	r.next = Size(*c.Next)
	if c.Now != nil && !none {
		r.note = difference(*c.Now, *c.Next)
	}
	return r
}

// sum is known when every part is: with the slug, if one of them is only known then.
func sum(slug plan.SlugChange) plan.DirChange {
	total := plan.DirChange{Now: new(int64), Next: new(int64)}
	add := func(to **int64, n *int64) {
		if *to == nil || n == nil {
			*to = nil
			return
		}
		**to += *n
	}
	for _, c := range slug.Dirs {
		add(&total.Now, c.Now)
		add(&total.Next, c.Next)
		if c.Next == nil && (total.KnownAfter == "" || total.KnownAfter != slug.KnownAfter) {
			total.KnownAfter = c.KnownAfter
		}
	}
	return total
}

// right fills clean text with blanks before it.
func right(s string, n int) string {
	if w := width(s); w < n {
		return strings.Repeat(" ", n-w) + s
	}
	return s
}
