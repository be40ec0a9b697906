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
