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
	"slices"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/examine"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// Contents is what a slug holds and what that needs.
type Contents struct {
	// Tree has the directories too, those included that have no entry of their own.
	Tree tree.Manifest
	// Packed is how many bytes of the slug each entry of Tree takes, compressed, its header included.
	// Files far below 32 KiB share what their neighbourhood takes, by their sizes.
	Packed []int64
	// Facts are by the path below ./app; files that need nothing are not in it.
	Facts map[string]examine.Facts
	// Modes are those of files that slugfile would not give them.
	Modes map[string]fs.FileMode
	// Hard are the files that are hard links to others, and take no room of their own.
	Hard map[string]bool
}

const (
	// inMemory is up to which size a program is kept in memory while it is examined, in bytes. Tables at its end may have to be
	// read first.
	inMemory = 16 << 20
	// headSize is how much of any other file is looked at, in bytes.
	headSize = 64 << 10
)

// Look is shown files while a slug is examined, so that whoever wants to know more of them need not
// read it again.
type Look interface {
	// Wants reports whether See is to be called for a file. elf says that it begins as programs and
	// libraries do.
	Wants(path string, size int64, elf bool) bool
	// See is shown the whole content. It must not keep r.
	See(path string, size int64, r io.ReaderAt)
}

// ExamineOptions may be the zero value.
type ExamineOptions struct {
	// Scratch is a directory for one file that is there while a large program is looked at; the
	// system's own when it is empty.
	Scratch string
	Looks   []Look
	// Links takes those that lead out of ./app, which slugs of others may have: a dyno follows them.
	Links bool
}

// Examine reads a slug and says what it holds, with the checks of Read. No content is kept.
func Examine(ctx context.Context, r io.Reader, o ExamineOptions) (c Contents, err error) {
	c = Contents{Facts: map[string]examine.Facts{}, Modes: map[string]fs.FileMode{}, Hard: map[string]bool{}}
	x := &examiner{ExamineOptions: o, head: make([]byte, headSize)}
	defer func() { err = errors.Join(err, x.close()) }()
	var list []measured
	files := map[string]int{} // of this slug, for hard links
	dirs := map[string]bool{}
	err = measure(r, o.Links, func(hdr *tar.Header, body io.Reader) (func(int64), error) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		name, err := Path(hdr.Name)
		if err != nil || name == "." {
			return nil, err
		}
		for i := range name {
			if name[i] == '/' && !dirs[name[:i]] {
				dirs[name[:i]] = true
				list = append(list, measured{Entry: tree.Entry{Path: name[:i], Kind: tree.Dir}})
			}
		}
		e := tree.Entry{Path: name}
		switch hdr.Typeflag {
		case tar.TypeDir:
			if dirs[name] {
				return nil, nil
			}
			dirs[name] = true
			e.Kind = tree.Dir
		case tar.TypeSymlink:
			e.Kind, e.Target = tree.Link, hdr.Linkname
		case tar.TypeLink:
			to, err := Path(hdr.Linkname)
			if err != nil {
				return nil, err
			}
			e = list[files[to]].Entry
			e.Path, c.Hard[name] = name, true
			if f, ok := c.Facts[to]; ok {
				c.Facts[name] = f
			}
			files[name] = len(list)
		default:
			h := digest.New()
			f, err := x.file(name, hdr.Size, io.TeeReader(body, h))
			if err != nil {
				return nil, err
			}
			if !f.None() {
				c.Facts[name] = f
			}
			e.Kind, e.Size, e.Digest = tree.File, hdr.Size, digest.Sum(h)
			e.Exec = hdr.Mode&0o100 != 0
			if mode := hdr.FileInfo().Mode(); mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 || mode.Perm()&0o002 != 0 {
				c.Modes[name] = mode
			}
			files[name] = len(list)
		}
		at := len(list)
		list = append(list, measured{Entry: e})
		return func(n int64) { list[at].packed = n }, nil
	})
	if err != nil {
		return Contents{}, err
	}
	slices.SortFunc(list, func(a, b measured) int { return tree.Compare(a.Path, b.Path) })
	c.Tree, c.Packed = make(tree.Manifest, len(list)), make([]int64, len(list))
	for i, m := range list {
		c.Tree[i], c.Packed[i] = m.Entry, m.packed
	}
	return c, nil
}

type measured struct {
	tree.Entry
	packed int64
}

// examiner looks into the files of a slug, one after the other.
type examiner struct {
	ExamineOptions
	// head and memory are used again for each file.
	head, memory []byte
	scratch      *os.File
}

// file examines a file that can be read once, to its end.
func (x *examiner) file(name string, size int64, r io.Reader) (f examine.Facts, err error) {
	head := x.head[:min(size, headSize)]
	if _, err := io.ReadFull(r, head); err != nil {
		return f, err
	}
	elf := bytes.HasPrefix(head, []byte("\x7fELF"))
	var looks []Look
	for _, l := range x.Looks {
		if l.Wants(name, size, elf) {
			looks = append(looks, l)
		}
	}
	var content io.ReaderAt = bytes.NewReader(head)
	switch {
	case size <= headSize:
	case !elf && looks == nil:
		f = examine.File(name, size, content)
		_, err = io.Copy(io.Discard, r)
		return f, err
	case size <= inMemory:
		x.memory = append(x.memory[:0], head...)
		x.memory = slices.Grow(x.memory, int(size)-len(head))[:size]
		if _, err := io.ReadFull(r, x.memory[len(head):]); err != nil {
			return f, err
		}
		content = bytes.NewReader(x.memory)
	default:
		if content, err = x.spill(io.MultiReader(bytes.NewReader(head), r)); err != nil {
			return f, err
		}
	}
	f = examine.File(name, size, content)
	for _, l := range looks {
		l.See(name, size, content)
	}
	return f, nil
}

// spill writes a large file to the disk.
func (x *examiner) spill(r io.Reader) (*os.File, error) {
	if x.scratch == nil {
		f, err := os.CreateTemp(x.Scratch, ".slugfile-*.tmp")
		if err != nil {
			return nil, fmt.Errorf("keep a large program while it is examined: %w", err)
		}
		// Where an open file can be removed, not even a killed run leaves it behind.
		_ = os.Remove(f.Name())
		x.scratch = f
	}
	_, err := x.scratch.Seek(0, io.SeekStart)
	if err == nil {
		err = x.scratch.Truncate(0)
	}
	if err == nil {
		_, err = io.Copy(x.scratch, r)
	}
	return x.scratch, err
}

func (x *examiner) close() error {
	if x.scratch == nil {
		return nil
	}
	err := x.scratch.Close()
	if gone := os.Remove(x.scratch.Name()); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}
