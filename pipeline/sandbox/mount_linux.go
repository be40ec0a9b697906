package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// enterRoot builds the root that the command sees, and moves into it. It runs in a mount
// namespace of its own: nothing of it is seen from outside, and all of it goes with the last
// process. bubblewrap goes the same way.
func enterRoot(o order) error {
	// Nothing that is mounted here is told to the machine; what it unmounts goes here too.
	if err := mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return err
	}
	// A place to work in: a small file system over the app directory, which shows itself again
	// below /old once that file system is the root.
	if err := mount("tmpfs", o.App, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return err
	}
	for _, dir := range []string{"old", "new"} {
		if err := os.Mkdir(filepath.Join(o.App, dir), 0o755); err != nil {
			return err
		}
	}
	if err := unix.PivotRoot(o.App, filepath.Join(o.App, "old")); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := mount("tmpfs", "/new", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return err
	}
	if err := fillRoot(o); err != nil {
		return err
	}
	// The old root is put on top of the new one and taken off again.
	if err := os.Chdir("/new"); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	return os.Chdir("/")
}

// fillRoot mounts everything below /new, from what is below /old.
func fillRoot(o order) error {
	if err := bindTop(); err != nil {
		return err
	}
	for _, dir := range []string{"/new/app", "/new/proc", "/new/tmp"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	for _, m := range o.Mounts {
		// A target whose first component the machine does not have stands on our own file system,
		// where it can be made; elsewhere it would be made on the machine's.
		top, _, _ := strings.Cut(m.Target[1:], "/")
		if slices.Contains(ownTop, top) {
			continue
		}
		if _, err := os.Lstat("/old/" + top); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if _, err := mountPoint("/new", m.Target[1:], isDir("/old"+m.Source)); err != nil {
			return fmt.Errorf("mount %q: %w", m.Target, err)
		}
	}
	if o.ReadOnlyRoot {
		if err := makeReadOnly("/new"); err != nil {
			return err
		}
	}
	if err := makeDev(); err != nil {
		return err
	}
	// A fresh proc shows the sandbox's processes alone. Where parts of the machine's own are
	// hidden, as in containers, the kernel refuses a fresh one, and that one must do.
	if err := mount("proc", "/new/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		if err := bind("/old/proc", "/new/proc"); err != nil {
			return err
		}
	}
	if err := protectProc(); err != nil {
		return err
	}
	if o.Tmp != "" {
		if err := bind("/old"+o.Tmp, "/new/tmp"); err != nil {
			return err
		}
	} else if err := mount("tmpfs", "/new/tmp", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"); err != nil {
		return err
	}
	if isDir("/new/var") && isDir("/new/var/tmp") {
		if err := bind("/new/tmp", "/new/var/tmp"); err != nil {
			return err
		}
	}
	if err := bind("/old"+o.App, "/new/app"); err != nil {
		return err
	}
	for _, m := range o.Mounts {
		if err := bindMount(m); err != nil {
			return fmt.Errorf("mount %q: %w", m.Target, err)
		}
	}
	return nil
}

// ownTop are the names at the top that are not the machine's.
var ownTop = []string{"app", "dev", "proc", "tmp"}

// bindTop shows the top of the machine's file system: directories and files as they are,
// links as links.
func bindTop() error {
	entries, err := os.ReadDir("/old")
	if err != nil {
		return err
	}
	for _, e := range entries {
		from, to := "/old/"+e.Name(), "/new/"+e.Name()
		if slices.Contains(ownTop, e.Name()) {
			continue
		}
		switch e.Type() {
		case fs.ModeSymlink:
			target, err := os.Readlink(from)
			if err != nil {
				return err
			}
			if err := os.Symlink(target, to); err != nil {
				return err
			}
		case fs.ModeDir:
			if err := os.Mkdir(to, 0o755); err != nil {
				return err
			}
			if err := bind(from, to); err != nil {
				return err
			}
		case 0:
			if err := os.WriteFile(to, nil, 0o600); err != nil {
				return err
			}
			if err := bind(from, to); err != nil {
				return err
			}
		}
	}
	return os.Mkdir("/new/dev", 0o755)
}

// makeDev makes a /dev of the harmless devices. The machine's own holds its disks, which a
// process of root's may write, whatever it has given up.
func makeDev() error {
	if err := mount("tmpfs", "/new/dev", "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=0755"); err != nil {
		return err
	}
	for _, name := range []string{"full", "null", "random", "tty", "urandom", "zero"} {
		from, to := "/old/dev/"+name, "/new/dev/"+name
		if _, err := os.Lstat(from); err != nil {
			continue
		}
		if err := os.WriteFile(to, nil, 0o600); err != nil {
			return err
		}
		if err := bind(from, to); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx",
	} {
		if err := os.Symlink(target, "/new/dev/"+name); err != nil {
			return err
		}
	}
	for _, name := range []string{"pts", "shm"} {
		if err := os.Mkdir("/new/dev/"+name, 0o755); err != nil {
			return err
		}
	}
	// Terminals of its own: those of the machine belong to people.
	if err := mount("devpts", "/new/dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"); err != nil {
		return err
	}
	return mount("tmpfs", "/new/dev/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777")
}

// protectProc makes read-only what in proc steers the machine: the files of root may be
// written by whoever has root's user id, even in a user namespace without capabilities.
func protectProc() error {
	for _, name := range []string{"sys", "sysrq-trigger", "irq", "bus", "fs"} {
		at := "/new/proc/" + name
		if _, err := os.Lstat(at); err != nil {
			continue
		}
		if err := bind(at, at); err != nil {
			return err
		}
		if err := makeReadOnly(at); err != nil {
			return err
		}
	}
	return nil
}

func bindMount(m Mount) error {
	fi, err := os.Stat("/old" + m.Source)
	if err != nil {
		return err
	}
	root, rel := "/new", m.Target[1:]
	if tmp, ok := strings.CutPrefix(m.Target, "/tmp/"); ok {
		if _, err := mountPoint("/new/tmp", tmp, fi.IsDir()); err != nil {
			return err
		}
	}
	if err := checkPoint(root, rel, fi.IsDir()); err != nil {
		return err
	}
	to := filepath.Join(root, rel)
	if err := bind("/old"+m.Source, to); err != nil {
		return err
	}
	if m.ReadOnly {
		return makeReadOnly(to)
	}
	return nil
}

// checkPoint refuses a mount point that is not there, or that a link leads to.
func checkPoint(root, rel string, dir bool) error {
	at := root
	for part := range strings.SplitSeq(rel, "/") {
		at = filepath.Join(at, part)
		fi, err := os.Lstat(at)
		if err != nil {
			return fmt.Errorf("%q: %w", strings.TrimPrefix(at, root), errors.Unwrap(err))
		}
		if fi.Mode()&fs.ModeSymlink != 0 {
			return fmt.Errorf("%q is a symbolic link", strings.TrimPrefix(at, root))
		}
		if last := len(at) == len(root)+1+len(rel); last && fi.IsDir() != dir {
			return fmt.Errorf("%q is in the way", strings.TrimPrefix(at, root))
		}
	}
	return nil
}

func isDir(name string) bool {
	fi, err := os.Lstat(name)
	return err == nil && fi.IsDir()
}

// bind shows from at to, with what is mounted below it. Less is not allowed in a user
// namespace: it would show what a mount hides.
func bind(from, to string) error {
	return mount(from, to, "", unix.MS_BIND|unix.MS_REC, "")
}

func mount(source, target, fstype string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, fstype, flags, data); err != nil {
		what := fstype
		if what == "" {
			what = source
		}
		return fmt.Errorf("mount %s on %s: %w", what, target, err)
	}
	return nil
}

// makeReadOnly makes the mount at dir, and all below it, read-only.
func makeReadOnly(dir string) error {
	err := unix.MountSetattr(unix.AT_FDCWD, dir, unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	if err == nil {
		return nil
	}
	// Before Linux 5.12 each mount is changed by itself.
	points, listErr := mountsBelow(dir)
	if listErr != nil {
		return fmt.Errorf("make %s read-only: %w", dir, errors.Join(err, listErr))
	}
	for _, p := range points {
		if err := remountReadOnly(p); err != nil {
			return fmt.Errorf("make %s read-only: %w", p, err)
		}
	}
	return nil
}

// remountReadOnly keeps the flags that a mount has: in a user namespace those that it came
// with may not be dropped.
func remountReadOnly(point string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(point, &st); err != nil {
		return err
	}
	flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY)
	for _, f := range []struct{ has, want uintptr }{
		{unix.ST_NOSUID, unix.MS_NOSUID}, {unix.ST_NODEV, unix.MS_NODEV}, {unix.ST_NOEXEC, unix.MS_NOEXEC},
		{unix.ST_NOATIME, unix.MS_NOATIME}, {unix.ST_NODIRATIME, unix.MS_NODIRATIME}, {unix.ST_RELATIME, unix.MS_RELATIME},
	} {
		if uintptr(st.Flags)&f.has != 0 {
			flags |= f.want
		}
	}
	return unix.Mount("", point, "", flags, "")
}

// mountsBelow lists the mount at dir and all below it, outermost first.
func mountsBelow(dir string) ([]string, error) {
	f, err := os.Open(procFile("self/mountinfo"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var points []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// "36 35 98:0 /root /mount/point options …", with blanks and backslashes in octal.
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		if p := octal.Replace(fields[4]); p == dir || strings.HasPrefix(p, dir+"/") {
			points = append(points, p)
		}
	}
	slices.Sort(points)
	return slices.Compact(points), lines.Err()
}

var octal = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// procFile names a file of proc while the root is being built.
func procFile(name string) string { return "/old/proc/" + name }
