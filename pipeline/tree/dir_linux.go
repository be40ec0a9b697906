package tree

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// rootDir is the directory of a scan, held open.
type rootDir struct {
	name string
	fd   int
	dev  uint64 // of the file system that keeps the times of directories, or none
}

func openRoot(name string) (*rootDir, error) {
	fd, err := again(func() (int, error) {
		return unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	r := &rootDir{name: name, fd: fd}
	var st unix.Stat_t
	var on unix.Statfs_t
	if unix.Fstatfs(fd, &on) == nil && unix.Fstat(fd, &st) == nil {
		switch int64(on.Type) { //nolint:unconvert // smaller on some machines
		// These change the times of a directory with each name that comes or goes. Of what a
		// server, a user's program or a layer below answers that is not known.
		case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.TMPFS_MAGIC:
			r.dev = uint64(st.Dev) //nolint:unconvert // smaller on some machines
		}
	}
	return r, nil
}

// dirStamp tells by what it can be seen that the names in a directory are the same. It is zero
// when that cannot be seen.
func (r *rootDir) dirStamp(d openDir) (dirStamp, error) {
	var st unix.Stat_t
	if _, err := again(func() (int, error) { return 0, unix.Fstat(d.fd, &st) }); err != nil {
		return dirStamp{}, d.fault("stat", "", err)
	}
	dev := uint64(st.Dev) //nolint:unconvert // smaller on some machines
	if dev != r.dev {
		return dirStamp{}, nil
	}
	return dirStamp{mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano(), ino: st.Ino, dev: dev}, nil
}

func (r *rootDir) close() { _ = unix.Close(r.fd) } // it was only read

// open opens a directory below the root that is no link.
func (r *rootDir) open(rel string) (openDir, error) {
	at := rel
	if rel == "" {
		at = "."
	}
	fd, err := again(func() (int, error) {
		return unix.Openat(r.fd, at, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return openDir{}, &fs.PathError{Op: "open", Path: filepath.Join(r.name, rel), Err: err}
	}
	return openDir{root: r, rel: rel, fd: fd}, nil
}

// isDir reports whether a path is a directory, and no link to one.
func (r *rootDir) isDir(rel string) (bool, error) {
	_, mode, err := openDir{root: r, fd: r.fd}.stat(rel)
	return mode.IsDir(), err
}

// openDir is a directory that is looked at.
type openDir struct {
	root *rootDir
	rel  string
	fd   int
}

func (d openDir) close() { _ = unix.Close(d.fd) } // it was only read

func (d openDir) fault(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: filepath.Join(d.root.name, d.rel, name), Err: err}
}

// list adds the names in the directory to b. buf is used meanwhile.
func (d openDir) list(b *batch, buf []byte) error {
	const atLength, atType, atName = 16, 18, 19 // in struct linux_dirent64
	for {
		n, err := again(func() (int, error) { return unix.Getdents(d.fd, buf) })
		if err != nil {
			return d.fault("list", "", err)
		}
		if n == 0 {
			return nil
		}
		for rest := buf[:n]; len(rest) > atName; {
			size := int(binary.NativeEndian.Uint16(rest[atLength:]))
			if size <= atName || size > len(rest) {
				return d.fault("list", "", unix.EIO)
			}
			name := rest[atName:size]
			end := 0
			for end < len(name) && name[end] != 0 {
				end++
			}
			name = name[:end]
			typ := rest[atType]
			rest = rest[size:]
			if string(name) != "." && string(name) != ".." {
				b.add(name, typeOf(typ))
			}
		}
	}
}

func typeOf(typ byte) fs.FileMode {
	switch typ {
	case unix.DT_REG:
		return 0
	case unix.DT_DIR:
		return fs.ModeDir
	case unix.DT_LNK:
		return fs.ModeSymlink
	}
	return unknownType // stat tells, also what of the others it is
}

// stat looks at a name and does not follow it.
func (d openDir) stat(name string) (stamp, fs.FileMode, error) {
	var st unix.Stat_t
	_, err := again(func() (int, error) { return 0, unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return stamp{}, 0, d.fault("lstat", name, err)
	}
	s, mode := stampOf(&st)
	return s, mode, nil
}

func stampOf(st *unix.Stat_t) (stamp, fs.FileMode) {
	mode := fs.FileMode(st.Mode & 0o777)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	case unix.S_IFCHR, unix.S_IFBLK:
		mode |= fs.ModeDevice
	default:
		mode |= fs.ModeIrregular
	}
	return stamp{
		size: st.Size, mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano(), ino: st.Ino, dev: uint64(st.Dev), mode: st.Mode, //nolint:unconvert // smaller on some machines
	}, mode
}

// openFile is a file that is read.
type openFile struct {
	root *rootDir
	rel  string
	fd   int
}

// openFile opens what Open would.
func (r *rootDir) openFile(rel string) (openFile, error) {
	f := openFile{root: r, rel: rel}
	var err error
	f.fd, err = again(func() (int, error) {
		return unix.Openat(r.fd, rel, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return f, f.fault("open", err)
	}
	return f, nil
}

func (f openFile) fault(op string, err error) error {
	return &fs.PathError{Op: op, Path: filepath.Join(f.root.name, f.rel), Err: err}
}

func (f openFile) stat() (stamp, fs.FileMode, error) {
	var st unix.Stat_t
	if _, err := again(func() (int, error) { return 0, unix.Fstat(f.fd, &st) }); err != nil {
		return stamp{}, 0, f.fault("stat", err)
	}
	s, mode := stampOf(&st)
	return s, mode, nil
}

// read returns 0 at the end.
func (f openFile) read(b []byte) (int, error) {
	n, err := again(func() (int, error) { return unix.Read(f.fd, b) })
	if err != nil {
		return 0, f.fault("read", err)
	}
	return n, nil
}

func (f openFile) close() { _ = unix.Close(f.fd) } // it was only read

func (d openDir) readlink(name string) (string, error) {
	var short [256]byte
	for buf := short[:]; ; buf = make([]byte, 2*len(buf)) {
		n, err := again(func() (int, error) { return unix.Readlinkat(d.fd, name, buf) })
		if err != nil {
			return "", d.fault("readlink", name, err)
		}
		if n < len(buf) {
			return string(buf[:n]), nil
		}
	}
}

// again repeats a call that a signal ended.
func again(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
