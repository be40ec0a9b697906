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
	"maps"
	"os"
	"strings"
	"time"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/failpoint"
	"github.com/slugfile/slugfile/pipeline/journal"
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
	// Journal remembers the slug that was allocated. Nil remembers nothing of earlier runs.
	Journal *journal.Journal
	// Sink may be nil.
	Sink event.Sink
}

// subject names the task in events.
const subject = "slug"

// grace is how long a POST that is under way may take to be answered once the run was stopped.
const grace = 3 * time.Second

// maxSlugs is the first slug and two more, for upload addresses that expired.
const maxSlugs = 3

// Run makes the app if it has to be made, and returns a slug that the platform has and that
// was verified. Bytes that arrived otherwise than they were sent are a *VerifyError.
//
// A slug that an earlier run uploaded, of the same bytes and asked for in the same way, is taken as it is
// when it is still there and whole. When ctx ends, what is being made is waited for a moment,
// so that the journal knows of it.
func (s *Stage) Run(ctx context.Context, step plan.Upload, slug artifact.Slug) (artifact.Upload, error) {
	start := time.Now()
	s.emit(event.TaskStarted{Stage: event.Upload, Subject: subject, Total: slug.Size})
	id, done, err := s.run(ctx, step, slug)
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("the slug is built, and not uploaded: %w", err)
		}
		s.emit(event.TaskFailed{Stage: event.Upload, Subject: subject, Error: err.Error(), Elapsed: time.Since(start)})
		return artifact.Upload{}, err
	}
	done.Stage, done.Subject, done.Bytes, done.Elapsed = event.Upload, subject, slug.Size, time.Since(start)
	s.emit(done)
	return artifact.Upload{SlugID: id, Slug: slug}, nil
}

func (s *Stage) emit(e event.Event) {
	if s.Sink != nil {
		s.Sink.Emit(e)
	}
}

func (s *Stage) run(ctx context.Context, step plan.Upload, slug artifact.Slug) (id string, done event.TaskFinished, err error) {
	f, err := s.Store.Open(slug.Digest)
	if err != nil {
		return "", done, fmt.Errorf("open slug: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	if fi, err := f.Stat(); err != nil {
		return "", done, fmt.Errorf("open slug: %w", err)
	} else if fi.Size() != slug.Size {
		return "", done, &digest.MismatchError{Subject: "slug in the store", Want: slug.Digest, WantSize: slug.Size, GotSize: fi.Size()}
	}

	app := step.App
	if step.Create != nil {
		if app, err = s.createApp(ctx, *step.Create); err != nil {
			return "", done, err
		}
	}
	u := &upload{Stage: s, app: app, slug: slug, file: f, in: platform.SlugCreate{
		ProcessTypes:      step.ProcessTypes,
		Checksum:          new(slug.Digest.Checksum()),
		Commit:            optional(step.Commit),
		CommitDescription: optional(step.CommitDescription),
		Stack:             step.Stack,
	}}
	if u.in.ProcessTypes == nil {
		u.in.ProcessTypes = map[string]string{}
	}
	if u.journal = s.Journal; u.journal == nil {
		u.journal = journal.InMemory()
	}
	if err := u.begin(); err != nil {
		return "", done, err
	}
	if taken, err := u.takeUp(ctx); err != nil || taken {
		return u.op.SlugID, event.TaskFinished{Reused: true, Why: "uploaded by an earlier apply"}, err
	}
	return u.op.SlugID, done, u.send(ctx)
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// upload is one run of the stage.
type upload struct {
	*Stage
	journal *journal.Journal
	// op is the operation that the slug is uploaded for.
	op   journal.Operation
	app  string
	in   platform.SlugCreate
	slug artifact.Slug
	file *os.File
}

// begin goes on with the open operation when it is about the same bytes, and opens another one
// when it is not.
func (u *upload) begin() (err error) {
	checksum := u.slug.Digest.Checksum()
	state := u.journal.State()
	if open := state.Open; open != nil {
		if open.Step == journal.ReleaseIntent || open.Step == journal.ReleaseCreated {
			return fmt.Errorf("upload slug: an earlier apply (%s) was interrupted while it released, and that must be cleared up first", open.Apply)
		}
		if open.Checksum == checksum && open.Rollback == nil {
			u.op = *open
			u.op.App, u.op.PlanKey = u.app, u.slug.PlanKey.String()
			return nil
		}
	}
	u.op, err = u.journal.Begin(journal.Operation{App: u.app, PlanKey: u.slug.PlanKey.String(), Checksum: checksum, Size: u.slug.Size})
	return err
}

// takeUp uses the slug that was allocated for these bytes before, if the platform has it.
func (u *upload) takeUp(ctx context.Context) (bool, error) {
	id, ok := u.journal.State().Slug(u.op.Checksum)
	if !ok {
		return false, nil
	}
	found, err := u.Platform.Slug(ctx, u.app, id)
	if errors.Is(err, platform.ErrNotFound) || err == nil && !asWanted(found, u.in) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at the slug of an earlier apply: %w", err)
	}
	known, err := u.compare(ctx, found, &md5Reader{r: u.file})
	var wrong *VerifyError
	var refused *platform.BlobError
	switch {
	case err == nil && !known:
		return false, nil
	case errors.As(err, &wrong), errors.As(err, &refused) && refused.Status/100 == 4:
		// Its bytes never arrived, and the address that they could be sent to is lost.
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look at the slug of an earlier apply: %w", err)
	}
	return true, u.verified(id)
}

// asWanted reports whether a slug is what would be asked for now, but for its bytes.
func asWanted(s platform.Slug, in platform.SlugCreate) bool {
	same := func(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }
	return s.Checksum != nil && strings.EqualFold(*s.Checksum, *in.Checksum) &&
		maps.Equal(s.ProcessTypes, in.ProcessTypes) && (in.Stack == "" || s.Stack.Name == in.Stack) &&
		same(s.Commit, in.Commit) && same(s.CommitDescription, in.CommitDescription)
}

func (u *upload) verified(id string) error {
	if u.op.Step == journal.BlobVerified && u.op.SlugID == id {
		return nil
	}
	u.op.Step, u.op.SlugID = journal.BlobVerified, id
	return u.journal.Write(u.op)
}

// send allocates a slug, sends the bytes and verifies them.
func (u *upload) send(ctx context.Context) error {
	for n := 1; ; n++ {
		made, err := u.allocate(ctx)
		if err != nil {
			return err
		}
		sum := &md5Reader{r: u.file}
		tell := event.Thin(event.Func(u.emit), event.Upload, subject)
		failpoint.Hit("upload.put.before")
		err = u.Platform.PutBlob(ctx, made.Blob, sum, u.slug.Size, func(done int64) { tell(done, u.slug.Size) })
		failpoint.Hit("upload.put.sent")
		if errors.Is(err, platform.ErrBlobExpired) && n < maxSlugs {
			u.emit(event.Retry{Stage: event.Upload, Subject: subject, Attempt: n, Error: platform.ErrBlobExpired.Error() + "; another slug is allocated"})
			continue
		}
		if err != nil {
			return err
		}
		if err := u.verify(ctx, made.ID, sum); err != nil {
			return err
		}
		failpoint.Hit("upload.verified")
		return u.verified(made.ID)
	}
}

// allocate asks for a slug.
func (u *upload) allocate(ctx context.Context) (platform.Slug, error) {
	if ctx.Err() != nil {
		return platform.Slug{}, context.Cause(ctx)
	}
	u.op.Step, u.op.SlugID = journal.SlugIntent, ""
	if err := u.journal.Write(u.op); err != nil {
		return platform.Slug{}, err
	}
	call, cancel := transport.Finish(ctx, grace)
	defer cancel()
	failpoint.Hit("upload.slug.before")
	made, err := u.Platform.CreateSlug(call, u.app, u.in)
	failpoint.Hit("upload.slug.allocated")
	if err != nil {
		return made, err
	}
	u.op.Step, u.op.SlugID = journal.SlugCreated, made.ID
	return made, u.journal.Write(u.op)
}
