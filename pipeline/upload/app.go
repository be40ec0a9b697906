package upload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/failpoint"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/transport"
)

// maxCreates is how often an app is asked for whose making was left open.
const maxCreates = 3

// createRetry is the wait before the first of them.
const createRetry = 500 * time.Millisecond

// postApp sends one request. The answer to one that is under way is waited for.
func (s *Stage) postApp(ctx context.Context, in platform.AppCreate) (platform.App, error) {
	call, cancel := transport.Finish(ctx, grace)
	defer cancel()
	failpoint.Hit("upload.app.before")
	app, err := s.Platform.CreateApp(call, in)
	failpoint.Hit("upload.app.made")
	if err == nil && ctx.Err() != nil {
		err = fmt.Errorf("app %s was made: %w", app.Name, context.Cause(ctx))
	}
	return app, err
}

// createApp returns the id of the new app. When the answer was lost, an app of that name that
// we may read is the one: the plan was made when there was none. Until there is one, it is asked for
// again, which cannot make two, since the name can be had once only.
func (s *Stage) createApp(ctx context.Context, in platform.AppCreate) (string, error) {
	for n := 1; ; n++ {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		app, err := s.postApp(ctx, in)
		open := errors.Is(err, platform.ErrAmbiguous) || err != nil && n > 1 // an earlier one may have come through late
		if !open || in.Name == "" {
			return app.ID, err
		}
		found, findErr := s.Platform.App(ctx, in.Name)
		switch {
		case findErr == nil:
			return found.ID, nil
		case !errors.Is(findErr, platform.ErrNotFound):
			return "", fmt.Errorf("%w (and then: %w)", err, findErr)
		case !errors.Is(err, platform.ErrAmbiguous) || n == maxCreates:
			return "", err
		}
		wait := createRetry << (n - 1)
		s.emit(event.Retry{Stage: event.Upload, Subject: "app " + in.Name, Attempt: n, Wait: wait, Error: err.Error() + "; there is no such app yet"})
		if sleepErr := transport.Sleep(ctx, wait); sleepErr != nil {
			return "", fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}
