package unpack_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/slugfile/slugfile/pipeline/unpack"
)

// BenchmarkPack compares a pack with a directory. BENCH_ARCHIVE may name a real runtime, whose
// files are of every size.
func BenchmarkPack(b *testing.B) {
	archive := os.Getenv("BENCH_ARCHIVE")
	if archive == "" {
		archive = filepath.Join(b.TempDir(), "archive")
		if err := os.WriteFile(archive, gz(tarOf(manyFiles(5000)...)), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	f, err := os.Open(archive)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	b.Run("pack", func(b *testing.B) {
		for b.Loop() {
			out, err := os.Create(filepath.Join(b.TempDir(), "pack"))
			if err != nil {
				b.Fatal(err)
			}
			m, _, err := unpack.Pack(b.Context(), f, out, unpack.Options{})
			if err != nil {
				b.Fatal(err)
			}
			if err := out.Close(); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(m.Size())
		}
	})
	b.Run("directory", func(b *testing.B) {
		for b.Loop() {
			m, err := unpack.Extract(b.Context(), f, filepath.Join(b.TempDir(), "dest"), unpack.Options{Volatile: true})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(m.Size())
		}
	})
}
