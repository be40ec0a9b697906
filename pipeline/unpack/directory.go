package unpack

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/slugfile/slugfile/pipeline/disk"
)

// directory makes files below a root.
type directory struct {
	root *os.Root

	// The directory of the last file, kept open: os.Root walks every component of a path.
	last     *os.Root
	lastPath string
}

func (d *directory) close() {
	if d.last != nil {
		_ = d.last.Close() // a directory that was only read from
		d.last = nil
	}
}

// parent returns the open directory of p and p's last component.
func (d *directory) parent(p string) (*os.Root, string, error) {
	dir, base := path.Split(p)
	dir = strings.TrimSuffix(dir, "/")
	if dir == "" {
		return d.root, base, nil
	}
	if d.last != nil && d.lastPath == dir {
		return d.last, base, nil
	}
	d.close()
	r, err := d.root.OpenRoot(dir)
	if err != nil {
		return nil, "", err
	}
	d.last, d.lastPath = r, dir
	return r, base, nil
}

func (d *directory) mkdir(p string) error {
	if err := d.root.Mkdir(p, 0o700); err != nil {
		return err
	}
	return chmodDir(d.root, p, 0o755)
}

// chmodDir sets a directory's mode through its open file, so that the umask has no say.
func chmodDir(root *os.Root, p string, mode fs.FileMode) (err error) {
	f, err := root.Open(p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return f.Chmod(mode)
}

func (d *directory) file(p string, exec bool, fill func(io.Writer) error) (err error) {
	dir, base, err := d.parent(p)
	if err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if exec {
		mode = 0o755
		defer disk.HoldForks()()
	}
	f, err := dir.OpenFile(base, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := fill(f); err != nil {
		return err
	}
	return f.Chmod(mode)
}

func (d *directory) hardlink(p, old string) error { return d.root.Link(old, p) }

func (d *directory) symlink(p, target string) error {
	dir, base, err := d.parent(p)
	if err != nil {
		return err
	}
	return dir.Symlink(target, base)
}
