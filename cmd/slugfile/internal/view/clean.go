package view

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	unicodewidth "golang.org/x/text/width"
)

// Clean makes foreign text safe for a terminal, as one line: escape sequences are dropped;
// other control characters, 8-bit controls, characters that turn the direction of writing
// and bytes that are not UTF-8 are quoted the way Go quotes them. Line ends are quoted too:
// who wants several lines splits first.
func Clean(s string) string { return clean(s, false) }

// quoted is Clean for what people review: it hides nothing. What Clean drops, escape sequences,
// is quoted like other control characters. Bytes that are not UTF-8 look as they do in JSON.
func quoted(s string) string {
	if isPlain(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\t':
			b.WriteString("    ")
		case hostile(r):
			b.WriteString(quote(r))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// cleanOutput cleans a line of a step or a dyno. Of a line that was drawn over with
// carriage returns the last drawing counts. On a terminal with colour, colours stay.
func cleanOutput(line string, st Style) string {
	line = strings.TrimRight(line, "\r\n")
	if i := strings.LastIndexByte(line, '\r'); i >= 0 {
		line = line[i+1:]
	}
	return clean(line, st.colour)
}

func clean(s string, keepColour bool) string {
	if isPlain(s) {
		return s
	}
	var b strings.Builder
	coloured := false
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == 0x1b || r == 0x9b || r == 0x90 || r == 0x98 || r >= 0x9d && r <= 0x9f:
			size, sgr := escape(s[i:], r, n)
			switch {
			case size == 0:
				b.WriteString(quote(r))
				i += n
			case sgr && keepColour:
				b.WriteString(s[i : i+size])
				coloured = true
				i += size
			default:
				i += size
			}
			continue
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\t':
			b.WriteString("    ")
		case hostile(r):
			b.WriteString(quote(r))
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	if coloured {
		b.WriteString(sgrReset)
	}
	return b.String()
}

func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// hostile tells control characters, line and paragraph separators, and format characters:
// among those are all that turn the direction of writing. The two joiners are let through,
// since scripts and emoji need them.
func hostile(r rune) bool {
	if r == 0x200c || r == 0x200d {
		return false
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

func quote(r rune) string {
	switch {
	case r == '\n':
		return `\n`
	case r == '\r':
		return `\r`
	case r < 0x80:
		return fmt.Sprintf(`\x%02x`, r)
	case r < 0x10000:
		return fmt.Sprintf(`\u%04x`, r)
	}
	return fmt.Sprintf(`\U%08x`, r)
}

// escape measures the control sequence at the start of s (ECMA-48): its size in bytes, 0
// when it does not end in s, and whether it is one that only sets colours, in 7-bit form.
// The first rune r is n bytes long.
func escape(s string, r rune, n int) (size int, sgr bool) {
	i := n
	kind := r
	if r == 0x1b {
		if i >= len(s) {
			return 0, false
		}
		switch s[i] {
		case '[':
			kind = 0x9b
		case ']':
			kind = 0x9d
		case 'P':
			kind = 0x90
		case 'X':
			kind = 0x98
		case '^':
			kind = 0x9e
		case '_':
			kind = 0x9f
		default:
			// Two-character sequences, with intermediate bytes: reset, charsets, and such.
			for i < len(s) && s[i] >= 0x20 && s[i] <= 0x2f {
				i++
			}
			if i < len(s) && s[i] >= 0x30 && s[i] <= 0x7e {
				return i + 1, false
			}
			return 0, false
		}
		i++
	}
	if kind == 0x9b {
		only := r == 0x1b
		for ; i < len(s); i++ {
			switch c := s[i]; {
			case c >= 0x40 && c <= 0x7e:
				return i + 1, only && c == 'm'
			case c >= '0' && c <= '9' || c == ';' || c == ':':
			case c >= 0x20 && c <= 0x3f:
				only = false
			default:
				return 0, false
			}
		}
		return 0, false
	}
	// A string (OSC, DCS, SOS, PM, APC) runs to BEL or to the string terminator.
	for i < len(s) {
		c, m := utf8.DecodeRuneInString(s[i:])
		switch {
		case c == 0x07 || c == 0x9c:
			return i + m, false
		case c == 0x1b && strings.HasPrefix(s[i+m:], `\`):
			return i + m + 1, false
		case c == 0x1b:
			return 0, false
		}
		i += m
	}
	return 0, false
}

// width is the number of columns of clean text without colours: two for the wide
// characters of East Asian scripts and for emoji, none for marks that combine. It may be
// off by one for rare characters, so lines keep a column free.
func width(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case r == 0x200c || r == 0x200d || unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	}
	if k := unicodewidth.LookupRune(r).Kind(); k == unicodewidth.EastAsianWide || k == unicodewidth.EastAsianFullwidth {
		return 2
	}
	return 1
}

// truncate cuts clean text without colours to at most n columns, with an ellipsis at the end.
func truncate(s string, n int) string {
	if width(s) <= n {
		return s
	}
	if n <= 0 {
		return ""
	}
	used := 0
	for i, r := range s {
		w := runeWidth(r)
		if used+w > n-1 {
			return s[:i] + "…"
		}
		used += w
	}
	return s
}

// shorten cuts clean text to at most n columns in its middle, so that both the start and
// the file name of a long path stay.
func shorten(s string, n int) string {
	if width(s) <= n {
		return s
	}
	if n <= 1 {
		return truncate(s, n)
	}
	runes := []rune(s)
	head, tail := 0, len(runes)
	budget := n - 1
	// The end tells more than the start, so it gets the odd column.
	for used, front := 0, false; head < tail; front = !front {
		var w int
		if front {
			w = runeWidth(runes[head])
		} else {
			w = runeWidth(runes[tail-1])
		}
		if used+w > budget {
			break
		}
		used += w
		if front {
			head++
		} else {
			tail--
		}
	}
	return string(runes[:head]) + "…" + string(runes[tail:])
}

// wrapped breaks clean text without colours into lines of at most n columns, at blanks where it
// can. Beyond that many lines (0: any number) the last one is cut.
func wrapped(s string, n, most int) []string {
	return pack(strings.SplitAfter(s, " "), n, most)
}

// pack puts pieces of clean text into lines of at most n columns. A piece that is wider than a
// line is broken at blanks, and a word that is, anywhere.
func pack(pieces []string, n, most int) []string {
	n = max(n, 2) // a wide character takes two
	var lines []string
	line, used := "", 0
	end := func() { lines, line, used = append(lines, strings.TrimRight(line, " ")), "", 0 }
	var put func(piece string)
	put = func(piece string) {
		switch w := width(strings.TrimRight(piece, " ")); {
		case used+w <= n:
			line, used = line+piece, used+width(piece)
		case w <= n:
			end()
			put(piece)
		default:
			if words := strings.SplitAfter(piece, " "); len(words) > 1 && words[1] != "" {
				for _, word := range words {
					put(word)
				}
				return
			}
			for _, r := range piece {
				if used+runeWidth(r) > n {
					end()
				}
				line, used = line+string(r), used+runeWidth(r)
			}
		}
	}
	for _, p := range pieces {
		put(p)
	}
	end()
	if most > 0 && len(lines) > most {
		lines = lines[:most]
		lines[most-1] = truncate(lines[most-1]+" …", n)
	}
	return lines
}

// pad fills clean text without colours with blanks to n columns.
func pad(s string, n int) string {
	if w := width(s); w < n {
		return s + strings.Repeat(" ", n-w)
	}
	return s
}
