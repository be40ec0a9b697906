package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// BeginSync has the kernel start to write n bytes of f, from off on, to the device, and does
// not wait: Sync at the end then has less to wait for. It promises nothing.
func BeginSync(f *os.File, off, n int64) {
	if syncs {
		_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE) // Sync tells what is wrong
	}
}
