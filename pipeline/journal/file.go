package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/slugfile/slugfile/pipeline/disk"
	"github.com/slugfile/slugfile/pipeline/failpoint"
)

// File is where a journal is kept. What it has written must outlive a crash when it returns, and
// after an error it may have been written in part.
type File interface {
	// Name is for messages.
	Name() string
	// Read returns everything, and nothing when there is no file yet.
	Read() ([]byte, error)
	// Append writes b after the first size bytes, and cuts off what stood there: a line that a
	// crash has torn.
	Append(size int64, b []byte) error
	// Replace puts b in the place of everything, whole or not at all.
	Replace(b []byte) error
}

// Disk is a file at path. It is made by the first write, with mode 0600. Its directory must be
// that of one app: Read removes there what a run left that was killed while it replaced the file.
func Disk(path string) File { return diskFile(path) }

type diskFile string

func (f diskFile) Name() string { return string(f) }

func (f diskFile) Read() ([]byte, error) {
	if err := f.tidy(); err != nil {
		return nil, err
	}
	file, err := os.Open(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	return text, errors.Join(err, file.Close())
}

func (f diskFile) tidy() error {
	dir := filepath.Dir(string(f))
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, n := range names {
		if disk.IsTemp(n.Name()) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, n.Name())))
		}
	}
	return err
}

func (f diskFile) Append(size int64, b []byte) error {
	failpoint.Hit("journal.append.before")
	if size == 0 {
		if err := f.makeDir(); err != nil {
			return err
		}
	}
	file, err := os.OpenFile(string(f), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := appendTo(file, size, b); err != nil {
		return errors.Join(fmt.Errorf("append to %s: %w", f, err), file.Close())
	}
	if err := file.Close(); err != nil {
		return err
	}
	if size > 0 {
		return nil
	}
	return disk.SyncDir(filepath.Dir(string(f)))
}

func appendTo(file *os.File, size int64, b []byte) error {
	if err := file.Truncate(size); err != nil {
		return err
	}
	if _, err := file.WriteAt(b, size); err != nil {
		return err
	}
	failpoint.Hit("journal.append.written")
	if err := disk.Sync(file); err != nil {
		return err
	}
	failpoint.Hit("journal.append.synced")
	return nil
}

func (f diskFile) Replace(b []byte) error {
	failpoint.Hit("journal.replace.before")
	if err := f.makeDir(); err != nil {
		return err
	}
	err := disk.Replace(string(f), 0o600, func(w io.Writer) error {
		_, err := w.Write(b)
		failpoint.Hit("journal.replace.written")
		return err
	})
	if err != nil {
		return err
	}
	failpoint.Hit("journal.replaced")
	return nil
}

func (f diskFile) makeDir() error { return os.MkdirAll(filepath.Dir(string(f)), 0o700) }

// Memory is a file that is gone with its process.
type Memory struct{ text []byte }

// Name is for messages.
func (m *Memory) Name() string { return "in memory" }

// Read returns a copy.
func (m *Memory) Read() ([]byte, error) { return append([]byte(nil), m.text...), nil }

// Append never fails.
func (m *Memory) Append(size int64, b []byte) error {
	m.text = append(m.text[:size:size], b...)
	return nil
}

// Replace never fails.
func (m *Memory) Replace(b []byte) error {
	m.text = append([]byte(nil), b...)
	return nil
}
