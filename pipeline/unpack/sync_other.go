//go:build !linux

package unpack

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// flush brings a fresh tree to the disk, file by file: only Linux can do it in one call.
func flush(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return syncDir(path)
		case d.Type().IsRegular():
			return syncFile(path)
		}
		return nil
	})
}

func syncFile(path string) (err error) {
	if runtime.GOOS == "windows" {
		return nil // needs a handle that may write; the rename is what counts there
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return f.Sync()
}
