// Package store keeps bytes by their digest, file trees by a key, and small documents by a
// name, in one directory of this machine that any number of processes may share.
//
// It is for the stages and for observe. Whatever it hands out was whole when it was written:
// a file, tree or document appears by one rename after it was flushed, and is checked when it
// is read. What turns out to be wrong is removed and counts as absent, so the caller makes it
// again; nobody is ever told to wipe a cache. It never downloads, and never removes what
// somebody may still need.
//
// On disk:
//
//	sha256/<2 hex>/<hex>                               a file, 0444
//	trees/<kind>/<2 hex>/<hex>/{tree/,manifest.bin}    an unpacked runtime, a step's output
//	trees/<kind>/<2 hex>/<hex>/index.bin               by which its files are known, if anything
//	refs/<kind>/<key>.json                             a document
//	refs/<kind>/<key>.bin                              a raw document
//	ingest/<random>, ingest/<random>.lock              what is being written, locked by its writer
package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/disk"
	"github.com/slugfile/slugfile/pipeline/failpoint"
)

// ErrNotFound is wrapped by the error of a read whose bytes are not in the store, or not any
// more.
var ErrNotFound = errors.New("not in the store")

// Store is a store. Its methods may be called from several goroutines.
type Store struct {
	dir string
	// syncFile flushes one file. Tests replace it to see an error handled.
	syncFile func(*os.File) error
}

// Open opens the store in dir, and makes it when it is not there. It removes what writers
// that died left behind. The directory must belong to this user and be no symbolic link; it
// is closed to others.
func Open(dir string) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open store %q: %w", dir, err)
	}
	s := &Store{dir: abs, syncFile: disk.Sync}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	for _, sub := range []string{".", "sha256", "ingest", "trees", "refs"} {
		if err := s.ownDir(filepath.Join(abs, sub)); err != nil {
			return nil, fmt.Errorf("open store %q: %w", abs, err)
		}
	}
	s.sweep()
	return s, nil
}

// ownDir makes one directory, or checks the one that is there.
func (s *Store) ownDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	fi, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return fmt.Errorf("%q is not a directory but %s", dir, fi.Mode().Type())
	}
	if err := checkOwner(dir, fi); err != nil {
		return err
	}
	if fi.Mode().Perm()&0o077 != 0 && closedByMode {
		return os.Chmod(dir, 0o700)
	}
	return nil
}

// Path is where the file of d is, or would be. What is there is not checked; use Open.
func (s *Store) Path(d digest.Digest) string {
	h := d.String()
	return filepath.Join(s.dir, "sha256", h[:2], h)
}

// mkdirs makes the directories of a path below the store's root, each one flushed into its
// parent when it is new.
func (s *Store) mkdirs(dir string) error {
	if fi, err := os.Lstat(dir); err == nil && fi.IsDir() {
		return nil
	}
	if dir != s.dir {
		if err := s.mkdirs(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	switch err := os.Mkdir(dir, 0o700); {
	case err == nil:
		failpoint.Hit("store.dir.made")
		return disk.SyncDir(filepath.Dir(dir))
	case errors.Is(err, fs.ErrExist):
		fi, err := os.Lstat(dir)
		if err == nil && !fi.IsDir() {
			err = fmt.Errorf("%q is not a directory but %s", dir, fi.Mode().Type())
		}
		return err
	default:
		return err
	}
}
