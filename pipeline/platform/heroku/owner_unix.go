//go:build unix

package heroku

import (
	"io/fs"
	"os"
	"strconv"
	"syscall"
)

// otherOwner names the owner of a file that is not ours.
func otherOwner(fi fs.FileInfo) (string, bool) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) == os.Geteuid() {
		return "", false
	}
	return "uid " + strconv.Itoa(int(st.Uid)), true
}

func othersCanRead(fi fs.FileInfo) bool { return fi.Mode().Perm()&0o077 != 0 }
