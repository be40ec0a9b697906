package archive_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/slugfile/slugfile/pipeline/archive"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/slug"
	"github.com/slugfile/slugfile/pipeline/store"
)

// refs is where the store of b keeps its documents.
func (b *bench) refs() string {
	return filepath.Join(filepath.Dir(filepath.Dir(filepath.Dir(b.Store.Path(key)))), "refs")
}

// damaged is a bench with one slug in its store, of a tree that changed since then, early,
// late, or not at all.
func damaged(t *testing.T, change string) (*bench, artifact.Slug) {
	t.Helper()
	random := newRandom(t, 200)
	b := newBench(t, projectOf(t, random, 25, 700_000))
	b.step.Level = slug.LevelFast
	old, err := b.run(t, b.scan(t))
	must(t, err)
	switch change {
	case "early":
		save(t, b.dir+"/lib/0/f00.js", []byte("changed"))
	case "late":
		save(t, b.dir+"/web.js", []byte("changed"))
	}
	return b, old
}

// alter rewrites a stored file in place.
func alter(t testing.TB, name string, how func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(name)
	must(t, err)
	must(t, os.Chmod(name, 0o600), os.WriteFile(name, how(b), 0o600), os.Chmod(name, 0o444))
}

func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		b[(at+len(b))%len(b)] ^= 0x10
		return b
	}
}

// warned holds that the last run warned n times, and that the next one does not.
func (b *bench) warned(t testing.TB, n int) {
	t.Helper()
	if w := b.warnings(); len(w) != n || n > 0 && !strings.Contains(w[0], "nothing is taken from the earlier slug ") {
		t.Errorf("%d warnings, want %d: %q", len(w), n, w)
	}
	_, err := b.run(t, b.scan(t))
	must(t, err)
	if w := b.warnings(); len(w) > 0 {
		t.Errorf("the next run warns: %q", w)
	}
}

// What is wrong with an earlier slug or with what is remembered of it is said once, and the
// slug is right.
func TestRun_saysWhatIsDamagedAndMakesItRight(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		do       func(t *testing.T, b *bench, old artifact.Slug)
		warnings int
	}{
		"the first byte":               {func(t *testing.T, _ *bench, old artifact.Slug) { alter(t, old.Path, flip(0)) }, 1},
		"a byte of the first segment":  {func(t *testing.T, _ *bench, old artifact.Slug) { alter(t, old.Path, flip(5000)) }, 1},
		"a byte of a later segment":    {func(t *testing.T, _ *bench, old artifact.Slug) { alter(t, old.Path, flip(-5000)) }, 1},
		"a byte of the sum at the end": {func(t *testing.T, _ *bench, old artifact.Slug) { alter(t, old.Path, flip(-6)) }, 1},
		"the last byte":                {func(t *testing.T, _ *bench, old artifact.Slug) { alter(t, old.Path, flip(-1)) }, 1},
		"cut in half":                  {func(t *testing.T, _ *bench, old artifact.Slug) { must(t, os.Truncate(old.Path, old.Size/2)) }, 1},
		"cut by a byte":                {func(t *testing.T, _ *bench, old artifact.Slug) { must(t, os.Truncate(old.Path, old.Size-1)) }, 1},
		"empty":                        {func(t *testing.T, _ *bench, old artifact.Slug) { must(t, os.Truncate(old.Path, 0)) }, 1},
		"a byte more": {func(t *testing.T, _ *bench, old artifact.Slug) {
			alter(t, old.Path, func(b []byte) []byte { return append(b, 0) })
		}, 1},
		"a directory": {func(t *testing.T, _ *bench, old artifact.Slug) {
			must(t, os.Remove(old.Path), os.Mkdir(old.Path, 0o700))
		}, 1},
		"a link to nothing": {func(t *testing.T, _ *bench, old artifact.Slug) {
			must(t, os.Remove(old.Path), os.Symlink("nowhere", old.Path))
		}, 1},
		"a link to its bytes": {func(t *testing.T, _ *bench, old artifact.Slug) {
			must(t, os.Rename(old.Path, old.Path+"x"), os.Symlink(old.Path+"x", old.Path))
		}, 1},
		"gone": {func(t *testing.T, _ *bench, old artifact.Slug) { must(t, os.Remove(old.Path)) }, 0},
		"another time, and no damage": {func(t *testing.T, _ *bench, old artifact.Slug) {
			alter(t, old.Path, func(b []byte) []byte { return b })
		}, 0},
		"cut, and believed": {func(t *testing.T, b *bench, old artifact.Slug) {
			must(t, os.Truncate(old.Path, old.Size/2), archive.Forge(b.Store, old.Digest))
		}, 1},
		"a byte of its end, believed": {func(t *testing.T, b *bench, old artifact.Slug) {
			alter(t, old.Path, flip(-3))
			must(t, archive.Forge(b.Store, old.Digest))
		}, 1},
		"the index gone":      {func(t *testing.T, b *bench, old artifact.Slug) { must(t, os.RemoveAll(b.refs()+"/segments")) }, 1},
		"a byte of the index": {func(t *testing.T, b *bench, old artifact.Slug) { alter(t, b.index(old), flip(100)) }, 1},
		"the index cut":       {func(t *testing.T, b *bench, old artifact.Slug) { must(t, os.Truncate(b.index(old), 300)) }, 1},
		"the index of another version": {func(t *testing.T, b *bench, old artifact.Slug) {
			b.reindex(t, old, func(x []byte) []byte { return bytes.Replace(x, []byte("segments 1"), []byte("segments 9"), 1) })
		}, 1},
		"the index of another slug": {func(t *testing.T, b *bench, old artifact.Slug) {
			b.reindex(t, old, func([]byte) []byte { return otherIndex(t) })
		}, 1},
		"half an index": {func(t *testing.T, b *bench, old artifact.Slug) {
			b.reindex(t, old, func(x []byte) []byte { return x[:len(x)/2] })
		}, 1},
		"an index of nothing":         {func(t *testing.T, b *bench, old artifact.Slug) { b.reindex(t, old, func([]byte) []byte { return nil }) }, 1},
		"the list of slugs gone":      {func(t *testing.T, b *bench, _ artifact.Slug) { must(t, os.RemoveAll(b.refs()+"/archive")) }, 0},
		"a byte of the list of slugs": {func(t *testing.T, b *bench, _ artifact.Slug) { alter(t, b.refs()+"/archive/recent.json", flip(20)) }, 0},
		"the list names no slug": {func(t *testing.T, b *bench, _ artifact.Slug) {
			must(t, b.Store.PutRef("archive", "recent", map[string]any{"slugs": []any{}}))
		}, 0},
		"the list names one never made": {func(t *testing.T, b *bench, _ artifact.Slug) {
			must(t, b.Store.PutRef("archive", "recent", map[string]any{"slugs": []any{map[string]any{"slug": key}}}))
		}, 0},
	} {
		if raceDetector && len(what)%4 != 0 {
			continue
		}
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			changes := []string{"nothing", "early", "late"}
			if !long {
				i := len(what) % 3 // any, but the same in every run
				changes = changes[i : i+1]
			}
			for _, change := range changes {
				b, old := damaged(t, change)
				c.do(t, b, old)
				in := b.scan(t)
				got := b.sameAsCold(t, in)
				b.warned(t, c.warnings)
				f, err := b.Store.Open(got.Digest)
				if err != nil {
					t.Fatalf("%s changed: it cannot be released: %v", change, err)
				}
				f.Close()
			}
		})
	}
}

// index is the file of a slug's index.
func (b *bench) index(of artifact.Slug) string {
	return filepath.Join(b.refs(), "segments", of.Digest.String()+".bin")
}

// reindex stores another index for a slug, as if it were right.
func (b *bench) reindex(t testing.TB, of artifact.Slug, how func([]byte) []byte) {
	t.Helper()
	x, ok, err := b.Store.GetBytes("segments", of.Digest.String())
	if err != nil || !ok {
		t.Fatalf("there is no index: %v", err)
	}
	must(t, b.Store.PutBytes("segments", of.Digest.String(), how(slices.Clone(x))))
}

// otherIndex is that of a slug of some other tree.
func otherIndex(t testing.TB) []byte {
	t.Helper()
	other := newBench(t, t.TempDir())
	save(t, other.dir+"/file", []byte("content"))
	_, _, x := other.made(t, other.scan(t))
	return x
}

// Damage that the stamp does not show, anywhere: behind the first change it is said at once, in
// front of it the store refuses the slug, before anybody can release it. In both cases a
// run that takes nothing from earlier slugs makes it right.
func TestRun_believedDamageIsNeverReleased(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("without an inode's times no stamp is believed")
	}
	for _, change := range []string{"nothing", "early", "late"} {
		t.Run(change, func(t *testing.T) {
			t.Parallel()
			b, old := damaged(t, change)
			in := b.scan(t)
			_, want, _ := b.cold(t).made(t, in)
			pristine, err := os.ReadFile(old.Path)
			must(t, err)
			list, err := os.ReadFile(b.refs() + "/archive/recent.json")
			must(t, err)
			seen := map[string]int{}
			for n := range rounds(8) {
				at := n * (len(pristine) - 1) / (rounds(8) - 1)
				alter(t, old.Path, func([]byte) []byte { return flip(at)(slices.Clone(pristine)) })
				must(t, os.WriteFile(b.refs()+"/archive/recent.json", list, 0o600), archive.Forge(b.Store, old.Digest))
				got, err := b.run(t, in)
				must(t, err)
				if len(b.warnings()) > 1 {
					t.Errorf("byte %d: it warns %q", at, b.warnings())
				}
				f, err := b.Store.Open(got.Digest)
				switch {
				case err == nil:
					f.Close()
					if got.Digest != digest.Of(want) {
						t.Fatalf("byte %d: a wrong slug would be released", at)
					}
					seen[fmt.Sprint("right, warnings ", len(b.warnings()))]++
				case !errors.Is(err, store.ErrNotFound):
					t.Fatal(err)
				default:
					seen["refused"]++
					b.Cold = true
					b.sameAsCold(t, in)
					b.Cold = false
				}
				must(t, os.RemoveAll(old.Path), os.WriteFile(old.Path, pristine, 0o444))
			}
			t.Log(seen)
			most := map[string]string{"nothing": "refused", "early": "right, warnings 1", "late": "refused"}[change]
			if seen[most] == 0 && !raceDetector { // there, too few are looked at
				t.Errorf("no damage is %s", most)
			}
		})
	}
}
