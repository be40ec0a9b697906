package fetch_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/fetch"
	"github.com/slugfile/slugfile/pipeline/plan"
)

// warnings are the messages of a run.
func (r *recorder) warnings() (list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if w, ok := e.(event.Warning); ok {
			list = append(list, w.Message)
		}
	}
	r.events = nil
	return list
}

const packDamaged = "its pack was damaged in the store, was removed, and is made again"

// change opens a stored file to whoever damages it.
func change(t *testing.T, name string, do func(f *os.File) error) {
	t.Helper()
	if err := os.Chmod(name, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := do(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func size(t *testing.T, name string) int64 {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func TestRun_makesAPackAnewThatIsNotWhole(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(t *testing.T, pack string){
		"removed": func(t *testing.T, pack string) {
			if err := os.Remove(pack); err != nil {
				t.Fatal(err)
			}
		},
		"cut": func(t *testing.T, pack string) {
			change(t, pack, func(f *os.File) error { return f.Truncate(size(t, pack) - 100) })
		},
		"empty": func(t *testing.T, pack string) {
			change(t, pack, func(f *os.File) error { return f.Truncate(0) })
		},
		"longer": func(t *testing.T, pack string) {
			change(t, pack, func(f *os.File) error { return f.Truncate(size(t, pack) + 8) })
		},
		"another offset": func(t *testing.T, pack string) {
			change(t, pack, func(f *os.File) error {
				_, err := f.WriteAt([]byte{1}, size(t, pack)-digest.Size-4)
				return err
			})
		},
		"another format": func(t *testing.T, pack string) {
			change(t, pack, func(f *os.File) error {
				_, err := f.WriteAt([]byte("9"), int64(len("slugfile pack ")))
				return err
			})
		},
		"a link": func(t *testing.T, pack string) {
			other := filepath.Join(t.TempDir(), "pack")
			if err := os.Rename(pack, other); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(other, pack); err != nil {
				t.Skip(err)
			}
		},
		"a directory": func(t *testing.T, pack string) {
			if err := os.Remove(pack); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(pack, 0o700); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, 1000)
			first := b.mustRun(t, b.runtime())[0]
			damage(t, first.Pack)
			second := b.mustRun(t, b.runtime())[0]
			if d := cmp.Diff(first, second); d != "" {
				t.Errorf("-before the damage +after it:\n%s", d)
			}
			if text := read(t, second, "bin/node"); text != program {
				t.Errorf("got %q", text)
			}
			b.mended(t, packDamaged)
		})
	}
}

// mended fails unless a runtime was made anew from the stored archive, and just that was said.
func (b *bench) mended(t *testing.T, warning string) {
	t.Helper()
	if d := cmp.Diff([]string{warning}, b.events.warnings()); d != "" {
		t.Errorf("warnings (-want +got):\n%s", d)
	}
	if n := b.server.Count(path); n != 1 {
		t.Errorf("%d downloads, want 1: the archive is in the store", n)
	}
}

// A pack is nothing before its manifest is beside it: both appear at once, and who finds one
// alone makes it again.
func TestRun_makesAPackAnewThatHasNoManifest(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1000)
	first := b.mustRun(t, b.runtime())[0]
	beside := filepath.Dir(filepath.Dir(first.Pack))
	names, err := os.ReadDir(beside)
	if err != nil || len(names) < 2 {
		t.Fatal(names, err)
	}
	for _, d := range names {
		if !d.IsDir() {
			if err := os.Remove(filepath.Join(beside, d.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	change(t, first.Pack, func(f *os.File) error { return f.Truncate(100) })
	second := b.mustRun(t, b.runtime())[0]
	if d := cmp.Diff(first, second); d != "" {
		t.Errorf("-before +after:\n%s", d)
	}
	if text := read(t, second, "bin/node"); text != program {
		t.Errorf("got %q", text)
	}
}

func TestMend_makesAnewWhatTurnedOutToBeDamaged(t *testing.T) {
	t.Parallel()
	eachForm(t, func(t *testing.T, unpack bool) {
		b := newBench(t, 1000)
		r := b.runtime()
		r.Unpack = unpack
		first := b.mustRun(t, r)[0]
		b.events.warnings()
		at := first.Pack
		message := packDamaged
		if unpack {
			at = filepath.Join(first.Dir, "bin", "node")
			message = "its tree was damaged in the store, was removed, and is made again"
		}
		info, err := os.Stat(at)
		if err != nil {
			t.Fatal(err)
		}
		change(t, at, func(f *os.File) error {
			_, err := f.WriteAt([]byte("?"), 18)
			return err
		})
		if err := os.Chtimes(at, time.Time{}, info.ModTime()); err != nil {
			t.Fatal(err)
		}
		if text := read(t, first, "bin/node"); text == program {
			t.Fatal("nothing was damaged")
		}
		mended, err := b.stage.Mend(t.Context(), at)
		if err != nil || !mended {
			t.Fatalf("got %v, %v", mended, err)
		}
		if text := read(t, first, "bin/node"); text != program {
			t.Errorf("got %q", text)
		}
		if d := cmp.Diff(first, b.mustRun(t, r)[0]); d != "" {
			t.Errorf("-before the damage +after it:\n%s", d)
		}
		b.mended(t, message)
	})
}

func TestMend_leavesAloneWhatIsNoRuntime(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1000)
	got := b.mustRun(t, b.runtime())[0]
	for _, at := range []string{filepath.Dir(got.Pack), got.Pack + "/x", got.Pack + "x", "/src/bin/node", ""} {
		if mended, err := b.stage.Mend(t.Context(), at); mended || err != nil {
			t.Errorf("%q: %v, %v", at, mended, err)
		}
	}
	if text := read(t, got, "bin/node"); text != program {
		t.Errorf("got %q", text)
	}
}

// What is in the store is not read again, neither archive nor pack: a plan is made often.
func TestRun_readsNothingThatIsInTheStore(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1000)
	file := filepath.Join(t.TempDir(), "node.tar.gz")
	if err := os.WriteFile(file, b.archive, 0o600); err != nil {
		t.Fatal(err)
	}
	local := b.runtime()
	local.Name, local.URL, local.Path = "local", "", file
	first := b.mustRun(t, b.runtime(), local)
	// Other bytes of the same length show whoever reads them.
	flip := func(name string, at int64) {
		change(t, name, func(f *os.File) error {
			_, err := f.WriteAt([]byte{0xff}, at)
			return err
		})
	}
	flip(first[0].Pack, 20)
	flip(b.store.Path(digest.Of(b.archive)), 100)
	flip(file, 100)
	if d := cmp.Diff(first, b.mustRun(t, b.runtime(), local)); d != "" {
		t.Errorf("-first +second:\n%s", d)
	}
	if w := b.events.warnings(); len(w) > 0 {
		t.Errorf("somebody looked: %q", w)
	}
}

func TestRun_takesAnUnpackedRuntimeWhenNoStepIsLeft(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1000)
	r := b.runtime()
	r.Unpack = true
	first := b.mustRun(t, r)[0]
	if err := b.store.Remove(r.Digest); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(first, b.mustRun(t, b.runtime())[0]); d != "" {
		t.Errorf("-with a step +without:\n%s", d)
	}
	if n := b.server.Count(path); n != 1 {
		t.Errorf("%d downloads, want 1", n)
	}
}

// Several stages stand for several processes.
func TestRun_packsOnceForAllWhoWantIt(t *testing.T) {
	t.Parallel()
	b := newBench(t, 50_000)
	results := make(chan artifact.Runtime, 16)
	for range 4 {
		stage := &fetch.Stage{Store: b.store, Mirrors: b.stage.Mirrors, Options: b.stage.Options}
		go func() {
			var list []plan.Runtime
			for i := range 4 {
				r := b.runtime()
				r.Name += string(rune('a' + i))
				list = append(list, r)
			}
			got, err := stage.Run(t.Context(), plan.Fetch{Runtimes: list})
			if err != nil {
				t.Error(err)
				got = make([]artifact.Runtime, 4)
			}
			for _, r := range got {
				results <- r
			}
		}()
	}
	var all []artifact.Runtime
	for range cap(results) {
		all = append(all, <-results)
	}
	for _, r := range all {
		if r.Pack != all[0].Pack || !slices.Equal(r.Offsets, all[0].Offsets) || !slices.Equal(r.Tree, all[0].Tree) {
			t.Errorf("%s is another runtime: %+v", r.Name, r)
		}
	}
	if text := read(t, all[0], "bin/node"); text != program {
		t.Errorf("got %q", text)
	}
}
