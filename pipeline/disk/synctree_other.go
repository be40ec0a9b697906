//go:build !linux

package disk

// SyncTree flushes the names in dir only. There is no call here that flushes a file system,
// and one flush a file would take minutes: what a power cut tears has to be noticed by its
// digest.
func SyncTree(dir string) error { return SyncDir(dir) }
