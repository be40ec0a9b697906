package heroku

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/transport"
)

// maxLogLine is more than any line of a log: the platform splits those over 10,000 bytes.
const maxLogLine = 1 << 20

// CreateLogSession asks for an address at which the log can be read. A second one does no harm.
func (c *Client) CreateLogSession(ctx context.Context, app string, in platform.LogSessionCreate) (platform.LogSession, error) {
	var out platform.LogSession
	a, err := segment("app", app)
	if err != nil {
		return out, err
	}
	there := func() error {
		if out.LogplexURL == "" {
			return errors.New("it has no address")
		}
		return nil
	}
	_, err = c.do(ctx, call{op: "read log of app " + app, method: "POST", path: "/apps/" + a + "/log-sessions", again: always, in: in, out: &out, check: there})
	c.learnAddress(out.LogplexURL)
	return out, err
}

// ReadLog reads the stream of a session once, without credentials: the address is secret as a
// whole. An open stream may be silent for long, so only the network ends it.
func (c *Client) ReadLog(ctx context.Context, s platform.LogSession, after string, each func(platform.LogEvent) error) error {
	const op = "read log"
	u, err := url.Parse(s.LogplexURL)
	if err != nil {
		return fmt.Errorf("%s: the address cannot be read", op)
	}
	if err := allowed(u); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	u.User = nil
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("%s: %w", op, transport.Error("GET", hostOnly(u), err))
	}
	req.Header.Set("User-Agent", c.o.UserAgent)
	req.Header.Set("Accept", "text/event-stream")
	if after != "" {
		req.Header.Set("Last-Event-ID", after)
	}
	resp, err := c.blob.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", op, transport.Error("GET", hostOnly(u), err))
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	if resp.StatusCode != http.StatusOK {
		return &platform.Error{Op: op, Status: resp.StatusCode}
	}
	read := readEvents
	if t, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); t == "text/plain" {
		read = readLines
	}
	var mine error
	err = read(resp.Body, func(e platform.LogEvent) error {
		mine = each(e)
		return mine
	})
	if err != nil && mine == nil {
		err = fmt.Errorf("%s: %w", op, transport.Error("GET", hostOnly(u), err))
	}
	return err
}

// readLines takes every line for an event without an id.
func readLines(r io.Reader, each func(platform.LogEvent) error) error {
	lines := logScanner(r)
	for lines.Scan() {
		if err := each(platform.LogEvent{Line: strings.TrimSuffix(lines.Text(), "\r")}); err != nil {
			return err
		}
	}
	return lines.Err()
}

// readEvents reads an event stream, of which only id and data are of use here. An event that its
// end cut off is dropped, as the standard wants it: it comes again to whoever resumes.
// https://html.spec.whatwg.org/multipage/server-sent-events.html
func readEvents(r io.Reader, each func(platform.LogEvent) error) error {
	var id string
	var data []string
	lines := logScanner(r)
	for first := true; lines.Scan(); first = false {
		line := bytes.TrimSuffix(lines.Bytes(), []byte("\r"))
		if first {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if len(line) == 0 {
			if data != nil {
				if err := each(platform.LogEvent{ID: id, Line: strings.Join(data, "\n")}); err != nil {
					return err
				}
			}
			data = nil
			continue
		}
		field, value, _ := strings.Cut(string(line), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			if !strings.Contains(value, "\x00") {
				id = value
			}
		case "data":
			data = append(data, value)
		}
	}
	return lines.Err()
}

func logScanner(r io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLogLine)
	return s
}
