package yamlnode

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// decode reads every document of the text.
func decode(text []byte) ([]*Node, error) {
	docs, _, err := decodeLines(text)
	return docs, err
}

// decodeLines also counts the lines that the library had taken when it was done.
func decodeLines(text []byte) (docs []*Node, lines int, err error) {
	r := &lineReader{rest: text}
	defer func() {
		lines = r.lines
		// The library panics on some texts that its own fuzzing has found since its last version.
		if v := recover(); v != nil {
			docs, err = nil, fmt.Errorf("yaml: %v", v)
		}
	}()
	dec := yaml.NewDecoder(r)
	for {
		var n Node
		err := dec.Decode(&n)
		if errors.Is(err, io.EOF) {
			return docs, r.lines, nil
		}
		if err != nil {
			return nil, r.lines, err
		}
		docs = append(docs, &n)
		// Two documents are refused already: more of them add nothing but time.
		if len(docs) > 2 {
			return docs, r.lines, nil
		}
	}
}

// lineReader hands out one line at a time, and so shows how far the library has read.
type lineReader struct {
	rest  []byte
	lines int
}

func (r *lineReader) Read(b []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := lineEnd(r.rest)
	if n <= len(b) {
		r.lines++
	}
	n = copy(b, r.rest[:n])
	r.rest = r.rest[n:]
	return n, nil
}

// lineEnd is the length of the first line with its line end.
func lineEnd(b []byte) int {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i + 1
	}
	return len(b)
}

// searchBytes bounds the text that is parsed again to find the line of a syntax error:
// about half a second.
const searchBytes = 4 << 20

// syntax reports a syntax error. The library names a wrong line in half of the cases
// and never a column. The fault is on the line after the longest run of whole lines,
// from the top, that parses.
func (p *parser) syntax(text []byte, err error) {
	message := libraryLine.ReplaceAllString(strings.TrimPrefix(err.Error(), "yaml: "), "")
	line := max(1, min(goodLines(text)+1, len(p.lines)))
	column, message, hint := explain(p.lines[line-1], message)
	p.fault(line, column, "", message, hint)
}

var libraryLine = regexp.MustCompile(`^line \d+: `)

// goodLines is the number of lines of the longest run from the top that parses.
func goodLines(text []byte) int {
	// Every run that is longer than what the library took fails in the same way.
	_, taken, _ := decodeLines(text)
	ends := []int{0}
	for pos := 0; pos < len(text) && len(ends) <= taken; {
		pos += lineEnd(text[pos:])
		ends = append(ends, pos)
	}
	parses := func(n int) bool {
		_, err := decode(text[:ends[n]])
		return err == nil
	}
	n := len(ends) - 1
	for budget := searchBytes; n > 0; n-- {
		if parses(n) {
			return n
		}
		if budget -= cost(text[:ends[n]]); budget < 0 {
			break
		}
	}
	// In a large file, halving: it finds a line that breaks what parsed before it, though
	// not always the last one.
	good, bad := 0, n
	for bad-good > 1 {
		if half := (good + bad) / 2; parses(half) {
			good = half
		} else {
			bad = half
		}
	}
	return good
}

// cost is how long a text takes to parse, in bytes of plain text: the library looks at
// every open bracket for each token.
func cost(text []byte) int {
	open := bytes.Count(text, []byte("[")) + bytes.Count(text, []byte("{")) - bytes.Count(text, []byte("]")) - bytes.Count(text, []byte("}"))
	return len(text) * (1 + max(0, open)/16)
}

// explain says what is wrong with a line in words for people who do not know the
// library's, and where on the line.
func explain(line, problem string) (column int, message, hint string) {
	indent := len(line) - len(strings.TrimLeft(line, " "))
	column = indent + 1
	at := func(i int) int { return utf8.RuneCountInString(line[:i]) + 1 }
	rest := line[indent:]
	switch {
	case strings.HasPrefix(rest, "\t"):
		return column, "a tab cannot indent YAML", "indent with spaces"
	case strings.Contains(problem, "mapping values are not allowed"):
		if i := secondColon(line); i >= 0 {
			return at(i), `": " cannot stand here`, `put a text that has ": " in it between quotes, or correct the indentation`
		}
		return column, "a key cannot stand here", "correct the indentation: keys of one mapping begin in one column"
	case strings.Contains(problem, "cannot start any token"):
		if i := strings.IndexByte(line, '\t'); i >= 0 {
			return at(i), "a tab cannot stand here", "use spaces"
		}
		if i := strings.IndexAny(line, "@`%"); i >= 0 {
			return at(i), fmt.Sprintf("a text cannot begin with %q", line[i:i+1]), "put the text between quotes"
		}
		return column, "this character cannot begin a value", "put the text between quotes"
	case strings.Contains(problem, "unknown anchor"):
		name, _, _ := strings.Cut(strings.TrimPrefix(problem, "unknown anchor '"), "'")
		if i := strings.Index(line, "*"+name); i >= 0 {
			column = at(i)
		}
		return column, fmt.Sprintf("no anchor &%s stands above this alias", name), `put a text that begins with "*" between quotes`
	case strings.Contains(problem, "unexpected end of stream"), strings.Contains(problem, "unexpected document indicator"):
		if i := strings.IndexAny(line, `"'`); i >= 0 {
			return at(i), "this quote is never closed", ""
		}
		return column, "the file ends inside a value that begins here", ""
	case strings.Contains(problem, "expected ',' or ']'"), strings.Contains(problem, "expected ',' or '}'"):
		open, shut := "[", "]"
		if strings.Contains(problem, "'}'") {
			open, shut = "{", "}"
		}
		if i := strings.Index(line, "${"); i >= 0 {
			return at(i), `"${" cannot stand without quotes between "[" and "]" or "{" and "}"`, "put the text between quotes"
		}
		if i := strings.Index(line, open); i >= 0 && strings.Count(line, open) > strings.Count(line, shut) {
			return at(i), fmt.Sprintf("this %q is never closed with %q, or a comma is missing", open, shut), ""
		}
		return column, fmt.Sprintf("a comma or %q is missing before this", shut), ""
	case strings.Contains(problem, "unknown escape character"):
		if i := strings.IndexByte(line, '\\'); i >= 0 {
			column = at(i)
		}
		return column, "unknown escape in double quotes", `write \\ for one backslash, or use single quotes`
	case strings.Contains(problem, "could not find expected ':'"):
		return column, `this line has no ": " and is no part of a value`, `write "key: value", or indent it to go on with the text above`
	case strings.Contains(problem, "did not find expected key"), strings.Contains(problem, "did not find expected '-' indicator"),
		strings.Contains(problem, "block sequence entries are not allowed"):
		if i := afterQuote(line); i >= 0 {
			return at(i), "nothing can follow a closing quote", "put the whole text between quotes"
		}
		for _, pair := range []string{"[]", "{}"} {
			if strings.Count(line, pair[1:]) > strings.Count(line, pair[:1]) {
				return at(strings.LastIndex(line, pair[1:])), fmt.Sprintf("this %q closes nothing", pair[1:]), ""
			}
		}
		if strings.HasPrefix(rest, ":") {
			return column, "a key is missing before the colon", ""
		}
		return column, "the indentation does not fit the lines above", "keys of one mapping, and items of one list, begin in one column"
	case strings.Contains(problem, "did not find expected node content"):
		return column, "a value is missing, or a bracket is never closed", ""
	case strings.Contains(problem, "exceeded max depth"):
		return column, "values are nested more than 10000 deep", ""
	case strings.Contains(problem, "expected <document start>"):
		return column, "nothing can follow the end of the document", "check the indentation and the brackets of the lines above"
	}
	return column, "is not YAML: " + problem, ""
}

// secondColon is the index of the ": " that is one too many, or -1.
func secondColon(line string) int {
	first := strings.Index(line, ": ")
	if first < 0 {
		return -1
	}
	i := strings.Index(line[first+2:], ": ")
	if i < 0 {
		if strings.HasSuffix(line, ":") && first < len(line)-1 {
			return len(line) - 1
		}
		return -1
	}
	return first + 2 + i
}

var quoted = regexp.MustCompile(`^\s*(?:- )?(?:[-\w$]+: )?("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')\s*([^\s,\]}:#])`)

// afterQuote is the index of the text behind a value in quotes, or -1.
func afterQuote(line string) int {
	m := quoted.FindStringSubmatchIndex(line)
	if m == nil {
		return -1
	}
	return m[4]
}
