package pipetest

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Files makes files below a fresh directory: "name" with its content, "name/" a directory,
// "name -> target" a link, and a "*" in front makes a file executable.
func Files(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		mode := fs.FileMode(0o644)
		if rest, ok := strings.CutPrefix(name, "*"); ok {
			name, mode = rest, 0o755
		}
		name, target, link := strings.Cut(name, " -> ")
		at := filepath.Join(root, name)
		if strings.HasSuffix(name, "/") {
			check(t, os.MkdirAll(at, 0o755))
			continue
		}
		check(t, os.MkdirAll(filepath.Dir(at), 0o755))
		if link {
			check(t, os.Symlink(target, at))
			continue
		}
		check(t, os.WriteFile(at, []byte(content), mode))
	}
	return root
}
