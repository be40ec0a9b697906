//go:build !linux

package store

import (
	"io/fs"
	"time"
)

// lastUse is when a file was written.
func lastUse(fi fs.FileInfo) time.Time { return fi.ModTime() }
