package main

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline"
	"github.com/slugfile/slugfile/pipeline/platform/dyno"
	"github.com/slugfile/slugfile/pipeline/stack"
)

type runCmd struct {
	buildingFlags
	lockFlag
	runFlags
	ProcessType string `arg:"" optional:"" name:"type" help:"The process type to run. Default: web. Or \"-- COMMAND\": any command, in the same dyno."`
}

// Help is shown with --help.
func (c *runCmd) Help() string {
	return `The slug is the one that "slugfile build" makes of this directory, or any slug.tgz. It runs on this machine's libraries, not on those of its stack. Exit code: that of the process.

A command is given after two dashes: "slugfile run -- bash". One word alone is a line for bash, as in "slugfile run -- 'ls | wc -l'".

Web prints its URL once it listens. Ctrl-C sends SIGTERM to all processes, and SIGKILL after 30 s or at the second Ctrl-C. A command on a terminal has the terminal for itself: Ctrl-C goes to what runs there.

An --env-file has lines KEY=VALUE. "export " before a name, blank lines and lines that begin with # are skipped. A value without quotes ends before " #"; one in single quotes is taken as it is; in double quotes \n, \r, \t, \", \$ and \\ are escapes; both may span lines. $NAME stays as it is. The last of two equal names wins.`
}

// dynoGrace is what processes have between SIGTERM and SIGKILL.
const dynoGrace = dyno.DefaultGrace

// Run boots one dyno and ends with the exit code of its process.
func (c *runCmd) Run(ctx context.Context, app *App) error {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return &unsupportedError{runtime.GOOS + "/" + runtime.GOARCH}
	}
	command := bashLine(app.Rest)
	if command != "" && c.ProcessType != "" {
		return &usageError{msg: fmt.Sprintf("both the process type %q and a command after -- are given: leave one of them out", c.ProcessType), command: "slugfile run"}
	}
	if app.Dashed && command == "" {
		return &usageError{msg: "no command stands after --", command: "slugfile run"}
	}
	kind := cmp.Or(c.ProcessType, "web")
	if command != "" {
		kind = "run"
	}
	if c.Port != 0 && kind != "web" {
		return &usageError{msg: "--port is for web: no other process gets a port", command: "slugfile run"}
	}
	vars, err := app.readEnvFiles(c.EnvFile)
	if err != nil {
		return err
	}
	port := 0
	if kind == "web" {
		if port, err = freePort(c.Port); err != nil {
			return err
		}
	}
	r, err := c.slug(ctx, app, command == "")
	if err != nil {
		return err
	}
	defer func() { _ = r.file.Close() }() // it was only read
	if command == "" {
		if command = r.types[kind]; command == "" {
			return &noTypeError{kind: kind, where: r.where, types: slices.Sorted(maps.Keys(r.types))}
		}
	}
	if !c.Quiet {
		if err := view.Running(app.Err, kind, r.stack, dyno.Plain(), app.errStyle()); err != nil {
			return err
		}
		if err := app.flush(); err != nil {
			return err
		}
	}
	scratch, remove, err := app.runDir()
	if err != nil {
		return err
	}
	defer remove()
	spec := dyno.Spec{Slug: r.file, Scratch: scratch, Name: kind + ".1", Command: command, Port: port, Config: vars}
	if kind == "run" {
		spec.Name = "run." + strconv.Itoa(1000+os.Getpid()%9000)
	}
	return c.boot(ctx, app, spec, len(app.Rest) > 0)
}

// bashLine is one line for bash: a single word is one already, several are quoted.
func bashLine(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return strings.Join(quoted, " ")
}

// boot runs a dyno to its end. interactive gives it the terminal, where there is one.
func (c *runCmd) boot(ctx context.Context, app *App, spec dyno.Spec, interactive bool) error {
	// A signal asks the dyno to end; only the second one kills it.
	hard, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	onSecondSignal(ctx, kill)

	spec.Stdout, spec.Stderr = app.raw.Out, app.raw.Err
	restore, hangUp := func() {}, func() {}
	switch {
	case spec.Port != 0: // web reads nothing on a dyno
	case interactive && app.InTerminal && app.OutTerminal:
		t, err := openTerminal(app.raw, &spec)
		if err != nil {
			return fmt.Errorf("give the process a terminal: %w", err)
		}
		restore, hangUp = t.close, t.hangUp
		if term := app.Env["TERM"]; term != "" && spec.Config["TERM"] == "" {
			spec.Config["TERM"] = term
		}
	case app.InTerminal:
		// Not the terminal itself: a process in the background is stopped when it reads one.
		spec.Stdin = struct{ io.Reader }{app.raw.In}
	default:
		spec.Stdin = app.raw.In
	}
	// Unpacking goes on after a first signal: from here a process that runs already cannot be told
	// from one that does not.
	d, err := dyno.Boot(hard, spec)
	if err != nil {
		restore()
		if cause := causeOf(ctx); cause != nil {
			return cause
		}
		return err
	}
	failed := make(chan error, 1)
	if spec.Port != 0 {
		go func() { failed <- c.awaitPort(hard, app, d, spec.Port) }()
	}
	var fault error
	select {
	case <-d.Done():
	case <-ctx.Done():
		hangUp() // a shell on a terminal heeds no SIGTERM
		d.Stop(hard, dynoGrace)
	case fault = <-failed:
		switch {
		case fault == nil:
			select {
			case <-d.Done():
			case <-ctx.Done():
				d.Stop(hard, dynoGrace)
			}
		case is[*dyno.ExitError](fault):
			fault = nil // its own output and its exit code tell
		default:
			d.Stop(hard, dynoGrace)
		}
	}
	code, err := d.Exit()
	restore()
	switch {
	case fault != nil:
		return fault
	case err != nil:
		return err
	}
	return &processExit{code}
}

// awaitPort prints the URL once the process listens.
func (c *runCmd) awaitPort(ctx context.Context, app *App, d *dyno.Dyno, port int) error {
	limit := c.BootTimeout
	wait, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	switch err := d.AwaitPort(wait); {
	case err == nil:
		if _, err := fmt.Fprintf(app.Out, "http://127.0.0.1:%d/\n", port); err != nil {
			return err
		}
		return app.flush()
	case wait.Err() != nil && ctx.Err() == nil:
		return &bootTimeoutError{port: port, limit: limit}
	case ctx.Err() != nil:
		return nil
	default:
		return err
	}
}

// freePort checks the port, or finds one. Somebody may take it before the process does.
func freePort(want int) (int, error) {
	if want < 0 || want > 65535 {
		return 0, &usageError{msg: fmt.Sprintf("--port %d: a port is a number from 1 to 65535", want), command: "slugfile run"}
	}
	l, err := net.Listen("tcp", net.JoinHostPort("", strconv.Itoa(want)))
	if err != nil {
		if want == 0 {
			return 0, fmt.Errorf("find a free port: %w", err)
		}
		var sys *os.SyscallError
		if errors.As(err, &sys) {
			err = sys.Err
		}
		return 0, &portError{want, err}
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

// runnable is a slug that can be booted.
type runnable struct {
	file *os.File
	// types are its process types, and where says where they come from.
	types map[string]string
	where string
	// stack is the one it was made for, or empty.
	stack string
}

// slug opens the slug that the flags name, or makes it as build does.
func (c *runCmd) slug(ctx context.Context, app *App, needTypes bool) (r runnable, err error) {
	if c.Slug != "" {
		return c.given(ctx, app, needTypes)
	}
	s, err := c.open(ctx, app)
	if err != nil {
		return r, err
	}
	s.view, s.lockTimeout = c.view(app, false), c.LockTimeout
	s.allow = stack.Codes() // it boots on this machine, whatever its stack lacks
	p, err := s.plan(ctx, nil)
	if err == nil {
		err = problems(p)
	}
	if err != nil {
		return r, firstError(err, s.view.Close())
	}
	if p.Work.Archive.Known != nil && c.Verbose == 0 { // three lines that nothing is to be done
		if err := s.view.Close(); err != nil {
			return r, err
		}
		s.view = view.New(view.KindNone, app.Err, view.Options{Style: app.errStyle(), Now: app.Now})
	}
	err = s.deliver(ctx, s.pipeline(nil), nil, p, func(b pipeline.Built) (err error) {
		r.file, err = s.store.Open(b.Slug.Digest)
		return err
	})
	r.types, r.where, r.stack = s.inputs.File.ProcessTypes, s.project.Shown, p.Stack
	return r, firstError(err, s.view.Close())
}

// given opens a slug that somebody made, with whatever tar.
func (c *runCmd) given(ctx context.Context, app *App, needTypes bool) (r runnable, err error) {
	name := app.abs(c.Slug)
	if r.file, err = os.Open(name); err != nil {
		return r, fmt.Errorf("--slug: %w", unwrapOpen(err))
	}
	defer func() {
		if err != nil {
			_ = r.file.Close() // it was only read
		}
	}()
	if info, err := r.file.Stat(); err != nil || !info.Mode().IsRegular() {
		return r, fmt.Errorf("--slug: %s: not a regular file", name)
	}
	if !needTypes {
		return r, nil
	}
	flags := c.projectFlags
	if flags.File == "slug.yaml" { // the default: the one beside the slug
		flags.File = filepath.Join(filepath.Dir(name), "slug.yaml")
		if _, err := os.Lstat(flags.File); errors.Is(err, os.ErrNotExist) {
			text, err := procfileIn(r.file)
			if err != nil {
				return r, fmt.Errorf("--slug: look for a Procfile in %s: %w", c.Slug, err)
			}
			if text == nil {
				return r, &noProcfileError{c.Slug}
			}
			r.where = "the Procfile in " + c.Slug
			// The parser of slug.yaml reads a Procfile when the file names no process types.
			f, faults := config.Load(config.Source{Path: config.Procfile, Text: []byte("app: slug\n"), Procfile: text, HasProcfile: true})
			if err := faults.Err(); err != nil {
				return r, err
			}
			r.types = f.ProcessTypes
			return r, nil
		}
	}
	p, err := app.load(ctx, loadOptions{projectFlags: flags, App: c.App, Stack: c.Stack})
	if err != nil {
		return r, err
	}
	r.types, r.where, r.stack = p.File.ProcessTypes, p.Shown, p.File.Stack
	return r, nil
}

// procfileIn reads the Procfile of a slug, nil when it has none. Whatever else is wrong with the
// archive is found when it is unpacked.
func procfileIn(f *os.File) ([]byte, error) {
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil, nil
		case err != nil:
			return nil, err
		case h.Typeflag == tar.TypeReg && path.Clean(h.Name) == "app/"+config.Procfile:
			return io.ReadAll(io.LimitReader(r, largestText))
		}
	}
}

// readEnvFiles reads files of config vars; the last of two equal names wins.
func (a *App) readEnvFiles(names []string) (map[string]string, error) {
	vars := map[string]string{}
	for _, name := range names {
		text, err := readText(a.abs(name))
		if err != nil {
			return nil, fmt.Errorf("--env-file: %w", err)
		}
		if len(text) >= largestText {
			return nil, fmt.Errorf("--env-file: %s has more than 1 MiB", name)
		}
		if err := parseEnvFile(name, string(text), vars); err != nil {
			return nil, err
		}
	}
	return vars, nil
}

// processExit is how a process ended that the user asked for: no fault of ours.
type processExit struct{ code int }

func (e *processExit) Error() string { return fmt.Sprintf("the process exited with status %d", e.code) }

// unsupportedError says that dynos do not run here.
type unsupportedError struct{ system string }

func (e *unsupportedError) Error() string {
	return "run: a slug holds linux/amd64 programs, and this is " + e.system
}

// Hint says where they do.
func (e *unsupportedError) Hint() string {
	return "run it in a linux/amd64 container or virtual machine; plan, apply and rollback work here"
}

// portError is a port that cannot be used.
type portError struct {
	port int
	err  error
}

func (e *portError) Error() string { return fmt.Sprintf("--port %d: %v", e.port, e.err) }
func (e *portError) Unwrap() error { return e.err }

// Hint says how to get another one.
func (e *portError) Hint() string { return "leave --port out, and a free one is found" }

// bootTimeoutError is Heroku's R10.
type bootTimeoutError struct {
	port  int
	limit time.Duration
}

func (e *bootTimeoutError) Error() string {
	return fmt.Sprintf("run web: Error R10 (Boot timeout): the process did not listen on $PORT (%d) within %s, and was stopped", e.port, e.limit)
}

// Hint says what a web process must do.
func (e *bootTimeoutError) Hint() string {
	return "the process type \"web\" must listen on 0.0.0.0 at the port in $PORT; --boot-timeout gives it more time"
}

// noTypeError is a process type that the slug lacks.
type noTypeError struct {
	kind, where string
	types       []string
}

func (e *noTypeError) Error() string {
	return fmt.Sprintf("run %s: %s has no process type %q; it has %s", e.kind, e.where, e.kind, strings.Join(e.types, ", "))
}

// Hint tells types from commands.
func (e *noTypeError) Hint() string {
	return "a command, which is no process type, goes after two dashes: slugfile run -- " + e.kind
}

// noProcfileError is a slug of which nobody knows what to run.
type noProcfileError struct{ slug string }

func (e *noProcfileError) Error() string {
	return "--slug: there is no slug.yaml beside " + e.slug + " and no Procfile in it, so it has no process types"
}

// Hint says what works all the same.
func (e *noProcfileError) Hint() string {
	return "give the command itself: slugfile run --slug " + e.slug + " -- COMMAND"
}
