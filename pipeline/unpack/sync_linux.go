package unpack

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// flush brings a fresh tree to the disk with one call: an fsync for each of tens of
// thousands of files would take longer than unpacking them.
func flush(dir string) (err error) {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(d.Fd())))
}
