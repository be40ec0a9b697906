package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/slugfile/slugfile/pipeline/digest"
)

// Copy makes the entries of m, whose bytes are below from, anew below to, which must be
// empty or not be there. Files are copies, never hard links, so that nobody can change one
// through the other; modes are 0755 and 0644 whatever the umask says. Bytes that are not
// those of m are a *ChangedError. Links come last: nothing is written through one.
func Copy(ctx context.Context, m Manifest, from, to string) error {
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
	g.SetLimit(scanWorkers)
	for _, e := range m {
		if e.Kind != File {
			continue
		}
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error {
			return copyFile(e, filepath.Join(from, filepath.FromSlash(e.Path)), filepath.Join(to, filepath.FromSlash(e.Path)))
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
	mode := fs.FileMode(0o644)
	if e.Exec {
		mode = 0o755
	}
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if err := dst.Chmod(mode); err != nil {
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
