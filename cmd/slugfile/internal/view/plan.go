package view

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/slugfile/slugfile/pipeline/plan"
)

// PlanOptions are how a plan is drawn.
type PlanOptions struct {
	Style Style
	// Verbose shows every file and every withheld path, and the parts that stay as they are.
	Verbose bool
}

const (
	// shownFiles, shownDirs, shownWithheld and shownLines are how many lines there are without
	// Verbose: of files, of directories, of withheld paths, and of one reason or command.
	shownFiles    = 20
	shownDirs     = 8
	shownWithheld = 8
	shownLines    = 3
	// maxPath is the widest path; what is longer is shortened in its middle.
	maxPath = 44
)

// Plan draws a plan for people, in 80 columns: what it is about and what is different on the
// platform, a line for each part with its symbol and reason, what to know besides, and a
// summary at the end. It draws nothing that the JSON form does not tell.
func Plan(w io.Writer, p plan.Plan, o PlanOptions) error {
	d := &planDrawing{p: p, s: o.Style, verbose: o.Verbose}
	d.head()
	d.drift()
	if p.Changed || o.Verbose {
		d.parts()
	}
	d.besides()
	d.last()
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

// say writes a sentence behind a label, in as many lines as it needs.
func (d *planDrawing) say(paint func(string) string, label, text string) {
	d.hang(paint, label, strings.SplitAfter(quoted(text), " "))
}

// hang writes pieces of text behind a label; lines are broken between pieces where that will do.
func (d *planDrawing) hang(paint func(string) string, label string, pieces []string) {
	indent := width(label) + 1
	for i, l := range pack(pieces, columns-indent, 0) {
		l = strings.ReplaceAll(l, unbroken, " ")
		if i == 0 {
			d.line("%s %s", paint(label), l)
		} else {
			d.line("%s%s", strings.Repeat(" ", indent), l)
		}
	}
}

// unbroken is a blank at which hang breaks no line.
const unbroken = "\u00a0"

// tell is say for what may hold an address or a path to copy: those stay whole.
func (d *planDrawing) tell(paint func(string) string, label, text string) {
	d.b.WriteString(wrap(paint(label), label, quoted(text), columns))
}

// most is how many of n things are shown, of which that many are without Verbose.
func (d *planDrawing) most(n, without int) int {
	if d.verbose {
		return n
	}
	return min(n, without)
}

// lines is how many lines one reason or command may take; 0 is any number.
func (d *planDrawing) lines() int {
	if d.verbose {
		return 0
	}
	return shownLines
}

// head says what the plan is about, and what runs now or what it is compared with.
func (d *planDrawing) head() {
	p := d.p
	about := "slug"
	if p.App != "" {
		about = shorten(quoted(p.App), 42)
	}
	stack := "no stack"
	if p.Stack != "" {
		stack = shorten(quoted(p.Stack), 12)
	}
	used := width(about) + width(stack) + len(" ()  ")
	state := planState(p)
	d.line("%s (%s)  %s", d.s.bold(about), stack, shorten(state, columns-used))
	d.line("")
}

// planState says what runs now, or what the plan is compared with.
func planState(p plan.Plan) string {
	switch {
	case p.Against != nil:
		return "against " + quoted(p.Against.Name)
	case p.App == "":
		return ""
	case p.Create:
		return "there is no such app yet"
	case p.Current == nil:
		return "nothing is released yet"
	}
	return fmt.Sprintf("now v%d, released %s", p.Current.Version, age(p.Current.Age))
}

// drift says what is different on the platform. It is no change, and so stands apart.
func (d *planDrawing) drift() {
	for _, f := range d.p.Drift {
		d.say(d.s.yellow, "!", driftSentence(d.p, f))
	}
	if len(d.p.Drift) > 0 {
		d.line("")
	}
}

func driftSentence(p plan.Plan, f plan.Drift) string {
	app := shorten(quoted(p.App), maxPath)
	if app == "" {
		app = "the app"
	}
	switch f.Kind {
	case plan.DriftRelease:
		return fmt.Sprintf("%s was released outside slugfile since (v%d%s)", app, f.Version, released(f))
	case plan.DriftRollback:
		to := "an earlier slug"
		if f.To > 0 {
			to = fmt.Sprintf("v%d", f.To)
		}
		f.Description = "" // it says so too
		return fmt.Sprintf("v%d rolled %s back to %s (%s)", f.Version, app, to, strings.TrimPrefix(released(f), " "))
	case plan.DriftStack:
		return fmt.Sprintf("the app's stack is %s, slug.yaml says %s", f.Stack, f.Want)
	case plan.DriftConfig:
		verb, lacks := "mention", "the app's config lacks"
		if len(f.Types) == 1 {
			verb = "mentions"
		}
		return fmt.Sprintf("%s %s %s, which %s", and(f.Types), verb, and(f.Missing), lacks)
	}
	return strings.TrimSpace(f.Kind + " " + f.Description)
}

// released says by whom and when a release was made, and its description.
func released(f plan.Drift) string {
	text := ""
	if f.By != "" {
		text = " by " + shorten(quoted(f.By), maxPath)
	}
	text += ", " + strings.ReplaceAll(age(f.Age), " ", unbroken)
	if f.Description != "" {
		text += ": " + shorten(quoted(f.Description), maxPath)
	}
	return strings.TrimPrefix(text, ",")
}

// and lists names: "a", "a and b", "a, b and c".
func and(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

func age(seconds int64) string { return Age(time.Duration(seconds) * time.Second) }

// parts are the things that the plan is made of, with the slug and its files in the middle.
func (d *planDrawing) parts() {
	above, below := partRows(d.p, d.verbose)
	widths := fit(append(above[:len(above):len(above)], below...))
	d.table(above, widths)
	d.slug()
	d.dirs()
	d.files()
	d.table(below, widths)
	d.legend(append(above, below...))
	d.line("")
}

// legend says in words what the symbols mean that are drawn.
func (d *planDrawing) legend(rows []row) {
	var drawn []plan.Action
	for _, r := range rows {
		drawn = append(drawn, r.action)
	}
	drawn = append(drawn, d.p.Slug.Action)
	for _, f := range d.p.Files {
		drawn = append(drawn, f.Action)
	}
	var words []string
	for _, a := range []plan.Action{plan.Add, plan.Change, plan.Remove, plan.Keep, plan.Unknown} {
		if slices.ContainsFunc(drawn, func(b plan.Action) bool { return symbolOf(b) == string(a) }) {
			words = append(words, string(a)+" "+actionWord(a))
		}
	}
	d.line("    %s", d.s.dim("("+strings.Join(words, ", ")+")"))
}

// besides are the things to know that are no change.
func (d *planDrawing) besides() {
	p, before := d.p, d.b.Len()
	if list := p.Withheld; len(list) > 0 && (p.Changed || d.verbose) {
		d.line("Withheld from the slug and the steps: %s.", count(len(list), "path"))
		list = list[:d.most(len(list), shownWithheld)]
		wide := 0
		for _, h := range list {
			wide = max(wide, width(shorten(quoted(h.Path), maxPath)))
		}
		for _, h := range list {
			d.line("    %s  %s", pad(shorten(quoted(h.Path), maxPath), wide), d.s.dim(shorten(quoted(h.Rule), columns-6-wide)))
		}
		if more := len(p.Withheld) - len(list); more > 0 {
			d.line("    %s", d.s.dim(fmt.Sprintf("and %d more (-v shows all)", more)))
		}
	}
	for _, u := range p.Unpinned {
		d.say(plain, "Unpinned:", "step "+u.Step+" calls "+strings.Join(u.Tools, ", "))
	}
	if len(p.Unpinned) > 0 {
		d.hint(unpinnedHint)
	}
	for _, w := range p.Warnings {
		d.tell(d.s.yellow, "warning:", about(w.Subject, w.Message))
		d.hint(w.Hint)
	}
	for _, x := range p.Problems {
		d.tell(d.s.red, "problem:", about(x.Subject, x.Message))
		d.hint(x.Hint)
	}
	if d.b.Len() > before {
		d.line("")
	}
}

const unpinnedHint = "a runtime with host: pins a tool of this machine"

func plain(s string) string { return s }

func (d *planDrawing) hint(text string) {
	if text != "" {
		d.tell(d.s.cyan, "hint:", text)
	}
}

func about(subject, message string) string {
	if subject == "" {
		return message
	}
	return subject + ": " + message
}

// last is the summary.
func (d *planDrawing) last() {
	label, rest, _ := strings.Cut(Verdict(d.p), " ")
	d.hang(plain, label, strings.SplitAfter(rest, "; "))
}

// Verdict is the last line of a plan: what it comes to, in a sentence.
func Verdict(p plan.Plan) string {
	stop := ""
	if n := len(p.Problems); n > 0 {
		verb := "stop"
		if n == 1 {
			verb = "stops"
		}
		stop = fmt.Sprintf(" %s %s apply.", count(n, "problem"), verb)
	}
	switch {
	case p.Changed:
		return "Plan: " + Summary(p) + "." + stop
	case p.Against != nil: // the reason starts with its name
		return "No changes. " + quoted(p.Why) + "." + stop
	case p.App == "" || p.Current == nil:
		return strings.TrimSpace("No changes. "+sentence(p.Why)) + stop
	}
	return fmt.Sprintf("No changes. slug.yaml matches release v%d.", p.Current.Version) + stop
}

// Summary counts the work of a plan: "1 runtime to fetch, 1 step to run, 1 reused; 1 file
// added". For a plan that only makes a new slug of the same parts it begins with the reason.
func Summary(p plan.Plan) string {
	s := p.Summary
	fetch, why := "", ""
	if s.Fetch > 0 {
		fetch = count(s.Fetch, "runtime") + " to fetch"
	}
	steps := counts("step", "to run", s.StepsRun, "reused", s.StepsReused, "that may run", s.StepsOpen)
	changes := join([]string{
		counts("file", "added", s.FilesAdded, "changed", s.FilesChanged, "removed", s.FilesRemoved),
		counts("process type", "added", s.ProcessTypesAdded, "changed", s.ProcessTypesChanged, "removed", s.ProcessTypesRemoved),
	}, "; ")
	if s.Fetch+s.StepsRun+s.StepsOpen == 0 && changes == "" {
		why = quoted(p.Why)
	}
	return join([]string{why, join([]string{fetch, steps}, ", "), changes}, "; ")
}

// counts names the noun with its first number only: "1 step to run, 2 reused".
func counts(noun, a string, na int, b string, nb int, c string, nc int) string {
	text := numbers(a, na, b, nb, c, nc)
	n, rest, _ := strings.Cut(text, " ")
	switch n {
	case "":
		return ""
	case "1":
		return n + " " + noun + " " + rest
	}
	return n + " " + noun + "s " + rest
}

// numbers leaves out what there is none of: "3 added, 1 removed".
func numbers(a string, na int, b string, nb int, c string, nc int) string {
	var parts []string
	for _, x := range []struct {
		what string
		n    int
	}{{a, na}, {b, nb}, {c, nc}} {
		if x.n != 0 {
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
	s = quoted(s)
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}
