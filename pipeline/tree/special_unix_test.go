//go:build unix

package tree_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/tree"
)

func TestMove_takesFilesThatHaveNoOtherName(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	root := pipetest.Files(t, map[string]string{"a/b": "one", "*run": "two", "empty/": "", "l -> a/b": "", "secret": "3", "left": "4"})
	for _, err := range []error{
		os.Link(filepath.Join(root, "a/b"), filepath.Join(cache, "package")),
		os.Chmod(filepath.Join(root, "run"), 0o4711), os.Chmod(filepath.Join(root, "secret"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	all := scan(t, root)
	m := all.Filter(func(e tree.Entry) bool { return e.Path != "left" })
	to := filepath.Join(t.TempDir(), "new")
	if err := tree.Move(context.Background(), m, root, to); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, scan(t, to)); diff != "" {
		t.Errorf("moved (-want +got):\n%s", diff)
	}
	for name, want := range map[string]os.FileMode{"run": 0o755, "a/b": 0o644, "secret": 0o644} {
		if fi, err := os.Stat(filepath.Join(to, name)); err != nil || fi.Mode() != want {
			t.Errorf("%s: %v, %v; want mode %s", name, fi, err, want)
		}
	}
	if err := os.WriteFile(filepath.Join(cache, "package"), []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(to, "a/b")); err != nil || string(got) != "one" {
		t.Errorf("changed through its other name: %q, %v", got, err)
	}
	var rest []string
	for _, e := range scan(t, root) {
		if e.Kind == tree.File {
			rest = append(rest, e.Path)
		}
	}
	if diff := cmp.Diff([]string{"a/b", "left"}, rest); diff != "" {
		t.Errorf("left behind (-want +got):\n%s", diff)
	}
	if err := tree.Move(context.Background(), tree.Manifest{file("left", "longer than it is")}, root, t.TempDir()); err == nil {
		t.Error("a file of another size was moved")
	}
}

func TestScan_refusesWhatIsNoFileWithoutOpeningIt(t *testing.T) {
	t.Parallel()
	fifo := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(fifo, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	// The path of a socket is short on every system.
	socket, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(socket) })
	l, err := net.Listen("unix", filepath.Join(socket, "sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })

	for root, want := range map[string]string{fifo: `pipe" is a FIFO`, socket: `sock" is a socket`} {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		_, err := tree.Scan(ctx, root, tree.ScanOptions{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Scan: error %v does not say %q", err, want)
		}
		names, err := os.ReadDir(root)
		if err != nil {
			t.Fatal(err)
		}
		_, err = tree.ScanPaths(ctx, root, list(names[0].Name()), tree.ScanOptions{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ScanPaths: error %v does not say %q", err, want)
		}
		cancel()
	}

	if _, err := tree.Scan(context.Background(), fifo, tree.ScanOptions{
		Skip: func(rel string, _ bool) bool { return rel == "pipe" },
	}); err != nil {
		t.Errorf("a skipped FIFO stops the scan: %v", err)
	}
}

func TestScan_refusesADevice(t *testing.T) {
	t.Parallel()
	_, err := tree.ScanPaths(context.Background(), "/dev", list("null"), tree.ScanOptions{})
	if err == nil || !strings.Contains(err.Error(), `null" is a device`) {
		t.Errorf("error is %v", err)
	}
}

func TestOpen_doesNotFollowAndDoesNotWait(t *testing.T) {
	t.Parallel()
	root := pipetest.Files(t, map[string]string{"f": "x", "l -> f": ""})
	if f, err := tree.Open(filepath.Join(root, "l")); err == nil {
		f.Close()
		t.Error("a link was opened")
	}
	pipe := filepath.Join(root, "pipe")
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := tree.Open(pipe) // with nobody at the other end this would wait for ever
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}
