package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// SyncTree flushes everything below dir. A runtime has thousands of files and a flush of each
// takes minutes, so the whole file system is flushed once: syncfs waits, and since Linux 5.8
// it tells errors.
func SyncTree(dir string) error {
	if !syncs {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(os.NewSyscallError("syncfs", unix.Syncfs(int(d.Fd()))), d.Close())
}
