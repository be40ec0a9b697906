package release_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/release"
)

func TestLock_isHeldByOneAtATime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "apps", "a", "lock")
	unlock, err := release.Lock(t.Context(), path, release.LockOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var busy *release.BusyError
	_, err = release.Lock(t.Context(), path, release.LockOptions{Timeout: 50 * time.Millisecond})
	if !errors.As(err, &busy) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) || busy.Hint() == "" {
		t.Errorf("%v", err)
	}
	told := make(chan string, 2)
	done := make(chan error)
	go func() {
		second, err := release.Lock(context.Background(), path, release.LockOptions{Waiting: func(holder string) { told <- holder }})
		if err == nil {
			second()
		}
		done <- err
	}()
	select {
	case holder := <-told:
		if !strings.Contains(holder, fmt.Sprint(os.Getpid())) {
			t.Errorf("the holder is %q", holder)
		}
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	}
	unlock()
	if err := <-done; err != nil || len(told) > 0 {
		t.Errorf("%v, told %d times more", err, len(told))
	}
}

func TestLock_endsWithTheContext(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := release.Lock(t.Context(), path, release.LockOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	reason := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(30*time.Millisecond, func() { cancel(reason) })
	if _, err := release.Lock(ctx, path, release.LockOptions{}); !errors.Is(err, reason) {
		t.Errorf("%v", err)
	}
}

func TestLock_saysWhereItCannot(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("not a holder"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := release.Lock(t.Context(), filepath.Join(file, "lock"), release.LockOptions{}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("%v", err)
	}
	// What stands in the file is never trusted.
	unlock, err := release.Lock(t.Context(), file, release.LockOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("not a holder at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := release.Lock(t.Context(), file, release.LockOptions{Timeout: time.Millisecond}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("%v", err)
	}
	unlock()
}
