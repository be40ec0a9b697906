package main

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
	"github.com/slugfile/slugfile/config/diag"
	"github.com/slugfile/slugfile/pipeline/transport"
)

// name is what the program calls itself, however its file is called.
const name = "slugfile"

// streams are standard input, output and error.
type streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// App is the world as commands see it. Tests put their own in.
type App struct {
	In io.Reader
	// Out gets results, Err progress and diagnostics. Both hide the secrets that Redactor knows.
	Out, Err io.Writer
	Redactor *transport.Redactor
	// Env is the environment.
	Env map[string]string
	Now func() time.Time
	// Dir is the working directory, absolute.
	Dir string
	// InTerminal, OutTerminal and ErrTerminal say which streams are terminals, before
	// anything was put in front of them.
	InTerminal, OutTerminal, ErrTerminal bool
	// Width is the columns of the terminal behind Err; 80 when there is none.
	Width   func() int
	Version string
	// Redirected are the files that Out and Err are written to, such as a log in the directory
	// of the app: they change all the time and are no part of the source tree.
	Redirected []string
	// Patience is how long to wait for others; the zero value leaves it to the stages.
	Patience patience

	// Rest is what stands behind "--" on the command line of run, and Dashed says that it is there.
	Rest   []string
	Dashed bool

	// raw are the streams with nothing in front of them, for processes of the user's.
	raw   streams
	flags globalFlags
	// live says that progress is shown on a terminal, with the whole output of what failed.
	live bool
}

// patience are limits that no user changes, and that tests scale down.
type patience struct {
	// Settle is how long a release whose answer was lost is looked for before it is sent again.
	Settle time.Duration
	// Answer is for a whole answer of the platform, Idle for a transfer in which nothing moves.
	Answer, Idle time.Duration
}

// newApp takes the world as it is.
func newApp(environ []string, s streams) (*App, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	redactor := transport.NewRedactor()
	env := environment(environ)
	hideProxies(redactor, env)
	return &App{
		In: s.In, Out: redactor.Writer(s.Out), Err: redactor.Writer(s.Err), Redactor: redactor,
		Env:         env,
		Now:         time.Now,
		Dir:         dir,
		InTerminal:  isTerminal(s.In),
		OutTerminal: isTerminal(s.Out),
		ErrTerminal: isTerminal(s.Err),
		Width:       widthOf(s.Err),
		Version:     version(),
		Redirected:  redirected(s.Out, s.Err),
		raw:         s,
		flags:       globalFlags{Color: "auto"},
	}, nil
}

// hideProxies keeps the passwords of proxies out of all output. The errors of others show a
// proxy as it is written, and one that is not well formed in pieces.
func hideProxies(r *transport.Redactor, env map[string]string) {
	for name, value := range env {
		if !strings.HasSuffix(strings.ToLower(name), "_proxy") {
			continue
		}
		password := diag.Password(value)
		r.Add(password)
		r.Add(strings.FieldsFunc(password, func(c rune) bool { return strings.ContainsRune("/?#@:", c) })...)
		if plain, err := url.PathUnescape(password); err == nil {
			r.Add(plain)
		}
	}
}

// environment turns "K=V" into a map; the last of two equal names wins, as in os/exec.
func environment(environ []string) map[string]string {
	env := make(map[string]string, len(environ))
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok && k != "" {
			env[k] = v
		}
	}
	return env
}

// redirected names the regular files among streams, where the system tells their names.
func redirected(list ...any) []string {
	var names []string
	for _, stream := range list {
		f, ok := stream.(*os.File)
		if !ok {
			continue
		}
		if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
			continue
		}
		if path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd())); err == nil {
			names = append(names, path)
		}
	}
	return names
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func widthOf(w io.Writer) func() int {
	return func() int {
		if f, ok := w.(*os.File); ok {
			if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
				return columns
			}
		}
		return 80
	}
}

// outStyle is for results on Out.
func (a *App) outStyle() view.Style {
	return view.NewStyle(view.Colour(a.flags.Color, a.Env, a.OutTerminal))
}

// errStyle is for progress and diagnostics on Err.
func (a *App) errStyle() view.Style {
	return view.NewStyle(view.Colour(a.flags.Color, a.Env, a.ErrTerminal))
}

// flush writes what the redactors hold back: the start of something that may have become a
// secret. A prompt that waits for an answer calls it too.
func (a *App) flush() error {
	for _, w := range []io.Writer{a.Err, a.Out} {
		if f, ok := w.(interface{ Flush() error }); ok {
			if err := f.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}
