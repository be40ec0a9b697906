//go:build !linux

package store

import "os"

// copyRange copies nothing: the caller does, by reading and writing.
func copyRange(_, _ *os.File, _, _ int64) (done int64, err error) { return 0, nil }
