package config

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/slugfile/slugfile/config/diag"
	"github.com/slugfile/slugfile/config/yamlnode"
)

// Procfile is the name of the file that process types are read from when slug.yaml
// has none.
const Procfile = "Procfile"

// https://devcenter.heroku.com/articles/procfile#procfile-format
var procfileLine = regexp.MustCompile(`^([A-Za-z0-9_-]+):\s*(.+)$`)

// parseProcfile reads lines of the form "type: command". Blank lines and lines that
// begin with # are skipped.
func (f *File) parseProcfile(text []byte) diag.List {
	var faults diag.List
	f.procfile = yamlnode.Lines(text)
	fault := func(line, column int, path, message, hint string) {
		faults.Add(f.diagnoseAt(diag.Pos{File: Procfile, Line: line, Column: column}, path, message, hint))
	}
	types := map[string]string{}
	first := map[string]int{}
	for i, line := range f.procfile {
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || strings.HasPrefix(trimmed, "#") {
			continue
		}
		column := 1 + len(line) - len(strings.TrimLeft(line, " \t"))
		m := procfileLine.FindStringSubmatch(trimmed)
		switch {
		case !utf8.ValidString(line):
			fault(i+1, 1, "", "this line is not UTF-8", "save the file as UTF-8")
		case strings.ContainsRune(line, 0):
			fault(i+1, 1, "", "a NUL byte cannot stand in a Procfile", "")
		case m == nil:
			fault(i+1, column, "", "is not a process type, a colon and a command", `write "web: command"; a name holds letters, digits, dashes and _`)
		case len(m[1]) > 128:
			fault(i+1, column, "", fmt.Sprintf("a process type has at most 128 characters, this one has %d", len(m[1])), "")
		case first[m[1]] > 0:
			fault(i+1, column, "process_types."+m[1], fmt.Sprintf("the process type %q stands twice: first on line %d", m[1], first[m[1]]), "remove one of them")
		default:
			types[m[1]] = strings.TrimSpace(m[2])
			first[m[1]] = i + 1
			f.positions["process_types."+m[1]] = diag.Pos{File: Procfile, Line: i + 1, Column: column}
		}
	}
	if len(types) == 0 && len(faults) == 0 {
		fault(1, 1, "", "Procfile has no process type", `add a line such as "web: node web.js"`)
	}
	f.ProcessTypes = types
	return faults
}
