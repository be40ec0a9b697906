//go:build unix

package store

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// openNoFollow keeps a link, FIFO or device under a digest's name from being opened.
const openNoFollow = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// closedByMode says that permission bits keep others out of a directory.
const closedByMode = true

// renamesOpen says that a file may get another name while it is open.
const renamesOpen = true

// checkOwner refuses a directory of somebody else, who could change what we trust in it.
func checkOwner(dir string, fi fs.FileInfo) error {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%q: the owner cannot be told", dir)
	}
	if int64(st.Uid) != int64(os.Geteuid()) {
		return fmt.Errorf("%q belongs to user %d, and this is user %d", dir, st.Uid, os.Geteuid())
	}
	return nil
}
