package view

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/inspect"
)

// How many files with one finding, directories and kinds, files, duplicates, and libraries are shown
// without -v.
const (
	maxSame       = 3
	maxDirs       = 8
	maxFiles      = 5
	maxDuplicates = 3
	maxNeeds      = 8
)

// Inspection writes what was found for people.
func Inspection(w io.Writer, r inspect.Report, o PlanOptions) error {
	s := o.Style
	var b strings.Builder
	row := func(name, text string) { b.WriteString("  " + pad(name, 9) + " " + text + "\n") }
	b.WriteString(s.bold(shorten(quoted(r.Subject), 50)) + "  " + Size(r.Size))
	c := r.Contents
	if c != nil {
		fmt.Fprintf(&b, ", %s unpacked", Size(c.Size))
	}
	b.WriteString("\n")
	if r.Checksum != "" {
		b.WriteString(s.dim(r.Checksum) + "\n")
	}
	b.WriteString("\n")
	if !r.Layout.OK {
		row("layout", s.red("wrong")+": "+broken(quoted(r.Layout.Why), 19, "            "))
		_, err := io.WriteString(w, b.String())
		return err
	}
	if c.Tree != nil {
		sizeTree(&b, *c.Tree, r.Size, s)
	} else {
		row("layout", s.green("right")+": one gzip member, everything under ./app")
		if r.Limit > 0 {
			row("limit", limitLine(r.Size, r.Limit, s))
		}
		if r.Present != nil {
			row("stack", stackLine(*r.Present, s))
		}
		switch {
		case r.Checked == nil:
			row("checked", "for no stack: name one with --stack")
		case r.Checked.Name != stackName(r.Present):
			row("checked", "for "+stackLine(*r.Checked, s))
		}
		row("entries", fmt.Sprintf("%s, %s, %s", count(c.Files, "file"), plural(c.Dirs, "directory", "directories"), count(c.Links, "link")))
		elfRows(row, *c, o)
		processRows(row, r.ProcessTypes, s)
		runtimes(&b, *c, r.Size, o)
		shares(&b, "by directory", c.Top, r.Size, maxDirs, o)
		kinds := make([]inspect.Share, len(c.Kinds))
		for i, k := range c.Kinds {
			kinds[i] = inspect.Share{Path: k.Kind, Sizes: k.Sizes}
		}
		shares(&b, "by kind", kinds, r.Size, maxDirs, o)
		shares(&b, "largest files", c.Largest, r.Size, maxFiles, o)
		duplicates(&b, c.Duplicates, r.Size, o)
		couldGo(&b, c.Advice, r.Size, o)
		findings(&b, r, o)
	}
	b.WriteString("\n" + verdict(r, s) + "\n")
	if n := r.Count(artifact.Error) + r.Count(artifact.Advice); n > 0 && c.Tree != nil {
		b.WriteString(s.dim("What was found is told without --tree.") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// elfRows say what of the slug the machine runs, and what that needs.
func elfRows(row func(name, text string), c inspect.Contents, o PlanOptions) {
	programs := count(c.Programs, "program")
	if c.ELF.Static > 0 {
		programs += fmt.Sprintf(" (%d static)", c.ELF.Static)
	}
	text := fmt.Sprintf("%s, %s, %s", programs, plural(c.Libraries, "library", "libraries"), count(c.Scripts, "script"))
	var machines []string
	for _, m := range slices.Sorted(maps.Keys(c.ELF.Machines)) {
		machines = append(machines, fmt.Sprintf("%d for %s", c.ELF.Machines[m], quoted(m)))
	}
	if n := c.ELF.Foreign; n > 0 {
		machines = append(machines, fmt.Sprintf("%d for macOS or Windows", n))
	}
	if len(machines) > 1 || len(machines) == 1 && c.ELF.Machines["x86-64"] == 0 {
		text += "; " + strings.Join(machines, ", ")
	}
	const indent = "            "
	row("", broken(text, 12, indent))
	if c.ELF.Damaged > 0 {
		row("", o.Style.yellow(fmt.Sprintf("%d of them could not be read whole", c.ELF.Damaged)))
	}
	var needs []string
	if c.ELF.GLIBC != "" {
		needs = append(needs, fmt.Sprintf("glibc %s (%s)", quoted(c.ELF.GLIBC), shorten(quoted(c.ELF.GLIBCOf), 40)))
	}
	for i, n := range c.ELF.Needs {
		if i == maxNeeds && !o.Verbose {
			needs = append(needs, fmt.Sprintf("%d more", len(c.ELF.Needs)-i))
			break
		}
		needs = append(needs, quoted(n.Name))
	}
	if len(needs) > 0 {
		row("needs", broken(strings.Join(needs, ", "), 12, indent))
	}
}

func processRows(row func(name, text string), types map[string]string, s Style) {
	if len(types) == 0 {
		row("processes", s.dim("not known: a slug does not say how it is started"))
	}
	name := 0
	for n := range types {
		name = max(name, width(quoted(n)))
	}
	name = min(name, 24)
	for i, n := range slices.Sorted(maps.Keys(types)) {
		head := ""
		if i == 0 {
			head = "processes"
		}
		row(head, pad(shorten(quoted(n), name), name)+"  "+shorten(quoted(types[n]), columns-14-name))
	}
}

// limitLine says how near a slug is to its limit.
func limitLine(size, limit int64, s Style) string {
	text := "limits.slug is " + Size(limit)
	switch {
	case size > limit:
		return text + ": " + s.red("too large by "+Size(size-limit))
	case size > limit/10*9:
		return text + ": " + s.yellow(percent(size, limit)+" of it")
	}
	return text + ": " + percent(size, limit) + " of it"
}

func stackName(f *inspect.Stack) string {
	if f == nil {
		return ""
	}
	return f.Name
}

// stackLine says what a stack is and until when.
func stackLine(f inspect.Stack, s Style) string {
	if !f.Known {
		return quoted(f.Name) + ", of which nothing is known here"
	}
	end := "end of life " + f.EndOfLife
	if f.Expected {
		end = "end of life about " + f.EndOfLife
	}
	switch f.Support {
	case "ended":
		end = s.red(end + ", which is over")
	case "ending":
		end = s.yellow(end)
	}
	return fmt.Sprintf("%s: Ubuntu %s, glibc %s, %s", f.Name, f.Ubuntu, f.GLIBC, end)
}

// percent writes a share; one that would be nothing is "<1 %".
func percent(n, of int64) string {
	switch {
	case of <= 0 || n <= 0:
		return "0 %"
	case n*200 < of:
		return "<1 %"
	}
	return fmt.Sprintf("%d %%", (n*200+of)/(of*2))
}

// sizeIndent is what stands before the text of a row of sizes.
const sizeIndent = 4 + 9 + 2 + 9 + 2 + 5 + 2

// sizeTitle heads rows of sizes.
func sizeTitle(b *strings.Builder, title string, s Style) {
	fmt.Fprintf(b, "\n    %s  %s\n", s.dim(fmt.Sprintf("%9s  %9s  %5s", "packed", "unpacked", "")), s.bold(title))
}

// sizeRowOf writes sizes, a text that is shortened to fit beside its note, and the note.
func sizeRowOf(b *strings.Builder, n inspect.Sizes, whole int64, text, note string, s Style) {
	sizeText(b, sizesOf(n, whole, s), "", text, note, s)
}

func sizesOf(n inspect.Sizes, whole int64, s Style) string {
	return fmt.Sprintf("    %9s  %9s  ", Size(n.Packed), Size(n.Size)) + s.dim(fmt.Sprintf("%5s", percent(n.Packed, whole)))
}

// deepest is how wide the lines of a tree become at most; further down they are cut at their start.
const deepest = 24

// noSizes stands where a row has none.
var noSizes = strings.Repeat(" ", sizeIndent-2)

// sizeText writes a row: sizes, the lines of a tree, a text and its note.
func sizeText(b *strings.Builder, sizes, lines, text, note string, s Style) {
	if drawn := []rune(lines); len(drawn) > deepest {
		lines = "…" + string(drawn[len(drawn)-deepest+1:])
	}
	room := columns - sizeIndent - 1 - width(lines)
	switch {
	case note == "":
	case room-2-width(note) < 12: // the name tells more
		note = ""
	default:
		room -= 2 + width(note)
		note = "  " + s.dim(note)
	}
	b.WriteString(sizes + "  " + s.dim(lines) + shortPath(text, room) + note + "\n")
}

// shortPath cuts a path between its names where it can. Its last names tell most, then its first.
func shortPath(path string, n int) string {
	if width(path) <= n {
		return path
	}
	first, rest, _ := strings.Cut(path, "/")
	short := ""
	for rest != "" {
		if with := first + "/…/" + rest; width(with) <= n {
			if short == "" || strings.Contains(strings.TrimSuffix(rest, "/"), "/") {
				short = with
			}
			break
		}
		if without := "…/" + rest; short == "" && width(without) <= n {
			short = without
		}
		_, rest, _ = strings.Cut(rest, "/")
	}
	if short == "" {
		return shorten(path, n)
	}
	return short
}

// shares writes a table of sizes, at most so many rows without -v.
func shares(b *strings.Builder, title string, list []inspect.Share, whole int64, most int, o PlanOptions) {
	if len(list) == 0 {
		return
	}
	sizeTitle(b, title, o.Style)
	shown := len(list)
	if !o.Verbose && shown > most+1 {
		shown = most
	}
	for _, d := range list[:shown] {
		note := ""
		if d.Files != 1 {
			note = count(d.Files, "file")
		}
		sizeRowOf(b, d.Sizes, whole, quoted(d.Path), note, o.Style)
	}
	if more := list[shown:]; len(more) > 0 {
		var sum inspect.Sizes
		for _, d := range more {
			sum.Size, sum.Packed = sum.Size+d.Size, sum.Packed+d.Packed
		}
		sizeRowOf(b, sum, whole, fmt.Sprintf("… %d more", len(more)), "", o.Style)
	}
}

// runtimes writes what was recognised.
func runtimes(b *strings.Builder, c inspect.Contents, whole int64, o PlanOptions) {
	var kinds []string
	if n := len(c.NPM); n > 0 {
		kinds = append(kinds, count(n, "npm package"))
	}
	if n := len(c.Gems); n > 0 {
		kinds = append(kinds, count(n, "gem"))
	}
	if len(c.Runtimes)+len(c.GoPrograms)+len(kinds) == 0 {
		return
	}
	sizeTitle(b, "runtimes and packages", o.Style)
	for _, r := range c.Runtimes {
		version, note := quoted(r.Version), ""
		if version == "" {
			version = "of unknown version"
		}
		if r.Dir != "." {
			note = "in " + shorten(quoted(r.Dir), 24)
		}
		if r.Sizes == (inspect.Sizes{}) {
			sizeText(b, noSizes, "", r.Name+" "+version, note, o.Style)
		} else {
			sizeRowOf(b, r.Sizes, whole, r.Name+" "+version, note, o.Style)
		}
	}
	for i, p := range c.GoPrograms {
		if i == maxDirs && len(c.GoPrograms) > maxDirs+1 && !o.Verbose {
			sizeText(b, noSizes, "", fmt.Sprintf("… %d more Go programs", len(c.GoPrograms)-i), "", o.Style)
			break
		}
		sizeRowOf(b, p.Sizes, whole, quoted(p.Path), fmt.Sprintf("Go %s, %s", quoted(p.Go), count(len(p.Modules), "module")), o.Style)
		if !o.Verbose {
			continue
		}
		if p.Module != "" {
			sizeText(b, noSizes, "  ", quoted(p.Module), quoted(p.Version), o.Style)
		}
		for _, m := range p.Modules {
			sizeText(b, noSizes, "  ", quoted(m.Name), quoted(m.Version), o.Style)
		}
	}
	if len(kinds) > 0 {
		sizeText(b, noSizes, "", strings.Join(kinds, ", "), "", o.Style)
	}
}

// duplicates writes what the copies of files take.
func duplicates(b *strings.Builder, d inspect.Duplicates, whole int64, o PlanOptions) {
	if d.Contents == 0 {
		return
	}
	sizeTitle(b, "duplicates, beyond the first of each", o.Style)
	sizeRowOf(b, d.Sizes, whole, plural(d.Files, "copy", "copies")+" of "+count(d.Contents, "file"), "", o.Style)
	for i, one := range d.Largest {
		if i == maxDuplicates && !o.Verbose {
			break
		}
		paths := one.Paths
		if !o.Verbose {
			paths = paths[:1]
		}
		places := len(one.Paths) + one.More
		sizeRowOf(b, one.Sizes, whole, quoted(paths[0]), fmt.Sprintf("%d times", places), o.Style)
		for _, p := range paths[1:] {
			sizeText(b, noSizes, "", quoted(p), "", o.Style)
		}
	}
	fmt.Fprintf(b, "    %s\n", o.Style.dim("Packed is what they really take: gzip finds a repetition within 32 KiB only."))
}

// couldGo writes what the app may do without; where it lies and what to do, with -v.
func couldGo(b *strings.Builder, list []inspect.Advice, whole int64, o PlanOptions) {
	list = slices.DeleteFunc(slices.Clone(list), func(a inspect.Advice) bool { return a.Size < leastJunk })
	if len(list) == 0 {
		return
	}
	sizeTitle(b, "could be left out", o.Style)
	for _, a := range list {
		sizeRowOf(b, a.Sizes, whole, a.Kind, count(a.Files, "file"), o.Style)
		if !o.Verbose {
			continue
		}
		for _, p := range a.Paths[:min(len(a.Paths), shownJunk)] {
			sizeText(b, sizesOf(p.Sizes, whole, o.Style), "  ", quoted(p.Path), "", o.Style)
		}
		if more := len(a.Paths) - shownJunk + a.More; more > 0 {
			sizeText(b, noSizes, "  ", fmt.Sprintf("… %d more", more), "", o.Style)
		}
		fmt.Fprintf(b, "    %s %s\n", o.Style.cyan("hint:"), broken(a.Hint, 10, "    "))
	}
	if !o.Verbose {
		fmt.Fprintf(b, "    %s\n", o.Style.dim("-v says where it lies, and how to leave it out."))
	}
}

// sizeTree draws a tree that was folded.
func sizeTree(b *strings.Builder, root inspect.Node, whole int64, s Style) {
	fmt.Fprintf(b, "    %s\n", s.dim(fmt.Sprintf("%9s  %9s", "packed", "unpacked")))
	branches(root, "", "", func(n inspect.Node, lines string) {
		text, note := nodeText(n)
		sizeText(b, sizesOf(n.Sizes, whole, s), lines, text, note, s)
	})
}

// branches visits the nodes of a tree with what is drawn before their names.
func branches(n inspect.Node, lines, below string, visit func(n inspect.Node, lines string)) {
	visit(n, lines)
	for i, c := range n.Nodes {
		if i == len(n.Nodes)-1 {
			branches(c, below+"└ ", below+"  ", visit)
		} else {
			branches(c, below+"├ ", below+"│ ", visit)
		}
	}
}

// nodeText names a node; the note of what is not opened says how much is in it.
func nodeText(n inspect.Node) (text, note string) {
	if n.More > 0 {
		return fmt.Sprintf("… %d more", n.More), ""
	}
	if n.Nodes == nil && strings.HasSuffix(n.Path, "/") {
		note = count(n.Files, "file")
	}
	return quoted(n.Path), note
}

// findings writes what was found, the same of several files together.
func findings(b *strings.Builder, r inspect.Report, o PlanOptions) {
	s := o.Style
	list := r.Findings
	if len(list) > 0 {
		b.WriteString("\n")
	}
	for len(list) > 0 {
		first := list[0]
		n := 1
		for n < len(list) && list[n].Code == first.Code && list[n].Message == first.Message && list[n].Severity == first.Severity && first.Path != "" {
			n++
		}
		word := s.yellow(string(first.Severity))
		if first.Severity == artifact.Error {
			word = s.red(string(first.Severity))
		}
		fmt.Fprintf(b, "  %s [%s] %s\n", word, first.Code, broken(Clean(first.Message), 6+len(first.Severity)+len(first.Code), "    "))
		for i, f := range list[:n] {
			if i == maxSame && n > maxSame+1 && !o.Verbose {
				fmt.Fprintf(b, "    %s\n", s.dim(fmt.Sprintf("and %d more files", n-i)))
				break
			}
			where := shorten(Clean(f.Path), columns-4)
			if f.ProcessType != "" {
				where = strings.TrimPrefix(where+", process type "+Clean(f.ProcessType), ", ")
			}
			fmt.Fprintf(b, "    %s\n", where)
		}
		if first.Hint != "" {
			fmt.Fprintf(b, "    %s %s\n", s.cyan("hint:"), broken(Clean(first.Hint), 10, "    "))
		}
		list = list[n:]
	}
}

// broken breaks a text between words that begins at a column, so that it fits.
func broken(text string, at int, indent string) string {
	var b strings.Builder
	for i, word := range strings.Split(text, " ") {
		switch {
		case i == 0:
		case at+1+width(word) > columns:
			b.WriteString("\n" + indent)
			at = len(indent)
		default:
			b.WriteString(" ")
			at++
		}
		b.WriteString(word)
		at += width(word)
	}
	return b.String()
}

// verdict is the last line.
func verdict(r inspect.Report, s Style) string {
	errs, warnings := r.Count(artifact.Error), r.Count(artifact.Advice)
	on := stackName(r.Checked)
	switch {
	case errs > 0:
		return fmt.Sprintf("It would %s on %s: %s, %s.", s.red("not run"), on, count(errs, "error"), count(warnings, "warning"))
	case on == "":
		return fmt.Sprintf("Nothing else was looked for: %s.", count(warnings, "warning"))
	case !r.Checked.Known:
		return fmt.Sprintf("Nothing is known of %s: %s.", Clean(on), count(warnings, "warning"))
	case warnings > 0:
		return fmt.Sprintf("Nothing keeps it from running on %s: %s.", on, count(warnings, "warning"))
	}
	return fmt.Sprintf("Nothing keeps it from running on %s.", s.green(on))
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
