//go:build unix

package tree

import (
	"os"
	"syscall"
)

// Open opens a file for reading. It does not follow a link in the last component and does
// not wait for the other end of a FIFO; the caller still has to look at what it got.
func Open(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}
