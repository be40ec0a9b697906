package fetch

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/failpoint"
	"github.com/slugfile/slugfile/pipeline/lock"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/store"
	"github.com/slugfile/slugfile/pipeline/transport"
	"github.com/slugfile/slugfile/pipeline/tree"
	"github.com/slugfile/slugfile/pipeline/unpack"
)

// Stage fetches runtimes into Store. One value is not copied after its first use.
type Stage struct {
	Store *store.Store
	// Mirrors stand in for origins; the longest prefix wins.
	Mirrors []Mirror
	// Sink may be nil.
	Sink    event.Sink
	Options Options

	busy keyed

	mu sync.Mutex
	// made is what Run handed out, by the directory or the pack that holds it, with Unpack set for
	// a directory; see Mend.
	made map[string]plan.Runtime
}

// Options are the limits of downloads. The zero value is what users get.
type Options struct {
	// UserAgent names this program to servers. Default: "slugfile".
	UserAgent string
	// Parallel is how many runtimes are fetched at once. Default: 4.
	Parallel int
	// Backoff is for attempts without progress. Default: 5 tries.
	Backoff transport.Backoff
	// ResponseTimeout is how long an answer may take to begin. Default: 30 s.
	ResponseTimeout time.Duration
	// Idle is how long a body may give nothing. Default: 30 s.
	Idle time.Duration
	// MinRate in bytes a second, over RateSpan, is the slowest body. Default: 1 KiB over 60 s.
	MinRate  int64
	RateSpan time.Duration
	// MaxSize limits an archive whose size is not pinned, in bytes. Default: 4 GiB.
	MaxSize int64
	// RootCAs are trusted in place of the system's. Certificates are always checked.
	RootCAs *x509.CertPool
	// Proxy chooses a proxy; nil means the one that the environment names.
	Proxy func(*http.Request) (*url.URL, error)
}

func (o Options) withDefaults() Options {
	set := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&o.ResponseTimeout, 30*time.Second)
	set(&o.Idle, 30*time.Second)
	set(&o.RateSpan, time.Minute)
	if o.MinRate <= 0 {
		o.MinRate = 1 << 10
	}
	if o.MaxSize <= 0 {
		o.MaxSize = 4 << 30
	}
	if o.Parallel <= 0 {
		o.Parallel = 4
	}
	if o.UserAgent == "" {
		o.UserAgent = "slugfile"
	}
	return o
}

// The kinds of trees in the store. A tree of packKind is a directory with one file, packName, and
// its manifest is of what the pack holds.
const (
	treeKind = "runtime"
	packKind = "pack"
	packName = "pack"
)

// Run fetches the runtimes, several at once, and returns them in their order. Bytes that are
// not the pinned ones are a *digest.MismatchError in the chain.
func (s *Stage) Run(ctx context.Context, f plan.Fetch) ([]artifact.Runtime, error) {
	o := s.Options.withDefaults()
	c := newClient(s.Mirrors, o)
	defer c.close()
	out := make([]artifact.Runtime, len(f.Runtimes))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(o.Parallel)
	for i, r := range f.Runtimes {
		group.Go(func() error {
			var err error
			out[i], err = s.fetch(ctx, groupCtx, o, c, r)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for i, r := range f.Runtimes {
		// Wait also returns when a goroutine panics, while the process is still ending: nothing may
		// be made without its runtime meanwhile.
		if out[i].Name != r.Name {
			return nil, fmt.Errorf("runtime %s: it was given up half way", r.Name)
		}
	}
	return out, nil
}

// fetch fetches one runtime; outer is the context of all that are fetched with it.
func (s *Stage) fetch(outer, ctx context.Context, o Options, c *client, r plan.Runtime) (artifact.Runtime, error) {
	t := &task{s: s, o: o, client: c, name: r.Name, start: time.Now()}
	t.emit(event.TaskStarted{Stage: event.Fetch, Subject: r.Name, Total: max(0, r.Size)})
	out, err := t.run(ctx, r)
	if err != nil {
		t.failed(outer, ctx, err)
	}
	return out, err
}

// task is the work for one runtime.
type task struct {
	s      *Stage
	o      Options
	client *client
	name   string
	start  time.Time
}

func (t *task) emit(e event.Event) {
	if t.s.Sink != nil {
		t.s.Sink.Emit(e)
	}
}

func (t *task) finished(size int64, reused string) {
	t.emit(event.TaskFinished{
		Stage: event.Fetch, Subject: t.name, Reused: reused != "", Why: reused,
		Bytes: size, Elapsed: time.Since(t.start),
	})
}

func (t *task) failed(outer, inner context.Context, err error) {
	text := err.Error()
	if outer.Err() == nil && inner.Err() != nil && errors.Is(err, context.Canceled) {
		text = "stopped, since another runtime could not be fetched"
	}
	t.emit(event.TaskFailed{Stage: event.Fetch, Subject: t.name, Error: text, Elapsed: time.Since(t.start)})
}

func (t *task) progress() func(done, total int64) {
	return event.Thin(event.Func(t.emit), event.Fetch, t.name)
}

func (t *task) subject() string { return "runtime " + t.name }

func (t *task) run(ctx context.Context, r plan.Runtime) (artifact.Runtime, error) {
	out := artifact.Runtime{
		Name: r.Name, Into: r.Into, BuildOnly: r.BuildOnly, Only: r.Only,
		Tool: r.Tool, Command: r.Command, Digest: r.Digest, Size: r.Size,
	}
	if r.Digest.IsZero() {
		return out, fmt.Errorf("%s: nothing pins its bytes", t.subject())
	}
	if r.Tool != "" {
		size, err := t.checkFile(ctx, r.Tool, r.Digest, r.Size)
		if err != nil {
			return out, &changedError{err: err, hint: "the tool was changed while slugfile ran: run it again"}
		}
		out.Size = size
		t.finished(size, "a tool of this machine")
		return out, nil
	}
	// Two runtimes of the same archive download it once.
	defer t.s.busy.lock(r.Digest)()
	known := r.Path != "" || t.seen(r)
	// Looked at in any case: PutTree takes a tree that stands there for a whole one.
	ok, err := t.stored(ctx, r, &out)
	if err != nil {
		return out, fmt.Errorf("%s: %w", t.subject(), err)
	}
	if ok && known {
		if size, has := t.s.Store.Has(r.Digest); has && out.Size < 0 {
			out.Size = size
		}
		out.Size = max(0, out.Size) // the archive may be gone while its tree is whole
		t.finished(out.Size, "in the store")
		return out, nil
	}
	archive, why, err := t.archive(ctx, r, known)
	if err != nil {
		return out, err
	}
	defer archive.Close()
	info, err := archive.Stat()
	if err != nil {
		return out, fmt.Errorf("%s: %w", t.subject(), err)
	}
	out.Size = info.Size()
	if r.Unpack {
		err = t.unpack(ctx, archive, r, &out)
	} else {
		err = t.pack(ctx, archive, r, &out)
	}
	if err != nil {
		return out, err
	}
	t.finished(out.Size, why)
	return out, nil
}

// stored takes the runtime from the store. One that was unpacked, for a step that is gone by
// now, serves as well as its pack.
func (t *task) stored(ctx context.Context, r plan.Runtime, out *artifact.Runtime) (bool, error) {
	if !r.Unpack {
		ok, err := t.packed(r, out)
		if err != nil || ok {
			return ok, err
		}
	}
	dir, m, ok, err := t.s.Store.VerifyTree(ctx, treeKind, r.TreeKey())
	if err != nil || !ok {
		return false, err
	}
	out.Dir, out.Tree = dir, m
	t.s.remember(dir, r, true)
	return true, nil
}

func (t *task) unpack(ctx context.Context, archive *os.File, r plan.Runtime, out *artifact.Runtime) error {
	dir, m, err := t.s.Store.PutTree(treeKind, r.TreeKey(), func(dir string) (tree.Manifest, error) {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
		return unpack.Into(ctx, archive, dir, unpack.Options{Name: t.name, Strip: r.Strip})
	})
	if err != nil {
		return err
	}
	failpoint.Hit("fetch.unpacked")
	out.Dir, out.Tree = dir, m
	t.s.remember(dir, r, true)
	return nil
}

// archive returns the verified archive, open in the store, and a reason when nothing had to
// be brought. The store is a source only for bytes that were seen at this very address: a
// new address beside an old digest would ship the old runtime without a word.
func (t *task) archive(ctx context.Context, r plan.Runtime, known bool) (*os.File, string, error) {
	if known {
		size, there := t.s.Store.Has(r.Digest)
		f, err := t.s.Store.Open(r.Digest)
		switch {
		case err == nil && (r.Size < 0 || r.Size == size):
			return f, "in the store", nil
		case err == nil:
			f.Close()
			return nil, "", &digest.MismatchError{Subject: t.subject(), Want: r.Digest, Got: r.Digest, WantSize: r.Size, GotSize: size}
		case !errors.Is(err, store.ErrNotFound):
			return nil, "", fmt.Errorf("%s: %w", t.subject(), err)
		case there:
			t.emit(event.Warning{
				Stage: event.Fetch, Subject: t.name,
				Message: "its archive was damaged in the store, was removed, and is fetched again",
			})
		}
	}
	if r.Path == "" {
		got, err := t.download(ctx, r.URL, r.Digest, r.Size)
		return got.file, "", err
	}
	got, err := t.ingestFile(ctx, r.Path, r.Digest, r.Size)
	if err != nil {
		err = &changedError{err: err, hint: `if the archive was replaced on purpose, change its sha256 in slug.yaml or run "slugfile lock --update"`}
	}
	return got.file, "", err
}

// arrived is a file that was just brought into the store. It is open, and whoever gets it
// closes it: nobody has to read it again to know that it is right.
type arrived struct {
	file   *os.File
	digest digest.Digest
	size   int64
}

// arrive commits a file.
func arrive(in *store.Ingest, subject string, want digest.Digest, size int64) (a arrived, err error) {
	if a.digest, a.size, err = in.Commit(subject, want, size); err != nil {
		return a, err
	}
	failpoint.Hit("fetch.arrived")
	a.file, err = in.File()
	return a, err
}

// note is what the store remembers of an address.
type note struct {
	SHA256 digest.Digest `json:"sha256"`
}

const noteKind = "url"

func (t *task) seen(r plan.Runtime) bool {
	var n note
	ok, err := t.s.Store.GetRef(noteKind, lock.SeenKey(r.Name, r.URL), &n)
	return err == nil && ok && n.SHA256 == r.Digest
}

func (t *task) see(address string, d digest.Digest) error {
	if err := t.s.Store.PutRef(noteKind, lock.SeenKey(t.name, address), note{SHA256: d}); err != nil {
		return fmt.Errorf("%s: %w", t.subject(), err)
	}
	failpoint.Hit("fetch.seen")
	return nil
}

// checkFile hashes a file of this machine through one descriptor.
func (t *task) checkFile(ctx context.Context, path string, want digest.Digest, size int64) (int64, error) {
	f, err := openRegular(path)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", t.subject(), err)
	}
	defer f.Close()
	n, err := io.Copy(io.Discard, digest.NewReader(&ctxReader{ctx: ctx, r: f}, t.subject()+" at "+path, want, size))
	if err != nil {
		return 0, fileError(t.subject(), err)
	}
	return n, nil
}

// ingestFile brings an archive of this machine into the store, hashed once more on the way:
// what is unpacked is what was checked, whatever happens to the file meanwhile.
func (t *task) ingestFile(ctx context.Context, path string, want digest.Digest, size int64) (got arrived, err error) {
	f, err := openRegular(path)
	if err != nil {
		return got, fmt.Errorf("%s: %w", t.subject(), err)
	}
	defer f.Close()
	in, err := t.s.Store.Create()
	if err != nil {
		return got, fmt.Errorf("%s: %w", t.subject(), err)
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	limit := t.limit(size)
	counted := &progressReader{r: &ctxReader{ctx: ctx, r: io.LimitReader(f, limit+1)}, tell: t.progress(), total: size}
	if _, err := io.Copy(in, counted); err != nil {
		return got, fmt.Errorf("%s: copy %s: %w", t.subject(), path, err)
	}
	if in.Size() > limit && size < 0 {
		return got, fmt.Errorf("%s: %s is larger than %d bytes, the limit", t.subject(), path, limit)
	}
	return arrive(in, t.subject()+" at "+path, want, size)
}

func (t *task) limit(size int64) int64 {
	if size >= 0 {
		return size
	}
	return t.o.MaxSize
}

func fileError(subject string, err error) error {
	var mismatch *digest.MismatchError
	if errors.As(err, &mismatch) {
		return err
	}
	return fmt.Errorf("%s: %w", subject, err)
}

// openRegular opens a regular file; a FIFO in its place does not hang.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// changedError is a file of this machine that is not what was planned.
type changedError struct {
	err  error
	hint string
}

func (e *changedError) Error() string { return e.err.Error() }
func (e *changedError) Unwrap() error { return e.err }

// Hint says what to do next, when the content is what is wrong.
func (e *changedError) Hint() string {
	var mismatch *digest.MismatchError
	if errors.As(e.err, &mismatch) {
		return e.hint
	}
	return ""
}

type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *ctxReader) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

type progressReader struct {
	r           io.Reader
	tell        func(done, total int64)
	done, total int64
}

func (r *progressReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.done += int64(n)
	r.tell(r.done, r.total)
	return n, err
}

// keyed is one lock for each digest.
type keyed struct {
	mu   sync.Mutex
	held map[digest.Digest]*sync.Mutex
}

func (k *keyed) lock(d digest.Digest) (unlock func()) {
	k.mu.Lock()
	if k.held == nil {
		k.held = map[digest.Digest]*sync.Mutex{}
	}
	m := k.held[d]
	if m == nil {
		m = &sync.Mutex{}
		k.held[d] = m
	}
	k.mu.Unlock()
	m.Lock()
	return m.Unlock
}
