package transport_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slugfile/slugfile/pipeline/transport"
)

func TestFinish_outlivesItsContextForTheGrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("interrupt")
		ctx, stop := context.WithCancelCause(t.Context())
		call, cancel := transport.Finish(ctx, 3*time.Second)
		defer cancel()
		time.Sleep(time.Hour)
		if call.Err() != nil {
			t.Fatalf("it ended by itself: %v", call.Err())
		}
		start := time.Now()
		stop(why)
		<-call.Done()
		if took := time.Since(start); took != 3*time.Second || !errors.Is(context.Cause(call), why) {
			t.Errorf("it ended %s after its context, by %v", took, context.Cause(call))
		}
	})
}

func TestFinish_leavesNothingRunningWhenTheCallIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // which fails when a goroutine is left
		ctx, stop := context.WithCancel(t.Context())
		_, cancel := transport.Finish(ctx, time.Hour)
		stop()
		synctest.Wait()
		start := time.Now()
		cancel()
		synctest.Wait()
		if time.Since(start) != 0 {
			t.Error("it waited for the grace")
		}
	})
}
