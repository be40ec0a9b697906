package transport

import (
	"context"
	"time"
)

// Finish returns a context for one call that changes something and should not be cut while its
// answer is on the way: when ctx ends, it goes on for grace, and ends with ctx's cause then. Deadlines of
// ctx count as its end.
func Finish(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	call, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-t.C:
			cancel(context.Cause(ctx))
		case <-call.Done():
		}
	})
	return call, func() { stop(); cancel(nil) }
}
