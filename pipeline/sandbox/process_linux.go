package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// drain is how long output is awaited after the last process ended. It only passes when a
// process of somebody else holds the pipe.
const drain = 5 * time.Second

// order is what the supervisor is told, as one line of JSON on its descriptor 3. After it,
// each byte is a signal to send; the end of the pipe ends the sandbox.
type order struct {
	Argv, Env    []string
	Dir          string
	App          string
	Tmp          string
	Mounts       []Mount
	ReadOnlyRoot bool
	Plain        bool
	Terminal     bool
}

// Process is a sandbox that was started. Its methods may be called from several goroutines.
type Process struct {
	cmd   *exec.Cmd
	plain bool

	mu      sync.Mutex
	control *os.File // nil once the sandbox has ended or was told to

	done chan struct{}
	code int
	err  error
}

// Start starts s. When it returns without an error, the command runs. stdin may be nil for an
// input that is empty; one that is no *os.File and never ends keeps a goroutine waiting.
// stdout and stderr may be nil, and may be equal.
//
// When ctx ends, or this program does, every process of the sandbox is killed.
func Start(ctx context.Context, s Spec, stdin io.Reader, stdout, stderr io.Writer) (*Process, error) {
	if !ready.Load() {
		return nil, errors.New("start sandbox: sandbox.Main was not called by this program")
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	o, made, err := prepare(s)
	if err != nil {
		removeMade(made)
		return nil, fmt.Errorf("start sandbox: %w", err)
	}
	p, err := start(ctx, o, s.UID, made, stdin, stdout, stderr)
	if err != nil {
		removeMade(made)
		return nil, err
	}
	return p, nil
}

// prepare checks a spec, resolves its paths, and makes the mount points below App, which it
// returns so that they can be removed.
func prepare(s Spec) (o order, made []string, err error) {
	if len(s.Argv) == 0 {
		return o, nil, errors.New("no command")
	}
	if s.Env == nil {
		s.Env = []string{}
	}
	if s.Dir == "" {
		s.Dir = "/app"
	}
	if !filepath.IsAbs(s.Dir) || !filepath.IsAbs(s.App) {
		return o, nil, fmt.Errorf("working directory %q and app directory %q must be absolute", s.Dir, s.App)
	}
	if s.App, err = resolve(s.App); err != nil {
		return o, nil, err
	}
	if fi, err := os.Stat(s.App); err != nil {
		return o, nil, err
	} else if !fi.IsDir() || s.App == "/" {
		return o, nil, fmt.Errorf("app directory %q: not a directory that can be shown at /app", s.App)
	}
	o = order{Argv: s.Argv, Env: s.Env, Dir: s.Dir, App: s.App, ReadOnlyRoot: s.ReadOnlyRoot, Plain: s.Plain, Terminal: s.Terminal}
	if s.Plain {
		if len(s.Mounts) > 0 {
			return o, nil, errors.New("nothing can be mounted without namespaces")
		}
		if rel, ok := inApp(s.Dir); ok {
			o.Dir = filepath.Join(s.App, rel)
		}
		return o, nil, nil
	}
	if s.Tmp != "" {
		if o.Tmp, err = resolve(s.Tmp); err != nil {
			return o, nil, err
		}
	}
	for _, m := range s.Mounts {
		if !filepath.IsAbs(m.Target) || filepath.Clean(m.Target) != m.Target || m.Target == "/" || m.Target == "/app" {
			return o, made, fmt.Errorf("mount target %q: not a clean absolute path below /", m.Target)
		}
		if m.Source, err = resolve(m.Source); err != nil {
			return o, made, err
		}
		fi, err := os.Stat(m.Source)
		if err != nil {
			return o, made, err
		}
		if rel, ok := inApp(m.Target); ok && !coveredBy(o.Mounts, m.Target) {
			fresh, err := mountPoint(s.App, rel, fi.IsDir())
			made = append(made, fresh...)
			if err != nil {
				return o, made, fmt.Errorf("mount %q: %w", m.Target, err)
			}
		}
		o.Mounts = append(o.Mounts, m)
	}
	return o, made, nil
}

func coveredBy(mounts []Mount, target string) bool {
	for _, m := range mounts {
		if strings.HasPrefix(target, m.Target+"/") {
			return true
		}
	}
	return false
}

func resolve(name string) (string, error) {
	if !filepath.IsAbs(name) {
		return "", fmt.Errorf("%q: not an absolute path", name)
	}
	return filepath.EvalSymlinks(name)
}

// mountPoint makes what is missing of rel below root, and returns what it made, outermost
// first. A path through a link is refused: it would lead elsewhere once it is looked up in
// another root.
func mountPoint(root, rel string, dir bool) (made []string, err error) {
	at := root
	parts := strings.Split(filepath.Clean(rel), "/")
	for i, part := range parts {
		at = filepath.Join(at, part)
		last := i == len(parts)-1
		fi, err := os.Lstat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist) && last && !dir:
			f, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return made, err
			}
			made = append(made, at)
			if err := f.Close(); err != nil {
				return made, err
			}
		case errors.Is(err, fs.ErrNotExist):
			if err := os.Mkdir(at, 0o755); err != nil {
				return made, err
			}
			made = append(made, at)
		case err != nil:
			return made, err
		case fi.Mode()&fs.ModeSymlink != 0:
			return made, fmt.Errorf("%q is a symbolic link", "/"+strings.Join(parts[:i+1], "/"))
		case fi.IsDir() != (dir || !last):
			return made, fmt.Errorf("%q is in the way", "/"+strings.Join(parts[:i+1], "/"))
		}
	}
	return made, nil
}

// removeMade removes the mount points that were made. One that is in use by now stays.
func removeMade(made []string) {
	for i := len(made) - 1; i >= 0; i-- {
		_ = os.Remove(made[i])
	}
}

func start(ctx context.Context, o order, uid int, made []string, stdin io.Reader, stdout, stderr io.Writer) (*Process, error) {
	line, err := json.Marshal(toWire(o))
	if err != nil {
		return nil, fmt.Errorf("start sandbox: %w", err)
	}
	controlR, controlW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start sandbox: %w", err)
	}
	statusR, statusW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start sandbox: %w", errors.Join(err, controlR.Close(), controlW.Close()))
	}
	defer statusR.Close()

	// The kernel's own name for the running program: it holds even when the file was replaced.
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{magic, magic}
	cmd.Env = []string{}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.ExtraFiles = []*os.File{controlR, statusW}
	cmd.WaitDelay = drain
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if !o.Plain {
		if uid == 0 {
			uid = DefaultUID
		}
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getegid(), Size: 1}}
		// The supervisor is no root, so it keeps what it needs for mounting across exec as an
		// ambient capability. It gives it up before it starts the command.
		cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
		// Killing the first process of a pid namespace kills all. A plain supervisor must live
		// long enough to do that itself; the end of its pipe tells it.
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	p := &Process{cmd: cmd, plain: o.Plain, control: controlW, done: make(chan struct{})}

	var feed *os.File
	switch in := stdin.(type) {
	case nil:
	case *os.File:
		cmd.Stdin = in
	default:
		// os/exec would wait for this copy to end, and in need not end with the process.
		r, w, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("start sandbox: %w", errors.Join(err, controlR.Close(), controlW.Close(), statusW.Close()))
		}
		cmd.Stdin = r
		feed = w
		defer r.Close()
	}

	started := make(chan error, 1)
	go p.run(started, made)
	err = <-started
	_ = controlR.Close() // our copies; the supervisor has its own
	_ = statusW.Close()
	if err != nil {
		if feed != nil {
			_ = feed.Close()
		}
		return nil, fmt.Errorf("start sandbox: %w", errors.Join(err, controlW.Close()))
	}
	if feed != nil {
		go func() {
			_, _ = io.Copy(feed, stdin) // the process may stop reading at any time
			_ = feed.Close()
		}()
	}
	stop := context.AfterFunc(ctx, func() { _ = p.Kill() })
	go func() {
		<-p.done
		stop()
	}()

	_, writeErr := controlW.Write(append(line, '\n'))
	said, readErr := io.ReadAll(statusR)
	if err := errors.Join(writeErr, readErr); err == nil && string(said) == statusStarted {
		return p, nil
	}
	_ = p.Kill()
	<-p.done
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var refused startError
	if json.Unmarshal(said, &refused) == nil && refused.Message != "" {
		return nil, &refused
	}
	return nil, fmt.Errorf("start sandbox: its first process ended with code %d before the command ran", p.code)
}

// run starts the supervisor and waits for it. Both happen on one thread: Pdeathsig means the
// thread that forked, not the program.
func (p *Process) run(started chan<- error, made []string) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := p.cmd.Start(); err != nil {
		started <- err
		return
	}
	started <- nil
	err := p.cmd.Wait()
	p.closeControl()
	removeMade(made)
	p.code = -1
	if ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok {
		p.code = exitCode(ws)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		p.err = fmt.Errorf("read output: %w", err)
	}
	close(p.done)
}

func (p *Process) closeControl() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.control != nil {
		_ = p.control.Close()
		p.control = nil
	}
}

// Signal sends sig to every process of the sandbox. Once they have ended it is
// os.ErrProcessDone.
func (p *Process) Signal(sig syscall.Signal) error {
	if sig <= 0 || sig > 64 {
		return fmt.Errorf("signal %d: no such signal", int(sig))
	}
	if sig == syscall.SIGKILL {
		return p.Kill()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.control == nil {
		return os.ErrProcessDone
	}
	if _, err := p.control.Write([]byte{byte(sig)}); err != nil {
		if errors.Is(err, syscall.EPIPE) {
			return os.ErrProcessDone
		}
		return fmt.Errorf("signal sandbox: %w", err)
	}
	return nil
}

// Kill kills every process of the sandbox and does not wait for that. It may be called more
// than once.
func (p *Process) Kill() error {
	if p.plain {
		p.closeControl()
		return nil
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill sandbox: %w", err)
	}
	return nil
}

// Wait waits until every process has ended and all output was written, and returns the exit
// code of the command, 128+n when signal n ended it. err is for output that could not be
// written. It may be called more than once.
func (p *Process) Wait() (code int, err error) {
	<-p.done
	return p.code, p.err
}

// statusStarted is what the supervisor says on its descriptor 4 once the command runs; else it
// says a startError in JSON.
const statusStarted = "started\n"

// startError says why the command does not run.
type startError struct {
	Message string
	Errno   syscall.Errno
}

func (e *startError) Error() string { return "start sandbox: " + e.Message }

func (e *startError) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// Supported is nil when sandboxes work on this machine, for this user; else it says why not.
// It tries once for each run of the program.
var Supported = sync.OnceValue(supported)

func supported() error {
	app := ""
	for _, dir := range []string{"/tmp", "/var", "/usr"} {
		if fi, err := os.Lstat(dir); err == nil && fi.IsDir() {
			app = dir
			break
		}
	}
	if app == "" {
		return errors.New("this machine has no usual directories")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	// The program itself is the one command that is surely there.
	p, err := Start(ctx, Spec{Argv: []string{"/proc/self/exe", magic, tryArg}, App: app, Dir: "/", ReadOnlyRoot: true}, nil, nil, nil)
	if err == nil {
		var code int
		if code, err = p.Wait(); err == nil && code != 0 {
			err = fmt.Errorf("a first process in namespaces ended with code %d", code)
		}
	}
	if err == nil {
		return nil
	}
	if why := forbiddenBy(); why != "" {
		return fmt.Errorf("%w (%s)", err, why)
	}
	return err
}

// forbiddenBy names the setting of the system that most likely forbids namespaces.
func forbiddenBy() string {
	for _, c := range []struct{ file, bad, why string }{
		{"user/max_user_namespaces", "0", "user namespaces are off: sysctl user.max_user_namespaces is 0"},
		{"kernel/unprivileged_userns_clone", "0", "user namespaces are for root only: sysctl kernel.unprivileged_userns_clone is 0"},
		{"kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor restricts user namespaces: sysctl kernel.apparmor_restrict_unprivileged_userns is 1"},
	} {
		b, err := os.ReadFile("/proc/sys/" + c.file)
		if err == nil && strings.TrimSpace(string(b)) == c.bad {
			return c.why
		}
	}
	return ""
}
