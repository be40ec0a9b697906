package transport

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"
)

// Options are what callers of NewTransport decide. The zero value is sensible.
type Options struct {
	// DialControl sees every address before it is dialled, as an IP with its port, and may
	// refuse it. With a proxy that is the proxy's address.
	DialControl func(network, address string) error
	// ResponseTimeout is how long the headers of an answer may take once the request is
	// written. Default: 30 s.
	ResponseTimeout time.Duration
	// DisableCompression leaves bytes as they were served: for everything that has a digest.
	DisableCompression bool
	// Proxy chooses a proxy; nil means the one that the environment names.
	Proxy func(*http.Request) (*url.URL, error)
}

// NewTransport returns a transport with a limit on every phase: 10 s to connect, 10 s for TLS,
// ResponseTimeout for the headers, 1 MiB of headers. Certificates are always checked.
func NewTransport(o Options) *http.Transport {
	d := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	if o.DialControl != nil {
		d.ControlContext = func(_ context.Context, network, address string, _ syscall.RawConn) error {
			return o.DialControl(network, address)
		}
	}
	if o.ResponseTimeout <= 0 {
		o.ResponseTimeout = 30 * time.Second
	}
	if o.Proxy == nil {
		o.Proxy = http.ProxyFromEnvironment
	}
	return &http.Transport{
		Proxy:                  o.Proxy,
		DialContext:            d.DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           32,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  o.ResponseTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 1 << 20,
		DisableCompression:     o.DisableCompression,
	}
}
