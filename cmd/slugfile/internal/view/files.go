package view

import (
	"strings"

	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// files draws what becomes of the files of the slug.
func (d *planDrawing) files() {
	p := d.p
	if why := filesWhy(p); why != "" {
		d.indented(why, d.s.dim)
		if p.FilesHint != "" {
			d.indented("hint: "+p.FilesHint, d.s.dim)
		}
	}
	if !p.FilesKnown {
		return
	}
	most := shownFiles
	if d.verbose {
		most = len(p.Files)
	}
	lines, rest := fold(p.Files, most)
	wide := 0
	for _, l := range lines {
		wide = max(wide, width(shorten(quoted(l.path), maxPath)))
	}
	hidden := len(rest.files) > 0
	for _, l := range lines {
		room := columns - len(nested) - 4 - wide
		what := l.amount()
		if l.one() {
			what = fileChange(l.files[0], room)
		}
		hidden = hidden || !l.one()
		d.line("%s%s %s  %s", nested, d.s.symbol(symbolOf(l.action())), pad(shorten(quoted(l.path), maxPath), wide), shorten(what, room))
		if l.one() {
			d.diff(l.files[0].Diff)
		}
	}
	if len(rest.files) > 0 {
		d.line("%s", nested+d.s.dim("and elsewhere: "+rest.amount()))
	}
	if hidden {
		d.line("%s", nested+d.s.dim("-v shows every file"))
	}
	if len(p.FilesAfter) > 0 {
		d.indented("more is known after "+and(p.FilesAfter), d.s.dim)
	}
}

// filesWhy says why files are not compared, or not all of them. That there is nothing to compare
// with stands in the head of a plan.
func filesWhy(p plan.Plan) string {
	switch {
	case p.FilesWhy == "" || !p.FilesKnown && p.Current == nil && p.Against == nil:
		return ""
	case p.FilesKnown:
		return p.FilesWhy
	}
	return "files are not compared: " + p.FilesWhy
}

// indented writes a sentence below the slug.
func (d *planDrawing) indented(text string, paint func(string) string) {
	for i, l := range wrapped(quoted(text), columns-len(nested)-2, d.lines()) {
		if i > 0 {
			l = "  " + l
		}
		d.line("%s", nested+paint(l))
	}
}

// diff draws a unified diff without its head, which names the file again. The signs say what
// the colours say.
func (d *planDrawing) diff(text string) {
	const indent = nested + "    "
	for _, l := range diffLines(text) {
		l = truncate(quoted(l), columns-len(indent))
		switch {
		case strings.HasPrefix(l, "+"):
			l = d.s.green(l)
		case strings.HasPrefix(l, "-"):
			l = d.s.red(l)
		case strings.HasPrefix(l, "@"), strings.HasPrefix(l, `\`):
			l = d.s.dim(l)
		}
		d.line("%s", indent+l)
	}
}

// diffLines are the lines of a unified diff from the first hunk on.
func diffLines(text string) []string {
	if text == "" {
		return nil
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "@@") {
			return lines[i:]
		}
	}
	return lines
}

// fileChange says what becomes of one file. What links say is shortened for that many columns.
func fileChange(f plan.FileChange, room int) string {
	text := fileWords(f, room)
	if f.NoDiff != "" {
		text = strings.TrimSpace(text + "  (no diff: " + quoted(f.NoDiff) + ")")
	}
	return text
}

func fileWords(f plan.FileChange, room int) string {
	switch {
	case f.Before == nil && f.After == nil:
		return quoted(f.What)
	case f.Before == nil:
		return entry(*f.After, room)
	case f.After == nil:
		return entry(*f.Before, room)
	}
	b, a := *f.Before, *f.After
	const arrow = " → "
	switch half := (room - len(arrow)) / 2; {
	case b.Kind != a.Kind:
		was, is := kindAnd(b, half), kindAnd(a, half)
		return was + arrow + is
	case a.Kind == tree.Link:
		half -= len(linkTo) / 2
		return linkTo + shorten(quoted(b.Target), half) + arrow + shorten(quoted(a.Target), half)
	case a.Kind == tree.Dir:
		return "directory"
	}
	var parts []string
	switch {
	case b.Size != a.Size:
		parts = append(parts, Size(b.Size)+arrow+Size(a.Size))
	case b.Digest != a.Digest || b.Exec == a.Exec:
		parts = append(parts, Size(a.Size)+", other content")
	}
	switch {
	case a.Exec && !b.Exec:
		parts = append(parts, "becomes executable")
	case b.Exec && !a.Exec:
		parts = append(parts, "no longer executable")
	}
	return strings.Join(parts, ", ")
}

const linkTo = "link to "

// entry is what is there: the size of a file, or the target of a link.
func entry(e tree.Entry, room int) string {
	switch e.Kind {
	case tree.Link:
		return linkTo + shorten(quoted(e.Target), room-len(linkTo))
	case tree.Dir:
		return "directory"
	}
	if e.Exec {
		return Size(e.Size) + ", executable"
	}
	return Size(e.Size)
}

// kindAnd is entry, with the word for a file too.
func kindAnd(e tree.Entry, room int) string {
	if e.Kind == tree.File {
		return "file of " + Size(e.Size)
	}
	return entry(e, room)
}
