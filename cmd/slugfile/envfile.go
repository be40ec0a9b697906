package main

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// envName is how a config var may be called.
var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// envFileError is a fault of a file of config vars. It never quotes a value.
type envFileError struct {
	file string
	line int
	what string
}

func (e *envFileError) Error() string { return fmt.Sprintf("%s:%d: %s", e.file, e.line, e.what) }

// parseEnvFile adds the variables of a file in the dialect that the help of run describes, which
// is what dotenv tools have in common: no variable is replaced in a value, since some of them do
// that and others do not.
func parseEnvFile(file, text string, vars map[string]string) error {
	text = strings.ReplaceAll(strings.TrimPrefix(text, "\ufeff"), "\r\n", "\n")
	for line := 1; text != ""; {
		fault := func(what string) error { return &envFileError{file, line, what} }
		row, _, _ := strings.Cut(text, "\n")
		trimmed := strings.TrimSpace(row)
		if trimmed == "" || trimmed[0] == '#' {
			text, line = after(text, len(row)), line+1
			continue
		}
		if !utf8.ValidString(row) {
			return fault("this line is not UTF-8")
		}
		left, _, ok := strings.Cut(row, "=")
		if !ok {
			return fault("is not KEY=VALUE")
		}
		name := strings.TrimSpace(left)
		if rest, exported := strings.CutPrefix(name, "export"); exported && rest != "" && (rest[0] == ' ' || rest[0] == '\t') {
			name = strings.TrimSpace(rest)
		}
		if !envName.MatchString(name) {
			return fault(fmt.Sprintf("%q is no name of a variable: letters, digits and _, with no digit first", name))
		}
		value, used, what := envValue(text[len(left)+1:])
		if what != "" {
			return fault(what)
		}
		if strings.ContainsRune(value, 0) {
			return fault("a NUL byte cannot stand in a variable")
		}
		vars[name] = value
		used += len(left) + 1
		line += strings.Count(text[:used], "\n") + 1
		text = after(text, used)
	}
	return nil
}

// after is what stands behind the line end at i.
func after(text string, i int) string {
	if i >= len(text) {
		return ""
	}
	return text[i+1:]
}

// envValue reads a value and says how many bytes it took, up to the end of its last line.
func envValue(text string) (value string, used int, fault string) {
	blank := len(text) - len(strings.TrimLeft(text, " \t"))
	if blank == len(text) {
		return "", len(text), ""
	}
	quote := text[blank]
	if quote != '"' && quote != '\'' {
		row, _, _ := strings.Cut(text, "\n")
		value = row
		for i := range len(row) {
			if row[i] == '#' && (i == 0 || row[i-1] == ' ' || row[i-1] == '\t') {
				value = row[:i]
				break
			}
		}
		return strings.TrimSpace(value), len(row), ""
	}
	var b strings.Builder
	i := blank + 1
	for ; ; i++ {
		if i >= len(text) {
			return "", 0, fmt.Sprintf("the value begins with %c, which is never closed", quote)
		}
		c := text[i]
		if c == quote {
			break
		}
		if c == '\\' && quote == '"' && i+1 < len(text) {
			if at := strings.IndexByte(`nrt"\$`, text[i+1]); at >= 0 {
				b.WriteByte("\n\r\t\"\\$"[at])
				i++
				continue
			}
		}
		b.WriteByte(c)
	}
	rest, _, _ := strings.Cut(text[i+1:], "\n")
	if tail := strings.TrimSpace(rest); tail != "" && tail[0] != '#' {
		return "", 0, "something stands behind the closing quote of the value"
	}
	return b.String(), i + 1 + len(rest), ""
}
