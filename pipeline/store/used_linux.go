package store

import (
	"io/fs"
	"syscall"
	"time"
)

// lastUse is when a file was last read, as far as the file system notes it (most do once a
// day), or written.
func lastUse(fi fs.FileInfo) time.Time {
	used := fi.ModTime()
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		if read := time.Unix(st.Atim.Unix()); read.After(used) {
			used = read
		}
	}
	return used
}
