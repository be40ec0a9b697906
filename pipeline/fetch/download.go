package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/store"
	"github.com/slugfile/slugfile/pipeline/transport"
)

// BytesError says that an address gave other bytes than those that are pinned.
type BytesError struct {
	// Address is what slug.yaml says, and From is the request that was made; they differ
	// behind a mirror or a redirect. Neither has a query.
	Address, From string
	// ContentType is as the server said it; empty for files.
	ContentType string
	// Encoding is the Content-Encoding, which is never undone.
	Encoding string
	// Cause is what ended the body early; nil when it was whole.
	Cause    error
	Mismatch *digest.MismatchError
}

func (e *BytesError) Error() string {
	var b strings.Builder
	b.WriteString(e.Mismatch.Error())
	if e.Mismatch.GotSize != e.Mismatch.WantSize && e.Mismatch.WantSize < 0 {
		fmt.Fprintf(&b, " (%d bytes)", e.Mismatch.GotSize)
	}
	if e.ContentType != "" {
		fmt.Fprintf(&b, ", served as %q", clip(e.ContentType))
	}
	if e.Encoding != "" {
		fmt.Fprintf(&b, ", with the encoding %q", clip(e.Encoding))
	}
	fmt.Fprintf(&b, ": %s", e.From)
	if e.Address != e.From {
		fmt.Fprintf(&b, " in place of %s", e.Address)
	}
	if e.Cause != nil {
		fmt.Fprintf(&b, ": %v", e.Cause)
	}
	return b.String()
}

// Unwrap gives the mismatch, and what ended the body early.
func (e *BytesError) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Mismatch}
	}
	return []error{e.Mismatch, e.Cause}
}

// Hint says what to do next.
func (e *BytesError) Hint() string {
	switch {
	case e.Cause != nil:
		return "the download was cut short: run slugfile again"
	case strings.Contains(strings.ToLower(e.ContentType), "html"):
		return "the server sent a web page, not an archive: check the url, and whether the network asks for a login"
	}
	return `nothing was stored; if the new bytes are meant, change sha256 in slug.yaml or run "slugfile lock --update", and review what changed`
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// download brings the bytes of an address into the store, from a mirror where one is named.
// A zero digest accepts any bytes.
func (t *task) download(ctx context.Context, address string, want digest.Digest, size int64) (arrived, error) {
	at, mirrored := rewrite(t.s.Mirrors, address)
	got, err := t.from(ctx, address, at, want, size)
	if err != nil {
		return got, t.explain(err, address, at, mirrored)
	}
	if err := t.see(address, got.digest); err != nil {
		return arrived{}, errors.Join(err, got.file.Close())
	}
	return got, nil
}

// explain gives an error the runtime's name, and behind a mirror both addresses.
func (t *task) explain(err error, address, at string, mirrored bool) error {
	var told *BytesError
	if errors.As(err, &told) {
		return err
	}
	if mirrored {
		return fmt.Errorf("%s: %s, through the mirror %s: %w", t.subject(), describe(address), describe(at), err)
	}
	return fmt.Errorf("%s: %w", t.subject(), err)
}

// describe names an address without what may be secret in it.
func describe(address string) string {
	if u, err := url.Parse(address); err == nil && u.Scheme == "file" {
		return address
	}
	return strings.TrimPrefix(transport.Describe("GET", address), "GET ")
}

func (t *task) from(ctx context.Context, address, at string, want digest.Digest, size int64) (arrived, error) {
	if strings.HasPrefix(at, "file:") {
		u, err := url.Parse(at)
		if err != nil {
			return arrived{}, errors.New("the address cannot be read")
		}
		path, err := filePath(u)
		if err != nil {
			return arrived{}, fmt.Errorf("the address %s %w", at, err)
		}
		got, err := t.ingestFile(ctx, path, want, size)
		var mismatch *digest.MismatchError
		if errors.As(err, &mismatch) {
			mismatch.Subject = t.subject()
			return got, &BytesError{Address: describe(address), From: path, Mismatch: mismatch}
		}
		return got, err
	}
	in, err := t.s.Store.Create()
	if err != nil {
		return arrived{}, err
	}
	dl := &download{task: t, in: in, address: address, at: at, want: want, size: size, total: -1}
	err = dl.run(ctx)
	return dl.got, errors.Join(err, in.Close())
}

// download is one file on its way over HTTP, through as many attempts as it takes.
type download struct {
	*task
	in          *store.Ingest
	address, at string
	want        digest.Digest
	size        int64

	// What the first answer promised, for going on where an attempt ended.
	etag  string // strong, or empty: then every attempt starts over
	total int64  // -1 when the server does not say
	// resumed is set when the bytes are from more than one answer.
	resumed bool

	got arrived
}

// enough progress makes an attempt not count: a large file over a bad line may need many.
const enough = 1 << 20

var errProgress = errors.New("the download was interrupted")

func (d *download) run(ctx context.Context) error {
	for {
		interrupted := false
		err := d.o.Backoff.Retry(ctx, d.retry, func(attempt int) error {
			before := d.in.Size()
			err := d.attempt(ctx)
			if err != nil && ctx.Err() == nil && d.etag != "" && d.in.Size()-before >= enough && isTemporary(err) {
				interrupted = true
				d.retry(attempt, 0, err)
				return transport.Permanent(errProgress)
			}
			return err
		})
		if !interrupted || !errors.Is(err, errProgress) {
			return err
		}
	}
}

func (d *download) retry(attempt int, wait time.Duration, err error) {
	d.emit(event.Retry{Stage: event.Fetch, Subject: d.name, Attempt: attempt, Wait: wait, Error: err.Error()})
}

// cutError is a body that ended early in a way that another attempt may mend.
type cutError struct{ err error }

func (e *cutError) Error() string { return e.err.Error() }
func (e *cutError) Unwrap() error { return e.err }

func isTemporary(err error) bool {
	var cut *cutError
	return errors.As(err, &cut)
}

func (d *download) attempt(ctx context.Context) error {
	extra := http.Header{}
	if d.in.Size() > 0 && d.etag != "" {
		extra.Set("Range", fmt.Sprintf("bytes=%d-", d.in.Size()))
		extra.Set("If-Range", d.etag)
	} else if err := d.startOver(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, where, err := d.client.get(ctx, d.at, extra)
	if err != nil {
		var status *StatusError
		if errors.As(err, &status) && status.Status == http.StatusRequestedRangeNotSatisfiable {
			return errors.Join(err, d.startOver())
		}
		return err
	}
	defer resp.Body.Close()
	if err := d.accept(resp, where); err != nil {
		return err
	}
	if err := d.copy(resp, where); err != nil {
		return err
	}
	return d.commit(resp, where)
}

func (d *download) startOver() error {
	d.etag, d.total, d.resumed = "", -1, false
	if d.in.Size() == 0 {
		return nil
	}
	if err := d.in.Reset(); err != nil {
		return transport.Permanent(err)
	}
	return nil
}

// accept decides what an answer's headers mean for the bytes that are there already.
func (d *download) accept(resp *http.Response, where string) error {
	request := transport.Describe("GET", where)
	if resp.StatusCode == http.StatusPartialContent {
		start, total, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || start != d.in.Size() || start == 0 || d.total >= 0 && total >= 0 && total != d.total || resp.Header.Get("Etag") != "" && resp.Header.Get("Etag") != d.etag {
			return errors.Join(fmt.Errorf("%s: answered with another part of the file than was asked for", request), d.startOver())
		}
		d.resumed = true
		if total >= 0 {
			d.total = total
		}
	} else {
		if err := d.startOver(); err != nil {
			return err
		}
		if tag := resp.Header.Get("Etag"); strings.HasPrefix(tag, `"`) && resp.Header.Get("Content-Encoding") == "" {
			d.etag = tag
		}
		d.total = resp.ContentLength
	}
	switch {
	case d.total >= 0 && d.size >= 0 && d.total != d.size:
		// Told before anything is downloaded.
		return transport.Permanent(d.mismatch(resp, where, &digest.MismatchError{
			Subject: d.subject(), Want: d.want, WantSize: d.size, GotSize: d.total,
		}, nil))
	case d.total > d.o.MaxSize && d.size < 0:
		return transport.Permanent(fmt.Errorf("%s: the file has %d bytes, more than the limit of %d", request, d.total, d.o.MaxSize))
	}
	return nil
}

// copy appends the body to the file.
func (d *download) copy(resp *http.Response, where string) error {
	body := transport.IdleReader(resp.Body, d.o.Idle, d.o.MinRate, d.o.RateSpan)
	defer body.Close()
	limit := d.limit(d.size)
	r := &progressReader{r: io.LimitReader(body, limit-d.in.Size()+1), tell: d.progress(), done: d.in.Size(), total: max(d.total, d.size)}
	_, err := io.Copy(writerOnly{d.in}, r)
	switch {
	case d.in.Size() > limit && d.size >= 0:
		return transport.Permanent(d.mismatch(resp, where, &digest.MismatchError{
			Subject: d.subject(), Want: d.want, WantSize: d.size, GotSize: d.in.Size(),
		}, nil))
	case d.in.Size() > limit:
		return transport.Permanent(fmt.Errorf("%s: the file has more than %d bytes, the limit", transport.Describe("GET", where), limit))
	case err != nil:
		return d.cut(resp, where, err)
	case d.total >= 0 && d.in.Size() < d.total:
		return d.cut(resp, where, io.ErrUnexpectedEOF)
	case d.size >= 0 && d.in.Size() < d.size:
		// Without a length there is nothing but the pin that tells the end from a cut.
		return d.cut(resp, where, io.ErrUnexpectedEOF)
	}
	return nil
}

// cut is the error of a body that ended early. One that looks complete to the connection is
// a mismatch too: those are not the promised bytes.
func (d *download) cut(resp *http.Response, where string, err error) error {
	var write interface{ writeFault() }
	if errors.As(err, &write) {
		return transport.Permanent(err)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		whole := max(d.total, d.size)
		return &cutError{d.mismatch(resp, where, &digest.MismatchError{
			Subject: d.subject(), Want: d.want, WantSize: whole, GotSize: d.in.Size(),
		}, err)}
	}
	return &cutError{transport.Error("GET", where, err)}
}

func (d *download) mismatch(resp *http.Response, where string, m *digest.MismatchError, cause error) *BytesError {
	return &BytesError{
		Address: transport.Describe("GET", d.address), From: transport.Describe("GET", where),
		ContentType: resp.Header.Get("Content-Type"), Encoding: resp.Header.Get("Content-Encoding"), Cause: cause, Mismatch: m,
	}
}

// commit checks the digest of all the bytes and puts the file into the store.
func (d *download) commit(resp *http.Response, where string) error {
	got, err := arrive(d.in, d.subject(), d.want, d.size)
	var mismatch *digest.MismatchError
	switch {
	case err == nil:
		d.got = got
		return nil
	case errors.As(err, &mismatch) && d.resumed:
		// The parts may be of two files with one tag: the whole decides.
		return errors.Join(&cutError{d.mismatch(resp, where, mismatch, errors.New("the parts of the interrupted download do not fit together"))}, d.startOver())
	case errors.As(err, &mismatch):
		return transport.Permanent(d.mismatch(resp, where, mismatch, nil))
	}
	return transport.Permanent(err)
}

// contentRange reads "bytes 5-9/10"; the total is -1 when it is "*".
func contentRange(h string) (start, total int64, ok bool) {
	span, ok := strings.CutPrefix(h, "bytes ")
	if !ok {
		return 0, 0, false
	}
	span, whole, ok := strings.Cut(span, "/")
	if !ok {
		return 0, 0, false
	}
	first, _, ok := strings.Cut(span, "-")
	if !ok {
		return 0, 0, false
	}
	start, err := strconv.ParseInt(first, 10, 64)
	if err != nil || start < 0 {
		return 0, 0, false
	}
	if whole == "*" {
		return start, -1, true
	}
	total, err = strconv.ParseInt(whole, 10, 64)
	return start, total, err == nil && total > start
}

// writerOnly marks errors of the store, which no other attempt mends.
type writerOnly struct{ w io.Writer }

func (w writerOnly) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	if err != nil {
		err = &writeError{err}
	}
	return n, err
}

type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }
func (e *writeError) writeFault()   {}
