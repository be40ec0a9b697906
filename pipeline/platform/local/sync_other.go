//go:build !unix

package local

// syncDir does nothing: this system cannot sync a directory.
func syncDir(string) error { return nil }
