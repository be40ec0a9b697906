//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/store"
)

// cacheRig is one user with an app of a few segments and no runtime.
type cacheRig struct {
	*world
	dir string
}

const cacheFile = `app: warm
stack: heroku-24
compression: fast
process_types: {worker: ./run}
`

func newCacheRig(t testing.TB) *cacheRig {
	t.Helper()
	r := &cacheRig{newWorld(t), t.TempDir()}
	random := rand.New(rand.NewPCG(1, 1))
	write(t, filepath.Join(r.dir, "slug.yaml"), cacheFile)
	write(t, filepath.Join(r.dir, "run"), "#!/bin/sh\nexec sleep 1000\n")
	if err := os.Chmod(filepath.Join(r.dir, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		write(t, filepath.Join(r.dir, "lib", fmt.Sprintf("f%02d", i)), lines(random, 12_000))
	}
	write(t, filepath.Join(r.dir, "long"), lines(random, 1_200_000))
	write(t, filepath.Join(r.dir, "zz"), "one\n")
	return r
}

// lines is text of n bytes.
func lines(random *rand.Rand, n int) string {
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "%d line %d\n", random.Uint32(), b.Len())
	}
	return b.String()[:n]
}

// change edits a file, late or early in the slug.
func (r *cacheRig) change(t testing.TB, file, text string) {
	t.Helper()
	write(t, filepath.Join(r.dir, file), text+"\n")
}

// store opens the world's store, which also removes what writers that died left there.
func (w *world) store(t testing.TB) *store.Store {
	t.Helper()
	st, err := store.Open(filepath.Join(w.Env["XDG_CACHE_HOME"], name))
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// buildLine is the last line of build --json.
type buildLine struct {
	Slug struct {
		Checksum string `json:"checksum"`
		Size     int64  `json:"size"`
		Path     string `json:"path"`
	} `json:"slug"`
}

// built builds, and returns the slug's bytes, its path in the store and what was said.
func (r *cacheRig) built(t testing.TB) ([]byte, string, result) {
	t.Helper()
	got := r.run(t, r.dir, "build", "--json")
	if got.Code != exitDone {
		t.Fatalf("build: exit code %d\n%s%s", got.Code, got.Out, got.Err)
	}
	b, path := r.slugOfBuild(t, got)
	return b, path, got
}

// slugOfBuild reads the slug that a build says it made.
func (r *cacheRig) slugOfBuild(t testing.TB, got result) ([]byte, string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(got.Out), "\n")
	var b buildLine
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &b); err != nil {
		t.Fatalf("the last line is not the slug: %v\n%s", err, got.Out)
	}
	bytes := []byte(readFile(t, b.Slug.Path))
	if b.Slug.Checksum != fmt.Sprintf("SHA256:%x", hash(bytes)) || b.Slug.Size != int64(len(bytes)) {
		t.Fatalf("it is said to be %s with %d bytes, and is %x with %d", b.Slug.Checksum, b.Slug.Size, hash(bytes), len(bytes))
	}
	return bytes, b.Slug.Path
}

// cold is the slug of the directory as a user makes it who has nothing in the store.
func (r *cacheRig) cold(t testing.TB) []byte {
	t.Helper()
	b, _, _ := (&cacheRig{newWorld(t), r.dir}).built(t)
	return b
}

// believed makes the store take the bytes that a slug has by now for those that it had.
func (w *world) believed(t testing.TB, path string) {
	t.Helper()
	st := w.store(t)
	var list struct {
		Slugs []struct {
			Slug  string `json:"slug"`
			Stamp struct {
				Size     int64  `json:"size"`
				Inode    uint64 `json:"inode"`
				Device   uint64 `json:"device"`
				Modified int64  `json:"modified"`
				Changed  int64  `json:"changed"`
			} `json:"stamp"`
		} `json:"slugs"`
	}
	if ok, err := st.GetRef("archive", "recent", &list); !ok || err != nil {
		t.Fatalf("there is no list of slugs: %v", err)
	}
	fi, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for i := range list.Slugs {
		if s := &list.Slugs[i]; s.Slug == filepath.Base(path) {
			sys := fi.Sys().(*syscall.Stat_t)
			s.Stamp.Modified, s.Stamp.Changed, found = sys.Mtim.Nano(), sys.Ctim.Nano(), true
		}
	}
	if !found {
		t.Fatal("the list does not name the slug")
	}
	if err := st.PutRef("archive", "recent", list); err != nil {
		t.Fatal(err)
	}
}

// Damage in front of the first change, with a stamp that does not show it, is found when the
// slug is read to be sent. It is made again, and released once.
func TestCache_believedDamageIsFoundBeforeTheRelease(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what, file string
	}{{"a late change", "zz"}, {"another process type", "slug.yaml"}} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			r := newCacheRig(t)
			args := []string{"apply", "--local", "--json"}
			before := r.apply(t, r.dir, args...)
			_, path, _ := r.built(t)
			b := []byte(readFile(t, path))
			b[5000] ^= 0x10
			if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, b, 0o600)); err != nil {
				t.Fatal(err)
			}
			r.believed(t, path)
			if c.file == "slug.yaml" {
				r.change(t, c.file, strings.Replace(cacheFile, "worker: ./run", "worker: ./run more", 1))
			} else {
				r.change(t, c.file, "two")
			}
			want := r.cold(t)
			got := r.run(t, r.dir, args...)
			if n := strings.Count(got.Out, `"type":"warning"`); got.Code != exitDone || n != 1 || !strings.Contains(got.Out, "the stored slug was damaged, and is made again") {
				t.Errorf("exit code %d, %d warnings\n%s%s", got.Code, n, got.Out, got.Err)
			}
			after := r.apply(t, r.dir, args...)
			if after.Changed || after.Release.Version != before.Release.Version+1 {
				t.Errorf("v%d, then v%d, changed %v", before.Release.Version, after.Release.Version, after.Changed)
			}
			if after.Slug.Checksum != fmt.Sprintf("SHA256:%x", hash(want)) {
				t.Errorf("released is %s, and cold it is %x", after.Slug.Checksum, hash(want))
			}
			if got, _, said := r.built(t); !bytes.Equal(got, want) || strings.Contains(said.Out, "warning") {
				t.Errorf("the next build is another slug, or warns:\n%s", said.Out)
			}
		})
	}
}

// Two builds at once in one store, of two states of one directory, are both right, whatever the
// one takes over while the other writes.
func TestCache_twoBuildsAtOnceAreBothRight(t *testing.T) {
	t.Parallel()
	r := newCacheRig(t)
	other := &cacheRig{r.world, t.TempDir()}
	if err := os.CopyFS(other.dir, os.DirFS(r.dir)); err != nil {
		t.Fatal(err)
	}
	rounds := 4
	if long {
		rounds = 60
	}
	random := random(t, 700)
	for n := range rounds {
		r.change(t, []string{"zz", "lib/f00", "long"}[n%3], lines(random, 1000))
		other.change(t, []string{"lib/f01", "zz", "run"}[n%3], lines(random, 1000))
		want, wantOther := r.cold(t), other.cold(t)
		done := make(chan result, 1)
		go func() {
			cmd := other.command(other.dir, "build", "--json")
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			_ = cmd.Run() // the exit code tells
			done <- result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
		}()
		got, _, said := r.built(t)
		their := <-done
		if their.Code != exitDone {
			t.Fatalf("exit code %d\n%s%s", their.Code, their.Out, their.Err)
		}
		gotOther, _ := other.slugOfBuild(t, their)
		if !bytes.Equal(got, want) || !bytes.Equal(gotOther, wantOther) {
			t.Fatalf("round %d: %v and %v are right", n, bytes.Equal(got, want), bytes.Equal(gotOther, wantOther))
		}
		if strings.Contains(said.Out+their.Out, `"type":"warning"`) {
			t.Errorf("round %d: it warns\n%s\n%s", n, said.Out, their.Out)
		}
	}
	r.tidy(t)
}

// tidy holds that the store has whole files under their names, and nothing that a writer left.
func (r *cacheRig) tidy(t testing.TB) {
	t.Helper()
	(&rig{world: r.world, dir: r.dir}).sound(t)
}

// remembers holds that the next build has an earlier slug to take segments from. Nothing is
// opened for it that would tidy up.
func (r *cacheRig) remembers(t testing.TB, when string) {
	t.Helper()
	cache := filepath.Join(r.Env["XDG_CACHE_HOME"], name)
	first, _, _ := strings.Cut(readFile(t, filepath.Join(cache, "refs", "archive", "recent.json")), "\n")
	var list struct{ Slugs []struct{ Slug string } }
	if err := json.Unmarshal([]byte(first), &list); err != nil || len(list.Slugs) == 0 {
		t.Errorf("killed at %s: no slug is remembered, %v", when, err)
	}
	for _, s := range list.Slugs {
		b := []byte(readFile(t, filepath.Join(cache, "sha256", s.Slug[:2], s.Slug)))
		if fmt.Sprintf("%x", hash(b)) != s.Slug {
			t.Errorf("killed at %s: a damaged slug is remembered", when)
		}
		if fi, err := os.Stat(filepath.Join(cache, "refs", "segments", s.Slug+".bin")); err != nil || fi.Size() < 1000 {
			t.Errorf("killed at %s: a slug is remembered without its index", when)
		}
	}
}

// fresh is the part of a slug that a build says it compressed anew. It is 0 when the slug was
// there already, for then nothing is told.
func fresh(out string, size int) float64 {
	for line := range strings.Lines(out) {
		var e struct{ Type, Stage, Why string }
		if json.Unmarshal([]byte(line), &e) != nil || e.Type != "task_finished" || e.Stage != "archive" {
			continue
		}
		var n float64
		var unit string
		if _, err := fmt.Sscanf(e.Why, "%f %s of it new", &n, &unit); err != nil {
			return 1
		}
		return n * map[string]float64{"B": 1, "kB": 1e3, "MB": 1e6}[unit] / float64(size)
	}
	return 0
}

// storeMoments are those of a build that show in the store.
func (r *cacheRig) storeMoments() map[string]func() bool {
	cache := filepath.Join(r.Env["XDG_CACHE_HOME"], name)
	some := func(dir string, size int64, suffix string) func() bool {
		return func() bool {
			found := false
			_ = filepath.WalkDir(filepath.Join(cache, dir), func(p string, d fs.DirEntry, err error) error {
				if err == nil && d.Type().IsRegular() && strings.HasSuffix(p, suffix) {
					fi, err := d.Info()
					found = found || err == nil && fi.Size() >= size && time.Since(fi.ModTime()) < time.Minute
				}
				return nil // what has gone meanwhile is not what we look for
			})
			return found
		}
	}
	count := func(dir string) int {
		n := 0
		_ = filepath.WalkDir(filepath.Join(cache, dir), func(_ string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				n++
			}
			return nil
		})
		return n
	}
	slugs, indexes, refs := count("sha256"), count("refs/segments"), count("refs/slug")
	return map[string]func() bool{
		"the lease is taken":     some("ingest", 0, ".lock"),
		"the slug has its start": some("ingest", 10, ""),
		"the slug is half done":  some("ingest", 300_000, ""),
		"the slug is in place":   func() bool { return count("sha256") > slugs },
		"the index is in place":  func() bool { return count("refs/segments") > indexes },
		"all is remembered":      func() bool { return count("refs/slug") > refs },
	}
}

// TestCache_aKilledBuildLeavesNothingThatMatters kills builds at random times, and at those that
// show in the store, of a warm store and of an empty one. The next build is right, takes over as
// much as before, and nothing stays of the killed one.
func TestCache_aKilledBuildLeavesNothingThatMatters(t *testing.T) {
	t.Parallel()
	kills := 10
	switch {
	case long:
		kills = 200
	case raceDetector:
		kills = 4
	}
	landed := make([]int, 4)
	each(t, []int{0, 1, 2, 3}, func(n int) string { return fmt.Sprint("world ", n) }, func(t *testing.T, world int) {
		random := random(t, 800+world)
		r := newCacheRig(t)
		r.built(t)
		whole := 100 * time.Millisecond
		for n := range kills {
			file := []string{"zz", "lib/f00", "lib/f39", "run"}[random.IntN(4)]
			r.change(t, file, lines(random, 1000))
			cold := world%2 == 1
			if cold {
				if err := os.RemoveAll(r.Env["XDG_CACHE_HOME"]); err != nil {
					t.Fatal(err)
				}
			}
			run := &rig{world: r.world, dir: r.dir}
			p := run.prepareStart(t, "build", "--json")
			var reached <-chan struct{}
			names := []string{"the lease is taken", "the slug has its start", "the slug is half done", "the slug is in place", "the index is in place", "all is remembered"}
			what := names[n/2%len(names)]
			if n%2 == 0 {
				reached = p.eventually(r.storeMoments()[what])
			} else {
				after := time.Duration(random.Int64N(int64(whole)))
				what = after.String()
				timer := make(chan struct{})
				reached = timer
				time.AfterFunc(after, func() { close(timer) })
			}
			start := time.Now()
			p.begin(t)
			select {
			case <-reached:
				p.signal(t, syscall.SIGKILL)
			case <-p.done:
			}
			if p.wait(t, 30*time.Second).Code == -1 {
				landed[world]++
			} else {
				whole = min(time.Since(start), 2*time.Second)
			}
			if !cold {
				r.remembers(t, what)
			}
			want := r.cold(t)
			got, _, said := r.built(t)
			if !bytes.Equal(got, want) {
				t.Fatalf("killed at %s: the next build is another slug", what)
			}
			if strings.Contains(said.Out, `"type":"warning"`) {
				t.Errorf("killed at %s: the next build warns\n%s", what, said.Out)
			}
			if part := fresh(said.Out, len(got)); !cold && part > 0.8 {
				t.Errorf("killed at %s: %.2f of the next slug were compressed anew\n%s", what, part, said.Out)
			}
			r.tidy(t)
		}
	})
	total := 0
	for _, n := range landed {
		total += n
	}
	t.Logf("%d of %d kills came before the end", total, 4*kills)
	if total < kills {
		t.Errorf("only %d of %d kills came before the end: the test has lost its point", total, 4*kills)
	}
}
