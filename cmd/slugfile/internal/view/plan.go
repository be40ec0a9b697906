package view

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// PlanOptions are how a plan is drawn.
type PlanOptions struct {
	Style Style
	// Verbose shows every file and every withheld path, and the parts that stay as they are.
	Verbose bool
}

const (
	// shownFiles and shownWithheld are how many lines of a list there are without Verbose.
	shownFiles    = 20
	shownWithheld = 8
	// maxPath is the widest path; what is longer is shortened in its middle.
	maxPath = 44
)

// Plan draws a plan for people, in 80 columns: what it is about, a line for each part with
// its symbol and reason, what to know besides, and a summary as the last line.
func Plan(w io.Writer, p plan.Plan, o PlanOptions) error {
	d := &planDrawing{p: p, s: o.Style, verbose: o.Verbose}
	d.head()
	if p.Changed || o.Verbose {
		d.parts()
	}
	d.besides()
	d.line("%s", d.last())
	_, err := io.WriteString(w, d.b.String())
	return err
}

type planDrawing struct {
	p       plan.Plan
	s       Style
	verbose bool
	b       strings.Builder
}

func (d *planDrawing) line(format string, args ...any) {
	d.b.WriteString(strings.TrimRight(fmt.Sprintf(format, args...), " ") + "\n")
}

// head says what the plan is about and what runs now.
func (d *planDrawing) head() {
	p := d.p
	about := "slug"
	if p.App != "" {
		about = Clean(p.App)
	}
	stack := p.Stack
	if stack == "" {
		stack = "no stack"
	}
	about = d.s.bold(about) + " (" + Clean(stack) + ")"
	switch {
	case p.App == "":
	case p.Create:
		about += "  there is no such app yet"
	case p.Current == nil:
		about += "  nothing is released yet"
	default:
		about += fmt.Sprintf("  now v%d, released %s", p.Current.Version, age(p.Current.Age))
	}
	d.line("%s", about)
	d.line("")
	for _, f := range p.Drift {
		by := ""
		if f.By != "" {
			by = " by " + Clean(f.By)
		}
		d.line("%s %s was released outside slugfile since (v%d%s, %s)", d.s.yellow("!"), Clean(p.App), f.Version, by, age(f.Age))
		d.line("")
	}
}

func age(seconds int64) string { return Age(time.Duration(seconds) * time.Second) }

// row is one part: its symbol, what kind of part it is, and columns of text.
type row struct {
	action plan.Action
	kind   string
	cells  []string
}

// kindWidth is the width of the longest kind.
const kindWidth = len("runtime")

func (d *planDrawing) parts() {
	p := d.p
	var rows []row
	add := func(a plan.Action, kind string, cells ...string) {
		rows = append(rows, row{a, kind, cells})
	}
	if p.Create {
		add(plan.Add, "app", p.App, "is created")
	}
	if c := p.StackChange; c != nil {
		add(plan.Change, "stack", p.App, c.From+" → "+c.To)
	}
	for _, r := range p.Runtimes {
		what := r.After
		if r.Action == plan.Remove {
			what = r.Before
		} else if r.Before != "" && r.Before != r.After {
			what = r.Before + " → " + r.After
		}
		why := r.Why
		if r.Fetch {
			why = "to fetch"
			if r.Bytes >= 0 {
				why = Size(r.Bytes) + " to fetch"
			}
		}
		add(r.Action, "runtime", r.Name, what, r.From, why)
	}
	for _, s := range p.Steps {
		state := s.State
		if s.State == plan.Open {
			state = "may run"
		}
		add(s.Action, "step", s.Name, state, s.Why)
	}
	built := len(rows)
	for _, c := range p.ProcessTypes {
		switch {
		case c.Action == plan.Keep && !d.verbose:
		case c.Action == plan.Change:
			add(c.Action, "process", c.Name, c.Before+" → "+c.After)
		case c.Action == plan.Remove:
			add(c.Action, "process", c.Name, c.Before)
		default:
			add(c.Action, "process", c.Name, c.After)
		}
	}
	if r := p.Release; r != nil {
		add(r.Action, "release", r.App, dynos(r))
		if r.Description != "" && d.verbose {
			add("", "", "", r.Description)
		}
	}
	widths := fit(rows)
	d.table(rows[:built], widths)
	d.slug()
	d.files()
	d.table(rows[built:], widths)
	d.line("")
}

// dynos says what a release does to the processes that run.
func dynos(r *plan.ReleaseChange) string {
	var parts []string
	if r.ReleasePhase {
		parts = append(parts, "runs the release phase")
	}
	for _, c := range []struct {
		verb  string
		types []string
		tail  string
	}{{"restarts", r.Restarts, ""}, {"starts", r.Starts, ""}, {"adds", r.Adds, " (no dynos yet)"}, {"stops", r.Stops, ""}} {
		if len(c.types) > 0 {
			parts = append(parts, c.verb+" "+strings.Join(c.types, " and ")+c.tail)
		}
	}
	return strings.Join(parts, ", ")
}

// The columns that are aligned: name, state or version, and origin, each with the width
// down to which it gives way when a line is too long.
var leastWidths = [3]int{12, 14, 10}

// widestName is the width of a name beyond which it is shortened in any case, and
// leastLast is what the last column of a row gets even beside wide ones.
const (
	widestName = 20
	leastLast  = 18
)

// fit cleans the cells and finds the widths of the columns, such that rows fit into 80.
func fit(rows []row) [3]int {
	var widths [3]int
	var last [4]int // of rows with that many cells before their last
	for _, r := range rows {
		for j := range r.cells {
			r.cells[j] = Clean(r.cells[j])
			w := width(r.cells[j])
			if j == len(r.cells)-1 {
				last[j] = max(last[j], min(w, leastLast))
			} else {
				widths[j] = max(widths[j], w)
			}
		}
	}
	widths[0] = min(widths[0], widestName)
	tooLong := func() bool {
		used := rowStart
		for j, l := range last {
			if l > 0 && used+2+l > columns {
				return true
			}
			if j < len(widths) {
				used += 2 + widths[j]
			}
		}
		return false
	}
	for _, j := range []int{2, 1, 0} {
		for widths[j] > leastWidths[j] && tooLong() {
			widths[j]--
		}
	}
	return widths
}

// rowStart is what stands before the first cell: blanks, the symbol and the kind.
const rowStart = 4 + kindWidth

// table draws rows in columns of these widths; the last cell of a row takes what is left.
func (d *planDrawing) table(rows []row, widths [3]int) {
	for _, r := range rows {
		used := rowStart
		text := pad(r.kind, kindWidth)
		for j, c := range r.cells {
			if j == len(r.cells)-1 {
				c = shorten(c, columns-used-2)
			} else {
				c = pad(shorten(c, widths[j]), widths[j])
			}
			text += "  " + c
			used += 2 + width(c)
		}
		symbol := string(r.action)
		if symbol == "" {
			symbol = " "
		}
		if r.action == plan.Keep {
			text = d.s.dim(strings.TrimRight(text, " "))
		}
		d.line("  %s %s", d.s.symbol(symbol), text)
	}
}

func (d *planDrawing) slug() {
	c := d.p.Slug
	next := ""
	switch {
	case c.Next != nil:
		next = Size(*c.Next)
	case c.KnownAfter != "":
		next = "known after " + Clean(c.KnownAfter)
	}
	text := next
	if c.Now != nil && c.Action != plan.Keep {
		text = Size(*c.Now) + " → " + next
		if c.Next != nil {
			sign := "+"
			if *c.Next < *c.Now {
				sign = ""
			}
			text += "  " + sign + Size(*c.Next-*c.Now)
		}
	}
	if text == "" {
		text = "size not known"
	}
	if c.Limit > 0 {
		text += "; limit " + Size(c.Limit)
	}
	text = pad("slug", kindWidth) + "  " + shorten(text, columns-6-kindWidth)
	if c.Action == plan.Keep {
		text = d.s.dim(text)
	}
	d.line("  %s %s", d.s.symbol(string(c.Action)), text)
}

func (d *planDrawing) files() {
	p := d.p
	if !p.FilesKnown {
		if p.Current != nil && p.FilesWhy != "" {
			d.line("      %s", d.s.dim("files are not compared: "+shorten(Clean(p.FilesWhy), columns-30)))
		}
		return
	}
	files := p.Files
	if !d.verbose && len(files) > shownFiles {
		files = files[:shownFiles]
	}
	names := make([]string, len(files))
	wide := 0
	for i, f := range files {
		names[i] = shorten(Clean(f.Path), maxPath)
		wide = max(wide, width(names[i]))
	}
	for i, f := range files {
		d.line("      %s %s  %s", d.s.symbol(string(f.Action)), pad(names[i], wide), shorten(fileChange(f), columns-10-wide))
	}
	if more := len(p.Files) - len(files); more > 0 {
		d.line("      %s", d.s.dim(fmt.Sprintf("and %d more (-v shows all)", more)))
	}
	if len(p.FilesAfter) > 0 {
		d.line("      %s", d.s.dim("more is known after "+shorten(Clean(strings.Join(p.FilesAfter, ", ")), columns-28)))
	}
}

// fileChange says what becomes of one file.
func fileChange(f plan.FileChange) string {
	switch {
	case f.Before == nil && f.After == nil:
		return ""
	case f.Before == nil:
		return entry(*f.After)
	case f.After == nil:
		return entry(*f.Before)
	case f.What == "mode" && f.After.Exec:
		return "becomes executable"
	case f.What == "mode":
		return "is no longer executable"
	case f.Before.Kind == tree.File && f.After.Kind == tree.File && f.Before.Size == f.After.Size:
		return Size(f.After.Size) + ", other content"
	}
	return entry(*f.Before) + " → " + entry(*f.After)
}

func entry(e tree.Entry) string {
	switch e.Kind {
	case tree.Link:
		return "link to " + Clean(e.Target)
	case tree.Dir:
		return "directory"
	}
	return Size(e.Size)
}

// besides are the things to know that are no change.
func (d *planDrawing) besides() {
	p, before := d.p, d.b.Len()
	if list := p.Withheld; len(list) > 0 && (p.Changed || d.verbose) {
		d.line("Withheld from the slug and the steps: %s.", count(len(list), "path"))
		if !d.verbose && len(list) > shownWithheld {
			list = list[:shownWithheld]
		}
		wide := 0
		for _, h := range list {
			wide = max(wide, width(shorten(Clean(h.Path), maxPath)))
		}
		for _, h := range list {
			d.line("    %s  %s", pad(shorten(Clean(h.Path), maxPath), wide), d.s.dim(shorten(Clean(h.Rule), columns-6-wide)))
		}
		if more := len(p.Withheld) - len(list); more > 0 {
			d.line("    %s", d.s.dim(fmt.Sprintf("and %d more (-v shows all)", more)))
		}
	}
	for _, u := range p.Unpinned {
		names := shorten(Clean(strings.Join(u.Tools, ", ")), columns-24)
		d.line("Unpinned: step %s calls %s", Clean(u.Step), names)
	}
	if len(p.Unpinned) > 0 {
		d.hint("a runtime with host: pins a tool of this machine")
	}
	for _, w := range p.Warnings {
		d.line("%s %s", d.s.yellow("warning:"), about(w.Subject, w.Message))
		d.hint(w.Hint)
	}
	for _, x := range p.Problems {
		d.line("%s %s", d.s.red("problem:"), about(x.Subject, x.Message))
		d.hint(x.Hint)
	}
	if d.b.Len() > before {
		d.line("")
	}
}

func (d *planDrawing) hint(text string) {
	if text != "" {
		d.line("%s %s", d.s.cyan("hint:"), Clean(text))
	}
}

func about(subject, message string) string {
	if subject == "" {
		return Clean(message)
	}
	return Clean(subject) + ": " + Clean(message)
}

// last is the summary.
func (d *planDrawing) last() string {
	p := d.p
	stop := ""
	if n := len(p.Problems); n > 0 {
		verb := "stop"
		if n == 1 {
			verb = "stops"
		}
		stop = fmt.Sprintf(" %s %s apply.", count(n, "problem"), verb)
	}
	if !p.Changed {
		if p.App == "" || p.Current == nil {
			return "No changes. " + sentence(p.Why) + stop
		}
		return fmt.Sprintf("No changes. slug.yaml matches release v%d.", p.Current.Version) + stop
	}
	return "Plan: " + Summary(p) + "." + stop
}

// Summary counts the work of a plan: "1 runtime to fetch, 1 step to run, 1 reused; 1 file
// added". For a plan that only makes a new slug of the same parts it is the reason.
func Summary(p plan.Plan) string {
	s := p.Summary
	fetch := ""
	if s.Fetch > 0 {
		fetch = count(s.Fetch, "runtime") + " to fetch"
	}
	groups := []string{
		fetch,
		counts("step", "to run", s.StepsRun, "reused", s.StepsReused, "that may run", s.StepsOpen),
		counts("file", "added", s.FilesAdded, "changed", s.FilesChanged, "removed", s.FilesRemoved),
		counts("process type", "added", s.ProcessTypesAdded, "changed", s.ProcessTypesChanged, "removed", s.ProcessTypesRemoved),
	}
	work := join(groups[:2], ", ")
	all := join([]string{work, groups[2], groups[3]}, "; ")
	if all == "" {
		return Clean(p.Why)
	}
	return all
}

// counts names the noun with its first number only: "1 step to run, 2 reused".
func counts(noun, a string, na int, b string, nb int, c string, nc int) string {
	var parts []string
	for _, x := range []struct {
		what string
		n    int
	}{{a, na}, {b, nb}, {c, nc}} {
		switch {
		case x.n == 0:
		case len(parts) == 0:
			parts = append(parts, count(x.n, noun)+" "+x.what)
		default:
			parts = append(parts, fmt.Sprintf("%d %s", x.n, x.what))
		}
	}
	return strings.Join(parts, ", ")
}

func join(parts []string, by string) string {
	var some []string
	for _, p := range parts {
		if p != "" {
			some = append(some, p)
		}
	}
	return strings.Join(some, by)
}

// sentence starts with a capital and ends with a stop.
func sentence(s string) string {
	s = Clean(s)
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}
