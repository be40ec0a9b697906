package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/creack/pty"
	"golang.org/x/term"

	"github.com/slugfile/slugfile/pipeline/platform/dyno"
)

// runDir is a directory for the tree of one dyno, below the cache. A lock on it lives as long as
// this process: directories without one were left by runs that were killed, and go.
func (a *App) runDir() (dir string, remove func(), err error) {
	d, err := a.dirs()
	if err != nil {
		return "", nil, err
	}
	root := filepath.Join(d.Cache, "run")
	fail := func(err error) (string, func(), error) {
		return "", nil, &dirError{err, "unpacked slugs", "XDG_CACHE_HOME"}
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return fail(err)
	}
	// Nobody makes a directory while another one looks for those without a lock.
	gate, err := lockedFile(filepath.Join(root, "lock"), syscall.LOCK_EX)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = gate.Close() }()
	left, err := filepath.Glob(filepath.Join(root, "dyno-*"))
	if err != nil {
		return fail(err)
	}
	for _, old := range left {
		if f, err := lockedFile(old, syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			_ = os.RemoveAll(old) // the next run tries again
			_ = f.Close()
		}
	}
	if dir, err = os.MkdirTemp(root, "dyno-"); err != nil {
		return fail(err)
	}
	held, err := lockedFile(dir, syscall.LOCK_EX)
	if err != nil {
		return fail(err)
	}
	return dir, func() {
		_ = os.RemoveAll(dir) // as above
		_ = held.Close()
	}, nil
}

// lockedFile opens a file, or a directory that is there, with a lock on it.
func lockedFile(name string, how int) (*os.File, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	}
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(err, f.Close())
		}
	}
}

// terminal is one of the process's own, whose other side is drawn on the user's.
type terminal struct {
	master, slave *os.File
	in            *os.File
	before        *term.State
	resized       chan os.Signal
	drawn         chan struct{}
	once          sync.Once
}

// openTerminal gives a dyno a terminal, as heroku run does. Keys go to it as they are, so that
// its own line discipline makes signals of them.
func openTerminal(s streams, spec *dyno.Spec) (*terminal, error) {
	in, inOK := s.In.(*os.File)
	out, outOK := s.Out.(*os.File)
	if !inOK || !outOK {
		return nil, errors.New("standard input and output are no files")
	}
	t := &terminal{in: in, resized: make(chan os.Signal, 1), drawn: make(chan struct{})}
	var err error
	if t.master, t.slave, err = pty.Open(); err != nil {
		return nil, err
	}
	_ = pty.InheritSize(in, t.master) // a terminal without a size stays one
	signal.Notify(t.resized, syscall.SIGWINCH)
	go func() {
		for range t.resized {
			_ = pty.InheritSize(in, t.master) // as above
		}
	}()
	if t.before, err = term.MakeRaw(int(in.Fd())); err != nil {
		return nil, errors.Join(err, t.master.Close(), t.slave.Close())
	}
	spec.Stdin, spec.Stdout, spec.Stderr, spec.Terminal = t.slave, t.slave, t.slave, true
	go func() { _, _ = io.Copy(t.master, in) }() // it ends with the program
	go func() {
		_, _ = io.Copy(out, t.master) // until nobody has the other side any more
		close(t.drawn)
	}()
	return t, nil
}

// hangUp is what happens to a terminal that is closed: SIGHUP to whoever has it.
func (t *terminal) hangUp() { _ = t.master.Close() }

// close puts the user's terminal back, after everything was drawn.
func (t *terminal) close() {
	t.once.Do(func() {
		_ = t.slave.Close() // the last of the processes has closed it too
		<-t.drawn
		signal.Stop(t.resized)
		close(t.resized)
		_ = term.Restore(int(t.in.Fd()), t.before) // there is nobody left to tell
		_ = t.master.Close()
	})
}
