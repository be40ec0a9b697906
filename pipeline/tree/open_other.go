//go:build !unix

package tree

import (
	"fmt"
	"io/fs"
	"os"
)

// Open opens a file for reading. This system has no flag that refuses links, so the name is
// looked at first; a link that is put in its place in between is followed.
func Open(path string) (*os.File, error) {
	fi, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() && !fi.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("is %s", describe(fi.Mode()))}
	}
	return os.Open(path)
}

// hasOneName does not know.
func hasOneName(fs.FileInfo) bool { return false }
