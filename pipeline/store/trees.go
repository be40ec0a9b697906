package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/disk"
	"github.com/slugfile/slugfile/pipeline/failpoint"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// Tree returns the directory of the tree of kind under key, and its manifest, or not ok when
// there is none that is whole. The files are not read; VerifyTree does that.
func (s *Store) Tree(kind string, key digest.Digest) (dir string, m tree.Manifest, ok bool, err error) {
	at, err := s.treePath(kind, key)
	if err != nil {
		return "", nil, false, err
	}
	b, ok, err := readRaw(filepath.Join(at, "manifest.bin"), treeName(kind, key))
	if err != nil {
		return "", nil, false, fmt.Errorf("read %s %s from the store: %w", kind, key.Short(), err)
	}
	dir = filepath.Join(at, "tree")
	ok = ok && m.UnmarshalBinary(b) == nil && isDir(dir) // else another version wrote it
	if !ok {
		return "", nil, false, nil
	}
	return dir, m, true, nil
}

func isDir(path string) bool {
	fi, err := os.Lstat(path)
	return err == nil && fi.IsDir()
}

// VerifyTree is Tree that also reads every file, but for those whose inodes say that they are
// still what an earlier VerifyTree read. A tree with other bytes, or with files that its
// manifest does not name, is removed and not ok.
func (s *Store) VerifyTree(ctx context.Context, kind string, key digest.Digest) (dir string, m tree.Manifest, ok bool, err error) {
	dir, m, ok, err = s.Tree(kind, key)
	if err != nil || !ok {
		return "", nil, false, err
	}
	indexPath, indexName := filepath.Join(filepath.Dir(dir), "index.bin"), treeName(kind, key)+" index"
	var known *tree.Index
	if b, ok, err := readRaw(indexPath, indexName); err == nil && ok {
		known, _ = tree.ParseIndex(b) // nil when another version wrote it
	}
	found, err := tree.ScanIndexed(ctx, dir, tree.ScanOptions{Known: known})
	if ctx.Err() != nil {
		return "", nil, false, context.Cause(ctx)
	}
	if err == nil && sameTree(m, found.Manifest) {
		if found.Learnt {
			if b, err := found.Index.AppendBinary(nil); err == nil {
				// Where it cannot be kept, the next one reads the files again.
				_ = s.publish(indexPath, func(fresh string) error { return s.writeRaw(fresh, indexName, b) })
			}
		}
		return dir, m, true, nil
	}
	if err := s.RemoveTree(kind, key); err != nil {
		return "", nil, false, err
	}
	return "", nil, false, nil
}

// sameTree compares what was promised with what is there. A manifest need not list the
// directories above its entries.
func sameTree(want, found tree.Manifest) bool {
	for _, e := range found {
		switch {
		case len(want) > 0 && e == want[0]:
			want = want[1:]
		case e.Kind == tree.Dir && len(want) > 0 && e.Path != want[0].Path && tree.Under(want[0].Path, e.Path):
		default:
			return false
		}
	}
	return len(want) == 0
}

// PutTree stores a tree of kind under key. fill gets the path of a directory that does not
// exist yet, in one that does; it makes the directory, fills it and returns what it holds.
// When a whole tree is there already, or another process is faster, that one is returned: the
// same key must stand for equally good trees.
func (s *Store) PutTree(kind string, key digest.Digest, fill func(dir string) (tree.Manifest, error)) (dir string, m tree.Manifest, err error) {
	if dir, m, ok, err := s.Tree(kind, key); err != nil || ok {
		return dir, m, err
	}
	at, err := s.treePath(kind, key)
	if err != nil {
		return "", nil, err
	}
	l, err := s.lease("")
	if err != nil {
		return "", nil, fmt.Errorf("store %s %s: %w", kind, key.Short(), err)
	}
	defer func() {
		if endErr := l.end(); endErr != nil && err == nil {
			dir, m, err = "", nil, fmt.Errorf("store %s %s: %w", kind, key.Short(), endErr)
		}
	}()
	if err := os.Mkdir(l.path, 0o700); err != nil {
		return "", nil, fmt.Errorf("store %s %s: %w", kind, key.Short(), err)
	}
	failpoint.Hit("store.tree.made")
	fresh := filepath.Join(l.path, "tree")
	if m, err = fill(fresh); err != nil {
		return "", nil, err
	}
	failpoint.Hit("store.tree.filled")
	if err := s.publishTree(l.path, at, kind, key, m); err != nil {
		return "", nil, fmt.Errorf("store %s %s: %w", kind, key.Short(), err)
	}
	dir, m, ok, err := s.Tree(kind, key)
	if err == nil && !ok {
		err = fmt.Errorf("store %s %s: %w", kind, key.Short(), ErrNotFound)
	}
	return dir, m, err
}

func (s *Store) publishTree(fresh, at, kind string, key digest.Digest, m tree.Manifest) error {
	if fi, err := os.Lstat(filepath.Join(fresh, "tree")); err != nil {
		return err
	} else if !fi.IsDir() {
		return fmt.Errorf("%q is not a directory but %s", fi.Name(), fi.Mode().Type())
	}
	b, err := m.AppendBinary(nil)
	if err != nil {
		return err
	}
	if err := s.writeRaw(filepath.Join(fresh, "manifest.bin"), treeName(kind, key), b); err != nil {
		return err
	}
	if err := disk.SyncTree(fresh); err != nil {
		return err
	}
	failpoint.Hit("store.tree.synced")
	if err := s.mkdirs(filepath.Dir(at)); err != nil {
		return err
	}
	err = os.Rename(fresh, at)
	if err != nil {
		// Either somebody was faster, or what stands there is not whole.
		if _, _, ok, treeErr := s.Tree(kind, key); treeErr == nil && ok {
			return nil
		}
		if rmErr := s.RemoveTree(kind, key); rmErr != nil {
			return errors.Join(err, rmErr)
		}
		if err = os.Rename(fresh, at); err != nil {
			if _, _, ok, treeErr := s.Tree(kind, key); treeErr == nil && ok {
				return nil
			}
			return err
		}
	}
	failpoint.Hit("store.tree.renamed")
	return disk.SyncDir(filepath.Dir(at))
}

// RemoveTree removes the tree of kind under key, also one that is not whole. It goes at once
// for everybody who looks for it by key; who has its files open keeps them.
func (s *Store) RemoveTree(kind string, key digest.Digest) error {
	at, err := s.treePath(kind, key)
	if err != nil {
		return err
	}
	l, err := s.lease("")
	if err != nil {
		return fmt.Errorf("remove %s %s: %w", kind, key.Short(), err)
	}
	if err := os.Rename(at, l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s %s: %w", kind, key.Short(), errors.Join(err, l.end()))
	}
	if err := l.end(); err != nil {
		return fmt.Errorf("remove %s %s: %w", kind, key.Short(), err)
	}
	return nil
}

func (s *Store) treePath(kind string, key digest.Digest) (string, error) {
	if !validName(kind) {
		return "", fmt.Errorf("store tree of kind %q: not a plain name", kind)
	}
	h := key.String()
	return filepath.Join(s.dir, "trees", kind, h[:2], h), nil
}

func treeName(kind string, key digest.Digest) string { return kind + "/" + key.String() }
