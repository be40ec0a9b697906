package bom

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"io"
	"path"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/slugfile/slugfile/pipeline/slug"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// Contents is what a slug holds, as far as a bill tells it.
type Contents struct {
	// Files is everything below ./app.
	Files tree.Manifest

	programs []program
	npm      []npmPackage
	gems     []gem
	// unread are lock files that could not be understood.
	unread []string
}

// program is a Go program.
type program struct {
	path string
	info *debug.BuildInfo
}

// largestLock is more than the lock file of 50,000 packages has, in bytes.
const largestLock = 32 << 20

// Look collects what a bill tells of a slug while that is examined. The zero value is ready.
type Look struct {
	programs []program
	// texts are the files whose content tells what packages there are, by path.
	texts  map[string][]byte
	unread []string
}

// Wants asks for programs, and for what tells of packages.
func (l *Look) Wants(name string, size int64, elf bool) bool {
	if tells(name) && size > largestLock {
		l.unread = append(l.unread, name)
		return elf
	}
	return elf || tells(name)
}

// See keeps the build information of a Go program, and texts. What is no Go program, or was
// stripped of it, is a file like any other.
func (l *Look) See(name string, size int64, r io.ReaderAt) {
	if info, err := buildinfo.Read(r); err == nil {
		l.programs = append(l.programs, program{name, info})
	}
	if !tells(name) {
		return
	}
	text := make([]byte, size)
	if n, err := r.ReadAt(text, 0); n == len(text) || err == nil {
		if l.texts == nil {
			l.texts = map[string][]byte{}
		}
		l.texts[name] = text
	}
}

// Contents is what was seen in a slug that holds these files.
func (l *Look) Contents(files tree.Manifest) Contents {
	c := Contents{Files: files, programs: l.programs, unread: l.unread}
	slices.SortFunc(c.programs, func(a, b program) int { return tree.Compare(a.path, b.path) })
	c.findNPM(l.texts)
	c.findGems(l.texts)
	slices.Sort(c.unread)
	return c
}

// Read looks at a slug. scratch is a directory for one file that is there while large programs are
// looked at.
func Read(ctx context.Context, r io.Reader, scratch string) (Contents, error) {
	var l Look
	c, err := slug.Examine(ctx, r, slug.ExamineOptions{Scratch: scratch, Looks: []slug.Look{&l}})
	if err != nil {
		return Contents{}, fmt.Errorf("look at slug: %w", err)
	}
	return l.Contents(c.Tree), nil
}

// tells reports whether a file tells of packages.
func tells(name string) bool {
	dir, base := path.Split(name)
	switch base {
	case "package-lock.json", "npm-shrinkwrap.json":
		return !within(dir, modules)
	case ".package-lock.json":
		return isModules(dir)
	case "package.json":
		return packageDir(strings.TrimSuffix(dir, "/"))
	case "Gemfile.lock", "gems.locked":
		return !within(dir, modules) && !within(dir, "gems")
	}
	return false
}

// modules is npm's name for the directory of packages.
const modules = "node_modules"

// within reports whether one of the directories of a path, which ends with a slash, has a name.
func within(dir, name string) bool { return strings.Contains("/"+dir, "/"+name+"/") }

// isModules reports whether dir, which ends with a slash, is a node_modules outside all others.
func isModules(dir string) bool {
	rest, ok := strings.CutSuffix(dir, modules+"/")
	return ok && (rest == "" || rest[len(rest)-1] == '/') && !within(rest, modules)
}

// packageDir reports whether dir is that of an npm package: node_modules/name, or
// node_modules/@scope/name.
func packageDir(dir string) bool {
	up, base := path.Split(dir)
	up = strings.TrimSuffix(up, "/")
	if base == "" || base[0] == '.' {
		return false
	}
	if scope := path.Base(up); strings.HasPrefix(scope, "@") {
		up = path.Dir(up)
	}
	return path.Base(up) == modules
}
