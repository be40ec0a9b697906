package pipeline_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
)

// cloud is the platform itself: it loses nothing, and does what reaches it.
type cloud struct {
	mu       sync.Mutex
	app      *platform.App
	slugs    map[string]*platform.Slug
	blobs    map[string][]byte
	releases []*made // oldest first
	pending  []deed
	// now is the time of what is being done.
	now time.Time
	// phase is how long the release phase of every release takes.
	phase time.Duration
	// fails says that the next release phase fails.
	fails bool
	// damages says that the next blob is stored in part.
	damages bool
	// posts counts the requests for a release that were sent, refused and lost ones too.
	posts int
	// wrong is the first thing that must never be asked for.
	wrong string
}

// made is a release with what a test wants to know of it.
type made struct {
	platform.Release
	applyID string
	// late is how long the request was under way. again says that its slug was live or pending already,
	// by a release that had come in time.
	late  time.Duration
	again bool
	// home is the machine it came from, 0 for others. base is the highest version when its plan was
	// made, and known the highest one at the call of its process before the POST.
	home, base, known int
}

// deed is something that the platform does by itself at some time.
type deed struct {
	at time.Time
	do func()
}

const (
	appID   = "0a1b2c3d-0000-4000-8000-000000000001"
	appName = "example"
	heroku  = "heroku-24"
)

func newCloud() *cloud {
	return &cloud{slugs: map[string]*platform.Slug{}, blobs: map[string][]byte{}}
}

// later has the platform do something after a time.
func (c *cloud) later(after time.Duration, do func()) {
	c.pending = append(c.pending, deed{c.now.Add(after), do})
}

// lock brings the platform up to the present, and returns what ends the use of it.
func (c *cloud) lock() func() {
	c.mu.Lock()
	for {
		next := -1
		for i, d := range c.pending {
			if !d.at.After(time.Now()) && (next < 0 || d.at.Before(c.pending[next].at)) {
				next = i
			}
		}
		if next < 0 {
			c.now = time.Now()
			return c.mu.Unlock
		}
		d := c.pending[next]
		c.pending, c.now = slices.Delete(c.pending, next, next+1), d.at
		d.do()
	}
}

func refuse(op string, status int, id string) error {
	return &platform.Error{Op: op, Status: status, ID: id, RequestID: "r"}
}

func (c *cloud) missing(op, app string) error {
	if c.app == nil || app != appID && app != appName {
		return refuse(op, 404, "not_found")
	}
	return nil
}

func (c *cloud) createApp(in platform.AppCreate) (platform.App, error) {
	if c.app != nil {
		return platform.App{}, refuse("create app", 422, "invalid_params")
	}
	c.app = &platform.App{
		ID: appID, Name: in.Name, CreatedAt: c.now, Stack: platform.Ref{Name: heroku},
		Generation: platform.Ref{Name: "cedar"}, WebURL: new("https://example.test/"),
	}
	c.releases = append(c.releases, &made{Release: platform.Release{
		ID: "release-1", Version: 1, Current: true, Status: platform.Succeeded, CreatedAt: c.now, Description: "Initial release",
	}})
	return *c.app, nil
}

func (c *cloud) createSlug(app string, in platform.SlugCreate) (platform.Slug, error) {
	if err := c.missing("create slug", app); err != nil {
		return platform.Slug{}, err
	}
	id := "slug-" + strconv.Itoa(len(c.slugs)+1)
	c.slugs[id] = &platform.Slug{
		ID: id, Checksum: in.Checksum, Commit: in.Commit, CommitDescription: in.CommitDescription, ProcessTypes: in.ProcessTypes,
		Stack: platform.Ref{Name: in.Stack}, CreatedAt: c.now, Blob: platform.Blob{Method: "put", URL: "https://blobs.test/" + id},
	}
	return *c.slugs[id], nil
}

func (c *cloud) slug(app, id string) (platform.Slug, error) {
	if err := c.missing("read slug", app); err != nil {
		return platform.Slug{}, err
	}
	s := c.slugs[id]
	if s == nil {
		return platform.Slug{}, refuse("read slug", 404, "not_found")
	}
	out := *s
	out.Blob.Method = "get"
	return out, nil
}

// whole reports whether the blob of a slug is what the slug promises.
func (c *cloud) whole(slugID string) bool {
	s := c.slugs[slugID]
	return s != nil && s.Checksum != nil && digest.Of(c.blobs[slugID]).Checksum() == *s.Checksum
}

func (c *cloud) createRelease(app string, in platform.ReleaseCreate, from made, late time.Duration) (platform.Release, error) {
	if err := c.missing("create release", app); err != nil {
		return platform.Release{}, err
	}
	s := c.slugs[in.Slug]
	if s == nil {
		return platform.Release{}, refuse("create release", 404, "not_found")
	}
	if !c.whole(in.Slug) && c.wrong == "" {
		c.wrong = "a slug was released whose blob is not whole: " + in.Slug
	}
	n := len(c.releases) + 1
	r := &made{Release: platform.Release{
		ID: "release-" + strconv.Itoa(n), Version: n, Slug: &platform.SlugRef{ID: in.Slug}, Status: platform.Pending,
		CreatedAt: c.now, Description: in.Description, User: platform.Owner{Email: fmt.Sprintf("machine-%d@example.test", from.home)},
	}, late: late, home: from.home, base: from.base, known: from.known}
	_, r.applyID, _ = plan.ParseMark(in.Description)
	for _, o := range c.releases {
		if live := o.Current || o.Status == platform.Pending; live && o.late <= window && o.Slug != nil {
			was := c.slugs[o.Slug.ID]
			r.again = r.again || *was.Checksum == *s.Checksum && maps.Equal(was.ProcessTypes, s.ProcessTypes)
		}
	}
	c.releases = append(c.releases, r)
	end := func() {
		r.Status = platform.Succeeded
		for _, o := range c.releases {
			o.Current = o == r
		}
	}
	if c.fails {
		c.fails = false
		end = func() { r.Status = platform.Failed }
	}
	if c.phase > 0 {
		r.OutputStreamURL = new("https://output.test/" + r.ID)
		c.later(c.phase, end)
	} else {
		end()
	}
	return r.Release, nil
}

// elsewhere is what another machine does: it releases a slug of its own.
func (c *cloud) elsewhere() {
	bytes := []byte("slug of another machine " + strconv.Itoa(len(c.slugs)))
	s, err := c.createSlug(appID, platform.SlugCreate{ProcessTypes: map[string]string{"web": "theirs"}, Checksum: new(digest.Of(bytes).Checksum()), Stack: heroku})
	if err == nil {
		c.blobs[s.ID] = bytes
		_, err = c.createRelease(appID, platform.ReleaseCreate{Slug: s.ID, Description: "Deploy theirs"}, made{}, 0)
	}
	if err != nil {
		c.wrong = err.Error()
	}
}

func (c *cloud) current() *made {
	for _, r := range c.releases {
		if r.Current {
			return r
		}
	}
	return nil
}

// process is one run of apply, until it ends or is killed.
type process struct {
	killed bool
	kill   context.CancelCauseFunc
}

const postRelease = "POST release"

var (
	// errKilled is what a killed process gets from everything. Nobody sees it.
	errKilled      = errors.New("killed")
	errInterrupted = errors.New("stopped by a signal (interrupt)")
)

func (p *process) die() error {
	p.killed = true
	p.kill(errKilled)
	return errKilled
}

// client is the way of one process to the platform, on which the schedule lays its faults. What
// befalls a call is what pipeline/platform/heroku makes of it: a request that must not be
// repeated is ambiguous when it got no answer or a 5xx; any other was repeated in vain.
type client struct {
	*cloud
	*process
	// ask is the schedule. Without it all goes well, and several goroutines may use the client.
	ask func(what string, possible []fault) fault
	// last and times count calls that come again and again, such as those of a search.
	last  string
	times int
	// home, base and known are those of made.
	home, base, known int
	// turn, when not nil, waits until the process may go on.
	turn func()
}

var _ platform.Platform = (*client)(nil)

// kind is a kind of call.
type kind struct {
	// once is set for calls that must not be repeated.
	once bool
	// faults make a difference to it; more holds another machine's release too.
	faults, more []fault
}

func newKind(once bool, faults ...fault) *kind {
	return &kind{once, faults, append(slices.Clip(faults), otherMachine)}
}

// A later process sees of a slug that was allocated late no more than of a lost one, and to
// a GET all that is no answer is the same.
var (
	ofOnce = newKind(true,
		killedBefore, requestLost, answerLost, late1, late20, late59, late61, late90,
		killedAfter, killedLate1, killedLate20, killedLate59, killedLate61, killedLate90, interrupted, serverError, rateLimited)
	ofPhase = newKind(true, append(slices.Clip(ofOnce.faults), phaseFails)...)
	ofSlug  = newKind(false, killedBefore, requestLost, answerLost, killedAfter, interrupted, serverError, rateLimited)
	ofPut   = newKind(false, killedBefore, requestLost, answerLost, late20, killedAfter, killedLate20, interrupted, serverError, expired, damaged)
	ofGet   = newKind(false, killedBefore, interrupted, serverError)
)

// asked says of the n-th of equal calls in a row whether anything may befall it: a search looks
// 31 times, and what befalls the 5th look does no more than what befalls the 6th.
func asked(n int) bool { return n <= 2 || n%15 == 1 }

// lateness is how long a request is under way, and 0 when it is not late.
func lateness(f fault) time.Duration {
	switch f {
	case late1, killedLate1:
		return time.Second
	case late20, killedLate20:
		return 20 * time.Second
	case late59, killedLate59:
		return 59 * time.Second
	case late61, killedLate61:
		return 61 * time.Second
	case late90, killedLate90:
		return 90 * time.Second
	}
	return 0
}

// count says how often the call has been made in a row.
func (c *client) count(op string) int {
	if op != c.last {
		c.last, c.times = op, 0
	}
	c.times++
	return c.times
}

// call lets the schedule decide what becomes of one call. act is what the platform does, with
// the platform locked; it is told how long the request was under way.
func (c *client) call(ctx context.Context, op string, k *kind, act func(late time.Duration) error) error {
	chosen := c.ask != nil && asked(c.count(op))
	if chosen && c.turn != nil {
		c.turn()
	}
	defer c.lock()()
	if c.killed {
		return errKilled
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if op == postRelease {
		c.posts++
	} else {
		defer func() { c.known = len(c.releases) }()
	}
	if !chosen {
		return act(0)
	}
	possible := k.faults
	if c.app != nil {
		possible = k.more
	}
	unanswered := fmt.Errorf("%s: connection reset", op)
	if k.once {
		unanswered = fmt.Errorf("%w: %w", platform.ErrAmbiguous, unanswered)
	}
	f := c.ask(fmt.Sprintf("%d: %s", c.home, op), possible)
	switch f {
	case killedBefore:
		return c.die()
	case killedAfter:
		_ = act(0) // nobody hears the answer
		return c.die()
	case requestLost:
		return unanswered
	case answerLost:
		_ = act(0) // nobody hears the answer
		return unanswered
	case interrupted:
		c.kill(errInterrupted)
		err := act(0)
		if ctx.Err() != nil { // the call is cut, and nobody hears the answer
			return fmt.Errorf("%w: %w", unanswered, ctx.Err())
		}
		return err
	case serverError:
		err := refuse(op, 503, "")
		if k.once {
			return fmt.Errorf("%w: %w", platform.ErrAmbiguous, err)
		}
		return err
	case rateLimited:
		return refuse(op, 429, "rate_limit")
	case expired:
		return &platform.BlobError{Op: op, Status: 403, Expired: true}
	case damaged:
		c.damages = true
		return act(0)
	case otherMachine:
		c.elsewhere()
		return act(0)
	case phaseFails:
		c.fails = true
		return act(0)
	}
	if late := lateness(f); late > 0 {
		c.later(late, func() { _ = act(late) }) // nobody hears the answer
		if strings.HasPrefix(string(f), "killed") {
			return c.die()
		}
		return unanswered
	}
	return act(0)
}

func (c *client) App(ctx context.Context, app string) (out platform.App, err error) {
	err = c.call(ctx, "GET app", ofGet, func(time.Duration) error {
		if err := c.missing("read app", app); err != nil {
			return err
		}
		out = *c.app
		return nil
	})
	return out, err
}

func (c *client) CreateApp(ctx context.Context, in platform.AppCreate) (out platform.App, err error) {
	err = c.call(ctx, "POST app", ofOnce, func(time.Duration) (err error) {
		out, err = c.createApp(in)
		return err
	})
	return out, err
}

func (c *client) Stacks(ctx context.Context, app string) ([]platform.Stack, error) {
	return []platform.Stack{{Name: heroku, State: "public", Default: true}}, nil
}

func (c *client) Releases(ctx context.Context, app string, limit int) (out []platform.Release, err error) {
	err = c.call(ctx, "GET releases", ofGet, func(time.Duration) error {
		if err := c.missing("list releases", app); err != nil {
			return err
		}
		out = out[:0]
		for _, r := range slices.Backward(c.releases) {
			if limit == 0 || len(out) < limit {
				out = append(out, r.Release)
			}
		}
		return nil
	})
	return out, err
}

func (c *client) Release(ctx context.Context, app, release string) (out platform.Release, err error) {
	err = c.call(ctx, "GET release", ofGet, func(time.Duration) error {
		for _, r := range c.releases {
			if r.ID == release || strconv.Itoa(r.Version) == release {
				out = r.Release
				return nil
			}
		}
		return refuse("read release", 404, "not_found")
	})
	return out, err
}

func (c *client) CreateSlug(ctx context.Context, app string, in platform.SlugCreate) (out platform.Slug, err error) {
	err = c.call(ctx, "POST slug", ofSlug, func(time.Duration) (err error) {
		out, err = c.createSlug(app, in)
		return err
	})
	return out, err
}

func (c *client) Slug(ctx context.Context, app, id string) (out platform.Slug, err error) {
	err = c.call(ctx, "GET slug", ofGet, func(time.Duration) (err error) {
		out, err = c.slug(app, id)
		return err
	})
	return out, err
}

func slugOf(b platform.Blob) string { return strings.TrimPrefix(b.URL, "https://blobs.test/") }

func (c *client) PutBlob(ctx context.Context, to platform.Blob, body io.ReaderAt, size int64, progress func(int64)) error {
	sent := make([]byte, size)
	if _, err := body.ReadAt(sent, 0); err != nil && err != io.EOF {
		return err
	}
	return c.call(ctx, "PUT blob", ofPut, func(time.Duration) error {
		c.blobs[slugOf(to)] = sent
		if c.damages {
			c.damages, c.blobs[slugOf(to)] = false, sent[:len(sent)/2]
		}
		return nil
	})
}

func (c *client) StatBlob(ctx context.Context, from platform.Blob) (out platform.BlobInfo, err error) {
	err = c.call(ctx, "GET blob", ofGet, func(time.Duration) error {
		b, ok := c.blobs[slugOf(from)]
		if !ok {
			return &platform.BlobError{Op: "check slug", Status: 404}
		}
		out = platform.BlobInfo{Size: int64(len(b)), ETag: fmt.Sprintf("%x", md5.Sum(b))}
		return nil
	})
	return out, err
}

func (c *client) OpenBlob(ctx context.Context, from platform.Blob) (out io.ReadCloser, err error) {
	err = c.call(ctx, "GET blob", ofGet, func(time.Duration) error {
		out = io.NopCloser(bytes.NewReader(c.blobs[slugOf(from)]))
		return nil
	})
	return out, err
}

func (c *client) ConfigNames(context.Context, string) ([]string, error) { return nil, nil }

func (c *client) CreateRelease(ctx context.Context, app string, in platform.ReleaseCreate) (out platform.Release, err error) {
	k := ofOnce
	if c.phase > 0 {
		k = ofPhase
	}
	from := made{home: c.home, base: c.base, known: c.known}
	err = c.call(ctx, postRelease, k, func(late time.Duration) (err error) {
		out, err = c.createRelease(app, in, from, late)
		return err
	})
	return out, err
}

func (c *client) ReleaseOutput(ctx context.Context, r platform.Release) (out io.ReadCloser, err error) {
	err = c.call(ctx, "GET output", ofGet, func(time.Duration) error {
		out = io.NopCloser(bytes.NewReader([]byte("migrated\n")))
		return nil
	})
	return out, err
}
