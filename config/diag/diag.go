// Package diag describes faults of a file that a person wrote, as data.
//
// A Diagnostic says where the fault is, what is wrong and what to do next. It holds no
// colour and no source text: a view draws the snippet with the caret. Nothing here
// reads files.
package diag

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Pos is a place in a file. Line and Column start at 1 and count characters, not bytes.
// The zero Line means that the place is not known.
type Pos struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// IsValid reports whether the position names a line.
func (p Pos) IsValid() bool { return p.Line > 0 }

// String is "file:line:col", without the parts that are not known.
func (p Pos) String() string {
	s := p.File
	if p.Line > 0 {
		s = fmt.Sprintf("%s:%d", s, p.Line)
		if p.Column > 0 {
			s = fmt.Sprintf("%s:%d", s, p.Column)
		}
	}
	return s
}

// Diagnostic is one fault.
type Diagnostic struct {
	Pos Pos `json:"pos"`
	// Path is the place in the document, such as "runtimes.node.sha256" or "build[0].run".
	// It is empty for faults of the file as a whole.
	Path string `json:"path,omitempty"`
	// Message says what is wrong, in lower case and without a final stop.
	Message string `json:"message"`
	// Snippet is the whole source line at Pos, without its line end.
	Snippet string `json:"snippet,omitempty"`
	// Hint says what to do next. It may be empty.
	Hint string `json:"hint,omitempty"`
}

// Error is one line: position, path and message. The snippet and the hint are left to views.
func (d Diagnostic) Error() string {
	var b strings.Builder
	if s := d.Pos.String(); s != "" {
		b.WriteString(s + ": ")
	}
	if d.Path != "" {
		b.WriteString(d.Path + ": ")
	}
	b.WriteString(d.Message)
	return b.String()
}

// List is every fault found in one pass. It is an error when it is not empty: see Err.
type List []Diagnostic

// Add appends a fault.
func (l *List) Add(d Diagnostic) { *l = append(*l, d) }

// Sort orders the list by file, position, path and message, and drops exact repeats.
func (l *List) Sort() {
	slices.SortStableFunc(*l, func(a, b Diagnostic) int {
		return cmp.Or(
			cmp.Compare(a.Pos.File, b.Pos.File),
			cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Pos.Column, b.Pos.Column),
			cmp.Compare(a.Path, b.Path),
			cmp.Compare(a.Message, b.Message),
		)
	})
	*l = slices.Compact(*l)
}

// Err is nil for an empty list, else the list itself.
func (l List) Err() error {
	if len(l) == 0 {
		return nil
	}
	return l
}

// Error is one line a fault.
func (l List) Error() string {
	lines := make([]string, len(l))
	for i, d := range l {
		lines[i] = d.Error()
	}
	return strings.Join(lines, "\n")
}
