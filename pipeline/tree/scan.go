package tree

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/slugfile/slugfile/pipeline/digest"
)

// scanWorkers is fixed: a few more readers than cores hide the latency of a disk, and the
// result does not depend on their number. It also bounds the open files of a scan.
const scanWorkers = 8

// ScanOptions limit and shape a scan. The zero value takes everything.
type ScanOptions struct {
	// Skip leaves a path out; of a directory everything below it too. It may be nil. It is
	// called from one goroutine, for a directory before anything in it.
	Skip func(rel string, isDir bool) bool
	// Exec decides the executable bit of a file; nil takes the owner's. It is called from
	// several goroutines.
	Exec func(rel string, mode fs.FileMode) bool
}

// ChangedError says that a file did not hold still while it was read.
type ChangedError struct {
	// Path is as it was opened.
	Path string
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("read %q: changed while it was read", e.Path)
}

// Scan lists everything below root: directories too, links as links and never followed (root
// itself may be one). Files are hashed. A device, FIFO or socket is refused by its path and
// never opened; a file that cannot be read, or that changes meanwhile, is an error.
func Scan(ctx context.Context, root string, o ScanOptions) (Manifest, error) {
	m := Manifest{}
	var walk func(rel string) error
	walk = func(rel string) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		list, err := os.ReadDir(filepath.Join(root, filepath.FromSlash(rel)))
		if err != nil {
			return fmt.Errorf("list directory: %w", err)
		}
		for _, d := range list {
			name := d.Name()
			if rel != "" {
				name = rel + "/" + name
			}
			if o.Skip != nil && o.Skip(name, d.IsDir()) {
				continue
			}
			e, err := entry(root, name, d.Type())
			if err != nil {
				return err
			}
			m = append(m, e)
			if d.IsDir() {
				if err := walk(name); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := walk(""); err != nil {
		return nil, err
	}
	return finish(ctx, root, m, o)
}

// ScanPaths is Scan for a list of paths, such as git makes: nothing else is looked at. A
// path that is gone, or that lies behind a link, is left out, as git leaves it out. A
// directory in the list (a submodule) is listed alone. Repeats count once.
func ScanPaths(ctx context.Context, root string, paths []string, o ScanOptions) (Manifest, error) {
	type verdict struct{ gone, skip bool }
	dirs := map[string]verdict{".": {}}
	var parent func(dir string) (verdict, error)
	parent = func(dir string) (verdict, error) {
		if v, ok := dirs[dir]; ok {
			return v, nil
		}
		v, err := parent(path.Dir(dir))
		if err == nil && !v.gone && !v.skip {
			var fi fs.FileInfo
			fi, err = os.Lstat(filepath.Join(root, filepath.FromSlash(dir)))
			switch {
			case isGone(err):
				v.gone, err = true, nil
			case err == nil:
				v.gone = !fi.IsDir()
				v.skip = !v.gone && o.Skip != nil && o.Skip(dir, true)
			}
		}
		if err != nil {
			return v, err
		}
		dirs[dir] = v
		return v, nil
	}
	m := Manifest{}
	seen := make(map[string]bool, len(paths))
	for _, rel := range paths {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		rel = strings.TrimSuffix(rel, "/")
		if rel != path.Clean(rel) || path.IsAbs(rel) || rel == "." || rel == ".." || strings.HasPrefix(rel, "../") {
			return nil, fmt.Errorf("list %q: path %q is not below it", root, rel)
		}
		if seen[rel] {
			continue
		}
		seen[rel] = true
		v, err := parent(path.Dir(rel))
		if err != nil {
			return nil, err
		}
		if v.gone || v.skip {
			continue
		}
		fi, err := os.Lstat(filepath.Join(root, filepath.FromSlash(rel)))
		if isGone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if o.Skip != nil && o.Skip(rel, fi.IsDir()) {
			continue
		}
		e, err := entry(root, rel, fi.Mode().Type())
		if err != nil {
			return nil, err
		}
		m = append(m, e)
	}
	return finish(ctx, root, m, o)
}

func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// entry is what the directory knows of a path; finish adds what only the file knows.
func entry(root, rel string, mode fs.FileMode) (Entry, error) {
	e := Entry{Path: rel}
	name := filepath.Join(root, filepath.FromSlash(rel))
	switch {
	case mode.IsDir():
		e.Kind = Dir
	case mode&fs.ModeSymlink != 0:
		target, err := os.Readlink(name)
		if err != nil {
			return e, err
		}
		e.Kind, e.Target = Link, target
	case mode.IsRegular():
		e.Kind = File
	default:
		return e, fmt.Errorf("%q is %s: only files, directories and links can be packed", name, describe(mode))
	}
	return e, nil
}

func describe(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	case mode&fs.ModeSymlink != 0:
		return "a link"
	case mode.IsDir():
		return "a directory"
	}
	return "no regular file"
}

// finish hashes the files of m in parallel and sorts it.
func finish(ctx context.Context, root string, m Manifest, o ScanOptions) (Manifest, error) {
	g, ctx := errgroup.WithContext(ctx)
	next := make(chan *Entry, scanWorkers)
	g.Go(func() error {
		defer close(next)
		for i := range m {
			if m[i].Kind != File {
				continue
			}
			select {
			case next <- &m[i]:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	for range scanWorkers {
		g.Go(func() error {
			buf := make([]byte, 128<<10)
			for e := range next {
				mode, err := hashFile(ctx, filepath.Join(root, filepath.FromSlash(e.Path)), e, buf)
				if err != nil {
					return err
				}
				e.Exec = mode&0o100 != 0
				if o.Exec != nil {
					e.Exec = o.Exec(e.Path, mode)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	m.Sort()
	if i := repeated(m); i >= 0 {
		return nil, fmt.Errorf("list %q: %q stands in it twice", root, m[i].Path)
	}
	return slices.Clip(m), nil
}

func repeated(m Manifest) int {
	for i := 1; i < len(m); i++ {
		if m[i].Path == m[i-1].Path {
			return i
		}
	}
	return -1
}

// hashFile fills size and digest, and returns the mode of the file that it read.
func hashFile(ctx context.Context, name string, e *Entry, buf []byte) (fs.FileMode, error) {
	f, err := Open(name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) {
			return 0, &ChangedError{Path: name}
		}
		return 0, err
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !before.Mode().IsRegular() {
		return 0, &ChangedError{Path: name}
	}
	h := sha256.New()
	n, err := io.CopyBuffer(h, reader{ctx, f}, buf)
	if err != nil {
		return 0, err
	}
	after, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if n != before.Size() || !Same(before, after) {
		return 0, &ChangedError{Path: name}
	}
	e.Size, e.Digest = n, digest.Sum(h)
	return before.Mode(), nil
}

// reader ends a long file when the run ends. It also hides that a file could copy itself,
// which would not use the buffer.
type reader struct {
	ctx context.Context
	f   *os.File
}

func (r reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.f.Read(p)
}

// Same reports whether two looks at one open file saw the same: size, time of the last
// change of content, and the file itself.
func Same(before, after fs.FileInfo) bool {
	return before.Size() == after.Size() && before.ModTime().Equal(after.ModTime()) && os.SameFile(before, after)
}
