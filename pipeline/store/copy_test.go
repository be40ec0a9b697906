package store_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/store"
)

// noise is a file of n bytes of which no two places are alike.
func noise(t testing.TB, n int) (*os.File, []byte) {
	t.Helper()
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // it never fails
	name := filepath.Join(t.TempDir(), "noise")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, b
}

func TestCopy_isWriting(t *testing.T) {
	t.Parallel()
	s, err := store.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	src, b := noise(t, 20<<20)
	want := append([]byte("begin"), b[7:19<<20]...)
	want = append(append(want, "middle"...), b[:0]...)
	want = append(want, b[1<<20:1<<20+3]...)
	for what, create := range map[string]func() (*store.Ingest, error){"hashed": s.Create, "vouched": s.CreateVouched} {
		in, err := create()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		err = errors.Join(write(in, "begin"), in.Copy(src, 7, 19<<20-7), write(in, "middle"), in.Copy(src, 0, 0), in.Copy(src, 1<<20, 3))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		got := make([]byte, in.Size())
		if _, err := in.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes are not the %d that were written, %v", what, len(got), len(want), err)
		}
		if err := in.Copy(src, int64(len(b))-5, 6); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: beyond the end: %v", what, err)
		}
		if err := in.Reset(); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(in.Copy(src, 0, int64(len(b)))); err != nil {
			t.Fatal(err)
		}
		if d, n, err := in.Commit("noise", digest.Of(b), int64(len(b))); err != nil || d != digest.Of(b) || n != int64(len(b)) {
			t.Errorf("%s: stored %s, %d bytes, %v", what, d.Short(), n, err)
		}
	}
	in, err := s.CreateVouched()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, _, err := in.Commit("noise", digest.Digest{}, 0); err == nil {
		t.Error("a file was stored whose digest nobody knows")
	}
}

func write(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}

// BenchmarkCopy copies 64 MiB inside the store's file system, beside reading and writing them.
func BenchmarkCopy(b *testing.B) {
	s, err := store.Open(filepath.Join(b.TempDir(), "store"))
	if err != nil {
		b.Fatal(err)
	}
	const size = 64 << 20
	src, _ := noise(b, size)
	for what, add := range map[string]func(*store.Ingest) error{
		"copy": func(in *store.Ingest) error { return in.Copy(src, 0, size) },
		"write": func(in *store.Ingest) error {
			_, err := io.Copy(in, io.NewSectionReader(src, 0, size))
			return err
		},
	} {
		b.Run(what, func(b *testing.B) {
			in, err := s.CreateVouched()
			if err != nil {
				b.Fatal(err)
			}
			defer in.Close()
			b.SetBytes(size)
			for b.Loop() {
				if err := errors.Join(in.Reset(), add(in)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
