package slug_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/slug"
)

// copier takes parts of files as a store does, and counts what it took.
type copier struct {
	bytes.Buffer
	copied int64
}

func (c *copier) Copy(src *os.File, off, n int64) error {
	c.copied += n
	got, err := io.Copy(&c.Buffer, io.NewSectionReader(src, off, n))
	if err == nil && got < n {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// archived is a slug in a file, with its index, as the next run finds it.
func archived(t rapid.TB, dir string, b []byte, x *slug.Index) slug.Cached {
	t.Helper()
	name := filepath.Join(dir, x.Slug.String())
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	read, err := slug.ParseIndex(text)
	if err != nil {
		t.Fatal(err)
	}
	return slug.Cached{Index: read, File: f}
}

// content is text that compresses about as code does.
func content(random *rand.Rand, n int) []byte {
	words := []string{"return ", "function", " = ", "value", "(x)", ";\n", "    ", "module", "exports", "//"}
	var b []byte
	for len(b) < n {
		b = append(b, words[random.IntN(len(words))]...)
		if random.IntN(4) == 0 {
			b = fmt.Append(b, random.Uint32())
		}
	}
	return b[:n]
}

func file(path string, b []byte, layer artifact.Layer) artifact.Member {
	return inline(path, string(b), layer)
}

// Whatever was packed before, the bytes are those of a cold run, and the digest is theirs.
func TestWrite_warmIsCold(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		level := rapid.SampledFrom([]string{slug.LevelDefault, slug.LevelFast}).Draw(t, "level")
		dir, err := os.MkdirTemp("", "slug")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		var ms []artifact.Member
		for i := range rapid.IntRange(1, 30).Draw(t, "files") {
			size := random.IntN(16_000)
			if random.IntN(60) == 0 {
				size = random.IntN(1_300_000)
			}
			ms = append(ms, file(fmt.Sprintf("d%d/f%02d", i%5, i), content(random, size), artifact.Layer(i%3)))
		}
		var cache []slug.Cached
		for step := range 2 {
			if step > 0 {
				for range rapid.IntRange(0, 3).Draw(t, "edits") {
					ms = edit(random, ms)
				}
			}
			o := slug.Options{Level: level, Epoch: epoch, Workers: rapid.IntRange(1, 8).Draw(t, "workers")}
			cold := &bytes.Buffer{}
			want, err := slug.Write(context.Background(), cold, ms, o)
			if err != nil {
				t.Fatal(err)
			}
			o.Cache = cache
			draft, err := slug.New(ms, o)
			if err != nil {
				t.Fatal(err)
			}
			if same, ok := draft.Same(); ok && same.Index.Slug != want.Digest {
				t.Fatalf("step %d: said to be slug %s, is %s", step, same.Index.Slug, want.Digest)
			}
			warm := &copier{}
			got, err := draft.Write(context.Background(), warm)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(cold.Bytes(), warm.Bytes()) {
				t.Fatalf("step %d: %d bytes cold, %d warm, and not the same", step, cold.Len(), warm.Len())
			}
			if got.Digest != want.Digest || got.Digest != digest.Of(warm.Bytes()) || got.Size != int64(warm.Len()) || got.TarSize != want.TarSize {
				t.Fatalf("step %d: result is %+v, want %+v", step, got, want)
			}
			newest := archived(t, dir, warm.Bytes(), got.Index)
			defer newest.File.Close()
			cache = append([]slug.Cached{newest}, cache...)
			cache = cache[:min(len(cache), 2)]
		}
	})
}

// edit changes one thing.
func edit(random *rand.Rand, ms []artifact.Member) []artifact.Member {
	ms = slices.Clone(ms)
	i := random.IntN(len(ms))
	m := ms[i]
	old := m.Part
	change := func(b []byte) { ms[i] = file(m.Path, b, m.Layer) }
	switch b := old.Content; random.IntN(7) {
	case 0:
		change(append(slices.Clone(b), content(random, 1+random.IntN(3000))...))
	case 1:
		change(b[:len(b)/2])
	case 2:
		at := random.IntN(len(b) + 1)
		change(slices.Concat(b[:at], content(random, 10), b[at:]))
	case 3:
		if len(ms) > 1 {
			return slices.Delete(ms, i, i+1)
		}
	case 4:
		return append(ms, file(fmt.Sprintf("d%d/n%d", random.IntN(5), random.Uint32()), content(random, random.IntN(90_000)), artifact.Layer(random.IntN(3))))
	case 5:
		ms[i].Path += "x"
	case 6:
		ms[i].Exec = !m.Exec
	}
	return ms
}

// many is a tree of n files with a long one among them.
func many(n int) []artifact.Member {
	random := rand.New(rand.NewPCG(7, 7))
	var ms []artifact.Member
	for i := range n {
		ms = append(ms, file(fmt.Sprintf("lib/%04d.js", i), content(random, 4_000), artifact.LayerSource))
	}
	ms[n/2] = file(ms[n/2].Path, content(random, 3_000_000), artifact.LayerSource)
	return ms
}

// packed writes a slug and returns it as the next run finds it.
func packed(t testing.TB, ms []artifact.Member) ([]byte, slug.Cached) {
	t.Helper()
	var b bytes.Buffer
	r, err := slug.Write(context.Background(), &b, ms, slug.Options{Epoch: epoch})
	if err != nil {
		t.Fatal(err)
	}
	c := archived(t, t.TempDir(), b.Bytes(), r.Index)
	t.Cleanup(func() { c.File.Close() })
	return b.Bytes(), c
}

func TestWrite_takesOverWhatDidNotChange(t *testing.T) {
	t.Parallel()
	ms := many(600)
	_, before := packed(t, ms)
	for _, c := range []struct {
		what string
		at   int
	}{{"early", 2}, {"late", 597}, {"the long file", 300}} {
		now := slices.Clone(ms)
		b := slices.Clone(now[c.at].Content)
		b[len(b)/2] ^= 1
		now[c.at] = file(now[c.at].Path, b, artifact.LayerSource)
		draft, err := slug.New(now, slug.Options{Epoch: epoch, Cache: []slug.Cached{before}})
		if err != nil {
			t.Fatal(err)
		}
		if _, same := draft.Same(); same {
			t.Errorf("%s: the change is not seen", c.what)
		}
		out := &copier{}
		r, err := draft.Write(context.Background(), out)
		if err != nil {
			t.Fatal(err)
		}
		// Two segments at most are new: the one that changed, and the next, whose window did.
		if fresh := r.Size - out.copied; fresh > 2*r.Size/5 {
			t.Errorf("%s: %d of %d bytes are new", c.what, fresh, r.Size)
		}
	}
}

func TestSame_isTheSlugOfTheSameMembers(t *testing.T) {
	t.Parallel()
	ms := many(50)
	b, before := packed(t, ms)
	draft, err := slug.New(ms, slug.Options{Epoch: epoch, Cache: []slug.Cached{before}})
	if err != nil {
		t.Fatal(err)
	}
	same, ok := draft.Same()
	if !ok || same.Index.Slug != digest.Of(b) {
		t.Errorf("same is %v", ok)
	}
	for what, o := range map[string]slug.Options{"epoch": {Epoch: epoch + 1}, "level": {Epoch: epoch, Level: slug.LevelFast}} {
		o.Cache = []slug.Cached{before}
		draft, err := slug.New(ms, o)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := draft.Same(); ok {
			t.Errorf("another %s is not seen", what)
		}
	}
}
