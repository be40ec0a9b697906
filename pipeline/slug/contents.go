package slug

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/examine"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// Contents is what a slug holds and what that needs.
type Contents struct {
	// Tree has the directories too, those included that have no entry of their own.
	Tree tree.Manifest
	// Facts are by the path below ./app; files that need nothing are not in it.
	Facts map[string]examine.Facts
	// Modes are those of files that slugfile would not give them.
	Modes map[string]fs.FileMode
	// TarSize is the length of the tar stream in bytes, as far as its entries tell.
	TarSize int64
}

const (
	// inMemory is up to which size a program is kept in memory while it is examined, in bytes. Tables at its end may have to be
	// read first.
	inMemory = 16 << 20
	// headSize is how much of any other file is looked at, in bytes.
	headSize = 64 << 10
)

// Examine reads a slug and says what it holds, with the checks of Read.
func Examine(ctx context.Context, r io.Reader) (Contents, error) {
	c := Contents{Facts: map[string]examine.Facts{}, Modes: map[string]fs.FileMode{}}
	files := map[string]int{} // of this slug, for hard links
	dirs := map[string]bool{}
	err := Read(r, func(hdr *tar.Header, body io.Reader) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		name, err := Path(hdr.Name)
		if err != nil || name == "." {
			return err
		}
		for i := range name {
			if name[i] == '/' && !dirs[name[:i]] {
				dirs[name[:i]] = true
				c.Tree = append(c.Tree, tree.Entry{Path: name[:i], Kind: tree.Dir})
			}
		}
		e := tree.Entry{Path: name}
		switch hdr.Typeflag {
		case tar.TypeDir:
			if dirs[name] {
				return nil
			}
			dirs[name] = true
			e.Kind = tree.Dir
		case tar.TypeSymlink:
			e.Kind, e.Target = tree.Link, hdr.Linkname
		case tar.TypeLink:
			to, err := Path(hdr.Linkname)
			if err != nil {
				return err
			}
			e = c.Tree[files[to]]
			e.Path = name
			if f, ok := c.Facts[to]; ok {
				c.Facts[name] = f
			}
			files[name] = len(c.Tree)
		default:
			h := digest.New()
			f, err := examineStream(name, hdr.Size, io.TeeReader(body, h))
			if err != nil {
				return err
			}
			if !f.None() {
				c.Facts[name] = f
			}
			e.Kind, e.Size, e.Digest = tree.File, hdr.Size, digest.Sum(h)
			e.Exec = hdr.Mode&0o100 != 0
			if mode := hdr.FileInfo().Mode(); mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 || mode.Perm()&0o002 != 0 {
				c.Modes[name] = mode
			}
			files[name] = len(c.Tree)
		}
		c.TarSize += headerSize(e) + padded(e.Size)
		c.Tree = append(c.Tree, e)
		return nil
	})
	if err != nil {
		return Contents{}, err
	}
	c.Tree.Sort()
	return c, nil
}

// examineStream examines a file that can be read once, to its end.
func examineStream(name string, size int64, r io.Reader) (f examine.Facts, err error) {
	head, err := io.ReadAll(io.LimitReader(r, min(size, headSize)))
	if err != nil {
		return f, err
	}
	whole := io.MultiReader(bytes.NewReader(head), r)
	switch {
	case !bytes.HasPrefix(head, []byte("\x7fELF")) || size <= headSize:
		f = examine.File(name, size, bytes.NewReader(head))
		_, err = io.Copy(io.Discard, r)
		return f, err
	case size <= inMemory:
		b := make([]byte, size)
		if _, err := io.ReadFull(whole, b); err != nil {
			return f, err
		}
		return examine.File(name, size, bytes.NewReader(b)), nil
	}
	tmp, err := os.CreateTemp("", "slugfile-program-*")
	if err != nil {
		return f, fmt.Errorf("keep a large program while it is examined: %w", err)
	}
	defer func() { err = errors.Join(err, tmp.Close(), os.Remove(tmp.Name())) }()
	if _, err := io.Copy(tmp, whole); err != nil {
		return f, err
	}
	return examine.File(name, size, tmp), nil
}
