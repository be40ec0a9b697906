package heroku

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/transport"
)

// enough progress makes a broken connection not count: a large slug over a bad line may need many.
const enough = 1 << 20

// OpenBlob streams a blob from its signed address, without credentials. Where a connection breaks,
// another one goes on, as often as the rules of retrying allow without progress.
func (c *Client) OpenBlob(ctx context.Context, from platform.Blob) (io.ReadCloser, error) {
	u, err := blobURL(from, http.MethodGet)
	if err != nil {
		return nil, err
	}
	d := &blobStream{c: c, ctx: ctx, u: u, op: "download slug from " + u.Host, total: -1}
	if err := d.open(); err != nil {
		return nil, err
	}
	return d, nil
}

// blobStream is a blob that is being read, over one connection or several. Its context is that of
// OpenBlob: whoever cancels it ends the reading.
type blobStream struct {
	c   *Client
	ctx context.Context
	u   *url.URL
	op  string

	body io.ReadCloser
	// tag is the strong ETag of the first answer, or empty; total is -1 when no answer told it.
	tag   string
	total int64
	at    int64 // bytes handed out
	// fresh counts them from the last time that many had arrived, and tries the connections since.
	fresh int64
	tries int
	err   error
}

func (d *blobStream) Read(p []byte) (int, error) {
	for d.err == nil {
		if err := d.ctx.Err(); err != nil { // what has arrived before would still be there to read
			d.err = fmt.Errorf("%s: %w", d.op, err)
			break
		}
		n, err := d.body.Read(p)
		d.at += int64(n)
		if d.at-d.fresh >= enough {
			d.fresh, d.tries = d.at, 0
		}
		switch {
		case errors.Is(err, io.EOF):
			d.err = io.EOF
			if d.total >= 0 && d.at < d.total {
				d.resume(io.ErrUnexpectedEOF)
			}
		case err != nil:
			d.resume(err)
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, d.err
}

// Close ends the reading.
func (d *blobStream) Close() error {
	if d.err == nil {
		d.err = fmt.Errorf("%s: it is closed", d.op)
	}
	return d.body.Close()
}

// resume goes on behind what was handed out, or says in d.err why it cannot.
func (d *blobStream) resume(cause error) {
	_ = d.body.Close() // it is broken
	err := fmt.Errorf("%s: %w", d.op, transport.Error("GET", hostOnly(d.u), cause))
	d.err = err
	if d.ctx.Err() != nil {
		return
	}
	// A whole run of attempts may succeed in connecting and get no bytes each time.
	if d.tries++; d.tries >= maxBroken {
		d.err = fmt.Errorf("%w (gave up after it broke %d times)", err, d.tries)
		return
	}
	d.c.notify(d.op)(d.tries, 0, err)
	d.err = d.open()
}

// maxBroken is how many connections may break without progress.
const maxBroken = 5

func (d *blobStream) open() error {
	return d.c.o.Backoff.Retry(d.ctx, d.c.notify(d.op), func(int) error { return d.once() })
}

func (d *blobStream) once() error {
	req, err := http.NewRequestWithContext(d.ctx, http.MethodGet, d.u.String(), nil)
	if err != nil {
		return transport.Permanent(transport.Error("GET", hostOnly(d.u), err))
	}
	req.Header.Set("User-Agent", d.c.o.UserAgent)
	req.Header.Set("Accept-Encoding", "identity")
	if d.at > 0 && d.tag != "" {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.at))
		req.Header.Set("If-Range", d.tag)
	}
	resp, err := d.c.blob.Do(req)
	if err != nil {
		err = fmt.Errorf("%s: %w", d.op, transport.Error("GET", hostOnly(d.u), err))
		if certificateFault(err) {
			err = transport.Permanent(err)
		}
		return err
	}
	body := transport.IdleReader(resp.Body, d.c.o.IdleTimeout, 0, 0)
	if err := d.accept(resp, body); err != nil {
		_ = resp.Body.Close() // only a refusal's body is of use, and it is read by now
		return err
	}
	d.body = body
	return nil
}

// accept brings the body of an answer to the place where the reading stands.
func (d *blobStream) accept(resp *http.Response, body io.Reader) error {
	tag := resp.Header.Get("ETag")
	switch resp.StatusCode {
	case http.StatusPartialContent:
		start, total, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || d.at == 0 || start != d.at || d.total >= 0 && total != d.total || tag != "" && tag != d.tag {
			return transport.Permanent(fmt.Errorf("%s: the store answered with another part than was asked for", d.op))
		}
		return nil
	case http.StatusOK:
		if d.at == 0 {
			if strings.HasPrefix(tag, `"`) {
				d.tag = tag
			}
			d.total = resp.ContentLength
			return nil
		}
		if tag != d.tag && d.tag != "" || resp.ContentLength != d.total {
			return transport.Permanent(fmt.Errorf("%s: the slug changed while it was read", d.op))
		}
		// The store does not give a part: what was had before is read once more.
		if _, err := io.CopyN(io.Discard, body, d.at); err != nil {
			return fmt.Errorf("%s: %w", d.op, transport.Error("GET", hostOnly(d.u), err))
		}
		return nil
	}
	return retryable(blobError(d.op, d.u, resp), resp)
}

// contentRange reads "bytes 5-9/10".
func contentRange(h string) (start, total int64, ok bool) {
	span, whole, ok := strings.Cut(strings.TrimPrefix(h, "bytes "), "/")
	first, _, dash := strings.Cut(span, "-")
	if !ok || !dash {
		return 0, 0, false
	}
	start, err := strconv.ParseInt(first, 10, 64)
	if err != nil || start < 0 {
		return 0, 0, false
	}
	total, err = strconv.ParseInt(whole, 10, 64)
	return start, total, err == nil && total > start
}
