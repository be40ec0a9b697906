package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// TestMain also is the process that TestStore_manyProcessesFillItWithTheSameDigests starts.
func TestMain(m *testing.M) {
	if dir := os.Getenv("STORE_TEST_FILL"); dir != "" {
		if err := fillStore(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "cache"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(s *Store, b []byte) (digest.Digest, error) {
	in, err := s.Create()
	if err != nil {
		return digest.Digest{}, err
	}
	defer in.Close()
	if _, err := in.Write(b); err != nil {
		return digest.Digest{}, err
	}
	d, _, err := in.Commit("test file", digest.Of(b), int64(len(b)))
	return d, err
}

func read(s *Store, d digest.Digest) ([]byte, error) {
	f, err := s.Open(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// ingestNames lists what is being written, or was left behind.
func ingestNames(t *testing.T, s *Store) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(s.dir, "ingest"))
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestCommit_storesAReadOnlyFileUnderItsDigest(t *testing.T) {
	t.Parallel()
	s := open(t)
	want := []byte("a runtime")
	d, err := put(s, want)
	if err != nil {
		t.Fatal(err)
	}
	if size, ok := s.Has(d); !ok || size != int64(len(want)) {
		t.Errorf("Has = %d, %v", size, ok)
	}
	got, err := read(s, d)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %q, %v", got, err)
	}
	h := d.String()
	fi, err := os.Stat(filepath.Join(s.dir, "sha256", h[:2], h))
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" {
		if fi.Mode() != 0o444 {
			t.Errorf("file mode is %v", fi.Mode())
		}
		for _, dir := range []string{s.dir, filepath.Join(s.dir, "sha256", h[:2])} {
			if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
				t.Errorf("mode of %s is %v, %v", dir, fi.Mode(), err)
			}
		}
	}
	if names := ingestNames(t, s); len(names) != 0 {
		t.Errorf("left in ingest: %q", names)
	}
}

func TestCommit_refusesOtherBytesAndOtherSizes(t *testing.T) {
	t.Parallel()
	s := open(t)
	for name, c := range map[string]struct {
		want digest.Digest
		size int64
		ok   bool
	}{
		"anything":     {digest.Digest{}, -1, true},
		"right":        {digest.Of([]byte("abc")), 3, true},
		"wrong digest": {digest.Of([]byte("abd")), 3, false},
		"too short":    {digest.Of([]byte("abc")), 4, false},
		"too long":     {digest.Digest{}, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			in, err := s.Create()
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			if _, err := in.Write([]byte("abc")); err != nil {
				t.Fatal(err)
			}
			_, _, err = in.Commit("runtime node", c.want, c.size)
			var mismatch *digest.MismatchError
			if c.ok && err != nil || !c.ok && !errors.As(err, &mismatch) {
				t.Fatalf("got %v", err)
			}
			if !c.ok && !strings.HasPrefix(err.Error(), "runtime node: ") {
				t.Errorf("error does not name the subject: %v", err)
			}
		})
	}
	if names := ingestNames(t, s); len(names) != 0 {
		t.Errorf("left in ingest: %q", names)
	}
}

func TestIngest_resetForgetsWhatWasWritten(t *testing.T) {
	t.Parallel()
	s := open(t)
	in, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := io.WriteString(in, "half of an answer"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	if _, err := in.ReadAt(b, 8); err != nil || string(b) != "an a" {
		t.Errorf("ReadAt gave %q, %v", b, err)
	}
	if err := in.Reset(); err != nil || in.Size() != 0 {
		t.Fatalf("Reset: %v, size %d", err, in.Size())
	}
	if _, err := io.WriteString(in, "whole"); err != nil {
		t.Fatal(err)
	}
	d, n, err := in.Commit("x", digest.Digest{}, -1)
	if err != nil || n != 5 || d != digest.Of([]byte("whole")) {
		t.Fatalf("Commit = %v, %d, %v", d, n, err)
	}
	if got, err := read(s, d); err != nil || string(got) != "whole" {
		t.Errorf("read %q, %v", got, err)
	}
	if _, _, err := in.Commit("x", digest.Digest{}, -1); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("second Commit: %v", err)
	}
}

func TestOpen_findsAndHealsEveryFlippedBit(t *testing.T) {
	t.Parallel()
	s := open(t)
	want := []byte("bytes that a disk may change")
	for bit := range len(want) * 8 {
		d, err := put(s, want)
		if err != nil {
			t.Fatal(err)
		}
		bad := bytes.Clone(want)
		bad[bit/8] ^= 1 << (bit % 8)
		overwrite(t, s.Path(d), bad)
		if f, err := s.Open(d); !errors.Is(err, ErrNotFound) {
			_ = f.Close()
			t.Fatalf("bit %d: got %v", bit, err)
		}
		if _, ok := s.Has(d); ok {
			t.Fatalf("bit %d: the damaged file is still there", bit)
		}
	}
	d, err := put(s, want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := read(s, d); err != nil || !bytes.Equal(got, want) {
		t.Errorf("after healing: %q, %v", got, err)
	}
}

func overwrite(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCommit_mendsADamagedFile(t *testing.T) {
	t.Parallel()
	s := open(t)
	d, err := put(s, []byte("good"))
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, s.Path(d), []byte("bad!"))
	if _, err := put(s, []byte("good")); err != nil {
		t.Fatal(err)
	}
	if got, err := read(s, d); err != nil || string(got) != "good" {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestOpen_neverFollowsALinkOrWaitsForAFIFO(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("makes FIFOs the Linux way")
	}
	s := open(t)
	want := []byte("target")
	d := digest.Of(want)
	target := filepath.Join(t.TempDir(), "target")
	if err := os.WriteFile(target, want, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, place := range map[string]func(path string) error{
		"link":      func(path string) error { return os.Symlink(target, path) },
		"FIFO":      mkfifo,
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		if err := s.mkdirs(filepath.Dir(s.Path(d))); err != nil {
			t.Fatal(err)
		}
		if err := place(s.Path(d)); err != nil {
			t.Fatal(err)
		}
		if _, ok := s.Has(d); ok {
			t.Errorf("%s: Has says yes", name)
		}
		if f, err := s.Open(d); !errors.Is(err, ErrNotFound) {
			_ = f.Close()
			t.Errorf("%s: got %v", name, err)
		}
		if _, err := os.Lstat(s.Path(d)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: still there", name)
		}
	}
	if got, err := os.ReadFile(target); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the link's target changed: %q, %v", got, err)
	}
}

func TestStore_emptyOnes(t *testing.T) {
	t.Parallel()
	s := open(t)
	if _, ok := s.Has(digest.Digest{}); ok {
		t.Error("has the digest that is not known")
	}
	if _, err := s.Open(digest.Of([]byte("x"))); !errors.Is(err, ErrNotFound) {
		t.Errorf("Open: %v", err)
	}
	if err := s.Remove(digest.Of([]byte("x"))); err != nil {
		t.Errorf("Remove: %v", err)
	}
	if _, _, ok, err := s.Tree("runtime", digest.Of([]byte("x"))); ok || err != nil {
		t.Errorf("Tree: %v, %v", ok, err)
	}
	if err := s.RemoveTree("runtime", digest.Of([]byte("x"))); err != nil {
		t.Errorf("RemoveTree: %v", err)
	}
	var v string
	if ok, err := s.GetRef("slug", "x", &v); ok || err != nil {
		t.Errorf("GetRef: %v, %v", ok, err)
	}
}

func TestCommit_givesUpAFileThatCouldNotBeFlushed(t *testing.T) {
	t.Parallel()
	s := open(t)
	syncs := 0
	s.syncFile = func(*os.File) error { syncs++; return syscall.EIO }
	in, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "abc"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, _, err := in.Commit("runtime node", digest.Digest{}, -1); !errors.Is(err, syscall.EIO) {
			t.Fatalf("Commit: %v", err)
		}
	}
	if syncs != 1 {
		t.Errorf("flushed %d times: the second answer means nothing", syncs)
	}
	if _, err := io.WriteString(in, "more"); !errors.Is(err, syscall.EIO) {
		t.Errorf("Write: %v", err)
	}
	if err := in.Reset(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Reset: %v", err)
	}
	if err := in.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, ok := s.Has(digest.Of([]byte("abc"))); ok {
		t.Error("the file is in the store")
	}
	if names := ingestNames(t, s); len(names) != 0 {
		t.Errorf("left in ingest: %q", names)
	}
	if err := s.PutRef("slug", "k", 1); !errors.Is(err, syscall.EIO) {
		t.Errorf("PutRef: %v", err)
	}
	if _, _, err := s.PutTree("output", digest.Of(nil), fillWith(map[string]string{"a": "b"})); !errors.Is(err, syscall.EIO) {
		t.Errorf("PutTree: %v", err)
	}
	if _, _, ok, _ := s.Tree("output", digest.Of(nil)); ok {
		t.Error("the tree is in the store")
	}
}

func TestCreate_saysWhichDirectoryCannotBeWritten(t *testing.T) {
	t.Parallel()
	s := open(t)
	ingest := filepath.Join(s.dir, "ingest")
	if err := os.Remove(ingest); err != nil {
		t.Fatal(err)
	}
	_, err := s.Create()
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), ingest) {
		t.Errorf("got %v", err)
	}
}

func TestOpen_refusesADirectoryThatIsALinkOrAFile(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	if err := os.Mkdir(filepath.Join(tmp, "real"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(tmp, "link")); err != nil {
		t.Skip("no links here: ", err)
	}
	if err := os.WriteFile(filepath.Join(tmp, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "file"} {
		if _, err := Open(filepath.Join(tmp, name)); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	s := open(t)
	if err := os.Remove(filepath.Join(s.dir, "refs")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(tmp, filepath.Join(s.dir, "refs")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(s.dir); err == nil {
		t.Error("opened with refs a link")
	}
}

func TestOpen_closesTheDirectoryToOthers(t *testing.T) {
	t.Parallel()
	if !closedByMode {
		t.Skip("permission bits mean nothing here")
	}
	dir := filepath.Join(t.TempDir(), "cache")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
}

func TestOpen_removesLeftoversAndLeavesWhatIsBeingWritten(t *testing.T) {
	t.Parallel()
	s := open(t)
	live, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	if _, err := io.WriteString(live, "still"); err != nil {
		t.Fatal(err)
	}
	work, cleanup, err := s.Work("step-")
	if err != nil {
		t.Fatal(err)
	}
	defer cleanup()

	// What processes leave when they are killed: a name with a lock file that nobody holds, a
	// tree with directories that cannot be written, and a name without a lock file.
	ingest := filepath.Join(s.dir, "ingest")
	for _, name := range []string{"dead", "dead.lock", "tree.lock", "orphan"} {
		if err := os.WriteFile(filepath.Join(ingest, name), []byte("torn"), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(ingest, "dead.lock"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(ingest, "tree.lock"), 0o600); err != nil {
		t.Fatal(err)
	}
	readOnlyTree(t, filepath.Join(ingest, "tree"))

	if _, err := Open(s.dir); err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Base(live.lease.path), filepath.Base(work)}
	for _, name := range ingestNames(t, s) {
		if !strings.HasPrefix(name, want[0]) && !strings.HasPrefix(name, want[1]) {
			t.Errorf("left: %s", name)
		}
	}
	if _, _, err := live.Commit("live", digest.Of([]byte("still")), -1); err != nil {
		t.Errorf("the live file was taken: %v", err)
	}
	if _, err := os.Stat(work); err != nil {
		t.Errorf("the live work directory was taken: %v", err)
	}
}

func readOnlyTree(t *testing.T, dir string) {
	t.Helper()
	deep := filepath.Join(dir, "a", "b")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(deep, "f"), nil, 0o400); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{deep, filepath.Dir(deep), dir} {
		if err := os.Chmod(d, 0o500); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWork_cleanupRemovesReadOnlyTrees(t *testing.T) {
	t.Parallel()
	s := open(t)
	dir, cleanup, err := s.Work("x")
	if err != nil {
		t.Fatal(err)
	}
	readOnlyTree(t, filepath.Join(dir, "modules"))
	cleanup()
	if names := ingestNames(t, s); len(names) != 0 {
		t.Errorf("left in ingest: %q", names)
	}
}

// TestRemoveAll_asAnOrdinaryUser does what root cannot show: permissions do not stop root.
func TestRemoveAll_asAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("needs root, to become somebody else; an ordinary user has the tests above")
	}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("no setpriv")
	}
	exe := copyOfTest(t)
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", exe,
		"-test.run=^(TestWork_|TestOpen_removes|TestCommit_|TestPutTree_)", "-test.v")
	cmd.Env = []string{"TMPDIR=" + dir, "PATH=" + os.Getenv("PATH")}
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("PASS: TestWork_cleanupRemovesReadOnlyTrees")) {
		t.Errorf("%v\n%s", err, out)
	}
}

// copyOfTest puts the running test binary where every user can read it.
func copyOfTest(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "exe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(dir, "store.test")
	if err := os.WriteFile(exe, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return exe
}

func TestStore_refusesNamesThatAreNotPlain(t *testing.T) {
	t.Parallel()
	s := open(t)
	for _, name := range []string{"", ".", "..", "../x", "a/b", `a\b`, "/abs", ".hidden", "end.", "a\x00b", "nul\n", "é", "C:x", strings.Repeat("x", 129)} {
		if err := s.PutRef("slug", name, 1); err == nil {
			t.Errorf("PutRef took key %q", name)
		}
		if err := s.PutRef(name, "key", 1); err == nil {
			t.Errorf("PutRef took kind %q", name)
		}
		if s.PutBytes("slug", name, nil) == nil || s.PutBytes(name, "key", nil) == nil {
			t.Errorf("PutBytes took %q", name)
		}
		var v int
		if _, err := s.GetRef("slug", name, &v); err == nil {
			t.Errorf("GetRef took key %q", name)
		}
		if _, _, _, err := s.Tree(name, digest.Digest{}); err == nil {
			t.Errorf("Tree took kind %q", name)
		}
		if _, _, err := s.PutTree(name, digest.Digest{}, fillWith(nil)); err == nil {
			t.Errorf("PutTree took kind %q", name)
		}
		if name == "" {
			continue
		}
		if _, cleanup, err := s.Work(name); err == nil {
			cleanup()
			t.Errorf("Work took prefix %q", name)
		}
	}
}

func TestPutRef_keepsTheLatestValue(t *testing.T) {
	t.Parallel()
	s := open(t)
	type slug struct {
		Path string
		Size int64
	}
	for i := range int64(3) {
		want := slug{Path: "é<&>\u2028", Size: i}
		if err := s.PutRef("slug", "0a-b_c.d", want); err != nil {
			t.Fatal(err)
		}
		var got slug
		if ok, err := s.GetRef("slug", "0a-b_c.d", &got); !ok || err != nil || got != want {
			t.Errorf("GetRef = %+v, %v, %v", got, ok, err)
		}
	}
}

func TestGetRef_takesADamagedDocumentForAbsent(t *testing.T) {
	t.Parallel()
	s := open(t)
	if err := s.PutRef("slug", "k", map[string]string{"path": "value"}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.dir, "refs", "slug", "k.json")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole = bytes.TrimSuffix(whole, []byte("\n"))
	check := func(what string, b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		var v map[string]string
		ok, err := s.GetRef("slug", "k", &v)
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		// A bit may turn a letter of a JSON key into its capital, which Go reads alike: then the
		// value must still be the one that was stored.
		if ok && v["path"] != "value" {
			t.Errorf("%s: read %v", what, v)
		}
	}
	for n := range len(whole) {
		check(fmt.Sprintf("torn at %d", n), whole[:n])
	}
	for bit := range len(whole) * 8 {
		b := bytes.Clone(whole)
		b[bit/8] ^= 1 << (bit % 8)
		check(fmt.Sprintf("bit %d", bit), b)
	}
	// A document of another name, whole in itself.
	if err := os.WriteFile(filepath.Join(s.dir, "refs", "slug", "other.json"), whole, 0o600); err != nil {
		t.Fatal(err)
	}
	var v map[string]string
	if ok, err := s.GetRef("slug", "other", &v); ok || err != nil {
		t.Errorf("moved document: %v, %v", ok, err)
	}
}

// fillWith makes the files of a tree.
func fillWith(files map[string]string) func(string) (tree.Manifest, error) {
	return func(dir string) (tree.Manifest, error) {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, err
		}
		for name, content := range files {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return nil, err
			}
			if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
				return nil, err
			}
		}
		return tree.Scan(context.Background(), dir, tree.ScanOptions{})
	}
}

func TestPutTree_givesBackTheTreeAndItsManifest(t *testing.T) {
	t.Parallel()
	s := open(t)
	key := digest.Of([]byte("key"))
	files := map[string]string{"bin/node": "binary", "README": "text", "bad\xffname": "raw"}
	if runtime.GOOS != "linux" {
		delete(files, "bad\xffname") // not a name there
	}
	dir, m, err := s.PutTree("runtime", key, fillWith(files))
	if err != nil {
		t.Fatal(err)
	}
	again, m2, ok, err := s.Tree("runtime", key)
	if !ok || err != nil || again != dir {
		t.Fatalf("Tree = %q, %v, %v", again, ok, err)
	}
	if diff := cmp.Diff(m, m2); diff != "" {
		t.Error(diff)
	}
	for name, want := range files {
		e, ok := m2.Find(name)
		if !ok || e.Digest != digest.Of([]byte(want)) {
			t.Errorf("manifest has %+v, %v for %q", e, ok, name)
		}
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%q holds %q, %v", name, got, err)
		}
	}
	calls := 0
	if _, _, err := s.PutTree("runtime", key, func(string) (tree.Manifest, error) { calls++; return nil, nil }); err != nil || calls != 0 {
		t.Errorf("a tree that is there was filled %d times, %v", calls, err)
	}
	if _, _, ok, _ := s.Tree("output", key); ok {
		t.Error("found under another kind")
	}
	if names := ingestNames(t, s); len(names) != 0 {
		t.Errorf("left in ingest: %q", names)
	}
}

func TestPutTree_leavesNothingBehindWhenFillingFails(t *testing.T) {
	t.Parallel()
	s := open(t)
	boom := errors.New("boom")
	_, _, err := s.PutTree("runtime", digest.Of(nil), func(dir string) (tree.Manifest, error) {
		readOnlyTree(t, dir)
		return nil, boom
	})
	if !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	if _, _, err := s.PutTree("runtime", digest.Of(nil), func(string) (tree.Manifest, error) { return nil, nil }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("filling nothing: %v", err)
	}
	if names := ingestNames(t, s); len(names) != 0 {
		t.Errorf("left in ingest: %q", names)
	}
	if _, _, ok, _ := s.Tree("runtime", digest.Of(nil)); ok {
		t.Error("the tree is there")
	}
}

func TestTree_takesATornOneForAbsentAndPutTreeReplacesIt(t *testing.T) {
	t.Parallel()
	for name, tear := range map[string]func(at string) error{
		"manifest torn":       func(at string) error { return os.Truncate(filepath.Join(at, "manifest.bin"), 40) },
		"manifest gone":       func(at string) error { return os.Remove(filepath.Join(at, "manifest.bin")) },
		"manifest a link":     func(at string) error { return relink(filepath.Join(at, "manifest.bin"), "/dev/null") },
		"tree gone":           func(at string) error { return os.RemoveAll(filepath.Join(at, "tree")) },
		"a file in its place": func(at string) error { return errors.Join(os.RemoveAll(at), os.WriteFile(at, nil, 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			key := digest.Of([]byte("key"))
			dir, m, err := s.PutTree("output", key, fillWith(map[string]string{"a": "1"}))
			if err != nil {
				t.Fatal(err)
			}
			if err := tear(filepath.Dir(dir)); err != nil {
				t.Fatal(err)
			}
			if _, _, ok, err := s.Tree("output", key); ok {
				t.Errorf("torn tree found, %v", err)
			}
			_, m2, err := s.PutTree("output", key, fillWith(map[string]string{"a": "1"}))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(m, m2); diff != "" {
				t.Error(diff)
			}
			if names := ingestNames(t, s); len(names) != 0 {
				t.Errorf("left in ingest: %q", names)
			}
		})
	}
}

func relink(path, target string) error {
	return errors.Join(os.Remove(path), os.Symlink(target, path))
}

func TestVerifyTree_findsAndHealsEveryChange(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(dir string) error{
		"a flipped bit": func(dir string) error { return os.WriteFile(filepath.Join(dir, "d/a"), []byte("0"), 0o644) },
		"a lost file":   func(dir string) error { return os.Remove(filepath.Join(dir, "d/a")) },
		"a new file":    func(dir string) error { return os.WriteFile(filepath.Join(dir, "new"), nil, 0o644) },
		"a mode":        func(dir string) error { return os.Chmod(filepath.Join(dir, "d/a"), 0o755) },
		"a link":        func(dir string) error { return relink(filepath.Join(dir, "d/a"), "b") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			key := digest.Of([]byte("key"))
			fill := fillWith(map[string]string{"d/a": "1", "d/b": "2"})
			dir, _, err := s.PutTree("output", key, fill)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, ok, err := s.VerifyTree(context.Background(), "output", key); !ok || err != nil {
				t.Fatalf("a good tree: %v, %v", ok, err)
			}
			if err := change(dir); err != nil {
				t.Fatal(err)
			}
			if _, _, ok, err := s.VerifyTree(context.Background(), "output", key); ok || err != nil {
				t.Fatalf("a changed tree: %v, %v", ok, err)
			}
			if _, _, err := s.PutTree("output", key, fill); err != nil {
				t.Fatal(err)
			}
			if _, _, ok, err := s.VerifyTree(context.Background(), "output", key); !ok || err != nil {
				t.Errorf("after healing: %v, %v", ok, err)
			}
		})
	}
}

func TestVerifyTree_acceptsAManifestWithoutDirectories(t *testing.T) {
	t.Parallel()
	s := open(t)
	key := digest.Of([]byte("key"))
	_, _, err := s.PutTree("output", key, func(dir string) (tree.Manifest, error) {
		m, err := fillWith(map[string]string{"a/b/c": "1", "a/d": "2"})(dir)
		return m.Filter(func(e tree.Entry) bool { return e.Kind != tree.Dir }), err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok, err := s.VerifyTree(context.Background(), "output", key); !ok || err != nil {
		t.Errorf("VerifyTree = %v, %v", ok, err)
	}
}

// fillStore is one writer of the races below: five files, five trees, one document.
func fillStore(dir string) error {
	s, err := Open(dir)
	if err != nil {
		return err
	}
	for n := range 5 {
		b := bytes.Repeat([]byte{byte(n)}, 200_000)
		d, err := put(s, b)
		if err != nil {
			return fmt.Errorf("put %d: %w", n, err)
		}
		if got, err := read(s, d); err != nil || !bytes.Equal(got, b) {
			return fmt.Errorf("read %d: %w", n, err)
		}
		tdir, m, err := s.PutTree("runtime", d, fillWith(map[string]string{"x/y": fmt.Sprint(n)}))
		if err != nil {
			return fmt.Errorf("put tree %d: %w", n, err)
		}
		if got, err := os.ReadFile(filepath.Join(tdir, "x/y")); err != nil || string(got) != fmt.Sprint(n) || len(m) != 2 {
			return fmt.Errorf("read tree %d: %q, %d entries, %w", n, got, len(m), err)
		}
		if err := s.PutRef("slug", "same", n); err != nil {
			return fmt.Errorf("put ref: %w", err)
		}
		var v int
		if ok, err := s.GetRef("slug", "same", &v); err != nil || !ok {
			return fmt.Errorf("get ref: %v, %w", ok, err)
		}
	}
	return nil
}

func TestStore_manyGoroutinesFillItWithTheSameDigests(t *testing.T) {
	t.Parallel()
	s := open(t)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if err := fillStore(s.dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	checkFilled(t, s)
}

func TestStore_manyProcessesFillItWithTheSameDigests(t *testing.T) {
	t.Parallel()
	s := open(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			cmd := exec.Command(exe)
			cmd.Env = append(os.Environ(), "STORE_TEST_FILL="+s.dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	wg.Wait()
	checkFilled(t, s)
}

func checkFilled(t *testing.T, s *Store) {
	t.Helper()
	for n := range 5 {
		d := digest.Of(bytes.Repeat([]byte{byte(n)}, 200_000))
		f, err := s.Open(d)
		if err != nil {
			t.Error(err)
			continue
		}
		_ = f.Close()
		if _, _, ok, err := s.VerifyTree(context.Background(), "runtime", d); !ok || err != nil {
			t.Errorf("tree %d: %v, %v", n, ok, err)
		}
	}
	if names := ingestNames(t, s); len(names) != 0 {
		t.Errorf("left in ingest: %q", names)
	}
}
