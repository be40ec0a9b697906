package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/heroku"
	"github.com/slugfile/slugfile/pipeline/platform/local"
	"github.com/slugfile/slugfile/pipeline/transport"
)

// connection is a platform that can be used.
type connection struct {
	platform platform.Platform
	// api is the base address of the platform.
	api string
	// local is set for the embedded platform.
	local bool
	// info is where the embedded platform runs.
	info local.Info
	// own is the embedded platform of this process, nil when another one's is used.
	own *local.Platform
}

// brief is how long a command that only looks waits for the embedded platform of another
// process, which others cannot use.
const brief = 10 * time.Second

// connect finds the platform that the flags name. sink is told of retries and warnings. wait is how long
// to wait for another process that has the embedded platform for itself; 0 is as long as it takes.
func (a *App) connect(ctx context.Context, f platformFlags, o local.Options, wait time.Duration, sink event.Sink) (*connection, error) {
	if !f.Local {
		client, err := a.herokuClient(ctx, f.API, sink)
		return &connection{platform: client, api: cmp.Or(f.API, heroku.DefaultURL)}, err
	}
	dir, err := a.platformDir("")
	if err != nil {
		return nil, err
	}
	c := &connection{local: true}
	if err := c.findLocal(ctx, dir, o, wait, sink); err != nil {
		return nil, err
	}
	c.api = c.info.API
	a.Redactor.Add(c.info.Token.Reveal())
	c.platform = heroku.New(a.herokuOptions(c.info.API, c.info.Token, sink))
	return c, nil
}

// findLocal uses the embedded platform that runs on dir, or runs it here.
func (c *connection) findLocal(ctx context.Context, dir string, o local.Options, wait time.Duration, sink event.Sink) error {
	o.Listen = "127.0.0.1:0"
	own, info, err := awaitPlatform(ctx, dir, o, wait, sink)
	if err != nil {
		return err
	}
	if own != nil {
		if err := own.Start(ctx); err != nil {
			return err
		}
		c.own, info = own, own.Info()
	}
	c.info = info
	return nil
}

// awaitPlatform opens the embedded platform on dir once no other process has it, or finds one that
// runs there and can be used: then own is nil. wait is as in connect.
func awaitPlatform(ctx context.Context, dir string, o local.Options, wait time.Duration, sink event.Sink) (own *local.Platform, info local.Info, err error) {
	start := time.Now()
	for told := false; ; {
		if info, running := local.Discover(dir); running {
			return nil, info, nil
		}
		var held *local.HeldError
		own, err := openPlatform(dir, o)
		switch waited := time.Since(start); {
		case !errors.As(err, &held) || wait > 0 && waited >= wait:
			return own, info, err
		case waited >= time.Second && !told:
			told = true
			sink.Emit(event.Warning{Message: held.Holder() + " has the embedded platform for itself; waiting for it to end"})
		}
		select {
		case <-ctx.Done():
			return nil, info, context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// notRunningError says that --local has nothing to speak to.
type notRunningError struct{ what string }

func (e *notRunningError) Error() string {
	return e.what + ": no embedded platform runs, and only one that runs has it"
}

// Hint says how to start one.
func (e *notRunningError) Hint() string {
	return "start it in another terminal with \"slugfile platform\", or keep \"slugfile apply --local --stay\" up"
}

// connectRunning is connect for what only a platform that runs can tell: this process starts none.
func (a *App) connectRunning(ctx context.Context, f platformFlags, sink event.Sink, what string) (*connection, error) {
	if f.Local {
		dir, err := a.platformDir("")
		if err != nil {
			return nil, err
		}
		if _, running := local.Discover(dir); !running {
			return nil, &notRunningError{what}
		}
	}
	return a.connect(ctx, f, local.Options{Boots: noApp, Private: true}, brief, sink)
}

// named is the app of the flag, else that of slug.yaml.
func (a *App) named(ctx context.Context, f projectFlags, flag appFlag, command string) (string, error) {
	if flag.App != "" {
		return flag.App, nil
	}
	p, err := a.load(ctx, loadOptions{projectFlags: f})
	if err != nil {
		return "", err
	}
	if p.File.App == "" {
		return "", &usageError{msg: `no app is named: add "app:" to ` + p.Shown + " or give -a", command: command}
	}
	return p.File.App, nil
}

// noApp boots nothing: for commands that only look.
func noApp(string, string) bool { return false }

// hurry is the grace of dynos when a signal ended the run, which is to be over within five
// seconds then.
const hurry = 3 * time.Second

// close ends the embedded platform of this process: its dynos get SIGTERM, and after their
// grace SIGKILL.
func (c *connection) close(ctx context.Context) error {
	if c.own == nil {
		return nil
	}
	grace := context.WithoutCancel(ctx)
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		grace, cancel = context.WithTimeout(grace, hurry)
		defer cancel()
	}
	return c.own.Close(grace)
}

// herokuClient logs in to the platform at api, which is Heroku's when it is empty.
func (a *App) herokuClient(ctx context.Context, api string, sink event.Sink) (*heroku.Client, error) {
	if api == "" {
		api = heroku.DefaultURL
	}
	token, _, warnings, err := heroku.Credentials(ctx, heroku.CredentialOptions{Env: a.Env, Home: a.Env["HOME"], Origin: api})
	for _, w := range warnings {
		sink.Emit(event.Warning{Message: w})
	}
	if err != nil {
		return nil, err
	}
	a.Redactor.Add(token.Reveal())
	return heroku.New(a.herokuOptions(api, token, sink)), nil
}

func (a *App) herokuOptions(api string, token transport.Secret, sink event.Sink) heroku.Options {
	return heroku.Options{
		BaseURL: api, Token: token, UserAgent: a.userAgent(),
		AnswerTimeout: a.Patience.Answer, IdleTimeout: a.Patience.Idle,
		Retry: func(op string, attempt int, wait time.Duration, err error) {
			sink.Emit(event.Retry{Subject: op, Attempt: attempt, Wait: wait, Error: err.Error()})
		},
		Warn:  func(text string) { sink.Emit(event.Warning{Subject: hostOf(api), Message: text}) },
		Learn: a.Redactor.Add,
	}
}

func hostOf(api string) string {
	if u, err := url.Parse(api); err == nil {
		return u.Host
	}
	return api
}

// platformDir is the data directory of the embedded platform: the flag, SLUGFILE_DATA, or
// the user's data directory.
func (a *App) platformDir(flag string) (string, error) {
	if flag == "" {
		flag = a.Env["SLUGFILE_DATA"]
	}
	if flag != "" {
		return a.abs(flag), nil
	}
	d, err := a.dirs()
	if err != nil {
		return "", err
	}
	return filepath.Join(d.Data, "platform"), nil
}

// bootTime is how long a web process may take to answer, on the embedded platform as on Heroku.
const bootTime = 60 * time.Second

// awaitWeb waits until the app's web process answers. An app without one has nothing to wait for.
func (c *connection) awaitWeb(ctx context.Context, app string) error {
	// The platform gives up after the boot time; the rest is for its answer.
	ctx, cancel := context.WithTimeout(ctx, bootTime+10*time.Second)
	defer cancel()
	err := local.AwaitWeb(ctx, c.info, app)
	if errors.Is(err, local.ErrNoWeb) {
		return nil
	}
	return err
}

// forward shows the log of the embedded platform's apps, when it is open.
type forward struct {
	open chan struct{}
	view view.View
}

func newForward(v view.View) *forward { return &forward{make(chan struct{}), v} }

// log is for local.Options.Log. The view has a clock of its own.
func (f *forward) log(app, line string) {
	if _, text, ok := strings.Cut(line, " "); ok {
		line = text
	}
	select {
	case <-f.open:
		f.view.Emit(event.Output{Stage: event.Release, Subject: app, Line: line})
	default:
	}
}

func (f *forward) start() { close(f.open) }

// webURL is the app's address, or empty.
func webURL(ctx context.Context, p platform.Platform, app string) (string, error) {
	a, err := p.App(ctx, app)
	if err != nil {
		return "", fmt.Errorf("look at app %s: %w", app, err)
	}
	if a.WebURL == nil {
		return "", nil
	}
	return *a.WebURL, nil
}
