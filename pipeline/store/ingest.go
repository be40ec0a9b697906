package store

import (
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/disk"
	"github.com/slugfile/slugfile/pipeline/failpoint"
)

// Ingest is a file on its way into the store. It is for one goroutine.
type Ingest struct {
	s     *Store
	lease *lease
	f     *os.File
	// h is nil when the writer vouches for the digest.
	h    hash.Hash
	size int64
	// begun is how many of them are on their way to the device.
	begun int64
	// err is the first error of a write. The file can then not be committed: what reached the
	// disk is not known.
	err  error
	done bool
	// sum is the digest of a file that was committed.
	sum digest.Digest
}

// Create starts a file. Close must follow, after Commit too.
func (s *Store) Create() (*Ingest, error) {
	i, err := s.CreateVouched()
	if err == nil {
		i.h = digest.New()
	}
	return i, err
}

// CreateVouched is Create for a writer that knows the digest of what it writes: Commit takes
// it at its word. Whoever opens the file finds out.
func (s *Store) CreateVouched() (*Ingest, error) {
	l, err := s.lease("")
	if err != nil {
		return nil, fmt.Errorf("make temporary file: %w", err)
	}
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make temporary file: %w", errors.Join(err, l.end()))
	}
	failpoint.Hit("store.file.made")
	return &Ingest{s: s, lease: l, f: f}, nil
}

// Write appends to the file.
func (i *Ingest) Write(p []byte) (int, error) {
	if i.err != nil {
		return 0, i.err
	}
	n, err := i.f.Write(p)
	if i.h != nil {
		i.h.Write(p[:n])
	}
	i.grown(int64(n))
	i.err = err
	return n, err
}

// syncStep is how much is handed to the device at a time, so that the flush at the end of a
// large file waits for little.
const syncStep = 8 << 20

func (i *Ingest) grown(n int64) {
	if i.size += n; i.size-i.begun >= syncStep {
		disk.BeginSync(i.f, i.begun, i.size-i.begun)
		i.begun = i.size
	}
}

// Copy appends the n bytes of src from off on. When the writer vouches for the digest, the
// kernel copies them, or shares them where the file system can. A src that is shorter is an
// io.ErrUnexpectedEOF.
func (i *Ingest) Copy(src *os.File, off, n int64) error {
	if i.err != nil {
		return i.err
	}
	for i.h == nil && n > 0 {
		step := min(n, syncStep)
		done, err := copyRange(i.f, src, off, step)
		i.grown(done)
		off, n = off+done, n-done
		if err != nil {
			i.err = err
			return err
		}
		if done < step {
			break // the kernel does no more of it
		}
	}
	if n == 0 {
		return nil
	}
	done, err := io.Copy(i, io.NewSectionReader(src, off, n))
	if err == nil && done < n {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// ReadAt reads what was written.
func (i *Ingest) ReadAt(p []byte, off int64) (int, error) { return i.f.ReadAt(p, off) }

// Size is the number of bytes written since the start or the last Reset.
func (i *Ingest) Size() int64 { return i.size }

// Reset starts over with an empty file.
func (i *Ingest) Reset() error {
	if i.err != nil {
		return i.err
	}
	if i.err = i.f.Truncate(0); i.err != nil {
		return i.err
	}
	if _, i.err = i.f.Seek(0, io.SeekStart); i.err != nil {
		return i.err
	}
	if i.h != nil {
		i.h.Reset()
	}
	i.size, i.begun = 0, 0
	return nil
}

// Commit puts the file into the store under its digest. Bytes that are not those of want, or
// not size of them, are a *digest.MismatchError that names subject; a zero want and a size of
// -1 accept anything, unless the writer vouches for it. It can succeed once.
func (i *Ingest) Commit(subject string, want digest.Digest, size int64) (digest.Digest, int64, error) {
	if i.done {
		return digest.Digest{}, 0, fmt.Errorf("store %s: %w", subject, fs.ErrClosed)
	}
	if i.err != nil {
		return digest.Digest{}, 0, fmt.Errorf("store %s: %w", subject, i.err)
	}
	if i.h == nil && want.IsZero() {
		return digest.Digest{}, 0, fmt.Errorf("store %s: nobody knows its digest", subject)
	}
	got := want
	if i.h != nil {
		got = digest.Sum(i.h)
	}
	if !want.IsZero() && got != want || size >= 0 && i.size != size {
		if want.IsZero() {
			want = got
		}
		return digest.Digest{}, 0, &digest.MismatchError{Subject: subject, Want: want, Got: got, WantSize: size, GotSize: i.size}
	}
	failpoint.Hit("store.file.written")
	// After an error of fsync the kernel may have dropped the pages and say nothing the second
	// time, so there is none: the file is given up.
	if i.err = i.s.syncFile(i.f); i.err != nil {
		return digest.Digest{}, 0, fmt.Errorf("store %s: %w", subject, i.err)
	}
	failpoint.Hit("store.file.synced")
	if i.err = i.publish(i.s.Path(got)); i.err != nil {
		return digest.Digest{}, 0, fmt.Errorf("store %s: %w", subject, i.err)
	}
	i.sum = got
	return got, i.size, nil
}

// File returns a file that was committed, at its start: the one whose bytes were hashed while
// they were written, whatever stands under its digest by now. The caller closes it. It is
// handed out once.
func (i *Ingest) File() (*os.File, error) {
	switch {
	case i.sum.IsZero():
		return nil, errors.New("the file is not in the store yet")
	case i.f == nil:
		return i.s.Open(i.sum)
	}
	if _, err := i.f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	f := i.f
	i.f = nil
	return f, nil
}

func (i *Ingest) publish(path string) error {
	if !renamesOpen {
		if err := i.f.Close(); err != nil {
			return err
		}
		i.f = nil
	}
	i.done = true
	if err := os.Chmod(i.lease.path, 0o444); err != nil {
		return err
	}
	if err := i.s.mkdirs(filepath.Dir(path)); err != nil {
		return err
	}
	// A file that is there already is replaced by equal bytes, which also mends a damaged one.
	if err := os.Rename(i.lease.path, path); err != nil {
		// Some systems do not replace a file that is open; then the one there must do.
		d, parseErr := digest.Parse(filepath.Base(path))
		if parseErr != nil {
			return err
		}
		f, openErr := i.s.Open(d)
		if openErr != nil {
			return err
		}
		return f.Close()
	}
	failpoint.Hit("store.file.renamed")
	return disk.SyncDir(filepath.Dir(path))
}

// Close gives up a file that was not committed, and frees its name.
func (i *Ingest) Close() error {
	if i.lease == nil {
		return nil
	}
	var err error
	if i.f != nil {
		err = i.f.Close()
		i.f, i.done = nil, true
		if i.err != nil {
			err = nil // already told
		}
	}
	err = errors.Join(err, i.lease.end())
	i.lease = nil
	return err
}
