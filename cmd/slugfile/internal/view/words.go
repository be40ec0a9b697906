package view

import (
	"fmt"
	"slices"
	"strings"

	"github.com/slugfile/slugfile/pipeline/event"
)

// words turns events into lines, for the views that people read.
type words struct {
	style   Style
	verbose bool
}

// stageWidth is the width of the longest stage's name.
const stageWidth = len(event.Compile)

// line is one sentence about an event: a symbol for terminals, and the text.
type line struct {
	symbol string
	text   string
}

// sentence says what e tells, or false when it is not worth a line of its own.
func (w words) sentence(e event.Event) (line, bool) {
	switch e := e.(type) {
	case event.StageStarted:
		return w.about("·", e.Stage, "", "started"), w.verbose
	case event.StageFinished:
		return w.about("·", e.Stage, "", "done", took(Elapsed(e.Elapsed))), w.verbose
	case event.StageSkipped:
		return w.about("=", e.Stage, "", w.style.dim("skipped"), w.style.dim(Clean(e.Why))), true
	case event.StageFailed:
		return w.about("✗", e.Stage, "", w.style.red("failed"), took(Elapsed(e.Elapsed))), w.verbose
	case event.TaskStarted:
		return w.about("·", e.Stage, e.Subject, "started", size(e.Total)), w.verbose
	case event.Progress:
		return w.about("·", e.Stage, e.Subject, amount(e.Done, e.Total)), true
	case event.TaskFinished:
		if e.Reused {
			return w.about("=", e.Stage, e.Subject, w.style.dim("reused"), w.style.dim(Clean(e.Why))), true
		}
		return w.about("✓", e.Stage, e.Subject, size(e.Bytes), Clean(e.Why), took(Elapsed(e.Elapsed))), true
	case event.TaskFailed:
		// Why stands at the end of the run, in full.
		return w.about("✗", e.Stage, e.Subject, w.style.red("failed"), took(Elapsed(e.Elapsed))), true
	case event.Retry:
		return w.about("~", e.Stage, e.Subject,
			fmt.Sprintf("attempt %d: %s", e.Attempt, strings.TrimPrefix(firstLine(e.Error), Clean(e.Subject)+": ")), "again in "+Elapsed(e.Wait)), true
	}
	return line{}, false
}

// about names the stage and its subject, then the facts that are not empty.
func (w words) about(symbol, stage, subject string, facts ...string) line {
	parts := slices.DeleteFunc(append([]string{Clean(subject)}, facts...), func(f string) bool { return f == "" })
	return line{symbol: symbol, text: w.style.bold(pad(Clean(stage), stageWidth)) + " " + strings.Join(parts, "  ")}
}

// warning is one line, and one more for the hint.
func (w words) warning(e event.Warning) []string {
	about := Clean(e.Message)
	if e.Subject != "" {
		about = Clean(e.Subject) + ": " + about
	}
	lines := []string{w.style.yellow("warning:") + " " + about}
	if e.Hint != "" {
		lines = append(lines, w.style.cyan("hint:")+" "+Clean(e.Hint))
	}
	return lines
}

func took(s string) string { return "(" + s + ")" }

func size(n int64) string {
	if n <= 0 {
		return ""
	}
	return Size(n)
}

func amount(done, total int64) string {
	if total > 0 {
		return Size(done) + " of " + Size(total)
	}
	return Size(done)
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return Clean(s)
}
