package archive

import (
	"io/fs"
	"syscall"
)

// stampOf is what the inode of a file says of it. No write leaves it as it was, as long as
// nobody sets the clock of the machine back for it.
func stampOf(fi fs.FileInfo) stamp {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}
	}
	return stamp{Size: st.Size, Inode: st.Ino, Device: uint64(st.Dev), Modified: st.Mtim.Nano(), Changed: st.Ctim.Nano()} //nolint:unconvert // smaller on some machines
}
