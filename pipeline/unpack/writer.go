package unpack

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// writer takes the entries of one archive. Readers of the formats feed it; all rules about
// names, links, modes and sizes are here and in name.go, and what is allowed goes to a
// destination.
type writer struct {
	to destination
	o  Options

	m    tree.Manifest
	seen map[string]int // path -> index into m; made parents are in it too
	ways map[string][]string

	entries int   // headers read
	left    int64 // bytes that may still be written

	hash hash.Hash
	buf  []byte
}

// destination is where files end up: a directory or a pack. It decides nothing: a path that it
// is given is allowed, new, and has its parents.
type destination interface {
	mkdir(p string) error
	// file hands a writer to fill, which writes all of the file.
	file(p string, exec bool, fill func(io.Writer) error) error
	// hardlink gives a second name to a file that is there.
	hardlink(p, old string) error
	symlink(p, target string) error
}

func newWriter(to destination, o Options) *writer {
	return &writer{
		to: to, o: o,
		seen: map[string]int{}, ways: map[string][]string{},
		left: o.MaxBytes,
		hash: digest.New(), buf: make([]byte, 256<<10),
	}
}

// next counts a header, before anything is done about it.
func (w *writer) next(ctx context.Context) error {
	w.entries++
	if w.entries > w.o.MaxEntries {
		return w.tooMany()
	}
	return context.Cause(ctx)
}

func (w *writer) tooMany() error {
	return fmt.Errorf("it has more than %d entries, the limit", w.o.MaxEntries)
}

func (w *writer) tooBig() error {
	return fmt.Errorf("the archive unpacks to more than %d bytes, the limit", w.o.MaxBytes)
}

// mkdir makes a directory of the archive; "" is the root.
func (w *writer) mkdir(p string) error {
	if p == "" {
		return nil
	}
	if i, ok := w.seen[p]; ok {
		if w.m[i].Kind == tree.Dir {
			return nil
		}
		return fmt.Errorf("%q is there already, as a %s", p, word(w.m[i].Kind))
	}
	if err := w.parents(p); err != nil {
		return err
	}
	return w.newDir(p)
}

func (w *writer) newDir(p string) error {
	if err := w.add(tree.Entry{Path: p, Kind: tree.Dir}); err != nil {
		return err
	}
	return w.to.mkdir(p)
}

// parents makes the directories above p. None may be a link or a file of this archive.
func (w *writer) parents(p string) error {
	for i := 0; i < len(p); i++ {
		if p[i] != '/' {
			continue
		}
		d := p[:i]
		at, ok := w.seen[d]
		if !ok {
			if err := w.newDir(d); err != nil {
				return err
			}
			continue
		}
		if k := w.m[at].Kind; k != tree.Dir {
			return fmt.Errorf("it passes through %q, which is a %s of this archive", d, word(k))
		}
	}
	return nil
}

// add notes an entry whose path must be new.
func (w *writer) add(e tree.Entry) error {
	if i, ok := w.seen[e.Path]; ok {
		return fmt.Errorf("%q is there already, as a %s", e.Path, word(w.m[i].Kind))
	}
	// Parents that no entry names count too, else 64 of them come with every entry.
	if len(w.m) >= w.o.MaxEntries {
		return w.tooMany()
	}
	w.seen[e.Path] = len(w.m)
	w.m = append(w.m, e)
	return nil
}

// file writes a regular file. A size of -1 is not known; what r gives is counted in any case.
func (w *writer) file(ctx context.Context, p string, exec bool, size int64, r io.Reader) error {
	if size > w.left {
		return w.tooBig()
	}
	if err := w.parents(p); err != nil {
		return err
	}
	e := tree.Entry{Path: p, Kind: tree.File, Exec: exec}
	if err := w.add(e); err != nil {
		return err
	}
	w.hash.Reset()
	err := w.to.file(p, exec, func(f io.Writer) (err error) {
		if e.Size, err = w.copy(ctx, f, r); err != nil {
			return err
		}
		if size >= 0 && e.Size != size {
			return fmt.Errorf("it has %d bytes, its header says %d", e.Size, size)
		}
		return nil
	})
	if err != nil {
		return err
	}
	e.Digest = digest.Sum(w.hash)
	w.m[w.seen[p]] = e
	return nil
}

func (w *writer) copy(ctx context.Context, f io.Writer, r io.Reader) (n int64, err error) {
	for {
		if err := context.Cause(ctx); err != nil {
			return n, err
		}
		k, err := r.Read(w.buf)
		if int64(k) > w.left {
			return n, w.tooBig()
		}
		w.left -= int64(k)
		w.hash.Write(w.buf[:k])
		if _, werr := f.Write(w.buf[:k]); werr != nil {
			return n, werr
		}
		n += int64(k)
		switch {
		case err == io.EOF:
			return n, nil
		case err != nil:
			return n, err
		}
	}
}

// symlink notes a symbolic link; finish makes it.
func (w *writer) symlink(p, target string) error {
	way, err := w.o.target(p, target)
	if err != nil {
		return err
	}
	if err := w.parents(p); err != nil {
		return err
	}
	if err := w.add(tree.Entry{Path: p, Kind: tree.Link, Target: target}); err != nil {
		return err
	}
	w.ways[p] = way
	return nil
}

// hardlink makes a second name for a regular file that this archive has brought already.
func (w *writer) hardlink(p, target string) error {
	i, ok := w.seen[target]
	if !ok || w.m[i].Kind != tree.File {
		return fmt.Errorf("hard link to %q, which is no regular file that this archive has brought so far", target)
	}
	if err := w.parents(p); err != nil {
		return err
	}
	e := w.m[i]
	e.Path = p
	if err := w.add(e); err != nil {
		return err
	}
	return w.to.hardlink(p, target)
}

// finish makes the links, after everything that could have been written through one, and puts
// the manifest into its order.
func (w *writer) finish() error {
	// A slug may hold nothing below ./app: an app can live of its process types alone.
	if len(w.m) == 0 && (!w.o.Slug || w.entries == 0) {
		if w.o.Strip > 0 && w.entries > 0 {
			return fmt.Errorf("nothing is left of it after strip: %d", w.o.Strip)
		}
		return errors.New("it holds no entries")
	}
	isLink := func(p string) bool { _, ok := w.ways[p]; return ok }
	for _, e := range w.m {
		if e.Kind != tree.Link {
			continue
		}
		fail := func(err error) error { return &Error{Archive: w.o.Name, Entry: e.Path, Err: err} }
		if turnsBack(w.ways[e.Path], isLink) {
			return fail(fmt.Errorf("its target %q goes through another link and then up, so where it leads is open", clip(e.Target)))
		}
		if err := w.to.symlink(e.Path, e.Target); err != nil {
			return fail(err)
		}
	}
	w.m.Sort()
	return nil
}

func word(k tree.Kind) string {
	switch k {
	case tree.Dir:
		return "directory"
	case tree.Link:
		return "link"
	}
	return "file"
}
