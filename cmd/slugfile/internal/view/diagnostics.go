package view

import (
	"io"
	"strings"

	"github.com/slugfile/slugfile/config/diag"
)

// Diagnostics writes every fault with its snippet and hint, then how many there are.
func Diagnostics(w io.Writer, list diag.List, s Style) error {
	var b strings.Builder
	for _, d := range list {
		b.WriteString(diagnostic(d, s))
	}
	b.WriteString(Faults(list) + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// Faults counts: "3 faults in slug.yaml", and "3 faults" when they are in several files.
func Faults(list diag.List) string {
	text := count(len(list), "fault")
	if len(list) == 0 || list[0].Pos.File == "" {
		return text
	}
	for _, d := range list {
		if d.Pos.File != list[0].Pos.File {
			return text
		}
	}
	return text + " in " + Clean(list[0].Pos.File)
}

// diagnostic takes the form from the diagnostic itself, and adds colour: the place bold,
// the caret red, the word "hint" cyan.
func diagnostic(d diag.Diagnostic, s Style) string {
	var b strings.Builder
	for i, l := range strings.Split(strings.TrimRight(d.Text(), "\n"), "\n") {
		l = clean(l, false)
		switch {
		case i == 0:
			place := Clean(d.Pos.String())
			if rest, ok := strings.CutPrefix(l, place+":"); ok && place != "" {
				l = s.bold(place+":") + rest
			}
		case isCaret(l):
			at := strings.LastIndexByte(l, '^')
			l = s.dim(l[:at]) + s.red(l[at:])
		case strings.HasPrefix(l, "hint:"):
			l = s.cyan("hint:") + l[len("hint:"):]
		default:
			if bar := strings.Index(l, "|"); bar >= 0 && strings.Trim(l[:bar], " 0123456789") == "" {
				l = s.dim(l[:bar+1]) + l[bar+1:]
			}
		}
		b.WriteString(l + "\n")
	}
	return b.String()
}

// isCaret tells the line under a snippet: blanks, a bar, blanks, a caret.
func isCaret(l string) bool {
	l = strings.TrimSpace(l)
	return strings.HasPrefix(l, "|") && strings.TrimSpace(l[1:]) == "^"
}
