package store

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncTree flushes everything below dir. A runtime has thousands of files and a flush of each
// takes minutes, so the whole filesystem is flushed once: syncfs waits, and since Linux 5.8
// it tells errors.
func syncTree(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(os.NewSyscallError("syncfs", unix.Syncfs(int(f.Fd()))), f.Close())
}
