package sandbox

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tryArg makes the program end at once with code 0; see Supported.
const tryArg = "try"

// wireOrder is an order in JSON. Strings go as bytes: an argument or a path need not be UTF-8.
type wireOrder struct {
	Argv, Env           [][]byte
	Dir, App, Tmp       []byte
	Mounts              []wireMount
	ReadOnlyRoot, Plain bool
	Terminal            bool
}

type wireMount struct {
	Source, Target []byte
	ReadOnly       bool
}

func toWire(o order) wireOrder {
	w := wireOrder{
		Dir: []byte(o.Dir), App: []byte(o.App), Tmp: []byte(o.Tmp),
		ReadOnlyRoot: o.ReadOnlyRoot, Plain: o.Plain, Terminal: o.Terminal,
	}
	for _, s := range o.Argv {
		w.Argv = append(w.Argv, []byte(s))
	}
	for _, s := range o.Env {
		w.Env = append(w.Env, []byte(s))
	}
	for _, m := range o.Mounts {
		w.Mounts = append(w.Mounts, wireMount{[]byte(m.Source), []byte(m.Target), m.ReadOnly})
	}
	return w
}

func (w wireOrder) order() order {
	o := order{
		Dir: string(w.Dir), App: string(w.App), Tmp: string(w.Tmp),
		ReadOnlyRoot: w.ReadOnlyRoot, Plain: w.Plain, Terminal: w.Terminal,
	}
	for _, s := range w.Argv {
		o.Argv = append(o.Argv, string(s))
	}
	for _, s := range w.Env {
		o.Env = append(o.Env, string(s))
	}
	for _, m := range w.Mounts {
		o.Mounts = append(o.Mounts, Mount{string(m.Source), string(m.Target), m.ReadOnly})
	}
	return o
}

// Main is the first process of a sandbox, when args, the program's arguments with its name,
// say so. Then it returns when the sandbox has ended, and the program must exit with code.
func Main(args []string) (code int, handled bool) {
	switch {
	case len(args) == 2 && args[0] == magic && args[1] == magic:
		return supervise(), true
	case len(args) == 3 && args[1] == magic && args[2] == tryArg:
		return 0, true
	}
	ready.Store(true)
	return 0, false
}

// supervise carries out one order. It starts the command as its child, hands on signals, reaps
// what the command leaves behind, and ends when the command does, with its code.
func supervise() int {
	unix.CloseOnExec(3)
	unix.CloseOnExec(4)
	control, status := os.NewFile(3, "control"), os.NewFile(4, "status")
	// A signal to process 1 of a pid namespace arrives only where a handler waits for it, and
	// Go's own handlers would end the sandbox. So every signal is taken, and dropped.
	signal.Notify(make(chan os.Signal, 1))
	// What a thread gives up below, the processes that it forks do not have.
	runtime.LockOSThread()

	in := bufio.NewReader(control)
	pid, o, err := begin(in)
	if err != nil {
		refused := startError{Message: err.Error()}
		_ = errors.As(err, &refused.Errno)
		b, _ := json.Marshal(refused) // two plain fields
		_, _ = status.Write(b)        // nobody listens when the owner has died
		return 1
	}
	if _, err := status.WriteString(statusStarted); err != nil || status.Close() != nil {
		killAll(o.Plain)
		return 128 + int(syscall.SIGKILL)
	}
	var ending atomic.Bool
	go func() {
		for {
			b, err := in.ReadByte()
			if err != nil {
				// The owner has died, or wants an end.
				ending.Store(true)
				killAll(o.Plain)
				os.Exit(128 + int(syscall.SIGKILL))
			}
			signalAll(o.Plain, syscall.Signal(b))
		}
	}()
	for {
		var ws syscall.WaitStatus
		got, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err == nil && got != pid:
		case ending.Load():
			select {} // the command was killed above, and what is left is being killed
		case err != nil:
			return 1
		default:
			killAll(o.Plain)
			return exitCode(ws)
		}
	}
}

func begin(in *bufio.Reader) (pid int, o order, err error) {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return 0, o, fmt.Errorf("read order: %w", err)
	}
	var w wireOrder
	if err := json.Unmarshal(line, &w); err != nil {
		return 0, o, fmt.Errorf("read order: %w", err)
	}
	o = w.order()
	unix.Umask(0o022)
	if o.Plain {
		// Orphans come to us instead of to the machine's process 1, so that they can be killed.
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return 0, o, fmt.Errorf("become the parent of orphans: %w", err)
		}
	} else {
		if err := enterRoot(o); err != nil {
			return 0, o, err
		}
		if err := dropPrivileges(); err != nil {
			return 0, o, err
		}
	}
	exe, err := lookPath(o.Argv[0], o.Env)
	if err != nil {
		return 0, o, err
	}
	// ForkExec would blame the command for a directory that is not there.
	if fi, err := os.Stat(o.Dir); err != nil {
		return 0, o, fmt.Errorf("working directory: %w", err)
	} else if !fi.IsDir() {
		return 0, o, fmt.Errorf("working directory %q: %w", o.Dir, syscall.ENOTDIR)
	}
	pid, err = syscall.ForkExec(exe, o.Argv, &syscall.ProcAttr{
		Dir:   o.Dir,
		Env:   o.Env,
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: o.Terminal}, // the terminal is descriptor 0
	})
	if err != nil {
		return 0, o, fmt.Errorf("run %s: %w", o.Argv[0], err)
	}
	return pid, o, nil
}

// dropPrivileges takes from the processes that this thread forks every capability, and every
// way to get one back.
func dropPrivileges() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up privileges: %w", err)
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("give up privileges: %w", err)
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&hdr, &none[0]); err != nil {
		return fmt.Errorf("give up privileges: %w", err)
	}
	// Other threads of this process keep theirs, so the command may not look into it.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("give up privileges: %w", err)
	}
	return nil
}

// lookPath finds a command in the absolute directories of env's PATH. The working directory
// is never searched.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			return "", fmt.Errorf("run %s: not an absolute path", name)
		}
		return name, nil
	}
	list := ""
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			list = v
		}
	}
	for _, dir := range filepath.SplitList(list) {
		exe := filepath.Join(dir, name)
		if !filepath.IsAbs(dir) {
			continue
		}
		if fi, err := os.Stat(exe); err == nil && fi.Mode().IsRegular() && unix.Access(exe, unix.X_OK) == nil {
			return exe, nil
		}
	}
	return "", fmt.Errorf("run %s: not found in PATH %q: %w", name, list, syscall.ENOENT)
}

// signalAll sends sig to every process of the sandbox but this one.
func signalAll(plain bool, sig syscall.Signal) {
	if !plain {
		_ = syscall.Kill(-1, sig) // there may be none left
		return
	}
	for _, pid := range descendants() {
		_ = syscall.Kill(pid, sig) // it may have ended
	}
}

// killAll ends every process of the sandbox but this one. In a pid namespace the kernel does
// that when this process ends.
func killAll(plain bool) {
	if !plain {
		return
	}
	// A process may fork while we look, so until nothing is found; but not for ever, because
	// one that hangs in the kernel cannot be ended by anybody.
	for end := time.Now().Add(drain); time.Now().Before(end); {
		left := descendants()
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
		for {
			if got, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != nil || got <= 0 {
				break
			}
		}
		time.Sleep(time.Millisecond)
	}
}

// descendants lists the living processes below this one.
func descendants() []int {
	children := map[int][]int{}
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, d := range dirs {
		var pid, ppid int
		if n, err := fmt.Sscanf(d.Name(), "%d", &pid); n != 1 || err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + d.Name() + "/stat")
		if err != nil {
			continue
		}
		// "pid (comm) state ppid …"; comm may hold anything, so from its last bracket.
		_, rest, ok := cutLast(string(b), ") ")
		if !ok {
			continue
		}
		var state string
		if n, err := fmt.Sscanf(rest, "%s %d", &state, &ppid); n != 2 || err != nil || state == "Z" || state == "X" {
			continue
		}
		children[ppid] = append(children[ppid], pid)
	}
	var all []int
	for next := []int{os.Getpid()}; len(next) > 0; {
		below := children[next[0]]
		all = append(all, below...)
		next = append(next[1:], below...)
	}
	return all
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
