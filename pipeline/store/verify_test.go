package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// knownTree is a stored tree whose files have been at rest, and were verified since.
func knownTree(t *testing.T, s *Store, key digest.Digest) (dir string) {
	t.Helper()
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("this system does not tell when an inode changed")
	}
	files := map[string]string{}
	for i := range 64 { // enough that remembering them pays
		files[fmt.Sprintf("d/f%02d", i)] = fmt.Sprintf("%02d", i)
	}
	dir, _, err := s.PutTree("output", key, fillWith(files))
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2100 * time.Millisecond) // what is younger is not known by its inode
	verified(t, s, key, true)
	return dir
}

func verified(t *testing.T, s *Store, key digest.Digest, want bool) {
	t.Helper()
	if _, m, ok, err := s.VerifyTree(context.Background(), "output", key); ok != want || err != nil || ok && len(m) == 0 {
		t.Fatalf("VerifyTree: %d entries, %v, %v; want %v", len(m), ok, err, want)
	}
}

func TestVerifyTree_readsNoFileThatIsKnown(t *testing.T) {
	t.Parallel()
	s, key := open(t), digest.Of([]byte("key"))
	at := filepath.Join(filepath.Dir(knownTree(t, s, key)), "index.bin")
	name := treeName("output", key) + " index"
	b, ok, err := readRaw(at, name)
	if err != nil || !ok {
		t.Fatalf("nothing was remembered: %v", err)
	}
	verified(t, s, key, true)
	// Whether the files were read shows when what is remembered of one is a lie, well sealed.
	right, wrong := digest.Of([]byte("07")), digest.Of([]byte("lie"))
	lie := bytes.Replace(b, right[:], wrong[:], 1)
	if err := errors.Join(os.Remove(at), s.writeRaw(at, name, lie)); err != nil {
		t.Fatal(err)
	}
	verified(t, s, key, false)
}

func TestVerifyTree_findsChangesOfKnownFiles(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(dir, file string) error{
		"content with the old times": func(_, file string) error {
			fi, err := os.Stat(file)
			if err != nil {
				return err
			}
			return errors.Join(os.WriteFile(file, []byte("xx"), 0o644), os.Chtimes(file, fi.ModTime(), fi.ModTime()))
		},
		"a new file":  func(dir, _ string) error { return os.WriteFile(filepath.Join(dir, "d/new"), nil, 0o644) },
		"a lost file": func(_, file string) error { return os.Remove(file) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, key := open(t), digest.Of([]byte("key"))
			dir := knownTree(t, s, key)
			if err := change(dir, filepath.Join(dir, "d/f07")); err != nil {
				t.Fatal(err)
			}
			verified(t, s, key, false)
		})
	}
}

func TestVerifyTree_doesWithoutWhatItRemembers(t *testing.T) {
	t.Parallel()
	s, key := open(t), digest.Of([]byte("key"))
	dir := knownTree(t, s, key)
	at := filepath.Join(filepath.Dir(dir), "index.bin")
	whole, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(whole); i += 397 {
		b := bytes.Clone(whole)
		b[i] ^= 1
		overwrite(t, at, b)
		verified(t, s, key, true)
	}
	// Something that cannot be replaced stands there, as nothing can in a read-only cache.
	if err := errors.Join(os.Remove(at), os.MkdirAll(filepath.Join(at, "x"), 0o700)); err != nil {
		t.Fatal(err)
	}
	verified(t, s, key, true)
	if left := ingestNames(t, s); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
}

func BenchmarkVerifyTree(b *testing.B) {
	s, err := Open(filepath.Join(b.TempDir(), "cache"))
	if err != nil {
		b.Fatal(err)
	}
	files := map[string]string{}
	for i := range 20000 {
		files[fmt.Sprintf("p%d/lib/f%d.js", i%400, i)] = fmt.Sprint(i)
	}
	key := digest.Of([]byte("key"))
	if _, _, err := s.PutTree("output", key, fillWith(files)); err != nil {
		b.Fatal(err)
	}
	time.Sleep(2100 * time.Millisecond)
	var m tree.Manifest
	for range 2 { // the first one remembers
		if _, m, _, err = s.VerifyTree(context.Background(), "output", key); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, _, ok, err := s.VerifyTree(context.Background(), "output", key); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(m)), "ns/entry")
}
