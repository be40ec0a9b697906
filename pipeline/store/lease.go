package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
)

const lockSuffix = ".lock"

// lease is a name in ingest/ that this process alone may use. The lock file beside it is
// made and locked before anything stands under the name, and removed after it, so that a name
// without a locked lock file is a leftover of a process that died.
type lease struct {
	path string
	lock *flock.Flock
}

// lease takes a fresh name.
func (s *Store) lease(prefix string) (*lease, error) {
	var err error
	for range 16 {
		path := filepath.Join(s.dir, "ingest", prefix+rand.Text())
		l := flock.New(path+lockSuffix, flock.SetFlag(os.O_CREATE|os.O_EXCL|os.O_RDWR), flock.SetPermissions(0o600))
		var ok bool
		if ok, err = l.TryLock(); err != nil {
			if errors.Is(err, fs.ErrExist) {
				continue
			}
			return nil, err
		}
		// A sweep may have locked, or locked and removed, the file between its creation and
		// our lock. Then the name is not ours.
		if ok && sameFile(l) {
			return &lease{path: path, lock: l}, nil
		}
		_ = l.Unlock() // not held, or of a file that is gone
	}
	return nil, fmt.Errorf("no free name in %q: %w", filepath.Join(s.dir, "ingest"), errors.Join(err, fs.ErrExist))
}

// end removes what stands under the name, if anything, and gives the name up.
func (l *lease) end() error {
	err := RemoveAll(l.path)
	// Removed while locked, where the system allows it: nobody else can be using it.
	rmErr := os.Remove(l.path + lockSuffix)
	_ = l.lock.Unlock() // closes the file, whatever it says
	if rmErr != nil {
		_ = os.Remove(l.path + lockSuffix) // else the next Open does it
	}
	return err
}

func sameFile(l *flock.Flock) bool {
	held, err := l.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(l.Path())
	return err == nil && os.SameFile(held, named)
}

// sweep removes the leftovers of writers that died. It reads none of them, and leaves alone
// what it cannot remove: that costs space, and stops nobody.
func (s *Store) sweep() {
	ingest := filepath.Join(s.dir, "ingest")
	entries, err := os.ReadDir(ingest)
	if err != nil {
		return
	}
	for _, e := range entries {
		path := filepath.Join(ingest, e.Name())
		if name, ok := strings.CutSuffix(path, lockSuffix); ok {
			sweepLease(name)
			continue
		}
		// The lock file came before the name, so a name without one has no owner.
		if _, err := os.Lstat(path + lockSuffix); errors.Is(err, fs.ErrNotExist) {
			_ = RemoveAll(path)
		}
	}
}

func sweepLease(path string) {
	l := flock.New(path+lockSuffix, flock.SetFlag(os.O_RDWR))
	ok, err := l.TryLock()
	if err != nil || !ok || !sameFile(l) {
		_ = l.Unlock()
		return
	}
	_ = (&lease{path: path, lock: l}).end()
}

// RemoveAll is os.RemoveAll that also takes directories which their owner may not write,
// such as those of a Go module cache.
func RemoveAll(path string) error {
	err := os.RemoveAll(path)
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	// Links are not followed: WalkDir calls them what they are.
	_ = filepath.WalkDir(path, func(p string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(p, 0o700) // the removal tells what is still wrong
		}
		return nil
	})
	return os.RemoveAll(path)
}

// Work makes a fresh, empty directory on the store's filesystem. cleanup removes it with all
// that is in it; if this process dies first, the next Open does.
func (s *Store) Work(prefix string) (dir string, cleanup func(), err error) {
	if prefix != "" && !validName(prefix) {
		return "", nil, fmt.Errorf("make work directory: prefix %q is not a plain name", prefix)
	}
	l, err := s.lease(prefix)
	if err != nil {
		return "", nil, fmt.Errorf("make work directory: %w", err)
	}
	if err := os.Mkdir(l.path, 0o700); err != nil {
		return "", nil, fmt.Errorf("make work directory: %w", errors.Join(err, l.end()))
	}
	return l.path, func() { _ = l.end() }, nil // what is left is swept by the next Open
}
