package store_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/store"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// aged puts a file of 1000 bytes into the store, last used some days ago.
func aged(t *testing.T, s *store.Store, now time.Time, name string, days int) digest.Digest {
	t.Helper()
	in, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := in.Write(append([]byte(name), bytes.Repeat([]byte{0}, 1000-len(name))...)); err != nil {
		t.Fatal(err)
	}
	d, _, err := in.Commit(name, digest.Digest{}, -1)
	if err != nil {
		t.Fatal(err)
	}
	used(t, s.Path(d), now, days)
	return d
}

func used(t *testing.T, path string, now time.Time, days int) {
	t.Helper()
	then := now.AddDate(0, 0, -days)
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
}

func TestPrune_takesWhatWasNotUsedForTheLongest(t *testing.T) {
	t.Parallel()
	s, err := store.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	oldest := aged(t, s, now, "oldest", 30)
	kept := aged(t, s, now, "kept", 29)
	old := aged(t, s, now, "old", 20)
	fresh := aged(t, s, now, "fresh", 3)
	today := aged(t, s, now, "today", 0)
	key := digest.Of([]byte("a step"))
	if _, _, err := s.PutTree("output", key, func(dir string) (tree.Manifest, error) {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
		b := make([]byte, 1000)
		return tree.Manifest{{Path: "f", Kind: tree.File, Size: 1000, Digest: digest.Of(b)}}, os.WriteFile(filepath.Join(dir, "f"), b, 0o600)
	}); err != nil {
		t.Fatal(err)
	}
	has := func(d digest.Digest) bool { _, ok := s.Has(d); return ok }
	prune := func(limit int64) store.Pruned {
		t.Helper()
		p, err := s.Prune(context.Background(), store.PruneOptions{
			Limit: limit, Rest: 24 * time.Hour, Keep: map[digest.Digest]bool{kept: true}, Now: now,
		})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := prune(1 << 20); p.Freed != 0 || p.Size < 6000 {
		t.Errorf("within the limit: %+v", p)
	}
	size := prune(1 << 20).Size
	if p := prune(size - 1500); p.Freed != 2000 || has(oldest) || has(old) || !has(kept) || !has(fresh) {
		t.Errorf("1500 bytes over the limit: %+v; oldest %v, old %v, kept %v, fresh %v", p, has(oldest), has(old), has(kept), has(fresh))
	}
	if prune(0); has(fresh) || !has(kept) || !has(today) {
		t.Errorf("with no room at all: fresh %v, kept %v, today %v", has(fresh), has(kept), has(today))
	}
	if _, _, ok, err := s.Tree("output", key); !ok || err != nil {
		t.Errorf("a tree of today is gone: %v", err)
	}
	if _, err := s.Prune(context.Background(), store.PruneOptions{Now: now.AddDate(0, 0, 2), Rest: 24 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	if _, _, ok, _ := s.Tree("output", key); ok || has(today) {
		t.Errorf("two days later: today %v, the tree %v", has(today), ok)
	}
}
