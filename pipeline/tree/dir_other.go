//go:build !linux

package tree

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// rootDir is the directory of a scan. On this system paths are looked up anew each time.
type rootDir struct{ name string }

func openRoot(name string) (*rootDir, error) { return &rootDir{name: name}, nil }

func (r *rootDir) close() {}

// dirStamp does not know how the file systems here keep the times of directories.
func (r *rootDir) dirStamp(openDir) (dirStamp, error) { return dirStamp{}, nil }

// open names a directory below the root.
func (r *rootDir) open(rel string) (openDir, error) {
	return openDir{name: filepath.Join(r.name, filepath.FromSlash(rel))}, nil
}

// isDir reports whether a path is a directory, and no link to one.
func (r *rootDir) isDir(rel string) (bool, error) {
	fi, err := os.Lstat(filepath.Join(r.name, filepath.FromSlash(rel)))
	return err == nil && fi.IsDir(), err
}

// openDir is a directory that is looked at.
type openDir struct{ name string }

func (d openDir) close() {}

// list adds the names in the directory to b.
func (d openDir) list(b *batch, _ []byte) error {
	list, err := os.ReadDir(d.name)
	if err != nil {
		return err
	}
	for _, e := range list {
		b.add([]byte(e.Name()), e.Type())
	}
	return nil
}

// stat looks at a name and does not follow it.
func (d openDir) stat(name string) (stamp, fs.FileMode, error) {
	fi, err := os.Lstat(filepath.Join(d.name, name))
	if err != nil {
		return stamp{}, 0, err
	}
	return stampOf(fi), fi.Mode(), nil
}

// openFile is a file that is read.
type openFile struct{ f *os.File }

func (r *rootDir) openFile(rel string) (openFile, error) {
	f, err := Open(filepath.Join(r.name, filepath.FromSlash(rel)))
	return openFile{f}, err
}

func (f openFile) stat() (stamp, fs.FileMode, error) {
	fi, err := f.f.Stat()
	if err != nil {
		return stamp{}, 0, err
	}
	return stampOf(fi), fi.Mode(), nil
}

// read returns 0 at the end.
func (f openFile) read(b []byte) (int, error) {
	n, err := f.f.Read(b)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

func (f openFile) close() { f.f.Close() }

func (d openDir) readlink(name string) (string, error) {
	return os.Readlink(filepath.Join(d.name, name))
}
