package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/slugfile/slugfile/pipeline/transport"
)

const maxRedirects = 5

// client asks for files. It has no cookies, no credentials and no redirects of its own:
// every hop is a new request, checked like the first.
type client struct {
	named  map[string]bool   // origins that the user named with --mirror
	public http.RoundTripper // refuses addresses that are not public
	direct http.RoundTripper // for named origins, and to a proxy
	proxy  func(*http.Request) (*url.URL, error)
	agent  string
}

func newClient(mirrors []Mirror, o Options) *client {
	with := func(check func(network, address string) error) *http.Transport {
		t := transport.NewTransport(transport.Options{
			DialControl: check, ResponseTimeout: o.ResponseTimeout, DisableCompression: true, Proxy: o.Proxy,
		})
		if o.RootCAs != nil {
			t.TLSClientConfig = &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12}
		}
		return t
	}
	c := &client{named: origins(mirrors), public: with(checkDial), direct: with(nil), proxy: o.Proxy, agent: o.UserAgent}
	if c.proxy == nil {
		c.proxy = http.ProxyFromEnvironment
	}
	return c
}

func (c *client) close() {
	for _, rt := range []http.RoundTripper{c.public, c.direct} {
		if t, ok := rt.(*http.Transport); ok {
			t.CloseIdleConnections()
		}
	}
}

// get asks for raw and follows redirects. The answer's status is 200 or 206, or it is an
// error; where says which address answered. Errors that another attempt cannot mend are
// marked transport.Permanent.
func (c *client) get(ctx context.Context, raw string, extra http.Header) (resp *http.Response, where string, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, raw, transport.Permanent(errors.New("the address cannot be read"))
	}
	if u.User != nil {
		return nil, raw, transport.Permanent(fmt.Errorf("%s: the address holds a user or password, which slugfile does not send", transport.Describe("GET", raw)))
	}
	for hop := 0; ; hop++ {
		resp, err = c.once(ctx, u, extra)
		if err != nil {
			return nil, u.String(), err
		}
		switch resp.StatusCode {
		case http.StatusOK, http.StatusPartialContent:
			return resp, u.String(), nil
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		default:
			return nil, u.String(), statusError(u.String(), resp)
		}
		next, err := redirect(u, resp)
		discard(resp)
		if err == nil && hop == maxRedirects {
			err = fmt.Errorf("more than %d redirects, the last one to %s", maxRedirects, transport.Describe("GET", next.String()))
		}
		if err != nil {
			return nil, u.String(), transport.Permanent(fmt.Errorf("%s: %w", transport.Describe("GET", u.String()), err))
		}
		u = next
	}
}

// redirect reads where an answer sends us.
func redirect(from *url.URL, resp *http.Response) (*url.URL, error) {
	to := resp.Header.Get("Location")
	next, err := from.Parse(to)
	if to == "" || err != nil {
		return nil, fmt.Errorf("answered %d without an address that can be read", resp.StatusCode)
	}
	next.User, next.Fragment = nil, ""
	if from.Scheme == "https" && next.Scheme != "https" {
		return nil, fmt.Errorf("redirected from https to %q", next.Scheme)
	}
	return next, nil
}

// once sends one request.
func (c *client) once(ctx context.Context, u *url.URL, extra http.Header) (*http.Response, error) {
	raw := u.String()
	named := c.named[origin(u)]
	switch {
	case u.Host == "":
		return nil, transport.Permanent(fmt.Errorf("%s: the address has no host", transport.Describe("GET", raw)))
	case u.Scheme != "https" && (u.Scheme != "http" || !named):
		return nil, transport.Permanent(fmt.Errorf("%s: the address must be https", transport.Describe("GET", raw)))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, raw, http.NoBody)
	if err != nil {
		return nil, transport.Permanent(transport.Error("GET", raw, err))
	}
	for k, v := range extra {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", c.agent)
	req.Header.Set("Accept", "*/*")
	req.Header.Set("Accept-Encoding", "identity")
	rt := c.public
	if named {
		rt = c.direct
	} else if via, err := c.proxy(req); err == nil && via != nil {
		if err := checkLiteral(u); err != nil {
			return nil, transport.Permanent(transport.Error("GET", raw, err))
		}
		rt = c.direct
	}
	var tlsErr error
	trace := &httptrace.ClientTrace{TLSHandshakeDone: func(_ tls.ConnectionState, err error) { tlsErr = err }}
	resp, err := rt.RoundTrip(req.WithContext(httptrace.WithClientTrace(ctx, trace)))
	if err != nil {
		wrapped := transport.Error("GET", raw, err)
		var refused *AddressError
		if errors.As(err, &refused) || isTLSFault(err, tlsErr) {
			return nil, transport.Permanent(wrapped)
		}
		return nil, wrapped
	}
	return resp, nil
}

// isTLSFault tells a peer that is not to be trusted, or speaks no TLS that we do, from a
// connection that broke during the handshake.
func isTLSFault(err, handshake error) bool {
	var cert *tls.CertificateVerificationError
	var alert tls.AlertError
	var record tls.RecordHeaderError
	var host x509.HostnameError
	if errors.As(err, &cert) || errors.As(err, &alert) || errors.As(err, &record) || errors.As(err, &host) {
		return true
	}
	if handshake == nil || errors.Is(handshake, io.EOF) || errors.Is(handshake, io.ErrUnexpectedEOF) ||
		errors.Is(handshake, context.Canceled) || errors.Is(handshake, context.DeadlineExceeded) || errors.Is(handshake, net.ErrClosed) {
		return false
	}
	var sys *os.SyscallError
	var errno syscall.Errno
	var slow net.Error
	if errors.As(handshake, &sys) || errors.As(handshake, &errno) {
		return false
	}
	return !errors.As(handshake, &slow) || !slow.Timeout()
}

// StatusError is an answer that is no success.
type StatusError struct {
	// Request is "GET https://host/path".
	Request string
	Status  int
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s: answered %d %s", e.Request, e.Status, http.StatusText(e.Status))
}

// Hint says what to do next.
func (e *StatusError) Hint() string {
	switch {
	case e.Status == http.StatusNotFound || e.Status == http.StatusGone:
		return "check the url in slug.yaml: the version, the file name and its ending"
	case e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden:
		return "slugfile downloads without credentials: use an address that needs none, or --mirror"
	case e.Status == http.StatusTooManyRequests || e.Status >= 500:
		return "the server has trouble: try again later, or use --mirror"
	}
	return ""
}

// statusError consumes the answer.
func statusError(raw string, resp *http.Response) error {
	discard(resp)
	err := error(&StatusError{Request: transport.Describe("GET", raw), Status: resp.StatusCode})
	switch s := resp.StatusCode; {
	case s == http.StatusTooManyRequests, s == http.StatusServiceUnavailable:
		if after, ok := transport.ParseRetryAfter(resp.Header.Get("Retry-After"), time.Now()); ok {
			return &transport.RetryAfterError{Err: err, After: after}
		}
		return err
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly, s == http.StatusRequestedRangeNotSatisfiable, s >= 500:
		return err
	}
	return transport.Permanent(err)
}

// discard drops an answer; a short one keeps the connection for the next request.
func discard(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
	resp.Body.Close()
}

// filePath is the path of a file: URL of this machine.
func filePath(u *url.URL) (string, error) {
	p := u.Path
	switch {
	case u.Host != "" && u.Host != "localhost":
		return "", fmt.Errorf("names the host %q; write file:///path", u.Host)
	case !strings.HasPrefix(p, "/"):
		return "", errors.New("has no absolute path; write file:///path")
	}
	for _, c := range strings.Split(p, "/") {
		if c == ".." {
			return "", errors.New(`has ".." in its path`)
		}
	}
	if len(p) > 3 && p[2] == ':' && os.PathSeparator == '\\' {
		p = p[1:] // file:///C:/path
	}
	return p, nil
}
