package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/slugfile/slugfile/pipeline/platform"
)

// awaitPath is no part of Heroku's API: the answer comes when the web process is up, or
// cannot come up.
const awaitPath = "/_web/"

// webState is the answer. One of Up, NoWeb, Failure and Problem is set.
type webState struct {
	Up      bool       `json:"up,omitempty"`
	NoWeb   bool       `json:"no_web,omitempty"`
	Failure *BootError `json:"failure,omitempty"`
	Problem string     `json:"problem,omitempty"`
}

func (p *Platform) awaitWeb(c *call) (answer, error) {
	err := p.AwaitWeb(c.Context(), c.PathValue("app"))
	var boot *BootError
	var refused *platform.Error
	switch {
	case err == nil:
		return ok(webState{Up: true})
	case errors.Is(err, ErrNoWeb):
		return ok(webState{NoWeb: true})
	case errors.As(err, &boot):
		return ok(webState{Failure: boot})
	case errors.As(err, &refused):
		return answer{}, &apiError{status: refused.Status, id: refused.ID, message: refused.Message}
	}
	return ok(webState{Problem: err.Error()})
}

// AwaitWeb does what Platform.AwaitWeb does, for a platform that may run in another process.
func AwaitWeb(ctx context.Context, at Info, app string) error {
	op := "wait for app " + app
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.API+awaitPath+url.PathEscape(app), nil)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	req.Header.Set("Authorization", "Bearer "+at.Token.Reveal())
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("%s: ask the embedded platform: %w", op, err)
	}
	defer func() { _ = res.Body.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(res.Body, 8<<20))
	if err != nil {
		return fmt.Errorf("%s: ask the embedded platform: %w", op, err)
	}
	if res.StatusCode != http.StatusOK {
		e := &platform.Error{Op: op, Status: res.StatusCode, RequestID: res.Header.Get("Request-Id")}
		var body struct{ ID, Message string }
		if json.Unmarshal(text, &body) == nil {
			e.ID, e.Message = body.ID, body.Message
		}
		return e
	}
	var state webState
	if err := json.Unmarshal(text, &state); err != nil {
		return fmt.Errorf("%s: the embedded platform answered something else: %w", op, err)
	}
	switch {
	case state.Up:
		return nil
	case state.NoWeb:
		return fmt.Errorf("app %s: %w", app, ErrNoWeb)
	case state.Failure != nil:
		return state.Failure
	}
	return fmt.Errorf("%s: %s", op, state.Problem)
}
