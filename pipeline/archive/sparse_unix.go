//go:build unix

package archive

import (
	"os"
	"syscall"
)

// isSparse reports whether most of a file is holes: whether it takes less than a sixteenth
// of its size on disk. A file system that compresses seldom gets there. A file that cannot
// be looked at is left to the writer, which tells why.
func isSparse(path string) bool {
	fi, err := os.Lstat(path)
	if err != nil {
		return false
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && fi.Mode().IsRegular() && st.Blocks*512 < fi.Size()/16
}
