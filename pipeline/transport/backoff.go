package transport

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MaxRetryAfter is the longest wait that a server may ask for. A longer one ends the
// attempts, and the user is told the time instead.
const MaxRetryAfter = 120 * time.Second

// Backoff says how often something is tried and how long the waits are. Zero fields have
// sensible values: 500 ms at first, doubled up to 30 s, 5 attempts, 5 minutes in all.
type Backoff struct {
	// Base is the wait after the first attempt; Max is the longest wait.
	Base, Max time.Duration
	// Tries is the number of attempts, the first included. Negative means: until Total.
	Tries int
	// Total is the time after which no further attempt is begun.
	Total time.Duration
}

// RetryAfterError says that a server named the wait before the next attempt.
type RetryAfterError struct {
	Err   error
	After time.Duration
}

func (e *RetryAfterError) Error() string { return e.Err.Error() }

// Unwrap returns the error without the wait.
func (e *RetryAfterError) Unwrap() error { return e.Err }

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// Permanent marks an error after which Retry stops. It is nil for nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// Retry calls try, with attempt counted from 1, until it returns nil, an error marked
// Permanent (returned without the mark), or the attempts or the time are used up. Before each wait it calls notify,
// which may be nil. It stops at once when ctx ends; the error then wraps ctx.Err().
func (b Backoff) Retry(ctx context.Context, notify func(attempt int, wait time.Duration, err error), try func(attempt int) error) error {
	b = b.withDefaults()
	start := time.Now()
	for attempt := 1; ; attempt++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := try(attempt)
		if err == nil {
			return nil
		}
		var stop *permanentError
		if errors.As(err, &stop) {
			return stop.err
		}
		if ctx.Err() != nil {
			if errors.Is(err, ctx.Err()) {
				return err
			}
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		wait := b.wait(attempt)
		var after *RetryAfterError
		if errors.As(err, &after) {
			err = after.Err
			if after.After > MaxRetryAfter {
				return fmt.Errorf("%w (asked to wait %s)", err, after.After.Round(time.Second))
			}
			wait = max(wait, after.After)
		}
		if b.Tries > 0 && attempt >= b.Tries || time.Since(start)+wait > b.Total {
			if attempt == 1 {
				return err
			}
			return fmt.Errorf("%w (gave up after %d attempts)", err, attempt)
		}
		if notify != nil {
			notify(attempt, wait, err)
		}
		if ctxErr := Sleep(ctx, wait); ctxErr != nil {
			return fmt.Errorf("%w while waiting to try again: %w", ctxErr, err)
		}
	}
}

// Sleep waits for d, or until ctx ends, whose error it then returns.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func (b Backoff) withDefaults() Backoff {
	if b.Base <= 0 {
		b.Base = 500 * time.Millisecond
	}
	if b.Max <= 0 {
		b.Max = 30 * time.Second
	}
	if b.Tries == 0 {
		b.Tries = 5
	}
	if b.Total <= 0 {
		b.Total = 5 * time.Minute
	}
	return b
}

// wait is between half and the whole of the doubled wait, so that many clients that met one
// fault do not come back together.
func (b Backoff) wait(attempt int) time.Duration {
	d := b.Max
	if shift := attempt - 1; shift < 32 && b.Base < b.Max>>shift {
		d = b.Base << shift
	}
	return d/2 + rand.N(d/2+1)
}

// ParseRetryAfter reads a Retry-After header: whole seconds or a date (RFC 9110, 10.2.3). A date that has
// passed is 0. It reports false for anything else.
func ParseRetryAfter(h string, now time.Time) (time.Duration, bool) {
	h = strings.TrimSpace(h)
	if h != "" && strings.Trim(h, "0123456789") == "" {
		n, err := strconv.ParseInt(h, 10, 64)
		if err != nil || n > int64(math.MaxInt64/time.Second) {
			return math.MaxInt64, true
		}
		return time.Duration(n) * time.Second, true
	}
	if t, err := http.ParseTime(h); err == nil {
		return max(0, t.Sub(now)), true
	}
	return 0, false
}
