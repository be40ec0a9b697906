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

	"github.com/slugfile/slugfile/pipeline/tree"
)

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
		list, err := os.ReadDir(root)
		if err != nil {
			t.Fatal(err)
		}
		_, err = tree.ScanPaths(ctx, root, []string{list[0].Name()}, tree.ScanOptions{})
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
	_, err := tree.ScanPaths(context.Background(), "/dev", []string{"null"}, tree.ScanOptions{})
	if err == nil || !strings.Contains(err.Error(), `null" is a device`) {
		t.Errorf("error is %v", err)
	}
}

func TestOpen_doesNotFollowAndDoesNotWait(t *testing.T) {
	t.Parallel()
	root := write(t, map[string]string{"f": "x", "l -> f": ""})
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
