//go:build unix

package tree_test

import (
	"errors"
	"os"
	"syscall"
	"testing"
)

// mkfifo puts a FIFO in the place of a file.
func mkfifo(t testing.TB, name string) {
	t.Helper()
	if err := errors.Join(os.Remove(name), syscall.Mkfifo(name, 0o644)); err != nil {
		t.Fatal(err)
	}
}
