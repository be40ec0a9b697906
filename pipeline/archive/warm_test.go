package archive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/archive"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/slug"
	"github.com/slugfile/slugfile/pipeline/store"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// long is set by SLUGFILE_LONG=1: the same cases, many more times.
var long = os.Getenv("SLUGFILE_LONG") == "1"

// rounds is n, twenty times that for long, and a quarter under the race detector.
func rounds(n int) int {
	switch {
	case long:
		return 20 * n
	case raceDetector:
		return (n + 3) / 4
	}
	return n
}

// seed is that of every random choice of a run. SLUGFILE_SEED takes one back.
var seed = sync.OnceValue(func() uint64 {
	text := os.Getenv("SLUGFILE_SEED")
	if text == "" {
		return rand.Uint64()
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		panic("SLUGFILE_SEED: " + err.Error())
	}
	return n
})

// newRandom is a source of its own for one case, so that cases do not depend on their order.
func newRandom(t testing.TB, n int) *rand.Rand {
	t.Helper()
	t.Logf("SLUGFILE_SEED=%d", seed())
	return rand.New(rand.NewPCG(seed(), uint64(n)))
}

// text is n bytes that compress about as code does.
func text(random *rand.Rand, n int) []byte {
	words := strings.Fields("return function = value (x) ; module exports // { } if else")
	var b []byte
	for len(b) < n {
		b = append(b, words[random.IntN(len(words))]...)
		b = append(b, " \n"[random.IntN(2)])
		if random.IntN(4) == 0 {
			b = fmt.Append(b, random.Uint32())
		}
	}
	return b[:n]
}

// must is for what the file system does not refuse.
func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func save(t testing.TB, name string, b []byte) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, b, 0o644))
}

// project is a tree of about four segments: small files, and one that needs three.
func project(t testing.TB, random *rand.Rand) string {
	t.Helper()
	return projectOf(t, random, 70, 1_300_000)
}

// projectOf is a tree with so many small files and one of so many bytes.
func projectOf(t testing.TB, random *rand.Rand, files, long int) string {
	t.Helper()
	root := t.TempDir()
	for i := range files {
		save(t, fmt.Sprintf("%s/lib/%d/f%02d.js", root, i%7, i), text(random, 100+random.IntN(16_000)))
	}
	save(t, root+"/lib/2/empty", nil)
	save(t, root+"/lib/3/long.bin", text(random, long))
	save(t, root+"/web.js", text(random, 5000))
	// What the check finds something in, spread over the segments.
	save(t, root+"/lib/1/a.node", tooNew)
	save(t, root+"/lib/4/long.node", append(slices.Clone(tooNew), text(random, 600_000)...))
	save(t, root+"/web", []byte("#!/usr/bin/env ruby\n"))
	return root
}

// tooNew is a library that needs a newer glibc than heroku-22 has.
var tooNew = pipetest.ELF{
	Library: true, Needed: []string{"libc.so.6"},
	Requires: []pipetest.ELFVersions{{Library: "libc.so.6", Versions: []string{"GLIBC_2.38"}}},
}.Bytes()

// list returns the files below root, those of some size first.
func list(t testing.TB, root string) (files []string) {
	t.Helper()
	must(t, filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, p)
		}
		return err
	}))
	return files
}

// edit changes one thing below root, and says what.
func edit(t testing.TB, random *rand.Rand, root string) string {
	t.Helper()
	files := list(t, root)
	if len(files) < 2 {
		save(t, root+"/again", text(random, 1000))
		return "almost nothing is left"
	}
	pick := func() string { return files[random.IntN(len(files))] }
	name := pick()
	b, err := os.ReadFile(name)
	must(t, err)
	info, err := os.Stat(name)
	must(t, err)
	put := func(parts ...[]byte) { must(t, os.WriteFile(name, slices.Concat(parts...), 0o644)) }
	what := ""
	switch random.IntN(14) {
	case 0:
		what = "append to"
		put(b, text(random, 1+random.IntN(3000)))
	case 1:
		what = "cut"
		put(b[:len(b)/2])
	case 2:
		what = "delete"
		must(t, os.Remove(name))
	case 3:
		what = "rename"
		must(t, os.Rename(name, fmt.Sprintf("%s%d", name, random.IntN(100))))
	case 4:
		what = "touch"
		now := time.Now().Add(-time.Duration(random.IntN(1000)) * time.Second)
		must(t, os.Chtimes(name, now, now))
	case 5:
		what = "chmod"
		must(t, os.Chmod(name, info.Mode()^0o111))
	case 6, 7:
		what = "insert into"
		at := random.IntN(len(b) + 1)
		put(b[:at], text(random, 1+random.IntN(50)), b[at:])
	case 8:
		what = "replace by a link"
		must(t, os.Remove(name), os.Symlink("nowhere", name))
	case 9:
		other := pick()
		what = "swap with " + other
		must(t, os.Rename(name, root+"/x"), rename(other, name), os.Rename(root+"/x", other))
	case 10:
		what = "write other bytes of the same size and time into"
		if len(b) > 0 {
			b[random.IntN(len(b))] ^= 1
		}
		put(b)
		must(t, os.Chtimes(name, info.ModTime(), info.ModTime()))
	case 11:
		what = "insert into the longest file, not"
		for _, f := range files {
			if fi, err := os.Stat(f); err == nil && fi.Size() > info.Size() {
				name, info = f, fi
			}
		}
		b, err = os.ReadFile(name)
		must(t, err)
		at := random.IntN(len(b) + 1)
		put(b[:at], []byte("x"), b[at:])
	case 12:
		what = "make a file beside"
		save(t, fmt.Sprintf("%s/n%d", filepath.Dir(name), random.IntN(100)), text(random, random.IntN(90_000)))
	case 13:
		what = "rename the directory of"
		if dir := filepath.Dir(name); dir != root {
			must(t, os.Rename(dir, fmt.Sprintf("%s%d", dir, random.IntN(100))))
		}
	}
	return what + " " + name
}

// rename bears that the file was moved away before, for both are the same one.
func rename(from, to string) error {
	if err := os.Rename(from, to); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// bench is a store and a source tree from which slugs are made over and over.
type bench struct {
	*archive.Stage
	*recorder
	dir string
	// known is what earlier scans learnt.
	known *tree.Index
	step  plan.Archive
}

func newBench(t testing.TB, dir string) *bench {
	t.Helper()
	st, err := store.Open(filepath.Join(t.TempDir(), "store"))
	must(t, err)
	r := &recorder{}
	step := plan.Archive{Key: key, Epoch: 1, Stack: "heroku-22", ProcessTypes: map[string]string{"web": "sh web"}}
	return &bench{&archive.Stage{Store: st, Sink: r}, r, dir, nil, step}
}

// cold is another bench that has nothing in its store.
func (b *bench) cold(t testing.TB) *bench {
	t.Helper()
	c := newBench(t, b.dir)
	c.step = b.step
	return c
}

// scan looks at the source tree as the run before left it.
func (b *bench) scan(t testing.TB) artifact.Tree {
	t.Helper()
	seen, err := tree.ScanIndexed(context.Background(), b.dir, tree.ScanOptions{Known: b.known})
	must(t, err)
	b.known = seen.Index
	return artifact.Tree{Source: artifact.Source{Dir: b.dir, Tree: seen.Manifest}}
}

// run makes a slug, and forgets the events of the run before.
func (b *bench) run(t testing.TB, in artifact.Tree) (artifact.Slug, error) {
	t.Helper()
	b.mu.Lock()
	b.events = nil
	b.mu.Unlock()
	return b.Run(context.Background(), b.step, in)
}

// made makes a slug, and returns it, its bytes and its index.
func (b *bench) made(t testing.TB, in artifact.Tree) (artifact.Slug, []byte, []byte) {
	t.Helper()
	out, err := b.run(t, in)
	must(t, err)
	raw, err := os.ReadFile(out.Path)
	must(t, err)
	index, ok, err := b.Store.GetBytes("segments", out.Digest.String())
	if err != nil || !ok {
		t.Fatalf("there is no index of slug %s: %v", out.Digest, err)
	}
	return out, raw, index
}

// warnings are those of the last run.
func (b *bench) warnings() (all []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.events {
		if w, ok := e.(event.Warning); ok {
			all = append(all, w.Message)
		}
	}
	return all
}

// sameAsCold makes a slug with what is in the store, and the same with nothing, and fails when
// they differ in a byte of the slug or of its index.
func (b *bench) sameAsCold(t testing.TB, in artifact.Tree) artifact.Slug {
	t.Helper()
	warm, raw, index := b.made(t, in)
	cold, coldRaw, coldIndex := b.cold(t).made(t, in)
	if !bytes.Equal(raw, coldRaw) {
		t.Fatalf("%d bytes cold, %d warm, and not the same", len(coldRaw), len(raw))
	}
	if !bytes.Equal(index, coldIndex) {
		t.Fatal("the slugs are the same, their indexes are not")
	}
	if warm.Digest != digest.Of(raw) || warm.Size != int64(len(raw)) || warm.TarSize != cold.TarSize {
		t.Fatalf("it is said to be %s with %d of %d bytes, and is %s with %d of %d", warm.Digest, warm.Size, warm.TarSize, digest.Of(raw), len(raw), cold.TarSize)
	}
	if diff := cmp.Diff(slug.Tree(cold.Members), slug.Tree(warm.Members)); diff != "" {
		t.Fatalf("trees (-cold +warm):\n%s", diff)
	}
	if diff := cmp.Diff(cold.Findings, warm.Findings); diff != "" {
		t.Fatalf("findings (-cold +warm):\n%s", diff)
	}
	return warm
}

// Whatever is edited, and whatever the store has: a slug is the one that is made of nothing.
func TestRun_warmIsColdAfterAnyEdits(t *testing.T) {
	t.Parallel()
	for script := range rounds(4) {
		t.Run(fmt.Sprint("script ", script), func(t *testing.T) {
			t.Parallel()
			random := newRandom(t, script)
			b := newBench(t, project(t, random))
			for step := range 5 {
				if step > 0 && random.IntN(6) > 0 {
					for range 1 + random.IntN(3) {
						t.Logf("step %d: %s", step, edit(t, random, b.dir))
					}
				}
				b.Workers = 1 + random.IntN(8)
				b.step.Level = []string{slug.LevelDefault, slug.LevelFast}[script%2]
				if random.IntN(8) == 0 {
					b.step.Level = slug.LevelFast
				}
				t.Logf("step %d: level %s, %d workers", step, b.step.Level, b.Workers)
				b.sameAsCold(t, b.scan(t))
				if w := b.warnings(); len(w) > 0 {
					t.Fatalf("it warns: %q", w)
				}
			}
		})
	}
}

// progress are the events of that kind of the last run.
func (b *bench) progress() (all []event.Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.events {
		if p, ok := e.(event.Progress); ok {
			all = append(all, p)
		}
	}
	return all
}

func TestRun_warmTellsWhatAColdRunTells(t *testing.T) {
	t.Parallel()
	random := newRandom(t, 100)
	b := newBench(t, project(t, random))
	cold, err := b.run(t, b.scan(t))
	must(t, err)
	told := b.types()
	check := func(what string, want artifact.Slug) {
		t.Helper()
		if b.types() != told {
			t.Errorf("%s: events are %s, cold they were %s", what, b.types(), told)
		}
		p := b.progress()
		if len(p) < 2 || p[0].Done != 0 || p[len(p)-1].Done != want.TarSize {
			t.Errorf("%s: progress is %+v, of %d bytes", what, p, want.TarSize)
		}
		for _, one := range p {
			if one.Total != want.TarSize {
				t.Errorf("%s: the total is %d, want %d", what, one.Total, want.TarSize)
			}
		}
		end, ok := b.events[len(b.events)-1].(event.TaskFinished)
		if !ok || end.Bytes != want.Size {
			t.Errorf("%s: the last event is %+v", what, b.events[len(b.events)-1])
		}
	}
	check("cold", cold)
	same, err := b.run(t, b.scan(t))
	must(t, err)
	check("nothing changed", same)
	save(t, b.dir+"/web.js", []byte("changed"))
	late, err := b.run(t, b.scan(t))
	must(t, err)
	check("a late change", late)
	save(t, b.dir+"/lib/0/f00.js", []byte("changed"))
	early, err := b.run(t, b.scan(t))
	must(t, err)
	check("an early change", early)
	if cold.Digest != same.Digest || cold.Digest == late.Digest || late.Digest == early.Digest {
		t.Errorf("slugs are %s, %s, %s and %s", cold.Digest, same.Digest, late.Digest, early.Digest)
	}
}

func TestRun_warmIsRefusedAboveTheLimitWithTheSameWords(t *testing.T) {
	t.Parallel()
	random := newRandom(t, 101)
	b := newBench(t, project(t, random))
	whole, err := b.run(t, b.scan(t))
	must(t, err)
	for _, change := range []func(){
		func() {},
		func() { save(t, b.dir+"/web.js", text(random, 6000)) },
		func() { save(t, b.dir+"/lib/0/f00.js", text(random, 6000)) },
	} {
		change()
		for _, limit := range []int64{whole.Size / 8, whole.Size / 3, whole.Size / 2, whole.Size - 10_000} {
			b.step.Limit = limit
			in := b.scan(t)
			_, err := b.run(t, in)
			_, cold := b.cold(t).run(t, in)
			if err == nil || cold == nil || err.Error() != cold.Error() {
				t.Errorf("limit %d:\nwarm: %v\ncold: %v", limit, err, cold)
			}
		}
		b.step.Limit = 0
		whole = b.sameAsCold(t, b.scan(t))
	}
}

// A slug that was made before the last one is found as it is, too.
func TestRun_goesBackToAnEarlierSlug(t *testing.T) {
	t.Parallel()
	random := newRandom(t, 102)
	b := newBench(t, project(t, random))
	first, err := b.run(t, b.scan(t))
	must(t, err)
	old, err := os.ReadFile(b.dir + "/web.js")
	must(t, err)
	save(t, b.dir+"/web.js", []byte("changed"))
	_, err = b.run(t, b.scan(t))
	must(t, err)
	save(t, b.dir+"/web.js", old)
	was, err := os.Lstat(first.Path)
	must(t, err)
	again := b.sameAsCold(t, b.scan(t))
	now, err := os.Lstat(again.Path)
	must(t, err)
	if !os.SameFile(was, now) {
		t.Error("it was written anew")
	}
}
