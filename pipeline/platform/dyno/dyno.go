// Package dyno boots a slug the way a Heroku dyno does, on this machine.
//
// It is for the embedded platform, and for anyone who has a slug and wants its process
// without a platform. A dyno runs on the libraries of this machine, not on those of its
// stack. The package never touches the network: a web dyno binds its own port.
//
// The rules are those of Heroku's retired open-source supervisor and of its public
// documentation (devcenter.heroku.com/articles/dyno-startup-behavior).
package dyno

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/slugfile/slugfile/pipeline/sandbox"
	"github.com/slugfile/slugfile/pipeline/unpack"
)

// DefaultPath is PATH before config vars.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// DefaultGrace is what a dyno has between SIGTERM and SIGKILL:
// devcenter.heroku.com/articles/dyno-shutdown-behavior.
const DefaultGrace = 30 * time.Second

// ErrUnsupported says that this system cannot run a slug at all.
var ErrUnsupported = errors.New("slugs are linux/amd64 programs and need Linux to run")

// ErrAbandoned says that a dyno was not wanted any more before its process started.
var ErrAbandoned = errors.New("stopped before its process started")

// Spec says what to boot.
type Spec struct {
	// Slug is the archive. Boot reads it from the start and leaves it open.
	Slug *os.File
	// Dir, when Slug is nil, is an unpacked slug. The dyno writes into it, and it is kept.
	Dir string
	// Scratch is the directory below which Slug is unpacked; what is unpacked there goes
	// when the dyno ends. Empty means the system's own for temporary files.
	Scratch string
	// Abandon, when it is closed before the process starts, ends Boot with ErrAbandoned: a big
	// slug takes a while to unpack. A process that runs is for Stop.
	Abandon <-chan struct{}
	// MaxBytes and MaxEntries limit what Slug may unpack to; 0 means 16 GiB and 2,000,000.
	MaxBytes   int64
	MaxEntries int
	// Name is the dyno's name, such as web.1 or run.4711.
	Name string
	// Command is one line for bash, as in the Procfile.
	Command string
	// Port is set for web dynos only.
	Port int
	// Config are the config vars; they override the environment of the dyno.
	Config map[string]string
	// Out gets each line of both outputs, without its end. It is called from two goroutines.
	Out func(line string)
	// Stdin is standard input; with nil there is none. One that is no *os.File and never ends
	// keeps a goroutine waiting.
	Stdin io.Reader
	// Stdout and Stderr, when they are set, get the outputs byte for byte, and Out gets nothing of
	// them. A file is handed to the process itself.
	Stdout, Stderr io.Writer
	// Terminal says that Stdin is a terminal that is nobody's yet; it becomes that of the process.
	Terminal bool
	// UID is the unprivileged user that the processes see themselves as; 0 picks one.
	UID int
	// Plain runs the processes without namespaces, in the unpacked directory itself.
	Plain bool
}

// Dyno is one running dyno.
type Dyno struct {
	// Name is that of the Spec.
	Name string

	port    int
	process *sandbox.Process
	done    chan struct{}

	mu   sync.Mutex
	code int
	err  error
}

// ExitError says that the dyno ended before it listened.
type ExitError struct {
	Name string
	// Code is the exit code; 128 and the number for a signal.
	Code int
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("dyno %s: the process exited with status %d before it listened on $PORT", e.Name, e.Code)
}

// Plain says why dynos run without namespaces here; nil when they do not.
func Plain() error { return sandbox.Supported() }

// The shell that starts a dyno, with the app directory as $1 and the command as $2.
// /etc/profile.d is left out: on a real dyno it is the stack's, here it would be that of
// this machine, and a slug that boots only because of it would fail on Heroku.
const script = `
if [ -d "$1/.profile.d" ]; then
  for slugfile_profile in "$1"/.profile.d/*.sh; do
    [ -r "$slugfile_profile" ] && source "$slugfile_profile"
  done
  unset slugfile_profile
fi
[ -r "$HOME/.profile" ] && source "$HOME/.profile"
exec bash -c "$2"
`

// Boot unpacks the slug and starts its process. The dyno dies with ctx. An error means that
// nothing runs and nothing is left behind.
func Boot(ctx context.Context, s Spec) (*Dyno, error) {
	if runtime.GOOS != "linux" {
		return nil, fmt.Errorf("boot dyno %s: %w", s.Name, ErrUnsupported)
	}
	shell, err := findShell()
	if err != nil {
		return nil, fmt.Errorf("boot dyno %s: %w", s.Name, err)
	}
	scratch, err := makeScratch(s)
	if err != nil {
		return nil, fmt.Errorf("boot dyno %s: %w", s.Name, err)
	}
	remove := func() { _ = os.RemoveAll(scratch) } // what stays is removed when the data directory is next opened
	dir := s.Dir
	if s.Slug != nil {
		if dir, err = unpackSlug(ctx, s, scratch); err != nil {
			remove()
			return nil, fmt.Errorf("boot dyno %s: %w", s.Name, err)
		}
	}
	home, uid := "/app", userID(s)
	plain := s.Plain || sandbox.Supported() != nil
	var mounts []sandbox.Mount
	if plain {
		if dir, err = filepath.Abs(dir); err != nil {
			remove()
			return nil, fmt.Errorf("boot dyno %s: %w", s.Name, err)
		}
		home = dir
	} else {
		mounts = nameUser(scratch, uid)
	}
	out := s.Out
	if out == nil {
		out = func(string) {}
	}
	stdout, stderr := &lineWriter{emit: out}, &lineWriter{emit: out}
	toOut, toErr := io.Writer(stdout), io.Writer(stderr)
	if s.Stdout != nil {
		toOut = s.Stdout
	}
	if s.Stderr != nil {
		toErr = s.Stderr
	}
	process, err := sandbox.Start(ctx, sandbox.Spec{
		Argv:         []string{shell, "--noprofile", "--norc", "-c", script, "bash", home, s.Command},
		Env:          environment(s, home),
		Dir:          home,
		App:          dir,
		Mounts:       mounts,
		ReadOnlyRoot: true,
		UID:          uid,
		Terminal:     s.Terminal,
		Plain:        plain,
	}, s.Stdin, toOut, toErr)
	if err != nil {
		remove()
		return nil, fmt.Errorf("boot dyno %s: %w", s.Name, err)
	}
	d := &Dyno{Name: s.Name, port: s.Port, process: process, done: make(chan struct{})}
	go func() {
		code, err := process.Wait()
		stdout.flush()
		stderr.flush()
		remove()
		d.mu.Lock()
		d.code, d.err = code, err
		d.mu.Unlock()
		close(d.done)
	}()
	return d, nil
}

// Done is closed when the last process of the dyno has ended.
func (d *Dyno) Done() <-chan struct{} { return d.done }

// Exit waits for the end and returns the exit code, 128 and the number for a signal.
func (d *Dyno) Exit() (int, error) {
	<-d.done
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.code, d.err
}

// AwaitPort waits until the dyno accepts connections on its port. It fails with *ExitError
// as soon as the process has ended, and with the context's error when that ends first.
func (d *Dyno) AwaitPort(ctx context.Context) error {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(d.port))
	dialer := net.Dialer{Timeout: time.Second}
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			_ = conn.Close() // it was opened only to see whether somebody listens
			select {
			case <-d.done:
			default:
				return nil
			}
		}
		select {
		case <-d.done:
			code, _ := d.Exit()
			return &ExitError{Name: d.Name, Code: code}
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// Stop sends SIGTERM to every process of the dyno, and SIGKILL after grace or when ctx ends.
// It returns when the dyno has ended; killed says that SIGKILL was needed.
func (d *Dyno) Stop(ctx context.Context, grace time.Duration) (killed bool) {
	return d.StopTelling(ctx, grace, func() {})
}

// StopTelling is Stop, and calls late when grace has passed, before SIGKILL.
func (d *Dyno) StopTelling(ctx context.Context, grace time.Duration, late func()) (killed bool) {
	select {
	case <-d.done:
		return false
	default:
	}
	// A fault of Signal means that the dyno is ending by itself; SIGKILL follows all the same.
	_ = d.process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-d.done:
		return false
	case <-timer.C:
		late()
	case <-ctx.Done():
	}
	_ = d.process.Kill()
	<-d.done
	return true
}

// makeScratch makes the directory that goes with the dyno.
func makeScratch(s Spec) (string, error) {
	// The name of a dyno holds the name of its process type, which is never part of a path.
	scratch, err := os.MkdirTemp(s.Scratch, "dyno-")
	if err != nil {
		return "", err
	}
	// MkdirTemp gives 0700, which another user id of the sandbox could not pass.
	return scratch, os.Chmod(scratch, 0o755)
}

// unpackSlug makes a tree of the dyno's own: two dynos share nothing.
func unpackSlug(ctx context.Context, s Spec, scratch string) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-s.Abandon:
			cancel(ErrAbandoned)
		case <-ctx.Done():
		}
	}()
	if _, err := s.Slug.Seek(0, 0); err != nil {
		return "", fmt.Errorf("read slug: %w", err)
	}
	dir := filepath.Join(scratch, "app")
	limits := unpack.Options{Name: "slug", Slug: true, Volatile: true, MaxBytes: s.MaxBytes, MaxEntries: s.MaxEntries}
	if _, err := unpack.Extract(ctx, s.Slug, dir, limits); err != nil {
		if errors.Is(context.Cause(ctx), ErrAbandoned) {
			return "", ErrAbandoned
		}
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			return "", fmt.Errorf("%w (the disk of %s is full)", err, s.Scratch)
		}
		return "", err
	}
	return dir, nil
}

// nameUser gives the dyno's user a name and a home, as on Heroku: programs such as ssh and
// psql, and functions such as os.homedir in Node.js, ask for them. The machine's own users stay
// in the files, behind it. A machine whose files are of another kind is left as it is.
func nameUser(scratch string, uid int) []sandbox.Mount {
	var mounts []sandbox.Mount
	for _, f := range []struct{ path, entry string }{
		{"/etc/passwd", fmt.Sprintf("dyno:x:%d:%d::/app:/bin/bash\n", uid, uid)},
		{"/etc/group", fmt.Sprintf("dyno:x:%d:\n", uid)},
	} {
		info, err := os.Lstat(f.path)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		old, err := os.ReadFile(f.path)
		if err != nil {
			continue
		}
		own := filepath.Join(scratch, filepath.Base(f.path))
		if os.WriteFile(own, append([]byte(f.entry), old...), 0o644) != nil { // others read it, as they read the machine's
			continue
		}
		mounts = append(mounts, sandbox.Mount{Source: own, Target: f.path, ReadOnly: true})
	}
	return mounts
}

func environment(s Spec, home string) []string {
	env := map[string]string{"PATH": DefaultPath, "HOME": home, "DYNO": s.Name}
	if s.Port != 0 {
		env["PORT"] = strconv.Itoa(s.Port)
	}
	maps.Copy(env, s.Config)
	list := make([]string, 0, len(env))
	for _, k := range slices.Sorted(maps.Keys(env)) {
		list = append(list, k+"="+env[k])
	}
	return list
}

// userID spreads dynos over the range that Heroku's supervisor used, 3000 to 11000.
func userID(s Spec) int {
	if s.UID != 0 {
		return s.UID
	}
	n := uint32(s.Port)
	for _, c := range []byte(s.Name) {
		n = n*31 + uint32(c)
	}
	return 3000 + int(n%8000)
}

func findShell() (string, error) {
	for _, path := range []string{"/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash"} {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", errors.New("no bash at /bin/bash, /usr/bin/bash or /usr/local/bin/bash")
}
