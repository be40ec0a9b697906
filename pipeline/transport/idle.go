package transport

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// ErrStalled is what a read fails with when the other side sends nothing, or next to nothing.
var ErrStalled = errors.New("the connection stalled")

// IdleReader fails with ErrStalled when one read of r takes longer than idle, or when fewer
// than minRate bytes a second arrive over a span of reading as long as over. Time that the
// caller spends between reads does not count. A zero idle or minRate switches that limit off.
// r's Close must end a read that is under way, as an HTTP body's does.
func IdleReader(r io.ReadCloser, idle time.Duration, minRate int64, over time.Duration) io.ReadCloser {
	return &idleReader{r: r, idle: idle, minRate: minRate, over: over}
}

type idleReader struct {
	r       io.ReadCloser
	idle    time.Duration
	minRate int64
	over    time.Duration

	spent time.Duration
	n     int64
	err   error

	closeOnce sync.Once
	closeErr  error
}

func (r *idleReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	var fired chan struct{}
	var timer *time.Timer
	if r.idle > 0 {
		fired = make(chan struct{})
		timer = time.AfterFunc(r.idle, func() {
			close(fired)
			_ = r.Close() // the read below reports the stall
		})
	}
	start := time.Now()
	n, err := r.r.Read(p)
	if timer != nil && !timer.Stop() {
		<-fired
		r.err = fmt.Errorf("%w: nothing came for %s", ErrStalled, r.idle)
		return n, r.err
	}
	r.n += int64(n)
	r.spent += time.Since(start)
	if err == nil && r.minRate > 0 && r.over > 0 && r.spent >= r.over {
		if float64(r.n) < float64(r.minRate)*r.spent.Seconds() {
			err = fmt.Errorf("%w: %d bytes in %s", ErrStalled, r.n, r.spent.Round(time.Second))
		}
		r.spent, r.n = 0, 0
	}
	r.err = err
	return n, err
}

func (r *idleReader) Close() error {
	r.closeOnce.Do(func() { r.closeErr = r.r.Close() })
	return r.closeErr
}
