package unpack_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/slugfile/slugfile/pipeline/tree"
	"github.com/slugfile/slugfile/pipeline/unpack"
)

func FuzzExtractTar(f *testing.F) {
	for _, c := range evil(f) {
		if len(c.archive) < 64<<10 && !bytes.HasPrefix(c.archive, []byte("PK")) {
			f.Add(c.archive, c.o.Strip, c.o.Slug)
		}
	}
	f.Add(sample, 1, false)
	f.Add(gz(sample), 0, false)
	f.Add(xzOf(f, sample), 0, false)
	f.Add(zstOf(f, sample), 0, false)
	f.Fuzz(fuzzExtract)
}

func FuzzExtractZip(f *testing.F) {
	for _, c := range evil(f) {
		if len(c.archive) < 64<<10 && bytes.HasPrefix(c.archive, []byte("PK")) {
			f.Add(c.archive, c.o.Strip, c.o.Slug)
		}
	}
	f.Add(zipOf(zipEntry{name: "a/b", body: "text", method: 8}, zipEntry{name: "a/c"}), 1, false)
	f.Fuzz(func(t *testing.T, archive []byte, strip int, slug bool) {
		if !bytes.HasPrefix(archive, []byte("PK")) {
			archive = append([]byte("PK\x03\x04"), archive...)
		}
		fuzzExtract(t, archive, strip, slug)
	})
}

// fuzzExtract holds for any bytes: nothing outside changes, an error leaves nothing, and
// what is accepted is on the disk as the manifest says.
func fuzzExtract(t *testing.T, archive []byte, strip int, slug bool) {
	base := t.TempDir()
	canary := filepath.Join(base, "canary")
	if err := os.WriteFile(canary, []byte("canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, canary)
	dest, m, err := extractIn(t, base, archive, unpack.Options{Strip: max(0, strip%4), Slug: slug, MaxBytes: 1 << 20, MaxEntries: 500, Volatile: true})
	if snapshot(t, canary) != before {
		t.Fatal("the canary was changed")
	}
	if err != nil {
		if left, err := os.ReadDir(base); err != nil || len(left) != 2 {
			t.Fatalf("left behind: %v %v", left, err)
		}
		return
	}
	found, err := tree.Scan(t.Context(), dest, tree.ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if found.Digest() != m.Digest() {
		t.Fatalf("manifest %v, on the disk %v", m, found)
	}
}
