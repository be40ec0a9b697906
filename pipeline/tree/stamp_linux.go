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
		size: st.Size, mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano(), ino: st.Ino, dev: uint64(st.Dev), mode: st.Mode, //nolint:unconvert // smaller on some machines
	}, true
}
