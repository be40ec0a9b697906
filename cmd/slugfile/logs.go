package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/transport"
)

type logsCmd struct {
	projectFlags
	appFlag
	platformFlags
	progressFlags
	jsonFlag
	logsFlags
}

// Help is shown with --help.
func (c *logsCmd) Help() string {
	return `With --tail it goes on until Ctrl-C, with exit code 130, and connects again when the stream breaks.`
}

// Run shows the last lines of an app's log, and those to come.
func (c *logsCmd) Run(ctx context.Context, app *App) (err error) {
	if c.Number < 0 || c.Number > mostLogLines {
		return &usageError{msg: fmt.Sprintf("-n %d: the platform keeps %d lines, so ask for 0 to %d", c.Number, mostLogLines, mostLogLines), command: "slugfile logs"}
	}
	name, err := app.named(ctx, c.projectFlags, c.appFlag, "slugfile logs")
	if err != nil {
		return err
	}
	v := c.view(app, false)
	defer closing(v, &err)
	conn, err := app.connectRunning(ctx, c.platformFlags, v, "show the log of app "+name)
	if err != nil {
		return err
	}
	defer func() { err = firstError(err, conn.close(ctx)) }()
	logs, ok := conn.platform.(platform.Logs)
	if !ok {
		return errors.New("this platform has no logs")
	}
	f := &follower{
		logs: logs, app: name, ask: platform.LogSessionCreate{Lines: c.Number, Tail: c.Tail, Source: c.Source, Dyno: c.Dyno},
		warn: func(err error) {
			v.Emit(event.Warning{Subject: "logs", Message: err.Error() + "; connecting again"})
		},
		each: func(line string) error {
			if c.JSON {
				return view.WriteLine(app.Out, view.NewLogLine(line))
			}
			return firstError(view.Log(app.Out, line, app.outStyle()), app.flush())
		},
	}
	err = f.run(ctx)
	if s := interrupted(err, causeOf(ctx)); s != nil && c.Tail {
		return &processExit{s.ExitCode()} // being interrupted is how this ends
	}
	return err
}

// mostLogLines is how many the platform keeps: devcenter.heroku.com/articles/logging.
const mostLogLines = 1500

// follower reads a log over one stream or several, and passes each line on once.
type follower struct {
	logs platform.Logs
	app  string
	ask  platform.LogSessionCreate
	each func(line string) error
	warn func(error)
	// wait is the first wait before a stream is opened again. Default: a second.
	wait time.Duration

	// last is the id of the newest line. Where a platform gives none, seen are the newest lines,
	// which begin with their time.
	last string
	seen map[string]bool
	ring []string
}

// longestWait is the longest one between two streams.
const longestWait = 30 * time.Second

// run ends with the stream, and when a log is followed with ctx or when the platform cannot be
// reached any more.
func (f *follower) run(ctx context.Context) error {
	wait := f.wait
	for first := true; ; first = false {
		ask := f.ask
		if !first {
			ask.Lines = mostLogLines // what came since; what was shown is left out
		}
		session, err := f.logs.CreateLogSession(ctx, f.app, ask)
		if err != nil {
			return err
		}
		got := false
		var mine error
		err = f.logs.ReadLog(ctx, session, f.last, func(e platform.LogEvent) error {
			got = true
			mine = f.take(e)
			return mine
		})
		switch {
		case mine != nil:
			return mine
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !f.ask.Tail:
			return err
		case err != nil:
			f.warn(err)
		}
		if f.wait == 0 {
			f.wait = time.Second
		}
		if wait = min(2*wait, longestWait); got || wait < f.wait {
			wait = f.wait
		}
		if err := transport.Sleep(ctx, wait); err != nil {
			return context.Cause(ctx)
		}
	}
}

// take passes a line on that was not shown before.
func (f *follower) take(e platform.LogEvent) error {
	if e.ID != "" {
		if before, err := strconv.ParseInt(f.last, 10, 64); err == nil {
			if n, err := strconv.ParseInt(e.ID, 10, 64); err == nil && n <= before {
				return nil
			}
		}
		f.last = e.ID
		return f.each(e.Line)
	}
	if f.ask.Tail {
		if f.seen[e.Line] {
			return nil
		}
		if f.seen == nil {
			f.seen = map[string]bool{}
		}
		f.seen[e.Line] = true
		if f.ring = append(f.ring, e.Line); len(f.ring) > 2*mostLogLines {
			delete(f.seen, f.ring[0])
			f.ring = f.ring[1:]
		}
	}
	return f.each(e.Line)
}
