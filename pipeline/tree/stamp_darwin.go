package tree

import (
	"io/fs"
	"syscall"
)

// stampOf is the stamp of a file.
func stampOf(fi fs.FileInfo) stamp {
	s := stamp{size: fi.Size(), mtime: fi.ModTime().UnixNano()}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		s.ctime, s.ino, s.dev, s.mode = st.Ctimespec.Nano(), st.Ino, uint64(st.Dev), uint32(st.Mode)
	}
	return s
}
