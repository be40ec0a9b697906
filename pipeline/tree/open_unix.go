//go:build unix

package tree

import (
	"io/fs"
	"os"
	"syscall"
)

// Open opens a file for reading. It does not follow a link in the last component and does
// not wait for the other end of a FIFO; the caller still has to look at what it got.
func Open(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

// hasOneName reports whether no hard link leads to a file but the one that was asked about.
func hasOneName(fi fs.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 1
}
