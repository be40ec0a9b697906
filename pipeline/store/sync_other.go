//go:build !linux

package store

// syncTree flushes the names in dir only. There is no call here that flushes a filesystem,
// and one flush a file would take minutes; a tree that a power cut tore is found by
// VerifyTree.
func syncTree(dir string) error { return syncDir(dir) }
