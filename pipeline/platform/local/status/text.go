package status

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// textColumns is the width of a plain terminal.
const textColumns = 80

// How much of each list a text shows: it is for a glance.
const (
	textRequests = 10
	textLines    = 20
)

// Text is the view as plain text, with lines of at most 80 columns.
func (v *View) Text() string {
	scrub(reflect.ValueOf(v))
	var b strings.Builder
	if d := v.Detail; d != nil {
		v.textDetail(&b, d)
	} else {
		v.textApps(&b)
	}
	title := "Requests to apps"
	if v.Detail != nil {
		title = "Requests to the app"
	}
	v.textRequests(&b, title, "Dyno", v.Visits, func(r Request) string { return r.Dyno })
	v.textRequests(&b, "Calls of the API", "Id", v.Calls, Request.ShortID)
	return b.String()
}

func (v *View) textApps(b *strings.Builder) {
	fmt.Fprintf(b, "The embedded platform at %s\n\n", v.Base)
	if len(v.Apps) == 0 {
		b.WriteString("No apps yet. \"slugfile apply --local\" makes one.\n")
		return
	}
	t := table{flexible: -1, own: true, head: []string{"App", "State", "Release", "Age", "Stack", "Address"}, right: []int{2, 3}}
	for _, a := range v.Apps {
		t.row(a.Name, a.State, a.Release, age(v.Now.Sub(a.Released)), a.Stack, a.ShortURL())
	}
	t.write(b, "")
	fmt.Fprintf(b, "\nMore of one app: %s/?app=NAME\n", v.Base)
}

func (v *View) textDetail(b *strings.Builder, d *Detail) {
	b.WriteString(cut(d.Name+"  "+d.URL, textColumns) + "\n\n")
	maintenance := "off"
	if d.Maintenance {
		maintenance = "on"
	}
	release := d.Release + ", " + ago(v.Now.Sub(d.Released))
	if d.Next != "" {
		release += " (" + d.Next + ")"
	}
	for _, fact := range [][2]string{
		{"State", d.State}, {"Release", release}, {"Stack", d.Stack}, {"Created", ago(v.Now.Sub(d.Created))},
		{"Maintenance", maintenance},
	} {
		fmt.Fprintf(b, "  %-12s %s\n", fact[0], cut(fact[1], textColumns-15))
	}
	for i, line := range wrap(strings.Join(d.Config, " "), textColumns-15) {
		title := ""
		if i == 0 {
			title = "Config vars"
		}
		fmt.Fprintf(b, "  %-12s %s\n", title, line)
	}
	t := table{flexible: 4, head: []string{"Dyno", "State", "Since", "Release", ""}, right: []int{2, 3}}
	for _, r := range d.Running {
		t.row(r.Name, r.State, age(v.Now.Sub(r.Since)), r.Release, r.Command)
	}
	t.write(b, "Dynos")
	t = table{flexible: 3, head: []string{"Type", "Dynos", "Size", "Command"}, right: []int{1}}
	for _, p := range d.Types {
		t.row(p.Name, fmt.Sprint(p.Quantity), p.Size, p.Command)
	}
	t.write(b, "Process types")
	t = table{flexible: 3, head: []string{"Version", "Status", "Age", "Description"}, right: []int{0, 2}}
	for _, r := range d.Releases[:min(len(d.Releases), textRequests)] {
		state := r.Status
		if r.Current {
			state += " *"
		}
		t.row(r.Version, state, age(v.Now.Sub(r.Created)), r.Description)
	}
	t.write(b, "Releases (* is current)")
	if len(d.Lines) > 0 {
		b.WriteString("\nLog\n")
	}
	for _, l := range d.Lines[max(0, len(d.Lines)-textLines):] {
		head := "  " + l.Clock() + " " + cut(l.Process, 16) + " "
		for i, line := range wrap(l.Text, textColumns-columns(head)) {
			if i > 0 {
				head = strings.Repeat(" ", columns(head))
			}
			b.WriteString(strings.TrimRight(head+line, " ") + "\n")
		}
	}
}

func (v *View) textRequests(b *strings.Builder, title, fourth string, list []Request, what func(Request) string) {
	t := table{flexible: 2, head: []string{"Time", "", "Path", fourth, "Status", "Took"}, right: []int{4, 5}}
	if v.Detail == nil && fourth == "Dyno" {
		t.head[3], what = "App", func(r Request) string { return r.App }
	}
	for _, r := range list[:min(len(list), textRequests)] {
		t.row(r.Clock(), r.Method, r.Path, what(r), r.Code(), r.Took())
	}
	t.write(b, title)
}

// table aligns cells. One column is cut before the others so that lines fit; -1 names none.
type table struct {
	flexible int
	// own gives the first cell a line of its own in rows that would be too wide otherwise.
	own   bool
	head  []string
	right []int
	rows  [][]string
}

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) write(b *strings.Builder, title string) {
	if len(t.rows) == 0 {
		return
	}
	if title != "" {
		b.WriteString("\n" + title + "\n")
	}
	widths := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], columns(cell))
		}
	}
	t.fit(widths)
	for _, row := range append([][]string{t.head}, t.rows...) {
		line := ""
		for i, cell := range row {
			if i == 0 && t.own && columns(cell) > widths[0] {
				b.WriteString("  " + cut(cell, textColumns-2) + "\n")
				cell = ""
			}
			cell = cut(cell, widths[i])
			blanks := strings.Repeat(" ", max(0, widths[i]-columns(cell)))
			if slices.Contains(t.right, i) {
				line += "  " + blanks + cell
			} else {
				line += "  " + cell + blanks
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// fit narrows columns until a line fits: the first where it can have a line of its own, else the
// flexible one while something is left of it, then the widest.
func (t *table) fit(widths []int) {
	total := 2 * len(widths)
	for _, w := range widths {
		total += w
	}
	for ; total > textColumns; total-- {
		i := slices.Index(widths, slices.Max(widths))
		switch {
		case t.own && widths[0] > columns(t.head[0]):
			i = 0
		case t.flexible >= 0 && widths[t.flexible] > 16:
			i = t.flexible
		}
		widths[i]--
	}
}

// wrap breaks clean text into lines of at most n columns, at blanks where it can.
func wrap(s string, n int) []string {
	var lines []string
	for columns(s) > n {
		used, end, blank := 0, len(s), -1
		for i, r := range s {
			if used += runeColumns(r); used > n {
				end = i
				break
			}
			if r == ' ' && i > 0 {
				blank = i
			}
		}
		if blank > 0 {
			end = blank
		}
		lines = append(lines, s[:end])
		s = strings.TrimLeft(s[end:], " ")
	}
	return append(lines, s)
}
