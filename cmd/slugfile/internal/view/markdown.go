package view

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/slugfile/slugfile/pipeline/plan"
)

const (
	// commentLimit is how long the Markdown form gets. GitHub takes comments of 65,536 characters.
	commentLimit = 60_000
	// commentReserve is kept for the ends of what was begun, and for saying what is left out.
	commentReserve = 1000
	// commentFiles is how many lines of files there are without Verbose.
	commentFiles = 100
	// commentText is the longest single text, in columns.
	commentText = 600
)

// PlanMarkdown writes a plan for a comment on a pull request: what it comes to, what is different
// on the platform and what to know, a table of the parts, then files and diffs to unfold. Text
// from elsewhere can make no markup, mention or link, and no row of its own.
func PlanMarkdown(w io.Writer, p plan.Plan, o PlanOptions) error {
	c := &comment{p: p, verbose: o.Verbose}
	if p.Changed {
		c.add("", "### Plan for "+c.subject()+"\n\n**"+prose(Verdict(p))+"**\n")
	} else {
		c.add("", c.subject()+": **"+prose(Verdict(p))+"**\n")
	}
	c.notes()
	if p.Changed || o.Verbose {
		c.parts()
		c.sizes()
		c.files()
		c.withheld()
	}
	c.end()
	_, err := io.WriteString(w, c.b.String())
	return err
}

// comment is the Markdown form as far as it is written.
type comment struct {
	p       plan.Plan
	verbose bool
	b       strings.Builder
	left    []leftOut
}

// leftOut counts what found no room.
type leftOut struct {
	noun string
	n    int
}

// add writes a text whole, or counts it as left out.
func (c *comment) add(noun, text string) bool {
	if c.b.Len()+len(text) <= commentLimit-commentReserve {
		c.b.WriteString(text)
		return true
	}
	i := slices.IndexFunc(c.left, func(l leftOut) bool { return l.noun == noun })
	if i < 0 {
		i, c.left = len(c.left), append(c.left, leftOut{noun: noun})
	}
	c.left[i].n++
	return false
}

// subject names the app and the stack, and what the plan is compared with.
func (c *comment) subject() string {
	name := "the slug"
	if c.p.App != "" {
		name = code(c.p.App)
	}
	if c.p.Stack != "" {
		name += " on " + code(c.p.Stack)
	}
	switch {
	case c.p.Against != nil:
		name += ", against " + code(c.p.Against.Name)
	case planState(c.p) != "":
		name += ", " + prose(planState(c.p))
	}
	return name
}

// notes are the things to know that are no change.
func (c *comment) notes() {
	p := c.p
	note := func(noun, label, text, hint string) {
		block := "\n> **" + label + ":** " + prose(text) + "\n"
		if hint != "" {
			block += "> Hint: " + prose(hint) + "\n"
		}
		c.add(noun, block)
	}
	for _, x := range p.Problems {
		note("problem", "Problem", about(x.Subject, x.Message), x.Hint)
	}
	for _, f := range p.Drift {
		note("drift", "Drift", strings.ReplaceAll(driftSentence(p, f), unbroken, " "), "")
	}
	for _, w := range p.Warnings {
		note("warning", "Warning", about(w.Subject, w.Message), w.Hint)
	}
	for i, u := range p.Unpinned {
		hint := ""
		if i == len(p.Unpinned)-1 {
			hint = unpinnedHint
		}
		note("unpinned step", "Unpinned", "step "+u.Step+" calls "+strings.Join(u.Tools, ", "), hint)
	}
	if why := filesWhy(p); why != "" && p.Changed {
		note("note", "Note", why, p.FilesHint)
	}
}

// parts is the table of what the plan is made of.
func (c *comment) parts() {
	p := c.p
	c.add("table", "\n| | part | what | how |\n| --- | --- | --- | --- |\n")
	add := func(a plan.Action, word, part, what, how string) {
		c.add("row", "| `"+symbolOf(a)+"` "+word+" | "+part+" | "+what+" | "+how+" |\n")
	}
	row := func(a plan.Action, part, what, how string) { add(a, actionWord(a), part, what, how) }
	if p.Create {
		row(plan.Add, "app "+cell(p.App), "", "is created")
	}
	if s := p.StackChange; s != nil {
		row(plan.Change, "stack", cell(s.From)+" → "+cell(s.To), "")
	}
	for _, r := range p.Runtimes {
		what := cell(runtimeVersion(r))
		if r.Action != plan.Remove && r.Before != "" && r.Before != r.After {
			what = cell(r.Before) + " → " + cell(r.After)
		}
		row(r.Action, "runtime "+cell(r.Name), what, join([]string{cell(r.From), prose(runtimeWork(r))}, ", "))
	}
	for _, s := range p.Steps {
		what := s.State
		if s.State == plan.Open {
			what = "may run"
		}
		row(s.Action, "step "+cell(s.Name), prose(what), prose(s.Why))
	}
	row(p.Slug.Action, "slug", prose(slugSize(p.Slug)), slugLimit(p.Slug))
	for _, t := range p.ProcessTypes {
		part := "process " + cell(t.Name)
		switch {
		case t.Action == plan.Keep && !c.verbose:
		case t.Action == plan.Change:
			row(t.Action, part, cell(t.Before)+" → "+cell(t.After), "")
		case t.Action == plan.Remove:
			row(t.Action, part, cell(t.Before), "")
		default:
			row(t.Action, part, cell(t.After), "")
		}
	}
	if r := p.Release; r != nil {
		row(r.Action, "release to "+cell(r.App), cell(r.Description), prose(dynos(r)))
	}
}

// sizes is a table of the directories at the top, to unfold.
func (c *comment) sizes() {
	shown := c.p.Slug.Dirs
	if !c.verbose {
		shown = moved(shown)
	}
	if !c.verbose && !told(shown) || len(shown) == 0 {
		return
	}
	table := sizeTable(c.p.Slug, shown)
	rows := []string{"| at the top | unpacked | |\n| --- | ---: | ---: |\n"}
	for i, r := range table[1:] {
		name, note := cell(shown[i].Path), r.note
		if shown[i].Path == "." {
			name = dirName(shown[i])
		}
		if r.next == "" {
			note = ""
		}
		rows = append(rows, "| "+name+" | "+prose(r.fromTo())+" | "+note+" |\n")
	}
	total := table[0].fromTo()
	if table[0].next != "" {
		total = join([]string{total, table[0].note}, ", ")
	}
	c.details("Unpacked: "+prose(total), "directory", rows)
}

// details is what a reader may unfold: a summary and blocks of text.
func (c *comment) details(summary, noun string, blocks []string) {
	if !c.add(noun, "\n<details>\n<summary>"+summary+"</summary>\n\n") {
		return
	}
	for _, b := range blocks {
		c.add(noun, b)
	}
	c.b.WriteString("\n</details>\n")
}

// files lists the files, then the diffs that there are.
func (c *comment) files() {
	p := c.p
	if !p.FilesKnown {
		return
	}
	most := commentFiles
	if c.verbose {
		most = len(p.Files)
	}
	lines, rest := fold(p.Files, most)
	var blocks, diffs []string
	for _, l := range lines {
		what := l.amount()
		if l.one() {
			what = fileChange(l.files[0], commentText)
			if d := l.files[0].Diff; d != "" {
				gap := ""
				if len(diffs) > 0 {
					gap = "\n"
				}
				diffs = append(diffs, gap+code(l.path)+"\n\n"+fence(d))
			}
		}
		blocks = append(blocks, "- `"+symbolOf(l.action())+"` "+code(l.path)+" "+prose(what)+"\n")
	}
	if len(rest.files) > 0 {
		blocks = append(blocks, "- and elsewhere: "+prose(rest.amount())+"\n")
	}
	if len(p.FilesAfter) > 0 {
		blocks = append(blocks, "- more is known after "+prose(and(p.FilesAfter))+"\n")
	}
	if len(blocks) > 0 {
		c.details(prose(filesSummary(p)), "file", blocks)
	}
	if len(diffs) > 0 {
		c.details(count(len(diffs), "diff"), "diff", diffs)
	}
}

func filesSummary(p plan.Plan) string {
	all := folded{files: p.Files}
	if len(p.Files) == 0 {
		return "Files"
	}
	return "Files: " + all.amount()
}

func (c *comment) withheld() {
	var blocks []string
	for _, h := range c.p.Withheld {
		blocks = append(blocks, "- "+code(h.Path)+": "+prose(h.Rule)+"\n")
	}
	if len(blocks) > 0 {
		c.details(count(len(blocks), "path")+" withheld from the slug and the steps", "path", blocks)
	}
}

// end says what is left out.
func (c *comment) end() {
	var left []string
	for _, l := range c.left {
		left = append(left, count(l.n, l.noun))
	}
	if len(left) > 0 {
		c.b.WriteString("\nLeft out, since a comment has an end: " + strings.Join(left, ", ") + ". `slugfile plan -v` tells all.\n")
	}
}

// fence is a diff in a fenced block that nothing in it can close.
func fence(diff string) string {
	var b strings.Builder
	for _, l := range diffLines(diff) {
		b.WriteString(truncate(quoted(l), commentText) + "\n")
	}
	marks := strings.Repeat("`", max(3, longestRun(b.String(), '`')+1))
	return marks + "diff\n" + b.String() + marks + "\n"
}

func longestRun(s string, of rune) int {
	longest, run := 0, 0
	for _, r := range s {
		if run++; r != of {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest
}

// code is foreign text in a code span, where it means nothing but itself.
func code(s string) string {
	s = shorten(quoted(s), commentText)
	if s == "" {
		return ""
	}
	marks := strings.Repeat("`", longestRun(s, '`')+1)
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") || strings.HasPrefix(s, " ") && strings.HasSuffix(s, " ") {
		s = " " + s + " " // one blank at each end is no part of the span
	}
	return marks + s + marks
}

// cell is code for a cell of a table, which ends at a bar in code too. A bar after a backslash
// is read in two ways (https://github.github.com/gfm/#tables-extension-), so it is no code.
func cell(s string) string {
	if strings.Contains(quoted(s), `\|`) {
		return prose(s)
	}
	return strings.ReplaceAll(code(s), "|", `\|`)
}

// prose is text with foreign words in it. What could be markup is written as an entity, which
// is never read as such; behind what GitHub makes a mention, an address or a reference of even
// then, there is a blank without width.
func prose(s string) string {
	const noWidth = "&#8203;"
	runes := []rune(shorten(quoted(s), commentText))
	var b strings.Builder
	for i, r := range runes {
		rest := string(runes[i+1 : min(i+3, len(runes))])
		switch {
		case r == '&':
			b.WriteString("&amp;")
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case strings.ContainsRune("\\`*_[]|~!$", r):
			fmt.Fprintf(&b, "&#%d;", r)
		case r == '@' || r == '#':
			fmt.Fprintf(&b, "&#%d;%s", r, noWidth)
		case r == ':' && rest == "//" || r == '.' && endsIn(runes[:i], "www"):
			fmt.Fprintf(&b, "&#%d;", r)
		case r == '-' && endsIn(runes[:i], "gh"):
			b.WriteString("-" + noWidth)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// endsIn ignores case.
func endsIn(runes []rune, word string) bool {
	at := len(runes) - len(word)
	if at < 0 {
		return false
	}
	for i, w := range word {
		if unicode.ToLower(runes[at+i]) != w {
			return false
		}
	}
	return true
}
