package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform"
)

// ErrNoWeb says that the current release has no web process type, or that it is scaled to 0.
var ErrNoWeb = errors.New("the app runs no web dyno")

// AwaitWeb waits until a web dyno of the current release answers a request. It fails with
// *BootError as soon as that dyno has crashed or has used up its boot time, and with ErrNoWeb
// when there is none to wait for.
func (p *Platform) AwaitWeb(ctx context.Context, ident string) error {
	app, f, err := p.fleetOf(ident)
	if err != nil {
		return platformError("wait for app "+ident, err)
	}
	for {
		wants, release, _, err := f.desired()
		if err != nil {
			return platformError("wait for app "+app.Name, err)
		}
		web := false
		for _, w := range wants {
			web = web || w.kind == "web"
		}
		if !web {
			return fmt.Errorf("app %s v%d: %w", app.Name, release.Version, ErrNoWeb)
		}
		f.mu.Lock()
		changed := f.changed
		var ready *instance
		var failure *BootError
		for _, d := range f.dynos {
			if d.kind != "web" || d.oneOff || d.obsolete || d.release.ID != release.ID {
				continue
			}
			switch {
			case d.state == up && f.live == release.ID:
				ready = d // and the router sends requests to it
			case d.failure != nil:
				copied := *d.failure
				failure = &copied
			}
		}
		ending := f.ending
		f.mu.Unlock()
		switch {
		case ready != nil:
			if p.answers(ctx, ready) {
				return nil
			}
		case failure != nil:
			failure.App = app.Name
			return failure
		case ending:
			return fmt.Errorf("wait for app %s: the platform is closing", app.Name)
		}
		poll := time.NewTimer(time.Second) // for a dyno that listens and does not answer yet
		select {
		case <-ctx.Done():
			poll.Stop()
			return fmt.Errorf("wait for app %s: %w", app.Name, ctx.Err())
		case <-changed:
		case <-poll.C:
		}
		poll.Stop()
	}
}

// answers asks a web dyno for its first page; any status will do.
func (p *Platform) answers(ctx context.Context, d *instance) bool {
	ctx, cancel := context.WithTimeout(ctx, p.opts.RequestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort("127.0.0.1", strconv.Itoa(d.port))+"/", nil)
	if err != nil {
		return false
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close() // only the status line was wanted
	return true
}

// platformError gives an error of the API's own functions the type that callers know.
func platformError(op string, err error) error {
	var e *apiError
	if errors.As(err, &e) {
		return &platform.Error{Op: op, Status: e.status, ID: e.id, Message: e.message}
	}
	return fmt.Errorf("%s: %w", op, err)
}
