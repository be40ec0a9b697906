package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/slugfile/slugfile/pipeline/digest"
)

// PruneOptions say what a store may hold.
type PruneOptions struct {
	// Limit is how large the store may stay, in bytes.
	Limit int64
	// Rest is how long a thing must not have been used to be removed. Whoever found it a moment
	// ago is sure to get it.
	Rest time.Duration
	// Keep are files that stay in any case.
	Keep map[digest.Digest]bool
	// Now is the time to count from.
	Now time.Time
}

// Pruned is what Prune found and did, in bytes.
type Pruned struct {
	Size, Freed int64
}

// Prune removes what was not used for the longest time, until the store is within its limit or
// nothing is left that may go. Whatever goes can be made again: a miss is never fatal.
//
// The last use is the later of the times at which the file system saw a file read and
// written. Where it does not note reading, things go in the order in which they came.
func (s *Store) Prune(ctx context.Context, o PruneOptions) (Pruned, error) {
	var p Pruned
	items, err := s.items(ctx)
	if err != nil {
		return p, fmt.Errorf("prune store: %w", err)
	}
	for _, it := range items {
		p.Size += it.size
	}
	slices.SortFunc(items, func(a, b item) int {
		return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.path, b.path))
	})
	for _, it := range items {
		if p.Size-p.Freed <= o.Limit || o.Now.Sub(it.used) < o.Rest {
			break // those that follow were used later still
		}
		if d, err := digest.Parse(filepath.Base(it.path)); err == nil && !it.tree && o.Keep[d] {
			continue
		}
		if ctx.Err() != nil {
			return p, context.Cause(ctx)
		}
		if err := s.drop(it); err != nil {
			return p, fmt.Errorf("prune store: %w", err)
		}
		p.Freed += it.size
	}
	return p, nil
}

// item is one thing that goes or stays as a whole: a file, a tree, or a document.
type item struct {
	path string
	tree bool
	size int64
	used time.Time
}

func (s *Store) items(ctx context.Context) ([]item, error) {
	var items []item
	// under adds what stands at a depth below dir; a directory there is a tree.
	var under func(dir string, depth int) error
	under = func(dir string, depth int) error {
		list, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, e := range list {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			path := filepath.Join(dir, e.Name())
			if depth > 0 {
				if e.IsDir() {
					if err := under(path, depth-1); err != nil {
						return err
					}
				}
				continue
			}
			it, err := measure(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue // another process was faster
			}
			if err != nil {
				return err
			}
			items = append(items, it)
		}
		return nil
	}
	for dir, depth := range map[string]int{"sha256": 1, "refs": 1, "trees": 2} {
		if err := under(filepath.Join(s.dir, dir), depth); err != nil {
			return nil, err
		}
	}
	return items, nil
}

// measure adds up what is at path. A tree was used when a file beside it was: the tree's own
// files are not looked at by everybody who uses it.
func measure(path string) (item, error) {
	it := item{path: path}
	err := filepath.WalkDir(path, func(at string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		if at == path {
			it.tree = e.IsDir()
		}
		if fi.Mode().IsRegular() {
			it.size += fi.Size()
		}
		if at == path || filepath.Dir(at) == path {
			if used := lastUse(fi); used.After(it.used) {
				it.used = used
			}
		}
		return nil
	})
	return it, err
}

// drop removes an item. A tree goes at once for everybody who looks for it.
func (s *Store) drop(it item) error {
	if !it.tree {
		err := os.Remove(it.path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	l, err := s.lease("")
	if err != nil {
		return err
	}
	if err := os.Rename(it.path, l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, l.end())
	}
	return l.end()
}

// Keys are the names of the documents of a kind, sorted, without those of PutBytes.
func (s *Store) Keys(kind string) ([]string, error) {
	list, err := os.ReadDir(filepath.Join(s.dir, "refs", kind))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list %s in the store: %w", kind, err)
	}
	var keys []string
	for _, e := range list {
		if name := e.Name(); filepath.Ext(name) == ".json" {
			keys = append(keys, name[:len(name)-len(".json")])
		}
	}
	return keys, nil
}
