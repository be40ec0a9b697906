package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/disk"
)

// Copy makes the entries of m, whose bytes are below from, anew below to, which must be
// empty or not be there. Files are copies, never hard links, so that nobody can change one
// through the other; modes are 0755 and 0644 whatever the umask says. Bytes that are not
// those of m are a *ChangedError. Links come last: nothing is written through one.
func Copy(ctx context.Context, m Manifest, from, to string) error {
	return place(ctx, m, from, to, copyFile)
}

// Move is Copy that takes the files away from below from, where that leads to the same: of
// tens of thousands of files that are thrown away afterwards, making new ones is most of the
// work. Nobody else may use from any more. The bytes of a file that was moved are not read
// again.
func Move(ctx context.Context, m Manifest, from, to string) error {
	return place(ctx, m, from, to, moveFile)
}

func place(ctx context.Context, m Manifest, from, to string, file func(e Entry, from, to string) error) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	made := map[string]bool{to: true}
	mkdir := func(dir string) error {
		var missing []string
		for d := dir; !made[d]; d = filepath.Dir(d) {
			missing = append(missing, d)
			made[d] = true
		}
		for i := len(missing) - 1; i >= 0; i-- {
			if err := os.Mkdir(missing[i], 0o755); err != nil {
				return err
			}
			if err := os.Chmod(missing[i], 0o755); err != nil {
				return err
			}
		}
		return nil
	}
	for _, e := range m {
		name := filepath.Join(to, filepath.FromSlash(e.Path))
		if !filepath.IsLocal(filepath.FromSlash(e.Path)) {
			return fmt.Errorf("copy %q: not below %q", e.Path, to)
		}
		if e.Kind != Dir {
			name = filepath.Dir(name)
		}
		if err := mkdir(name); err != nil {
			return err
		}
	}

	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(copyWorkers())
	for part := range neighbours(m) {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error {
			for _, e := range part {
				if e.Kind != File {
					continue
				}
				if gctx.Err() != nil {
					return context.Cause(gctx)
				}
				if err := file(e, filepath.Join(from, filepath.FromSlash(e.Path)), filepath.Join(to, filepath.FromSlash(e.Path))); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, e := range m {
		if e.Kind != Link {
			continue
		}
		if err := os.Symlink(e.Target, filepath.Join(to, filepath.FromSlash(e.Path))); err != nil {
			return err
		}
	}
	return nil
}

// neighbours cuts a manifest into parts of one directory: two that make files in one directory
// wait for each other in the kernel.
func neighbours(m Manifest) iter.Seq[Manifest] {
	const most = 256 // entries, so that one large directory keeps all workers busy
	return func(yield func(Manifest) bool) {
		for len(m) > 0 {
			dir, n := path.Dir(m[0].Path), 1
			for n < len(m) && n < most && path.Dir(m[n].Path) == dir {
				n++
			}
			if !yield(m[:n]) {
				return
			}
			m = m[n:]
		}
	}
}

// copyWorkers is one more than can compute at once: making files is work for the processor,
// and some wait for the disk.
func copyWorkers() int { return min(runtime.GOMAXPROCS(0)+1, scanWorkers) }

func moveFile(e Entry, from, to string) error {
	fi, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() || fi.Size() != e.Size {
		return &ChangedError{Path: from}
	}
	// A second name elsewhere, such as in a package manager's cache, would be a way to change it.
	if !hasOneName(fi) {
		return copyFile(e, from, to)
	}
	if err := os.Rename(from, to); err != nil {
		return copyFile(e, from, to) // it lies on another file system, or says why it cannot be read
	}
	if mode := e.mode(); fi.Mode() != mode {
		return os.Chmod(to, mode)
	}
	return nil
}

// mode is that of a file that was made here.
func (e Entry) mode() fs.FileMode {
	if e.Exec {
		return 0o755
	}
	return 0o644
}

func copyFile(e Entry, from, to string) (err error) {
	src, err := Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	if fi, err := src.Stat(); err != nil {
		return err
	} else if !fi.Mode().IsRegular() {
		return &ChangedError{Path: from}
	}
	if e.Exec {
		defer disk.HoldForks()()
	}
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, e.mode())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if err := dst.Chmod(e.mode()); err != nil {
		return err
	}
	h := digest.New()
	n, err := io.Copy(io.MultiWriter(dst, h), io.LimitReader(src, e.Size+1))
	if err != nil {
		return err
	}
	if n != e.Size || digest.Sum(h) != e.Digest {
		return &ChangedError{Path: from}
	}
	return nil
}
