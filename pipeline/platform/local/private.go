package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
)

// privateDir makes the data directory, or sees to it that others cannot look into the one that
// is there: it holds the token, the config vars and the slugs. A directory that others can
// write to is refused, unless nothing is in it yet: they may have put a token of theirs there.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := closeDir(dir); err != nil {
		return err
	}
	for _, name := range []string{"blobs", "outputs"} {
		sub := filepath.Join(dir, name)
		if err := os.Mkdir(sub, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := mend(sub, 0o700); err != nil {
			return err
		}
	}
	for _, name := range ownNames[3:] {
		if err := mend(filepath.Join(dir, name), 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// ownNames are what a data directory holds: three directories, then files.
var ownNames = []string{"blobs", "outputs", "dynos", "token", "platform.db", "lock", infoFile}

func closeDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is no directory", dir)
	}
	// Windows keeps its rights elsewhere, and the mode says nothing there.
	if runtime.GOOS == "windows" || info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	own := !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return !slices.Contains(ownNames, e.Name()) })
	switch {
	case info.Mode()&os.ModeSticky != 0 || info.Mode().Perm()&0o022 != 0 && len(entries) > 0:
		return fmt.Errorf("others can write to %s (mode %#o), so its token could be theirs: look at what is in it and run chmod 700, or give another directory", dir, info.Mode().Perm())
	case !own:
		return nil // it serves something else too: what is private has a mode of its own
	}
	return os.Chmod(dir, 0o700)
}

// mend takes the rights of others from a file or directory of the platform's own.
func mend(path string, mode os.FileMode) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if runtime.GOOS == "windows" || info.Mode().Perm()&^mode == 0 {
		return nil
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", path)
	}
	return os.Chmod(path, mode)
}
