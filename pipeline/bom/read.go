package bom

import (
	"archive/tar"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/slugfile/slugfile/pipeline/digest"
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

// Read looks at a slug. scratch is a directory for one file that is there while programs are
// looked at: where their build information stands is only known at their end.
func Read(r io.Reader, scratch string) (Contents, error) {
	l := &look{texts: map[string][]byte{}}
	f, err := os.CreateTemp(scratch, ".slugfile-*.tmp")
	if err != nil {
		return l.Contents, fmt.Errorf("look at slug: %w", err)
	}
	l.scratch = f
	// Where an open file can be removed, not even a killed run leaves it behind.
	gone := os.Remove(f.Name()) == nil
	err = errors.Join(slug.Read(r, l.visit), f.Close())
	if !gone {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	if err != nil {
		return l.Contents, fmt.Errorf("look at slug: %w", err)
	}
	l.Files.Sort()
	// The directories of a foreign slug may stand there twice.
	l.Files = slices.CompactFunc(l.Files, func(a, b tree.Entry) bool { return a.Path == b.Path })
	slices.SortFunc(l.programs, func(a, b program) int { return tree.Compare(a.path, b.path) })
	l.findNPM()
	l.findGems()
	slices.Sort(l.unread)
	return l.Contents, nil
}

// look collects what is met on the way through a slug.
type look struct {
	Contents
	scratch *os.File
	// texts are the files whose content tells what packages there are, by path.
	texts map[string][]byte
}

func (l *look) visit(hdr *tar.Header, body io.Reader) error {
	name, err := slug.Path(hdr.Name)
	if err != nil || name == "." {
		return err
	}
	e := tree.Entry{Path: name}
	switch hdr.Typeflag {
	case tar.TypeDir:
		e.Kind = tree.Dir
	case tar.TypeSymlink:
		e.Kind, e.Target = tree.Link, hdr.Linkname
	case tar.TypeLink:
		to, err := slug.Path(hdr.Linkname)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(l.Files, func(f tree.Entry) bool { return f.Path == to })
		e = l.Files[i] // slug.Read has seen it
		e.Path = name
	default:
		e.Kind, e.Exec, e.Size = tree.File, fs.FileMode(hdr.Mode)&0o100 != 0, hdr.Size
		if e.Digest, err = l.content(e, body); err != nil {
			return err
		}
	}
	l.Files = append(l.Files, e)
	return nil
}

// content reads a file to its end, and keeps what tells of packages.
func (l *look) content(e tree.Entry, body io.Reader) (digest.Digest, error) {
	h := digest.New()
	body = io.TeeReader(body, h)
	var head [4]byte
	n, err := io.ReadFull(body, head[:])
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
	case err != nil:
		return digest.Digest{}, err
	case string(head[:]) == "\x7fELF":
		if err := l.program(e.Path, head[:], body); err != nil {
			return digest.Digest{}, err
		}
	}
	if tells(e.Path) {
		if e.Size > largestLock {
			l.unread = append(l.unread, e.Path)
		} else {
			text := append(make([]byte, 0, e.Size), head[:n]...)
			for len(text) < int(e.Size) {
				m, err := body.Read(text[len(text):cap(text)])
				text = text[:len(text)+m]
				if err != nil && !errors.Is(err, io.EOF) {
					return digest.Digest{}, err
				}
				if err != nil {
					break
				}
			}
			l.texts[e.Path] = text
		}
	}
	if _, err := io.Copy(io.Discard, body); err != nil {
		return digest.Digest{}, err
	}
	return digest.Sum(h), nil
}

// program keeps the build information of a Go program. What is none, or was stripped of it, is
// a file like any other.
func (l *look) program(name string, head []byte, body io.Reader) error {
	if err := errors.Join(l.scratch.Truncate(0), seekStart(l.scratch)); err != nil {
		return err
	}
	if _, err := l.scratch.Write(head); err != nil {
		return err
	}
	if _, err := io.Copy(l.scratch, body); err != nil {
		return err
	}
	if info, err := buildinfo.Read(l.scratch); err == nil {
		l.programs = append(l.programs, program{name, info})
	}
	return nil
}

func seekStart(f *os.File) error {
	_, err := f.Seek(0, io.SeekStart)
	return err
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
