package observe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/slug"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// planning is the stage that events of looking name.
const planning = "plan"

// gap says why it is not known what is in a slug, and what to do about it.
type gap struct{ why, hint string }

// nextTime is what helps when the platform cannot give what is missing.
const nextTime = "the next apply makes a slug that later plans can be compared with"

// released looks for what is in the live slug.
func (o Options) released(ctx context.Context, seen *plan.Observed) error {
	t := seen.Target
	if o.Against != nil || t == nil || t.Current == nil || t.Current.Slug == nil {
		return nil
	}
	if t.Slug == nil {
		seen.ReleasedWhy, seen.ReleasedHint = fmt.Sprintf("the platform has removed the slug of v%d", t.Current.Version), nextTime
		return nil
	}
	r, missing, err := o.contents(ctx, t.Current.Version, *t.Slug)
	seen.Released, seen.ReleasedWhy, seen.ReleasedHint = r, missing.why, missing.hint
	return err
}

// contents is what is known of a slug: what the store remembers, else what can be read from the
// store's own copy or, where that is allowed, from the platform. What cannot be had is a gap, and
// the only error is that of ctx or of the store.
func (o Options) contents(ctx context.Context, version int, s platform.Slug) (*plan.Record, gap, error) {
	of := fmt.Sprintf("the slug of v%d", version)
	if s.Checksum == nil {
		return nil, gap{of + " has no checksum, so its bytes cannot be verified: another tool made it", nextTime}, nil
	}
	want := checksum(s)
	if want.IsZero() {
		return nil, gap{of + " has a checksum that is no sha256", nextTime}, nil
	}
	if o.Store != nil {
		if r, err := record(o.Store, want); r != nil || err != nil {
			return r, gap{}, err
		}
	}
	if !o.Stream {
		return nil, gap{of + " was not made on this machine", `"slugfile plan" reads from the platform what is in it`}, nil
	}
	m, missing, err := o.read(ctx, of, s, want)
	if err != nil || missing != (gap{}) {
		return nil, missing, err
	}
	r := &plan.Record{Tree: m}
	if o.Store != nil {
		if b, err := r.MarshalBinary(); err == nil {
			_ = o.Store.PutBytes("record", want.String(), b) // the next plan reads the slug again
		}
	}
	return r, gap{}, nil
}

// checksum is zero when a slug has none that is a sha256.
func checksum(s platform.Slug) digest.Digest {
	if s.Checksum == nil {
		return digest.Digest{}
	}
	d, err := digest.Parse(*s.Checksum)
	if err != nil {
		return digest.Digest{}
	}
	return d
}

// read lists a slug without keeping a byte of it.
func (o Options) read(ctx context.Context, of string, s platform.Slug, want digest.Digest) (m tree.Manifest, missing gap, err error) {
	missing, err = o.stream(ctx, of, s, want, func(r io.Reader) (err error) {
		m, err = slug.Manifest(r)
		return err
	})
	return m, missing, err
}

// stream hands a slug's bytes to visit, which reads them to their end, and then verifies them:
// what visit learnt holds only without a gap and without an error.
func (o Options) stream(ctx context.Context, of string, s platform.Slug, want digest.Digest, visit func(io.Reader) error) (gap, error) {
	if o.Store != nil {
		if f, err := o.Store.Open(want); err == nil { // verified by the store
			defer func() { _ = f.Close() }() // read only: nothing is lost
			err := visit(&stoppable{Reader: f, ctx: ctx})
			switch {
			case ctx.Err() != nil:
				return gap{}, context.Cause(ctx)
			case err != nil:
				return unreadable(of, err), nil
			}
			return gap{}, nil
		}
	}
	sink := o.Sink
	if sink == nil {
		sink = event.Discard
	}
	var size int64
	if s.Size != nil {
		size = max(0, *s.Size)
	}
	start := time.Now()
	sink.Emit(event.TaskStarted{Stage: planning, Subject: of, Total: size})
	n, missing := o.download(ctx, of, s.Blob, want, size, event.Thin(sink, planning, of), visit)
	if ctx.Err() != nil {
		missing.why = context.Cause(ctx).Error()
	}
	if missing.why != "" {
		sink.Emit(event.TaskFailed{Stage: planning, Subject: of, Error: missing.why, Elapsed: time.Since(start)})
	} else {
		sink.Emit(event.TaskFinished{Stage: planning, Subject: of, Bytes: n, Elapsed: time.Since(start)})
	}
	if ctx.Err() != nil {
		return gap{}, context.Cause(ctx)
	}
	return missing, nil
}

// largestSlug is far more than any platform takes.
const largestSlug = 4 << 30

const again = "run it again; the platform's answer may be another one then"

func (o Options) download(ctx context.Context, of string, from platform.Blob, want digest.Digest, size int64, progress func(done, total int64), visit func(io.Reader) error) (int64, gap) {
	body, err := o.Platform.OpenBlob(ctx, from)
	switch {
	case errors.Is(err, platform.ErrNotFound):
		return 0, gap{"the platform has removed the bytes of " + of, nextTime}
	case errors.Is(err, platform.ErrBlobExpired):
		return 0, gap{"the address of " + of + " has expired", again}
	case err != nil:
		return 0, gap{fmt.Sprintf("%s could not be read: %v", of, err), again}
	}
	defer func() { _ = body.Close() }() // read only: nothing is lost
	h := digest.New()
	in := &reading{r: io.LimitReader(io.TeeReader(body, h), largestSlug), progress: progress, total: size}
	err = visit(in)
	switch {
	case in.err != nil:
		return in.n, gap{fmt.Sprintf("%s could not be read: %v", of, in.err), again}
	case err != nil:
		return in.n, unreadable(of, err)
	}
	if got := digest.Sum(h); got != want {
		return in.n, gap{
			fmt.Sprintf("the platform gave other bytes than those of %s: sha256 %s, not %s", of, got.Short(), want.Short()),
			"nothing of them is used; " + again,
		}
	}
	return in.n, gap{}
}

// unreadable is the gap of bytes that are no slug which this program understands.
func unreadable(of string, err error) gap {
	if errors.Is(err, slug.ErrSquashfs) {
		return gap{of + " is a squashfs image, which the platform makes of its own builds, and not a tar", nextTime}
	}
	return gap{fmt.Sprintf("%s is not laid out as a slug: %v", of, err), nextTime}
}

// reading counts what is read, and tells a broken connection from bytes that are wrong.
type reading struct {
	r        io.Reader
	n, total int64
	err      error
	progress func(done, total int64)
}

func (r *reading) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.n += int64(n)
	if n > 0 {
		r.progress(r.n, r.total)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// stoppable ends with ctx.
type stoppable struct {
	io.Reader
	ctx context.Context
}

func (s *stoppable) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	return s.Reader.Read(p)
}

// ReleaseError says why an earlier release cannot be looked at.
type ReleaseError struct {
	App, Version string
	// Why goes on where "release v11 of app example" ends.
	Why, hint string
}

func (e *ReleaseError) Error() string {
	return fmt.Sprintf("release %s of app %s: %s", e.Version, e.App, e.Why)
}

// Hint says what to do.
func (e *ReleaseError) Hint() string { return e.hint }

var (
	versions = regexp.MustCompile(`^v?[0-9]{1,9}$`)
	deployed = regexp.MustCompile(`^Deploy ([0-9a-f]{7,40})\b`)
)

// Release is an earlier release, such as v11, as what a plan is compared with. Of o it needs
// Platform, App, Store, Stream and Sink. What cannot be known of its slug is said in the Base.
func Release(ctx context.Context, o Options, version string) (plan.Base, error) {
	r, s, err := o.find(ctx, version)
	if err != nil {
		return plan.Base{}, fmt.Errorf("compare with %w", err)
	}
	b := plan.Base{
		Kind: plan.BaseRelease, Name: "v" + strconv.Itoa(r.Version), Stack: s.Stack.Name, ProcessTypes: s.ProcessTypes,
		Checksum: checksum(s), Size: s.Size,
	}
	if s.CommitDescription != nil {
		b.Key, _ = plan.ParseCommitDescription(*s.CommitDescription)
	}
	var missing gap
	b.Record, missing, err = o.contents(ctx, r.Version, s)
	b.Why, b.Hint = missing.why, missing.hint
	return b, err
}

// ReadRelease hands the bytes of an earlier release's slug to visit, which reads them to their end, and
// verifies them: what visit learnt holds only without an error. They come from the store when it has
// them. Of o it needs Platform, App, Store and Sink.
func ReadRelease(ctx context.Context, o Options, version string, visit func(io.Reader) error) (platform.Slug, error) {
	r, s, err := o.find(ctx, version)
	if err != nil {
		return s, fmt.Errorf("look at %w", err)
	}
	name := "v" + strconv.Itoa(r.Version)
	want := checksum(s)
	if want.IsZero() {
		return s, fmt.Errorf("look at %w", &ReleaseError{
			App: o.app(), Version: name, Why: "its slug has no sha256, so its bytes cannot be verified", hint: "another tool made it: download it, and name the file",
		})
	}
	missing, err := o.stream(ctx, "the slug of "+name, s, want, visit)
	if err == nil && missing != (gap{}) {
		err = fmt.Errorf("look at %w", &ReleaseError{App: o.app(), Version: name, Why: missing.why})
	}
	return s, err
}

// find asks the platform for a release and its slug.
func (o Options) find(ctx context.Context, version string) (r platform.Release, s platform.Slug, err error) {
	name := o.app()
	if name == "" {
		return r, s, errNoApp
	}
	version = "v" + strings.TrimPrefix(version, "v")
	fail := func(why, hint string) (platform.Release, platform.Slug, error) {
		return r, s, &ReleaseError{App: name, Version: version, Why: why, hint: hint}
	}
	if !versions.MatchString(version) {
		return fail("that is no version", "a version is a number, such as v11")
	}
	r, err = o.Platform.Release(ctx, name, version)
	if errors.Is(err, platform.ErrNotFound) {
		all, listErr := o.Platform.Releases(ctx, name, 0)
		switch {
		case listErr != nil:
			return r, s, fmt.Errorf("release %s: %w", version, listErr)
		case len(all) == 0:
			return fail("there is no such release: the app has none", "")
		}
		return fail("there is no such release", fmt.Sprintf("the app has v%d to v%d", all[len(all)-1].Version, all[0].Version))
	}
	if err != nil {
		return r, s, fmt.Errorf("release %s: %w", version, err)
	}
	if r.Slug == nil {
		return fail("it has no slug", "name a release that a deploy made")
	}
	s, err = o.Platform.Slug(ctx, name, r.Slug.ID)
	if errors.Is(err, platform.ErrNotFound) {
		hint := "name a later release, or the git revision that it was made of"
		if m := deployed.FindStringSubmatch(r.Description); m != nil {
			hint = "its git revision is there to compare with: slugfile plan --against " + m[1]
		}
		return fail("the platform has removed its slug", hint)
	}
	if err != nil {
		return r, s, fmt.Errorf("release %s: %w", version, err)
	}
	return r, s, nil
}
