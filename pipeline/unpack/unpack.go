package unpack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/slugfile/slugfile/pipeline/disk"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// Options says how an archive is read. The zero value is right for a runtime.
type Options struct {
	// Name is what messages call the archive. Default: the base name of the file.
	Name string
	// Strip drops that many leading components of every name; a leading "./" is not one.
	Strip int
	// MaxBytes limits what is written. Default: 2 GiB, for slugs 16 GiB.
	MaxBytes int64
	// MaxEntries limits the entries read and the paths made. Default: 200,000, for slugs 2,000,000.
	MaxEntries int
	// Slug reads a slug as a dyno does: everything stands below ./app, which is dropped, and
	// links may have absolute targets below /app/.
	Slug bool
	// Volatile leaves it to the system when the directory reaches the disk: for one that is
	// made anew after a crash, such as a dyno's.
	Volatile bool
}

// The limits of a runtime and of a slug. There is no limit on the ratio of compression: an
// honest hole of 1 GiB in a file is 824:1.
const (
	runtimeBytes   = 2 << 30
	runtimeEntries = 200_000
	slugBytes      = 16 << 30
	slugEntries    = 2_000_000
)

func (o Options) withDefaults(f *os.File) Options {
	if o.Name == "" {
		o.Name = filepath.Base(f.Name())
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = runtimeBytes
		if o.Slug {
			o.MaxBytes = slugBytes
		}
	}
	if o.MaxEntries <= 0 {
		o.MaxEntries = runtimeEntries
		if o.Slug {
			o.MaxEntries = slugEntries
		}
	}
	return o
}

// Error says which archive was refused, at which entry, and why.
type Error struct {
	Archive string
	// Entry is the name as the archive has it, or empty for faults of the archive as a whole.
	Entry string
	// After is the last entry that was read, for faults between two entries.
	After string
	Err   error
}

func (e *Error) Error() string {
	switch {
	case e.Entry != "":
		return fmt.Sprintf("unpack %s: entry %q: %v", e.Archive, clip(e.Entry), e.Err)
	case e.After != "":
		return fmt.Sprintf("unpack %s: after entry %q: %v", e.Archive, clip(e.After), e.Err)
	}
	return fmt.Sprintf("unpack %s: %v", e.Archive, e.Err)
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// clip keeps a hostile name from filling the screen.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

// Extract unpacks f into the directory dest, which must not exist, and returns what it holds,
// with digests that were computed while the bytes were written. The directory appears whole
// or not at all: it is filled beside dest and then renamed. The offset of f is neither used
// nor moved.
func Extract(ctx context.Context, f *os.File, dest string, o Options) (m tree.Manifest, err error) {
	o = o.withDefaults(f)
	fail := func(err error) (tree.Manifest, error) { return nil, &Error{Archive: o.Name, Err: err} }
	if _, err := os.Lstat(dest); err == nil {
		return fail(fmt.Errorf("%s is already there", dest))
	} else if !errors.Is(err, os.ErrNotExist) {
		return fail(err)
	}
	parent := filepath.Dir(dest)
	tmp, err := os.MkdirTemp(parent, "."+filepath.Base(dest)+".")
	if err != nil {
		return fail(err)
	}
	defer func() {
		if err != nil {
			// The first error is the one to tell.
			_ = os.RemoveAll(tmp)
		}
	}()
	if m, err = Into(ctx, f, tmp, o); err != nil {
		return nil, err
	}
	if !o.Volatile {
		if err := disk.SyncTree(tmp); err != nil {
			return fail(err)
		}
	}
	if err := os.Rename(tmp, dest); err != nil {
		return fail(err)
	}
	if !o.Volatile {
		if err := disk.SyncDir(parent); err != nil {
			return fail(err)
		}
	}
	return m, nil
}

// Into is Extract into an empty directory that is there already. After an error the caller
// removes the directory; nothing is synced to the disk.
func Into(ctx context.Context, f *os.File, dir string, o Options) (m tree.Manifest, err error) {
	o = o.withDefaults(f)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, &Error{Archive: o.Name, Err: err}
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if err := chmodDir(root, ".", 0o755); err != nil {
		return nil, &Error{Archive: o.Name, Err: err}
	}
	d := &directory{root: root}
	defer d.close()
	return read(ctx, f, d, o)
}

// read feeds f to a destination.
func read(ctx context.Context, f *os.File, to destination, o Options) (tree.Manifest, error) {
	w := newWriter(to, o)
	if err := feed(ctx, f, w); err != nil {
		var known *Error
		if errors.As(err, &known) {
			return nil, err
		}
		return nil, &Error{Archive: o.Name, Err: err}
	}
	return w.m, nil
}

func feed(ctx context.Context, f *os.File, w *writer) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", f.Name())
	}
	kind, err := identify(f, info.Size())
	if err != nil {
		return err
	}
	src := io.NewSectionReader(f, 0, info.Size())
	if kind == formatZip {
		err = readZip(ctx, src, w)
	} else {
		err = readTar(ctx, src, kind, w)
	}
	if err != nil {
		return err
	}
	return w.finish()
}

// Check says whether f begins like an archive that Extract reads. It is for those who have
// no digest to compare with yet.
func Check(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	_, err = identify(f, info.Size())
	return err
}
