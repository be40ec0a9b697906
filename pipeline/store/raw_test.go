package store

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"
)

func TestPutBytes_keepsTheLatestBytes(t *testing.T) {
	t.Parallel()
	s := open(t)
	if _, ok, err := s.GetBytes("index", "k"); ok || err != nil {
		t.Fatalf("GetBytes of an empty store: %v, %v", ok, err)
	}
	large := make([]byte, 1<<20)
	if _, err := rand.Read(large); err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]byte{[]byte("first"), large, {}, []byte("\nindex/k"), []byte("last\n")} {
		if err := s.PutBytes("index", "k", want); err != nil {
			t.Fatal(err)
		}
		if got, ok, err := s.GetBytes("index", "k"); !ok || err != nil || !bytes.Equal(got, want) {
			t.Errorf("GetBytes = %d bytes, %v, %v; want %d", len(got), ok, err, len(want))
		}
	}
	var v any
	if ok, err := s.GetRef("index", "k", &v); ok || err != nil {
		t.Errorf("GetRef of a raw document: %v, %v", ok, err)
	}
	if left := ingestNames(t, s); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
}

func TestGetBytes_takesADamagedDocumentForAbsent(t *testing.T) {
	t.Parallel()
	s := open(t)
	at := func(key string) string { return filepath.Join(s.dir, "refs", "index", key+".bin") }
	if err := s.PutBytes("index", "zk", []byte("some bytes")); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(at("zk"))
	if err != nil {
		t.Fatal(err)
	}
	absent := func(key, what string, b []byte) {
		t.Helper()
		if err := os.WriteFile(at(key), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, ok, err := s.GetBytes("index", key); ok || err != nil {
			t.Errorf("%s: %q, %v, %v", what, got, ok, err)
		}
	}
	for i := range whole {
		absent("zk", "cut", whole[:i])
		flipped := bytes.Clone(whole)
		flipped[i] ^= 1 << (i % 8)
		absent("zk", "flipped", flipped)
	}
	absent("zk", "longer", append(bytes.Clone(whole), 0))
	absent("k", "under another name", whole)
	absent("zkk", "under a longer name", whole)
	if err := os.Remove(at("zk")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(at("zk"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.GetBytes("index", "zk"); ok || err != nil {
		t.Errorf("a directory in its place: %v, %v", ok, err)
	}
}
