package diag

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// width is how much of a long source line is shown, in characters.
const width = 100

// Text is the diagnostic as people read it: the one line of Error, the source line with
// a caret under the fault, and the hint. It has no colour, and ends with a line end.
// Control characters of foreign text are escaped, so that a file cannot steer a terminal.
func (d Diagnostic) Text() string {
	var b strings.Builder
	b.WriteString(Clean(d.Error()) + "\n")
	if d.Pos.IsValid() && d.Snippet != "" {
		line, caret := excerpt(d.Snippet, d.Pos.Column)
		fmt.Fprintf(&b, "%6d | %s\n", d.Pos.Line, line)
		if caret >= 0 {
			fmt.Fprintf(&b, "       | %s^\n", strings.Repeat(" ", caret))
		}
	}
	if d.Hint != "" {
		b.WriteString("hint: " + Clean(d.Hint) + "\n")
	}
	return b.String()
}

// Text is every diagnostic, one after the other.
func (l List) Text() string {
	var b strings.Builder
	for _, d := range l {
		b.WriteString(d.Text())
	}
	return b.String()
}

// excerpt is the line as it is shown, and the number of characters before the caret; -1
// for no caret. A tab is shown as one space, and a long line is cut around the caret.
func excerpt(line string, column int) (string, int) {
	var shown []rune
	caret := -1
	n := 0
	for _, r := range line {
		n++
		if n == column {
			caret = len(shown)
		}
		if r == '\t' {
			r = ' '
		}
		shown = append(shown, []rune(Clean(string(r)))...)
	}
	if column == n+1 {
		caret = len(shown)
	}
	from, to := 0, len(shown)
	if to > width {
		from = min(max(0, caret-width/2), to-width)
		to = from + width
	}
	text := string(shown[from:to])
	if from > 0 {
		text = "…" + text
		caret++
	}
	if to < len(shown) {
		text += "…"
	}
	if caret >= 0 {
		caret -= from
	}
	return strings.TrimRight(text, " "), caret
}

// Clean escapes the characters of foreign text that a terminal would obey, and bytes
// that are no text.
func Clean(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == '\u2028', r == '\u2029':
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}
