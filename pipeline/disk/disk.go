// Package disk makes files and directories outlive a crash: they appear whole, or not at all.
//
// It is for every room that writes what another run reads. It does not know what the bytes
// are, and it removes nothing that it did not make.
package disk

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Replace writes a file beside path and moves it there: whoever looks sees the old file or
// the new one. The mode is less what the umask takes. The parent directory must be there.
func Replace(path string, mode fs.FileMode, write func(io.Writer) error) (err error) {
	f, err := os.OpenFile(filepath.Join(filepath.Dir(path), tempPrefix+rand.Text()+tempSuffix), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(os.Remove(f.Name())))
		}
	}()
	if err := write(f); err != nil {
		return errors.Join(err, f.Close())
	}
	return Publish(f, path)
}

// WriteFile is Replace of a text.
func WriteFile(path string, text []byte, mode fs.FileMode) error {
	return Replace(path, mode, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Sync flushes a file. All flushes of the program go through this package, so that a build with
// the tag nosync can be measured without them.
func Sync(f *os.File) error {
	if !syncs {
		return nil
	}
	return f.Sync()
}

// Publish flushes and closes a file that was just written, and moves it to path, on the same
// file system. A file that could not be flushed is not moved: a second flush would say
// nothing about the bytes that the first one lost.
func Publish(f *os.File, path string) error {
	if err := errors.Join(Sync(f), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

const tempPrefix, tempSuffix = ".slugfile-", ".tmp"

// IsTemp reports whether a file of that name is what Replace leaves behind when its process
// is killed: a part of nothing, that nobody needs.
func IsTemp(name string) bool {
	return strings.HasPrefix(name, tempPrefix) && strings.HasSuffix(name, tempSuffix)
}
