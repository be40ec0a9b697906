package fetch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/disk"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/failpoint"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/tree"
	"github.com/slugfile/slugfile/pipeline/unpack"
)

// packed takes the pack of a runtime from the store. Its files are not read: whoever reads
// them checks their digests, and Mend helps. One that is not whole is removed.
func (t *task) packed(r plan.Runtime, out *artifact.Runtime) (bool, error) {
	dir, m, ok, err := t.s.Store.Tree(packKind, r.TreeKey())
	if err != nil || !ok {
		return false, err
	}
	if err := t.openPack(dir, m, r, out); err != nil {
		t.damaged("pack")
		return false, t.s.Store.RemoveTree(packKind, r.TreeKey())
	}
	return true, nil
}

func (t *task) openPack(dir string, m tree.Manifest, r plan.Runtime, out *artifact.Runtime) error {
	path := filepath.Join(dir, packName)
	f, err := tree.Open(path)
	if err != nil {
		return err
	}
	offsets, err := unpack.Offsets(f, m)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	out.Pack, out.Offsets, out.Tree = path, offsets, m
	t.s.remember(path, r, false)
	return nil
}

// pack makes the pack of a runtime from its archive.
func (t *task) pack(ctx context.Context, archive *os.File, r plan.Runtime, out *artifact.Runtime) error {
	dir, m, err := t.s.Store.PutTree(packKind, r.TreeKey(), func(dir string) (m tree.Manifest, err error) {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
		f, err := os.OpenFile(filepath.Join(dir, packName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		m, _, err = unpack.Pack(ctx, archive, &flowing{f: f}, unpack.Options{Name: t.name, Strip: r.Strip})
		return m, err
	})
	if err != nil {
		return err
	}
	failpoint.Hit("fetch.packed")
	if err := t.openPack(dir, m, r, out); err != nil {
		return fmt.Errorf("%s: %w", t.subject(), err)
	}
	return nil
}

// flowing hands a large file to the device while it is written: the flush before it appears
// waits for what is left.
type flowing struct {
	f           *os.File
	size, begun int64
}

func (w *flowing) Write(p []byte) (int, error) {
	const step = 8 << 20
	n, err := w.f.Write(p)
	if w.size += int64(n); w.size-w.begun >= step {
		disk.BeginSync(w.f, w.begun, w.size-w.begun)
		w.begun = w.size
	}
	return n, err
}

func (t *task) damaged(what string) {
	t.emit(event.Warning{
		Stage: event.Fetch, Subject: t.name,
		Message: "its " + what + " was damaged in the store, was removed, and is made again",
	})
}

// remember notes where a runtime is, and in which form.
func (s *Stage) remember(path string, r plan.Runtime, unpacked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made == nil {
		s.made = map[string]plan.Runtime{}
	}
	r.Unpack = unpacked
	s.made[path] = r
}

// at is the runtime that a file belongs to, as artifact.Member.From names it.
func (s *Stage) at(path string) (plan.Runtime, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, r := range s.made {
		if !r.Unpack && path == at || r.Unpack && strings.HasPrefix(path, at+"/") {
			return r, true
		}
	}
	return plan.Runtime{}, false
}

// Mend makes a runtime anew, in its place in the store, when the file at path turned out to
// have other bytes than it should. It reports false for a file that belongs to no runtime of
// Run. What Run has returned holds on: it depends on the archive alone.
func (s *Stage) Mend(ctx context.Context, path string) (bool, error) {
	r, ok := s.at(path)
	if !ok {
		return false, nil
	}
	kind, word := packKind, "pack"
	if r.Unpack {
		kind, word = treeKind, "tree"
	}
	o := s.Options.withDefaults()
	c := newClient(s.Mirrors, o)
	defer c.close()
	t := &task{s: s, name: r.Name}
	t.damaged(word)
	if err := s.Store.RemoveTree(kind, r.TreeKey()); err != nil {
		return true, fmt.Errorf("%s: %w", t.subject(), err)
	}
	_, err := s.fetch(ctx, ctx, o, c, r)
	return true, err
}
