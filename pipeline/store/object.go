package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/slugfile/slugfile/pipeline/digest"
)

// Has reports whether there is a file for d, and its size in bytes. Its content is not read:
// Open may still find it damaged.
func (s *Store) Has(d digest.Digest) (size int64, ok bool) {
	fi, err := os.Lstat(s.Path(d))
	if err != nil || !fi.Mode().IsRegular() || d.IsZero() {
		return 0, false
	}
	return fi.Size(), true
}

// Open opens the file of d for reading, after hashing it through the very descriptor that it
// hands out. A file with other bytes is removed. The error wraps ErrNotFound, and then says
// what was found, whenever the caller should get the bytes anew.
func (s *Store) Open(d digest.Digest) (*os.File, error) {
	path := s.Path(d)
	f, err := os.OpenFile(path, os.O_RDONLY|openNoFollow, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("sha256 %s: %w", d, ErrNotFound)
	}
	if err != nil {
		if fi, statErr := os.Lstat(path); statErr == nil && !fi.Mode().IsRegular() {
			return nil, s.discard(path, nil, fmt.Errorf("%q is %s", path, fi.Mode().Type()))
		}
		return nil, fmt.Errorf("open stored file: %w", err)
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open stored file: %w", err), f.Close())
	}
	if !fi.Mode().IsRegular() {
		return nil, errors.Join(s.discard(path, fi, fmt.Errorf("%q is %s", path, fi.Mode().Type())), f.Close())
	}
	h := digest.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read stored file: %w", err), f.Close())
	}
	if got := digest.Sum(h); got != d {
		bad := &digest.MismatchError{Subject: "stored file", Want: d, Got: got, WantSize: -1, GotSize: n}
		return nil, errors.Join(s.discard(path, fi, bad), f.Close())
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, errors.Join(fmt.Errorf("read stored file: %w", err), f.Close())
	}
	return f, nil
}

// discard removes what is wrong at path and returns why, as ErrNotFound. With was, nothing is
// removed when another file stands there by now: somebody has mended it.
func (s *Store) discard(path string, was fs.FileInfo, why error) error {
	if now, err := os.Lstat(path); err == nil && (was == nil || os.SameFile(was, now)) {
		if err := RemoveAll(path); err != nil {
			return fmt.Errorf("remove damaged %q: %w", path, errors.Join(err, why))
		}
	}
	return fmt.Errorf("%w: removed a damaged file: %w", ErrNotFound, why)
}

// Remove removes the file of d. One that is not there is no error.
func (s *Store) Remove(d digest.Digest) error {
	err := os.Remove(s.Path(d))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove stored file: %w", err)
	}
	return nil
}
