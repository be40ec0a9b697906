//go:build unix

package disk

import (
	"errors"
	"os"
)

// SyncDir flushes the names in a directory.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(Sync(d), d.Close())
}
