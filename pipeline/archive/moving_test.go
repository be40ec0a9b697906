package archive_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/slug"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// overwrite puts a byte into a file, and nothing else.
func overwrite(name string, off int64) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	b := []byte{0}
	_, err = f.ReadAt(b, off)
	if err == nil {
		b[0] ^= 1
		_, err = f.WriteAt(b, off)
	}
	return errors.Join(err, f.Close())
}

// moves are ways in which a file stops to be the one that was planned. The second of a pair undoes
// the first.
func moves(t testing.TB, name string) map[string][2]func() error {
	t.Helper()
	fi, err := os.Stat(name)
	must(t, err)
	size := fi.Size()
	at := func(off int64) [2]func() error {
		twice := func() error { return overwrite(name, off) }
		return [2]func() error{twice, twice}
	}
	aside := name + ".aside"
	hide := func(then func() error) [2]func() error {
		return [2]func() error{
			func() error { return errors.Join(os.Rename(name, aside), then()) },
			func() error { return errors.Join(os.RemoveAll(name), os.Rename(aside, name)) },
		}
	}
	m := map[string][2]func() error{
		"first byte":  at(0),
		"middle byte": at(size / 2),
		"last byte":   at(size - 1),
		"grown": {
			func() error { return os.Truncate(name, size+1) },
			func() error { return os.Truncate(name, size) },
		},
		"shrunk":      hide(func() error { return os.WriteFile(name, make([]byte, size-1), 0o644) }),
		"gone":        hide(func() error { return nil }),
		"a link":      hide(func() error { return os.Symlink(filepath.Base(aside), name) }),
		"a directory": hide(func() error { return os.Mkdir(name, 0o755) }),
		"swapped":     hide(func() error { return os.WriteFile(name, make([]byte, size), 0o644) }),
	}
	if fifo, err := exec.LookPath("mkfifo"); err == nil {
		m["a FIFO"] = hide(func() error { return exec.Command(fifo, name).Run() })
	}
	return m
}

// holds says whether the slug in the store holds what was planned, byte for byte.
func (b *bench) holds(t testing.TB, made artifact.Slug, in artifact.Tree) {
	t.Helper()
	f, err := b.Store.Open(made.Digest)
	must(t, err)
	defer f.Close()
	m, err := slug.Manifest(f)
	must(t, err)
	if diff := cmp.Diff(in.Source.Tree, m); diff != "" {
		t.Errorf("the slug is not what was planned (-planned +slug):\n%s", diff)
	}
}

// Between the scan and the archive a file changes, which has to be read: there is one retry,
// which finds the planned file again or ends in an error that names it.
func TestRun_triesOnceMoreWhenAFileMoved(t *testing.T) {
	t.Parallel()
	for _, warm := range []bool{false, true} {
		for _, file := range []string{"lib/0/f00.js", "lib/3/long.bin"} {
			t.Run(fmt.Sprintf("%s, warm %t", filepath.Base(file), warm), func(t *testing.T) {
				t.Parallel()
				random := newRandom(t, 300)
				b := newBench(t, projectOf(t, random, 25, 600_000))
				b.step.Level = slug.LevelFast
				name := filepath.Join(b.dir, file)
				if warm {
					// The earlier slug has another file there.
					_, err := b.run(t, b.scan(t))
					must(t, err)
					must(t, overwrite(name, 10))
				}
				in := b.scan(t)
				want := b.cold(t)
				whole, err := want.run(t, in)
				must(t, err)
				for what, pair := range moves(t, name) {
					if raceDetector && len(what)%3 > 0 {
						continue
					}
					must(t, pair[0]())
					b.on = nil
					_, err := b.run(t, in)
					var moved *slug.ChangedError
					if !errors.As(err, &moved) || moved.Path != name || b.types() != "task_started retry task_failed" {
						t.Errorf("%s: events are %s, error is %v", what, b.types(), err)
					}
					if _, ok := b.Store.Has(whole.Digest); ok {
						t.Errorf("%s: there is a slug", what)
					}
					b.on = func(e event.Event) {
						if _, ok := e.(event.Retry); ok {
							if err := pair[1](); err != nil {
								t.Error(err)
							}
						}
					}
					got, err := b.run(t, in)
					must(t, err)
					if b.types() != "task_started retry task_finished" || got.Digest != whole.Digest {
						t.Errorf("%s, and back: events are %s, slug %s, want %s", what, b.types(), got.Digest, whole.Digest)
					}
					b.holds(t, got, in)
					// The next round has to make it again.
					must(t, b.Store.Remove(whole.Digest))
				}
			})
		}
	}
}

// What is taken over is not read: whatever becomes of its files, the slug is the planned one.
func TestRun_aFileThatIsTakenOverMayMove(t *testing.T) {
	t.Parallel()
	random := newRandom(t, 301)
	b := newBench(t, project(t, random))
	b.step.Level = slug.LevelFast
	// So long a file begins a segment of its own, wherever the others end.
	save(t, b.dir+"/zz.bin", text(random, 600_000))
	_, err := b.run(t, b.scan(t))
	must(t, err, overwrite(b.dir+"/zz.bin", 1000))
	in := b.scan(t)
	want, err := b.cold(t).run(t, in)
	must(t, err)
	for _, file := range []string{"lib/0/f00.js", "lib/3/long.bin"} {
		for what, pair := range moves(t, filepath.Join(b.dir, file)) {
			must(t, pair[0]())
			got, err := b.run(t, in)
			must(t, err, pair[1]())
			if got.Digest != want.Digest || b.types() != "task_started task_finished" {
				t.Errorf("%s %s: events are %s", file, what, b.types())
			}
			b.holds(t, got, in)
			// The next round has to put it together again.
			must(t, b.Store.Remove(got.Digest))
		}
	}
}

// A hundred races with somebody who builds, saves and renames: a slug is the one that was
// planned, or the error names a file that moved.
func TestRun_holdsInAHundredRaces(t *testing.T) {
	t.Parallel()
	random := newRandom(t, 302)
	b := newBench(t, projectOf(t, random, 25, 600_000))
	b.step.Level = slug.LevelFast
	var made, failed, retried int
	for n := range rounds(100) {
		if n%10 == 0 {
			// Another tree: all but a little is taken over.
			save(t, fmt.Sprintf("%s/lib/%d/n.js", b.dir, n%7), text(random, 3000))
		}
		in := b.scan(t)
		planned := map[string]bool{}
		for _, e := range in.Source.Tree {
			planned[b.dir+"/"+e.Path] = true
		}
		b.Workers = 1 + n%4
		b.Cold = n%3 == 0
		seed, pause := random.Uint64(), time.Duration(random.IntN(6000))*time.Microsecond
		done := make(chan error, 1)
		go func() {
			time.Sleep(pause)
			done <- disturb(rand.New(rand.NewPCG(seed, 0)), b.dir, in.Source.Tree)
		}()
		got, err := b.run(t, in)
		must(t, <-done)
		var moved *slug.ChangedError
		switch {
		case errors.As(err, &moved):
			if !planned[moved.Path] || !strings.Contains(err.Error(), "no slug was made") {
				t.Fatalf("race %d: error is %v", n, err)
			}
			failed++
		case err != nil:
			t.Fatalf("race %d: %v", n, err)
		default:
			b.holds(t, got, in)
			made++
		}
		if strings.Contains(b.types(), "retry") {
			retried++
		}
		if w := b.warnings(); len(w) > 0 {
			t.Errorf("race %d: it warns %q", n, w)
		}
		if t.Failed() {
			t.Fatalf("race %d", n)
		}
	}
	t.Logf("%d slugs, %d errors, %d retries", made, failed, retried)
}

// disturb changes a few files of a tree.
func disturb(random *rand.Rand, dir string, m tree.Manifest) error {
	files := slices.DeleteFunc(slices.Clone(m), func(e tree.Entry) bool { return e.Kind != tree.File || e.Size == 0 })
	pick := func() (string, int64) {
		e := files[random.IntN(len(files))]
		if random.IntN(3) == 0 {
			if long, ok := m.Find("lib/3/long.bin"); ok {
				e = long
			}
		}
		return dir + "/" + e.Path, e.Size
	}
	for range 1 + random.IntN(4) {
		name, size := pick()
		var err error
		switch random.IntN(7) {
		case 0:
			err = overwrite(name, random.Int64N(size))
		case 1:
			err = os.Truncate(name, size+3)
		case 2:
			err = os.Truncate(name, size-1)
		case 3:
			err = os.Chmod(name, 0o755)
		case 4:
			err = errors.Join(os.WriteFile(name+".new", text(random, int(size)), 0o644), os.Rename(name+".new", name))
		case 5:
			other, _ := pick()
			err = errors.Join(os.Rename(name, dir+"/x"), os.Rename(other, name), os.Rename(dir+"/x", other))
		case 6:
			err = os.WriteFile(name, text(random, int(size)), 0o644) // empty for a moment
		}
		// A name that was moved before, or a place beyond the new end, changes nothing.
		if err != nil && !errors.Is(err, os.ErrNotExist) && !strings.Contains(err.Error(), "EOF") {
			return err
		}
		runtime.Gosched()
	}
	return nil
}
