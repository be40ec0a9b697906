package config

import (
	"strings"

	"github.com/slugfile/slugfile/config/diag"
)

// position looks the path up, then its parents.
func (f *File) position(path string) diag.Pos {
	for {
		if p, ok := f.positions[path]; ok {
			return p
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return f.positions[""]
		}
		path = path[:i]
	}
}

// Snippet is a line of slug.yaml without its line end. Lines start at 1; the text is
// empty for a line that the file does not have.
func (f *File) Snippet(line int) string { return lineOf(f.source, line) }

func lineOf(lines []string, line int) string {
	if line < 1 || line > len(lines) {
		return ""
	}
	return lines[line-1]
}

// Diagnose is a fault at a path of the file, for what is found after loading. hint may
// be empty.
func (f *File) Diagnose(path, message, hint string) diag.Diagnostic {
	return f.diagnoseAt(f.position(path), path, message, hint)
}

func (f *File) diagnoseAt(pos diag.Pos, path, message, hint string) diag.Diagnostic {
	d := diag.Diagnostic{Pos: pos, Path: path, Message: message, Hint: hint}
	switch pos.File {
	case f.path:
		d.Snippet = diag.Conceal(lineOf(f.source, pos.Line))
	case Procfile:
		d.Snippet = lineOf(f.procfile, pos.Line)
	}
	return d
}
