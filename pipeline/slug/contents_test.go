package slug_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/slug"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// noise cannot be compressed.
func noise(seed uint64, n int) string {
	r := rand.NewChaCha8([32]byte{byte(seed)})
	b := make([]byte, n)
	_, _ = r.Read(b) // it never fails
	return string(b)
}

func packedOf(t testing.TB, c slug.Contents, name string) int64 {
	t.Helper()
	for i, e := range c.Tree {
		if e.Path == name {
			return c.Packed[i]
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}

func TestExamine_measuresWhatEachFileTakes(t *testing.T) {
	t.Parallel()
	b := pipetest.PlainSlug(t, gzip.DefaultCompression,
		"far/a", noise(1, 300_000),
		"zeros", strings.Repeat("\x00", 3_000_000),
		"far/b", noise(1, 300_000), // gzip has forgotten the first one
		"near", strings.Repeat(noise(2, 10_000), 30), // and sees each of these in the one before
		"hard", "=> far/a",
	)
	c, err := slug.Examine(t.Context(), bytes.NewReader(b), slug.ExamineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, n := range c.Packed {
		if n < 0 {
			t.Errorf("%d bytes", n)
		}
		sum += n
	}
	if size := int64(len(b)); sum > size || sum < size-2000 { // the end of the stream belongs to no file
		t.Errorf("all files together take %d of %d bytes", sum, size)
	}
	// A file and the next one share what the window takes that both lie in.
	const window = 33_000
	for name, want := range map[string][2]int64{
		"far/a": {300_000 - window, 300_000 + window}, "far/b": {300_000 - window, 300_000 + window},
		"zeros": {1000, 2 * window}, "near": {5000, 10_000 + window}, "hard": {0, 1000}, "far": {0, 0},
	} {
		if n := packedOf(t, c, name); n < want[0] || n > want[1] {
			t.Errorf("%s takes %d bytes, not %d to %d", name, n, want[0], want[1])
		}
	}
	if !c.Hard["hard"] || c.Hard["far/a"] {
		t.Errorf("hard links: %v", c.Hard)
	}
	if e, ok := c.Tree.Find("far"); !ok || e.Kind != tree.Dir {
		t.Error("a directory without an entry of its own is missing")
	}
}

// What a directory takes is what the slug is smaller by without it.
func TestExamine_measuresWhatWouldBeSaved(t *testing.T) {
	t.Parallel()
	var all []string
	for d := range 5 {
		for f := range 80 {
			text := fmt.Sprintf("%x", noise(uint64(d*100+f), 200+50*d+f))
			all = append(all, fmt.Sprintf("d%d/f%d.js", d, f), strings.Repeat("function call() { return this }\n", 10+d*5)+text)
		}
	}
	whole := pipetest.PlainSlug(t, gzip.DefaultCompression, all...)
	c, err := slug.Examine(t.Context(), bytes.NewReader(whole), slug.ExamineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for d := range 5 {
		var said int64
		for i, end := c.Tree.Below(fmt.Sprintf("d%d", d)); i < end; i++ {
			said += c.Packed[i]
		}
		without := append(append([]string{}, all[:d*160]...), all[(d+1)*160:]...)
		saved := int64(len(whole) - len(pipetest.PlainSlug(t, gzip.DefaultCompression, without...)))
		if off := said - saved; max(off, -off)*100 > saved*8 {
			t.Errorf("d%d is said to take %d bytes; without it the slug is smaller by %d", d, said, saved)
		}
	}
}

// seen collects what it is shown.
type seen struct {
	t     *testing.T
	wants func(name string, elf bool) bool
	files map[string]string
}

func (s *seen) Wants(name string, _ int64, elf bool) bool { return s.wants(name, elf) }

func (s *seen) See(name string, size int64, r io.ReaderAt) {
	b := make([]byte, size)
	if _, err := r.ReadAt(b, 0); err != nil && size > 0 {
		s.t.Errorf("%s: %v", name, err)
	}
	s.files[name] = string(b)
}

func TestExamine_showsWholeFilesToWhoWantsThem(t *testing.T) {
	t.Parallel()
	elf := "\x7fELF" + noise(3, 100)
	files := []string{
		"small", "text", "empty", "", "middle", noise(4, 200_000), "elf", elf,
		"large", strings.Repeat(noise(5, 1<<16), 270), "large2", strings.Repeat(noise(6, 1<<16), 260)[5:], "unwanted", noise(7, 200_000),
	}
	s := &seen{t: t, files: map[string]string{}, wants: func(name string, elf bool) bool { return elf || name != "unwanted" }}
	dir, packed := t.TempDir(), pipetest.PlainSlug(t, gzip.NoCompression, files...)
	if _, err := slug.Examine(t.Context(), bytes.NewReader(packed), slug.ExamineOptions{Scratch: dir, Looks: []slug.Look{s}}); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(files); i += 2 {
		got, ok := s.files[files[i]]
		if want := files[i] != "unwanted"; ok != want || ok && got != files[i+1] {
			t.Errorf("%s: shown %v, %d bytes of %d", files[i], ok, len(got), len(files[i+1]))
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
	gone := slug.ExamineOptions{Scratch: filepath.Join(dir, "none"), Looks: []slug.Look{s}}
	if _, err := slug.Examine(t.Context(), bytes.NewReader(packed), gone); err == nil {
		t.Error("there is no such directory")
	}
}

func TestRead_saysThatBytesAreDamaged(t *testing.T) {
	t.Parallel()
	var files []string
	for i := range 40 {
		files = append(files, strings.Repeat("x", i+1), fmt.Sprintf("%x", noise(uint64(i), 2000+i)))
	}
	whole := pipetest.PlainSlug(t, gzip.DefaultCompression, files...)
	told := 0
	for at := 20; at < len(whole)-8; at += 1499 {
		b := bytes.Clone(whole)
		b[at] ^= 0x55
		_, err := slug.Manifest(bytes.NewReader(b))
		if err == nil {
			t.Fatalf("a slug with a flipped byte at %d is accepted", at)
		}
		if strings.Contains(err.Error(), "invalid tar header") {
			t.Errorf("at %d: %v", at, err)
		}
		if strings.Contains(err.Error(), "the bytes are damaged: ") {
			told++
		}
	}
	if told == 0 {
		t.Error("nothing was said of damage")
	}
}
