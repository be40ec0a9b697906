// Package upload is the fourth stage: it allocates a slug on the platform, sends the archive
// to the slug's blob, and verifies what arrived.
//
// It releases nothing. A slug that no release uses costs nothing and is removed by the
// platform after a while, so this stage may begin again at any point.
package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/transport"
)

// Blobs hands out the archive. Open must verify the bytes that it hands out.
type Blobs interface {
	Open(d digest.Digest) (*os.File, error)
}

// Stage uploads slugs.
type Stage struct {
	Platform platform.Platform
	Store    Blobs
	// Sink may be nil.
	Sink event.Sink
}

// subject names the task in events.
const subject = "slug"

// maxSlugs is the first slug and two more, for upload addresses that expired.
const maxSlugs = 3

// Run makes the app if it has to be made, and returns a slug that the platform has and that
// was verified. Bytes that arrived otherwise than they were sent are a *VerifyError.
func (s *Stage) Run(ctx context.Context, step plan.Upload, slug artifact.Slug) (artifact.Upload, error) {
	start := time.Now()
	s.emit(event.TaskStarted{Stage: event.Upload, Subject: subject, Total: slug.Size})
	id, err := s.run(ctx, step, slug)
	if err != nil {
		s.emit(event.TaskFailed{Stage: event.Upload, Subject: subject, Error: err.Error(), Elapsed: time.Since(start)})
		return artifact.Upload{}, err
	}
	s.emit(event.TaskFinished{Stage: event.Upload, Subject: subject, Bytes: slug.Size, Elapsed: time.Since(start)})
	return artifact.Upload{SlugID: id, Slug: slug}, nil
}

func (s *Stage) emit(e event.Event) {
	if s.Sink != nil {
		s.Sink.Emit(e)
	}
}

func (s *Stage) run(ctx context.Context, step plan.Upload, slug artifact.Slug) (id string, err error) {
	f, err := s.Store.Open(slug.Digest)
	if err != nil {
		return "", fmt.Errorf("open slug: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	if fi, err := f.Stat(); err != nil {
		return "", fmt.Errorf("open slug: %w", err)
	} else if fi.Size() != slug.Size {
		return "", &digest.MismatchError{Subject: "slug in the store", Want: slug.Digest, WantSize: slug.Size, GotSize: fi.Size()}
	}

	app := step.App
	if step.Create != nil {
		if app, err = s.createApp(ctx, *step.Create); err != nil {
			return "", err
		}
	}
	in := platform.SlugCreate{
		ProcessTypes:      step.ProcessTypes,
		Checksum:          new(slug.Digest.Checksum()),
		Commit:            optional(step.Commit),
		CommitDescription: optional(step.CommitDescription),
		Stack:             step.Stack,
	}
	if in.ProcessTypes == nil {
		in.ProcessTypes = map[string]string{}
	}
	for n := 1; ; n++ {
		made, err := s.Platform.CreateSlug(ctx, app, in)
		if err != nil {
			return "", err
		}
		sum := &md5Reader{r: f}
		tell := event.Thin(event.Func(s.emit), event.Upload, subject)
		err = s.Platform.PutBlob(ctx, made.Blob, sum, slug.Size, func(done int64) { tell(done, slug.Size) })
		if errors.Is(err, platform.ErrBlobExpired) && n < maxSlugs {
			s.emit(event.Retry{Stage: event.Upload, Subject: subject, Attempt: n, Error: platform.ErrBlobExpired.Error() + "; another slug is allocated"})
			continue
		}
		if err != nil {
			return "", err
		}
		return made.ID, s.verify(ctx, app, made.ID, slug, sum)
	}
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// maxCreates is how often an app is asked for whose making was left open.
const maxCreates = 3

// createRetry is the wait before the first of them.
const createRetry = 500 * time.Millisecond

// createApp returns the id of the new app. When the answer was lost, an app of that name that
// we may read is the one: the plan was made when there was none. Until there is one, it is asked for
// again, which cannot make two, since the name can be had once only.
func (s *Stage) createApp(ctx context.Context, in platform.AppCreate) (string, error) {
	for n := 1; ; n++ {
		app, err := s.Platform.CreateApp(ctx, in)
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

// VerifyError says that the platform does not hold the bytes that were sent. It is also a
// *digest.MismatchError for errors.As.
type VerifyError struct {
	// SlugID is the slug that must not be released.
	SlugID string
	// What says in words what differs.
	What     string
	mismatch *digest.MismatchError
}

func (e *VerifyError) Error() string {
	return fmt.Sprintf("slug %s on the platform is not the one that was sent: %s; nothing was released", e.SlugID, e.What)
}

// Hint says what to do next.
func (e *VerifyError) Hint() string {
	return "run slugfile again: it uploads a new slug, and reuses what was built"
}

// Unwrap classes the error with all bytes that do not match their digest.
func (e *VerifyError) Unwrap() error { return e.mismatch }

// verify asks the platform and the blob store about what arrived: outside Private Spaces the
// platform itself does not compare checksums.
func (s *Stage) verify(ctx context.Context, app, id string, slug artifact.Slug, sum *md5Reader) error {
	bad := func(got int64, format string, args ...any) error {
		return &VerifyError{
			SlugID: id, What: fmt.Sprintf(format, args...),
			mismatch: &digest.MismatchError{Subject: "slug on the platform", Want: slug.Digest, WantSize: slug.Size, GotSize: got},
		}
	}
	found, err := s.Platform.Slug(ctx, app, id)
	if errors.Is(err, platform.ErrNotFound) {
		return bad(0, "the platform has no such slug any more: %v", err)
	}
	if err != nil {
		return fmt.Errorf("verify upload: %w", err)
	}
	if found.Checksum != nil && !strings.EqualFold(*found.Checksum, slug.Digest.Checksum()) {
		return bad(slug.Size, "its checksum is %q, expected %q", *found.Checksum, slug.Digest.Checksum())
	}
	info, err := s.Platform.StatBlob(ctx, found.Blob)
	if errors.Is(err, platform.ErrNotFound) {
		return bad(0, "the blob store has no such blob: %v", err)
	}
	if err != nil {
		return fmt.Errorf("verify upload: %w", err)
	}
	switch {
	case info.Size < 0:
		s.emit(event.Warning{Stage: event.Upload, Subject: subject, Message: "the blob store does not tell the size of the slug, so the upload could not be verified by size"})
	case info.Size != slug.Size:
		return bad(info.Size, "it has %d bytes, expected %d", info.Size, slug.Size)
	}
	tag, ok := md5Tag(info.ETag)
	if !ok {
		return nil
	}
	want, err := sum.hex(slug.Size)
	if err != nil {
		return fmt.Errorf("verify upload: read slug: %w", err)
	}
	if tag != want {
		return bad(info.Size, "the MD5 of the blob store is %s, of the file %s", tag, want)
	}
	return nil
}

// md5Tag reads an ETag as S3 makes it from one PUT: the MD5 of the bytes in hex. Tags of multipart uploads
// have a dash, weak ones a prefix; they prove nothing.
func md5Tag(etag string) (string, bool) {
	t := strings.ToLower(strings.Trim(etag, `"`))
	if len(t) != 32 || strings.Trim(t, "0123456789abcdef") != "" {
		return "", false
	}
	return t, true
}

var _ io.ReaderAt = (*md5Reader)(nil)
