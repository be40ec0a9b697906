//go:build unix

package unpack_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/unpack"
)

// What was unpacked can be run at once, also while this process starts others: a child that
// has not got to its exec holds all files that were open for writing.
func TestExtract_leavesNoProgramOpenForWriting(t *testing.T) {
	t.Parallel()
	archive := filepath.Join(t.TempDir(), "a.tar.gz")
	if err := os.WriteFile(archive, pipetest.TarGz(t, map[string]string{"run*": "#!/bin/sh\nexit 0\n"}), 0o644); err != nil {
		t.Fatal(err)
	}
	var done atomic.Bool
	var others sync.WaitGroup
	for range 4 {
		others.Go(func() {
			for !done.Load() {
				_ = exec.Command("/bin/true").Run()
			}
		})
	}
	defer others.Wait()
	defer done.Store(true)
	for i := range 60 {
		f, err := os.Open(archive)
		if err != nil {
			t.Fatal(err)
		}
		dest := filepath.Join(t.TempDir(), fmt.Sprint(i))
		_, err = unpack.Extract(t.Context(), f, dest, unpack.Options{Volatile: true})
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if err := exec.Command(filepath.Join(dest, "run")).Run(); err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
	}
}
