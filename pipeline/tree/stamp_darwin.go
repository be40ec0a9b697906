package tree

import (
	"io/fs"
	"syscall"
)

// stampOf is the stamp of a file, where the system gives one.
func stampOf(fi fs.FileInfo) (stamp, bool) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}, false
	}
	return stamp{
		size: st.Size, mtime: st.Mtimespec.Nano(), ctime: st.Ctimespec.Nano(), ino: st.Ino, dev: uint64(st.Dev), mode: uint32(st.Mode),
	}, true
}
