package view

import (
	"strings"

	"github.com/slugfile/slugfile/pipeline/plan"
)

// row is one part: its symbol, what kind of part it is, and columns of text.
type row struct {
	action plan.Action
	kind   string
	cells  []string
}

// kindWidth is the width of the longest kind.
const kindWidth = len("runtime")

// shownCommand is how long both commands of a process type are together at most, that they stand
// in one row.
const shownCommand = 50

// partRows are the parts of a plan in the order of the pipeline: those above the slug, and
// those below it. all has those too that stay as they are and are not worth a line.
func partRows(p plan.Plan, all bool) (above, below []row) {
	rows := &above
	add := func(a plan.Action, kind string, cells ...string) {
		*rows = append(*rows, row{a, kind, cells})
	}
	if p.Create {
		add(plan.Add, "app", p.App, "is created")
	}
	if c := p.StackChange; c != nil {
		add(plan.Change, "stack", p.App, c.From+" → "+c.To)
	}
	for _, r := range p.Runtimes {
		add(r.Action, "runtime", r.Name, runtimeVersion(r), r.From, runtimeWork(r))
	}
	for _, s := range p.Steps {
		state := s.State
		if s.State == plan.Open {
			state = "may run"
		}
		add(s.Action, "step", s.Name, state, s.Why)
	}
	rows = &below
	for _, c := range p.ProcessTypes {
		switch {
		case c.Action == plan.Keep && !all:
		case c.Action == plan.Change && len(c.Before)+len(c.After) > shownCommand:
			add(c.Action, "process", c.Name, c.Before)
			add("", "", "", "→ "+c.After)
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
		if r.Description != "" && all {
			add("", "", "", r.Description)
		}
	}
	return above, below
}

func runtimeVersion(r plan.RuntimeChange) string {
	switch {
	case r.Action == plan.Remove:
		return r.Before
	case r.Before != "" && r.Before != r.After:
		return r.Before + " → " + r.After
	}
	return r.After
}

func runtimeWork(r plan.RuntimeChange) string {
	switch {
	case !r.Fetch:
		return r.Why
	case r.Bytes >= 0:
		return Size(r.Bytes) + " to fetch"
	}
	return "to fetch"
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
			parts = append(parts, c.verb+" "+and(c.types)+c.tail)
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
			r.cells[j] = quoted(r.cells[j])
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
		return used > columns
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

// table draws rows in columns of these widths; the last cell of a row takes what is left, in
// several lines when it has to.
func (d *planDrawing) table(rows []row, widths [3]int) {
	for _, r := range rows {
		text, used := pad(r.kind, kindWidth), rowStart
		last := len(r.cells) - 1
		for j, c := range r.cells[:last] {
			text += "  " + pad(shorten(c, widths[j]), widths[j])
			used += 2 + widths[j]
		}
		lines := wrapped(r.cells[last], columns-used-2, d.lines())
		for i, l := range lines {
			if i > 0 {
				text = strings.Repeat(" ", used-rowStart+kindWidth)
			}
			text += "  " + l
			if r.action == plan.Keep {
				text = d.s.dim(strings.TrimRight(text, " "))
			}
			symbol := d.s.symbol(symbolOf(r.action))
			if i > 0 {
				symbol = " "
			}
			d.line("  %s %s", symbol, text)
		}
	}
}

// symbolOf is one column wide, whatever a document has for an action.
func symbolOf(a plan.Action) string {
	switch a {
	case plan.Add, plan.Remove, plan.Change, plan.Keep, plan.Unknown:
		return string(a)
	case "":
		return " "
	}
	return string(plan.Unknown)
}

// actionWord says what a symbol means.
func actionWord(a plan.Action) string {
	switch a {
	case plan.Add:
		return "added"
	case plan.Remove:
		return "removed"
	case plan.Change:
		return "changed"
	case plan.Keep:
		return "unchanged"
	}
	return "not known"
}
