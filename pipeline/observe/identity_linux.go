package observe

import (
	"io/fs"
	"syscall"
	"time"

	"github.com/slugfile/slugfile/pipeline/digest"
)

// identity is a name for the file as it is now, and when it last changed.
func identity(name string, fi fs.FileInfo) (note string, changed time.Time, ok bool) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return "", time.Time{}, false
	}
	ctime := time.Unix(st.Ctim.Unix())
	return digest.OfJSON([]any{name, st.Dev, st.Ino, fi.Size(), fi.ModTime().UnixNano(), ctime.UnixNano()}).String(), ctime, true
}
