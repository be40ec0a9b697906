package release

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// LockOptions say how to wait for a lock. The zero value waits for as long as it takes.
type LockOptions struct {
	// Timeout is how long to wait; 0 is as long as it takes.
	Timeout time.Duration
	// Waiting is told once who holds the lock, when it was waited for a second.
	Waiting func(holder string)
}

// BusyError says that another process was at work on the app for longer than the timeout.
type BusyError struct {
	// Holder is "process 123, since 12:00:05"; or "another process" when it did not say.
	Holder string
	After  time.Duration
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("%s applies to this app, still after %s", e.Holder, e.After)
}

// Hint says how to go on.
func (e *BusyError) Hint() string {
	return "let the other one end, or wait longer with --lock-timeout"
}

// patience is how long a lock is waited for in silence.
const patience = time.Second

// Lock keeps all other processes that lock the same path waiting, until unlock is called or
// this process ends, however it does. The plan must be made after it, so that it sees what the one
// before did. It is for this machine only: between machines, Run finds a stale plan.
func Lock(ctx context.Context, path string, o LockOptions) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("lock app: %w", err)
	}
	l := flock.New(path, flock.SetPermissions(0o600))
	if err := take(ctx, l, o); err != nil {
		return nil, fmt.Errorf("lock app: %w", errors.Join(err, l.Close()))
	}
	// Only for the message of those who wait.
	holder := fmt.Sprintf("%d %d\n", os.Getpid(), time.Now().Unix())
	_ = os.WriteFile(path, []byte(holder), 0o600)
	// The file stays: removing it would take it from under somebody who waits for it.
	return func() { _ = l.Close() }, nil
}

func take(ctx context.Context, l *flock.Flock, o LockOptions) error {
	start := time.Now()
	for told := false; ; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		ok, err := l.TryLock()
		if ok || err != nil {
			return err
		}
		waited := time.Since(start)
		if o.Timeout > 0 && waited >= o.Timeout {
			return &BusyError{Holder: holder(l.Path()), After: o.Timeout}
		}
		if !told && waited >= patience {
			told = true
			if o.Waiting != nil {
				o.Waiting(holder(l.Path()))
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// holder reads who has the lock, which may have changed by now.
func holder(path string) string {
	text, err := os.ReadFile(path)
	fields := strings.Fields(string(text))
	if err != nil || len(fields) != 2 {
		return "another process"
	}
	since, err := strconv.ParseInt(fields[1], 10, 64)
	if _, pidErr := strconv.Atoi(fields[0]); err != nil || pidErr != nil {
		return "another process"
	}
	return fmt.Sprintf("process %s, since %s,", fields[0], time.Unix(since, 0).Format(time.TimeOnly))
}
