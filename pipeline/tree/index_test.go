package tree_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// atRest are the options of a scan for which all that is there has been at rest long enough.
// Whoever changes something afterwards must wait for the next tick.
func atRest(known *tree.Index) tree.ScanOptions {
	return tree.ScanOptions{Known: known, Now: time.Now().Add(2 * time.Second)}
}

// nextTick waits until the clock of the file system shows another time.
func nextTick(t testing.TB, dir string) {
	t.Helper()
	probe := filepath.Join(dir, "tick")
	tick := func() time.Time {
		if err := os.WriteFile(probe, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		fi, err := os.Stat(probe)
		if err != nil {
			t.Fatal(err)
		}
		return fi.ModTime()
	}
	for start := tick(); !tick().After(start); {
		time.Sleep(time.Millisecond)
	}
}

func scanIndexed(t testing.TB, root string, o tree.ScanOptions) tree.Scanned {
	t.Helper()
	s, err := tree.ScanIndexed(context.Background(), root, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// kept is an index as the next run gets it.
func kept(t testing.TB, x *tree.Index) *tree.Index {
	t.Helper()
	b, err := x.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := tree.ParseIndex(b)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

func needStamps(t testing.TB) {
	t.Helper()
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("this system does not tell when an inode changed")
	}
}

func put(t testing.TB, root, name, content string) {
	t.Helper()
	at := filepath.Join(root, filepath.FromSlash(name))
	if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func TestScanIndexed_readsNothingThatStayed(t *testing.T) {
	t.Parallel()
	needStamps(t)
	root := pipetest.Files(t, map[string]string{"a": "1", "d/b": "2", "d/e/c": "3", "d.x/y": "4", "l -> d": "", "*run": "5"})
	cold := scanIndexed(t, root, atRest(nil))
	warm := scanIndexed(t, root, atRest(kept(t, cold.Index)))
	if diff := cmp.Diff(cold.Manifest, warm.Manifest); diff != "" {
		t.Error(diff)
	}
	if cold.Hashed != 5 || cold.Reused != 0 || warm.Hashed != 0 || warm.Reused != 5 || warm.Learnt {
		t.Errorf("cold read %d and reused %d, warm read %d and reused %d, learnt %v",
			cold.Hashed, cold.Reused, warm.Hashed, warm.Reused, warm.Learnt)
	}
	a, err := cold.Index.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := warm.Index.AppendBinary(nil)
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("the index changed though nothing else did, %v", err)
	}
	if n := tree.Sealed(warm.Index); n != 0 && n != 4 {
		t.Errorf("%d of 4 directories need not be listed", n)
	}
	paths := tree.ScanOptions{Known: warm.Index}
	listed, err := tree.ScanPaths(context.Background(), root, list("d/e/c", "a", "d/b"), paths)
	if err != nil || listed.Hashed != 0 || len(listed.Manifest) != 3 {
		t.Errorf("the same files by a list: %+v, %v", listed, err)
	}
}

// Each change leaves the content or the name as long as it was and sets the time of the last
// change of content back.
func TestScanIndexed_noticesChangesThatHide(t *testing.T) {
	t.Parallel()
	needStamps(t)
	for name, change := range map[string]func(t *testing.T, root string){
		"other content": func(t *testing.T, root string) { put(t, root, "d/f", "two") },
		"replaced by rename": func(t *testing.T, root string) {
			put(t, root, "d/new", "two")
			if err := os.Rename(filepath.Join(root, "d/new"), filepath.Join(root, "d/f")); err != nil {
				t.Fatal(err)
			}
		},
		"made anew": func(t *testing.T, root string) { // often with the same inode
			if err := os.Remove(filepath.Join(root, "d/f")); err != nil {
				t.Fatal(err)
			}
			put(t, root, "d/f", "two")
		},
		"written through another name": func(t *testing.T, root string) { put(t, root, "twin", "two") },
		"swapped with a neighbour": func(t *testing.T, root string) {
			for _, step := range [][2]string{{"d/f", "d/x"}, {"d/g", "d/f"}, {"d/x", "d/g"}} {
				if err := os.Rename(filepath.Join(root, step[0]), filepath.Join(root, step[1])); err != nil {
					t.Fatal(err)
				}
			}
		},
		"directories swapped": func(t *testing.T, root string) {
			for _, step := range [][2]string{{"d", "x"}, {"e", "d"}, {"x", "e"}} {
				if err := os.Rename(filepath.Join(root, step[0]), filepath.Join(root, step[1])); err != nil {
					t.Fatal(err)
				}
			}
		},
		"the executable bit": func(t *testing.T, root string) {
			if err := os.Chmod(filepath.Join(root, "d/f"), 0o755); err != nil {
				t.Fatal(err)
			}
		},
		"a new file":  func(t *testing.T, root string) { put(t, root, "d/h", "one") },
		"a lost file": func(t *testing.T, root string) { os.Remove(filepath.Join(root, "d/g")) },
		"a link": func(t *testing.T, root string) {
			if err := errors.Join(os.Remove(filepath.Join(root, "d/f")), os.Symlink("g", filepath.Join(root, "d/f"))); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := pipetest.Files(t, map[string]string{"d/f": "one", "d/g": "six", "e/f": "ten", "e/g": "six"})
			if err := os.Link(filepath.Join(root, "d/f"), filepath.Join(root, "twin")); err != nil {
				t.Fatal(err)
			}
			old := time.Now().Add(-time.Hour)
			files := []string{"d/f", "d/g", "d/h", "e/f", "e/g", "twin", "d", "e"}
			age := func() {
				for _, f := range files {
					if err := os.Chtimes(filepath.Join(root, f), old, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
						t.Fatal(err)
					}
				}
			}
			age()
			before := scanIndexed(t, root, atRest(nil))
			nextTick(t, t.TempDir())
			change(t, root)
			age()
			got := scanIndexed(t, root, atRest(kept(t, before.Index)))
			want := scanIndexed(t, root, atRest(nil))
			if diff := cmp.Diff(want.Manifest, got.Manifest); diff != "" {
				t.Errorf("-cold +known\n%s", diff)
			}
			if cmp.Equal(before.Manifest, got.Manifest) {
				t.Error("nothing changed")
			}
		})
	}
}

func TestScanIndexed_trustsNoFileOfTheLastTick(t *testing.T) {
	t.Parallel()
	start := time.Now()
	root := pipetest.Files(t, map[string]string{"f": "0000", "g": "0"})
	name := filepath.Join(root, "f")
	old := time.Now().Add(-time.Hour)
	known := scanIndexed(t, root, tree.ScanOptions{}).Index
	for i := range 200 {
		content := fmt.Sprintf("%04d", i+1)
		if err := errors.Join(os.WriteFile(name, []byte(content), 0o644), os.Chtimes(name, old, old)); err != nil {
			t.Fatal(err)
		}
		s := scanIndexed(t, root, tree.ScanOptions{Known: known})
		if e, _ := s.Manifest.Find("f"); e.Digest != digest.Of([]byte(content)) {
			t.Fatalf("edit %d was missed", i)
		}
		if time.Since(start) < 2*time.Second { // else what was not edited may be known
			if s.Reused > 0 {
				t.Fatalf("%d files that had just been made were taken as known", s.Reused)
			}
			if tree.Sealed(s.Index) > 0 {
				t.Fatal("a directory that had just been made need not be listed")
			}
		}
		known = s.Index
	}
	// A clock that was set back makes files of the future.
	s := scanIndexed(t, root, tree.ScanOptions{Now: time.Now().Add(-time.Hour)})
	if s = scanIndexed(t, root, tree.ScanOptions{Known: s.Index}); s.Reused > 0 {
		t.Errorf("%d files of the future were taken as known", s.Reused)
	}
}

func TestScanIndexed_asksSkipAnew(t *testing.T) {
	t.Parallel()
	root := pipetest.Files(t, map[string]string{"a/x": "1", "b/y": "2", "c": "3", "l -> c": ""})
	known := (*tree.Index)(nil)
	for _, out := range []string{"a", "b", "c", "l", "", "a/x", "none"} {
		o := atRest(known)
		o.Skip = func(rel string, _ bool) bool { return rel == out }
		s := scanIndexed(t, root, o)
		want := scan(t, root).Filter(func(e tree.Entry) bool { return out == "" || !tree.Under(e.Path, out) })
		if diff := cmp.Diff(want, s.Manifest); diff != "" {
			t.Errorf("without %q: %s", out, diff)
		}
		known = kept(t, s.Index)
	}
}

func TestScanIndexed_refusesAFIFOInPlaceOfAKnownFile(t *testing.T) {
	t.Parallel()
	needStamps(t)
	root := pipetest.Files(t, map[string]string{"d/f": "1"})
	known := scanIndexed(t, root, atRest(nil)).Index
	nextTick(t, t.TempDir())
	mkfifo(t, filepath.Join(root, "d/f"))
	_, err := tree.ScanIndexed(context.Background(), root, atRest(known))
	if err == nil || !strings.Contains(err.Error(), `f" is a FIFO`) {
		t.Errorf("error is %v", err)
	}
}

func TestScanIndexed_isTheSameWithAnyNumberOfWorkers(t *testing.T) {
	t.Parallel()
	files := map[string]string{}
	for i := range 300 {
		files[fmt.Sprintf("d%d/e%d/f%d", i%7, i%11, i)] = fmt.Sprint(i)
		files[fmt.Sprintf("d%d/e%d.x", i%7, i)] = ""
	}
	root := pipetest.Files(t, files)
	var names []string
	for n := range files {
		names = append(names, n)
	}
	var indexes [][]byte
	var manifests []tree.Manifest
	for _, n := range []int{1, 8, 3} {
		o := tree.WithWorkers(atRest(nil), n)
		s := scanIndexed(t, root, o)
		b, err := s.Index.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		indexes, manifests = append(indexes, b), append(manifests, s.Manifest)

		slices.SortFunc(names, tree.Compare)
		if n == 3 { // each directory is entered many times
			slices.SortFunc(names, func(a, b string) int { return strings.Compare(path.Base(a), path.Base(b)) })
		}
		l, err := tree.ScanPaths(context.Background(), root, list(names...), o)
		if err != nil {
			t.Fatal(err)
		}
		want := s.Manifest.Filter(func(e tree.Entry) bool { return e.Kind != tree.Dir })
		if diff := cmp.Diff(want, l.Manifest); diff != "" {
			t.Errorf("the list, %d workers: %s", n, diff)
		}
		if again, err := tree.ScanPaths(context.Background(), root, list(names...), atRest(kept(t, l.Index))); err != nil || again.Hashed > 0 && runtime.GOOS == "linux" {
			t.Errorf("the list again, %d workers: read %d, %v", n, again.Hashed, err)
		}
	}
	for i := range indexes {
		if !bytes.Equal(indexes[i], indexes[0]) || !cmp.Equal(manifests[i], manifests[0]) {
			t.Errorf("scan %d differs", i)
		}
	}
}

// A script of edits, with a scan now and then that knows what the one before it learnt.
func TestScanIndexed_isAColdScanAfterAnyEdits(t *testing.T) {
	t.Parallel()
	ticks := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		root, err := os.MkdirTemp(ticks, "tree")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(root)
		name := rapid.SampledFrom([]string{"a", "b", "d/a", "d/b", "d/e/a", "d.e/a", "d.e/b"})
		dir := rapid.SampledFrom([]string{"d", "d/e", "d.e", "n"})
		content := rapid.SampledFrom([]string{"", "one", "two", "longer"})
		at := func(n string) string { return filepath.Join(root, n) }
		old := time.Now().Add(-time.Hour)
		// Edits that the state of the tree does not allow change nothing.
		edits := map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				n := name.Draw(t, "name")
				_ = os.MkdirAll(filepath.Dir(at(n)), 0o755)
				_ = os.WriteFile(at(n), []byte(content.Draw(t, "content")), 0o644)
			},
			"write and set back": func(t *rapid.T) {
				n := at(name.Draw(t, "name"))
				_ = os.WriteFile(n, []byte(content.Draw(t, "content")), 0o644)
				_ = os.Chtimes(n, old, old)
			},
			"append": func(t *rapid.T) {
				if f, err := os.OpenFile(at(name.Draw(t, "name")), os.O_WRONLY|os.O_APPEND, 0); err == nil {
					_, _ = f.WriteString("+")
					f.Close()
				}
			},
			"remove":      func(t *rapid.T) { os.Remove(at(name.Draw(t, "name"))) },
			"remove all":  func(t *rapid.T) { os.RemoveAll(at(dir.Draw(t, "dir"))) },
			"rename":      func(t *rapid.T) { _ = os.Rename(at(name.Draw(t, "from")), at(name.Draw(t, "to"))) },
			"rename dirs": func(t *rapid.T) { _ = os.Rename(at(dir.Draw(t, "from")), at(dir.Draw(t, "to"))) },
			"chmod":       func(t *rapid.T) { _ = os.Chmod(at(name.Draw(t, "name")), 0o755) },
			"touch":       func(t *rapid.T) { _ = os.Chtimes(at(name.Draw(t, "name")), old, old) },
			"link":        func(t *rapid.T) { _ = os.Symlink(content.Draw(t, "target")+"x", at(name.Draw(t, "name"))) },
			"hard link":   func(t *rapid.T) { _ = os.Link(at(name.Draw(t, "from")), at(name.Draw(t, "to"))) },
			"mkdir":       func(t *rapid.T) { _ = os.MkdirAll(at(dir.Draw(t, "dir")), 0o755) },
		}
		kinds := rapid.SampledFrom(slices.Sorted(func(yield func(string) bool) {
			for k := range edits {
				if !yield(k) {
					return
				}
			}
		}))
		var byWalk, byList *tree.Index
		for range rapid.IntRange(1, 4).Draw(rt, "scans") {
			for range rapid.IntRange(0, 8).Draw(rt, "edits") {
				edits[kinds.Draw(rt, "edit")](rt)
			}
			cold := scanIndexed(t, root, atRest(nil))
			warm := scanIndexed(t, root, atRest(byWalk))
			if diff := cmp.Diff(cold.Manifest, warm.Manifest); diff != "" {
				rt.Fatalf("a walk (-cold +known):\n%s", diff)
			}
			var names []string
			for _, e := range cold.Manifest {
				if e.Kind != tree.Dir {
					names = append(names, e.Path)
				}
			}
			listed, err := tree.ScanPaths(context.Background(), root, list(names...), atRest(byList))
			if err != nil {
				rt.Fatal(err)
			}
			want := cold.Manifest.Filter(func(e tree.Entry) bool { return e.Kind != tree.Dir })
			if diff := cmp.Diff(want, listed.Manifest); diff != "" {
				rt.Fatalf("a list (-cold +known):\n%s", diff)
			}
			byWalk, byList = kept(t, warm.Index), kept(t, listed.Index)
			if rapid.Bool().Draw(rt, "swap") { // what is known of a directory serves either way
				byWalk, byList = byList, byWalk
			}
			nextTick(t, ticks)
		}
	})
}

func TestParseIndex_refusesOtherBytes(t *testing.T) {
	t.Parallel()
	root := pipetest.Files(t, map[string]string{"a": "1", "d/b": "2", "d/e/c": "3", "l -> d": ""})
	cold := scanIndexed(t, root, atRest(nil))
	whole, err := cold.Index.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		if _, err := tree.ParseIndex(whole[:i]); err == nil {
			t.Errorf("the first %d of %d bytes were accepted", i, len(whole))
		}
	}
	for _, b := range [][]byte{nil, []byte("tree index 1\n"), append(bytes.Clone(whole), 0), bytes.Replace(whole, []byte("index"), []byte("INDEX"), 1)} {
		if _, err := tree.ParseIndex(b); err == nil {
			t.Errorf("%.20q was accepted", b)
		}
	}
	// What has the form is believed as to digests: it is the store that seals them. No damage
	// to anything else makes a difference.
	bare := func(m tree.Manifest) tree.Manifest {
		m = slices.Clone(m)
		for i := range m {
			m[i].Digest = digest.Digest{}
		}
		return m
	}
	read := 0
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 1 << (i % 8)
		x, err := tree.ParseIndex(b)
		if err != nil {
			continue
		}
		read++
		if diff := cmp.Diff(bare(cold.Manifest), bare(scanIndexed(t, root, atRest(x)).Manifest)); diff != "" {
			t.Errorf("byte %d flipped: %s", i, diff)
		}
	}
	if read == 0 {
		t.Error("each flip was refused, so that nothing was shown")
	}
}

func FuzzParseIndex(f *testing.F) {
	root := pipetest.Files(f, map[string]string{"a": "1", "d/b": "2", "d/e/c": "3", "l -> d": "", "*run": ""})
	cold := scanIndexed(f, root, tree.ScanOptions{})
	for _, o := range []tree.ScanOptions{{}, {Skip: func(rel string, _ bool) bool { return rel == "d" }}, {Now: time.Now().Add(time.Hour)}} {
		b, err := scanIndexed(f, pipetest.Files(f, map[string]string{"a": "1", "d/x": "2"}), o).Index.AppendBinary(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := tree.ParseIndex(b)
		if err != nil {
			return
		}
		again, err := x.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tree.ParseIndex(again); err != nil {
			t.Errorf("what was accepted is refused when it is written anew: %v", err)
		}
		// It is of another tree, so whatever it says is no stamp of this one.
		if s := scanIndexed(t, root, tree.ScanOptions{Known: x}); !cmp.Equal(s.Manifest, cold.Manifest) {
			t.Error("the index of another tree changed a scan")
		}
	})
}

func TestScanIndexed_learnsWhatIsWorthKeeping(t *testing.T) {
	t.Parallel()
	needStamps(t)
	files := map[string]string{}
	for i := range 100 {
		files[fmt.Sprint("f", i)] = "x"
	}
	root := pipetest.Files(t, files)
	if s := scanIndexed(t, root, tree.ScanOptions{}); s.Learnt {
		t.Error("files that were just made are worth keeping")
	}
	first := scanIndexed(t, root, atRest(nil))
	if !first.Learnt {
		t.Error("100 files are not worth keeping")
	}
	nextTick(t, t.TempDir())
	put(t, root, "f7", "y")
	if s := scanIndexed(t, root, atRest(first.Index)); s.Learnt || s.Hashed != 1 {
		t.Errorf("one small file: read %d, learnt %v", s.Hashed, s.Learnt)
	}
	put(t, root, "f8", strings.Repeat("large", 1<<19))
	if s := scanIndexed(t, root, atRest(first.Index)); !s.Learnt || s.Hashed != 2 {
		t.Errorf("a large file: read %d, learnt %v", s.Hashed, s.Learnt)
	}
}

func BenchmarkScanIndexed(b *testing.B) {
	files := map[string]string{}
	for i := range 20000 {
		files[fmt.Sprintf("node_modules/package-%d/lib/sub%d/file-%d.js", i%400, i%5, i)] = strings.Repeat("content ", i%500)
	}
	root := pipetest.Files(b, files)
	cold := scanIndexed(b, root, atRest(nil))
	text, err := cold.Index.AppendBinary(nil)
	if err != nil {
		b.Fatal(err)
	}
	perEntry := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(cold.Manifest)), "ns/entry")
	}
	b.Run("cold", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			scanIndexed(b, root, tree.ScanOptions{})
		}
		perEntry(b)
	})
	b.Run("known", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			x, err := tree.ParseIndex(text)
			if err != nil {
				b.Fatal(err)
			}
			if s := scanIndexed(b, root, tree.ScanOptions{Known: x}); s.Hashed > 0 {
				b.Fatalf("%d files were read", s.Hashed)
			}
		}
		perEntry(b)
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := tree.ParseIndex(text); err != nil {
				b.Fatal(err)
			}
		}
		perEntry(b)
	})
}
