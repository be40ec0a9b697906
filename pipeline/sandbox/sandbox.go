// Package sandbox runs a process and all that it starts, at /app in namespaces of its own
// where this machine allows them, or plainly in a directory where it does not.
//
// It is for build steps and for dynos. A sandbox keeps apart, so that equal work gives equal
// results and nothing outlives its owner: the process sees its app directory at /app, a
// private /tmp, its own processes, and exactly the environment it was given. It shares the
// network and sees the machine's own files; it is no defence against a program that means
// harm. It reads no environment and no configuration of its own, and leaves no mount behind.
//
// The running program starts itself again as the first process of each sandbox. So main, and
// the TestMain of every test that starts a sandbox, begins with
//
//	if code, ok := sandbox.Main(os.Args); ok {
//		os.Exit(code)
//	}
package sandbox

import (
	"path"
	"sync/atomic"
	"syscall"
)

// DefaultUID is the user and group that a process sees itself as when Spec.UID is 0: an
// ordinary user, the same on every machine. A tool that believes itself root behaves in
// another way, for instance restores owners from archives.
const DefaultUID = 1000

// Mount shows a directory or file of this machine at another place.
type Mount struct {
	// Source is absolute. A symbolic link stands for its target.
	Source string
	// Target is absolute, as the process sees it, and goes through no symbolic link. Below
	// /app and /tmp, and at the top of the file system, it is made when it is not there.
	Target   string
	ReadOnly bool
}

// Spec says what to run.
type Spec struct {
	// Argv is the command. Its first word is an absolute path, or a name that is looked up in
	// the absolute directories of Env's PATH, as the process sees them.
	Argv []string
	// Env is the whole environment.
	Env []string
	// Dir is the working directory as the process sees it. Empty means /app.
	Dir string
	// App is the absolute path of the directory shown, writable, at /app.
	App string
	// Tmp is the absolute path of the directory shown at /tmp and /var/tmp. Empty means a new
	// one in memory, at most half of it.
	Tmp string
	// Mounts are made in their order, over everything else.
	Mounts []Mount
	// ReadOnlyRoot makes all of the machine read-only but /app, /tmp, /var/tmp and Mounts. The
	// process has a /dev of its own, without disks, and its own /proc.
	ReadOnlyRoot bool
	// UID is the user and group that the process sees itself as; it has the rights of whoever
	// started it, without capabilities. 0 means DefaultUID.
	UID int
	// Terminal says that standard input is a terminal that is nobody's yet: it becomes the
	// command's own, so that keys send signals to what runs there.
	Terminal bool
	// Plain runs without namespaces: in App itself, as this user, with the machine's own /tmp.
	// /app in Dir then means App, and Mounts must be empty.
	Plain bool
}

// magic is the name under which the program starts itself again.
const magic = "slugfile-sandbox"

// ready is set once Main was asked. Without that, the program would start itself again and
// not stop there.
var ready atomic.Bool

// exitCode is what a shell would say of a process that ended.
func exitCode(ws syscall.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// inApp returns the part of an inside path that lies below /app.
func inApp(dir string) (rel string, ok bool) {
	dir = path.Clean(dir)
	if dir == "/app" {
		return ".", true
	}
	if len(dir) > 5 && dir[:5] == "/app/" {
		return dir[5:], true
	}
	return "", false
}
