package tree_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/tree"
)

func file(path, content string) tree.Entry {
	return tree.Entry{Path: path, Kind: tree.File, Size: int64(len(content)), Digest: digest.Of([]byte(content))}
}

func scan(t testing.TB, root string) tree.Manifest {
	t.Helper()
	m, err := tree.Scan(context.Background(), root, tree.ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// list is what ScanPaths reads, of paths whose mode decides.
func list(paths ...string) iter.Seq2[string, tree.Exec] {
	return func(yield func(string, tree.Exec) bool) {
		for _, p := range paths {
			if !yield(p, tree.ByMode) {
				return
			}
		}
	}
}

func scanPaths(t testing.TB, root string, o tree.ScanOptions, paths ...string) tree.Manifest {
	t.Helper()
	s, err := tree.ScanPaths(context.Background(), root, list(paths...), o)
	if err != nil {
		t.Fatal(err)
	}
	return s.Manifest
}

func TestScan_listsEverythingInOrderAndFollowsNothing(t *testing.T) {
	t.Parallel()
	root := pipetest.Files(t, map[string]string{
		"a/b":                 "one",
		"a.b":                 "two",
		"*bin/run":            "three",
		"empty/":              "",
		"out -> /etc/passwd":  "",
		"a/up -> ../a.b":      "",
		"dangling -> nowhere": "",
		"dir -> a":            "",
	})
	run := file("bin/run", "three")
	run.Exec = true
	want := tree.Manifest{
		{Path: "a", Kind: tree.Dir},
		file("a/b", "one"),
		{Path: "a/up", Kind: tree.Link, Target: "../a.b"},
		file("a.b", "two"),
		{Path: "bin", Kind: tree.Dir},
		run,
		{Path: "dangling", Kind: tree.Link, Target: "nowhere"},
		{Path: "dir", Kind: tree.Link, Target: "a"},
		{Path: "empty", Kind: tree.Dir},
		{Path: "out", Kind: tree.Link, Target: "/etc/passwd"},
	}
	if diff := cmp.Diff(want, scan(t, root)); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}

	// The root itself may be reached through a link.
	alias := filepath.Join(t.TempDir(), "alias")
	if err := os.Symlink(root, alias); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, scan(t, alias)); diff != "" {
		t.Errorf("through a link (-want +got):\n%s", diff)
	}
}

func TestScan_asksSkipBeforeItLooksInside(t *testing.T) {
	t.Parallel()
	root := pipetest.Files(t, map[string]string{"keep/x": "", "drop/y": "", "drop.txt": "", "z": ""})
	var mu sync.Mutex
	var asked []string
	m, err := tree.Scan(context.Background(), root, tree.ScanOptions{
		Skip: func(rel string, isDir bool) bool {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, fmt.Sprint(rel, " ", isDir))
			return strings.HasPrefix(rel, "drop")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tree.Manifest{{Path: "keep", Kind: tree.Dir}, file("keep/x", ""), file("z", "")}, m); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}
	if below := slices.Index(asked, "keep/x false"); below < slices.Index(asked, "keep true") {
		t.Errorf("asked below a directory before the directory: %q", asked)
	}
	slices.Sort(asked)
	if diff := cmp.Diff([]string{"drop true", "drop.txt false", "keep true", "keep/x false", "z false"}, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestScan_keepsOddNames(t *testing.T) {
	t.Parallel()
	names := []string{
		"new\nline", "tab\t", "esc\x1b[2J", "-rf", strings.Repeat("n", 255), "bad\xff\xfeutf8", "trailing ", "co:lon",
		"\u00e9", "e\u0301", `back\slash`, "*", "a b",
	}
	files := map[string]string{}
	for _, n := range names {
		files["./"+n] = n
	}
	m := scan(t, pipetest.Files(t, files))
	if len(m) != len(names) {
		t.Fatalf("%d entries, want %d", len(m), len(names))
	}
	for _, n := range names {
		got, ok := m.Find(n)
		if !ok || got != file(n, n) {
			t.Errorf("%q: found %v, %+v", n, ok, got)
		}
	}
}

func TestScan_namesTheFileThatCannotBeRead(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 {
		t.Skip("root reads every file")
	}
	root := pipetest.Files(t, map[string]string{"dir/secret": "x"})
	if err := os.Chmod(filepath.Join(root, "dir/secret"), 0); err != nil {
		t.Fatal(err)
	}
	_, err := tree.Scan(context.Background(), root, tree.ScanOptions{})
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "dir/secret") {
		t.Errorf("error is %v", err)
	}
}

func TestScan_stopsWhenTheContextEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("enough")
	cancel(why)
	if _, err := tree.Scan(ctx, pipetest.Files(t, map[string]string{"a": ""}), tree.ScanOptions{}); !errors.Is(err, why) {
		t.Errorf("error is %v", err)
	}
}

func TestScan_noticesAFileThatChangesWhileItIsRead(t *testing.T) {
	t.Parallel()
	root := pipetest.Files(t, map[string]string{"f": strings.Repeat("x", 1<<20)})
	name := filepath.Join(root, "f")
	changed := 0
	for range 200 {
		stop := make(chan struct{})
		done := make(chan error)
		go func() {
			f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
			for err == nil {
				select {
				case <-stop:
					done <- f.Close()
					return
				default:
					_, err = f.Write([]byte("y"))
				}
			}
			done <- err
		}()
		m, err := tree.Scan(context.Background(), root, tree.ScanOptions{})
		close(stop)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		var moved *tree.ChangedError
		switch {
		case err == nil:
			// Whatever was seen must be one state: a prefix of what is there now.
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if m[0].Digest != digest.Of(b[:m[0].Size]) {
				t.Fatal("a scan mixed two states of a file")
			}
		case errors.As(err, &moved) && moved.Path == name:
			changed++
		default:
			t.Fatal(err)
		}
		if changed >= 3 {
			return
		}
		if err := os.Truncate(name, 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	t.Errorf("only %d of 200 scans noticed a file that grew all the time", changed)
}

func TestScanPaths_takesTheListAndNothingElse(t *testing.T) {
	t.Parallel()
	root := pipetest.Files(t, map[string]string{"a/b": "1", "a/c": "2", "d": "3", "sub/x": "4", "l -> a": ""})
	m := scanPaths(t, root, tree.ScanOptions{}, "sub/", "d", "a/b", "d", "gone", "a/gone", "d/below", "l", "l/b", "gone/too")
	want := tree.Manifest{
		file("a/b", "1"), file("d", "3"),
		{Path: "l", Kind: tree.Link, Target: "a"},
		{Path: "sub", Kind: tree.Dir},
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}

	m = scanPaths(t, root, tree.ScanOptions{
		Skip: func(rel string, isDir bool) bool { return rel == "a" && isDir },
	}, "a/b", "a/c", "d")
	if diff := cmp.Diff(tree.Manifest{file("d", "3")}, m); diff != "" {
		t.Errorf("with a skipped directory (-want +got):\n%s", diff)
	}
	// A directory that is listed itself, before or after what lies in it, and entered again.
	for _, paths := range [][]string{{"sub/x", "d", "sub"}, {"p/q/r", "d", "p/q", "p/s"}, {"p/q", "d", "p/q/r", "d", "p/q/r"}} {
		m := scanPaths(t, pipetest.Files(t, map[string]string{"sub/x": "", "d": "", "p/q/r": "", "p/s": ""}), tree.ScanOptions{}, paths...)
		slices.Sort(paths)
		want := slices.Compact(paths)
		slices.SortFunc(want, tree.Compare)
		var got []string
		for _, e := range m {
			got = append(got, e.Path)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", paths, diff)
		}
	}
	for _, bad := range []string{"/etc/passwd", "../x", "a/../../x", "..", ".", "", "a//b"} {
		if _, err := tree.ScanPaths(context.Background(), root, list(bad), tree.ScanOptions{}); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestCopy_makesAnEqualTreeOfItsOwn(t *testing.T) {
	t.Parallel()
	root := pipetest.Files(t, map[string]string{
		"a/b": "one", "*run": "two", "empty/": "", "l -> a/b": "", "into -> a": "", "big": strings.Repeat("b", 1<<20),
	})
	if err := os.Link(filepath.Join(root, "a/b"), filepath.Join(root, "hard")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(root, "run"), 0o4711); err != nil {
		t.Fatal(err)
	}
	m := scan(t, root)
	to := filepath.Join(t.TempDir(), "new", "tree")
	if err := tree.Copy(context.Background(), m, root, to); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, scan(t, to)); diff != "" {
		t.Errorf("copy (-want +got):\n%s", diff)
	}
	for name, want := range map[string]fs.FileMode{"run": 0o755, "a/b": 0o644, "a": 0o755 | fs.ModeDir} {
		fi, err := os.Stat(filepath.Join(to, name))
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode() != want {
			t.Errorf("%s has mode %s, want %s", name, fi.Mode(), want)
		}
	}
	if err := os.WriteFile(filepath.Join(to, "hard"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, scan(t, root)); diff != "" {
		t.Errorf("a change of the copy reached the source:\n%s", diff)
	}
}

func TestCopy_refusesOtherBytesAndOtherPlaces(t *testing.T) {
	t.Parallel()
	root := pipetest.Files(t, map[string]string{"f": "planned", "g -> f": ""})
	for name, m := range map[string]tree.Manifest{
		"other content": {file("f", "Planned")},
		"shorter":       {file("f", "plan")},
		"longer":        {file("f", "planned and more")},
	} {
		var moved *tree.ChangedError
		if err := tree.Copy(context.Background(), m, root, t.TempDir()); !errors.As(err, &moved) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	for _, p := range []string{"../f", "/f", "g"} {
		if err := tree.Copy(context.Background(), tree.Manifest{file(p, "planned")}, root, t.TempDir()); err == nil {
			t.Errorf("%q was copied", p)
		}
	}
}

func TestDiff_tellsAddedChangedAndRemoved(t *testing.T) {
	t.Parallel()
	exec := file("same-bytes", "x")
	exec.Exec = true
	before := tree.Manifest{file("a", "1"), file("b", "2"), file("same-bytes", "x"), file("z", "9")}
	after := tree.Manifest{file("a", "1"), file("b", "3"), file("c", "4"), exec}
	b2, b3, c, s, z := file("b", "2"), file("b", "3"), file("c", "4"), file("same-bytes", "x"), file("z", "9")
	want := []tree.Change{
		{Path: "b", Before: &b2, After: &b3},
		{Path: "c", After: &c},
		{Path: "same-bytes", Before: &s, After: &exec},
		{Path: "z", Before: &z},
	}
	if diff := cmp.Diff(want, tree.Diff(before, after)); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if got := tree.Diff(before, before); got != nil {
		t.Errorf("equal manifests differ: %v", got)
	}
}

func BenchmarkScan(b *testing.B) {
	files := map[string]string{}
	for i := range 2000 {
		files[fmt.Sprintf("d%02d/f%04d", i%50, i)] = strings.Repeat("content ", i%500)
	}
	root := pipetest.Files(b, files)
	b.ReportAllocs()
	for b.Loop() {
		if len(scan(b, root)) != 2050 {
			b.Fatal("entries are missing")
		}
	}
}
