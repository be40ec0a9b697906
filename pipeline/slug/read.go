package slug

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// Caps of a slug that is read: ample for any app, and a bound for hostile input.
const (
	maxBytes   = 16 << 30
	maxEntries = 2_000_000
	maxName    = 4096
)

// ErrSquashfs says that a slug is a squashfs image, as the platform keeps slugs of apps
// that it built itself long ago.
var ErrSquashfs = errors.New("it is a squashfs image, not a gzip-compressed tar")

// Read calls visit for each entry of a slug, in order, and checks the whole: one gzip
// member, names below ./app, no kinds but directories, files, symbolic links and hard links
// to files of this slug, nothing through a link, no path twice (directories aside), a
// trailer whose sums are right, and nothing behind it.
//
// The entry hdr has its name as it stands in the slug; Path makes a path of it. The body
// need not be read to its end. An entry is only known to be whole when Read returns nil.
func Read(r io.Reader, visit func(hdr *tar.Header, body io.Reader) error) error {
	return measure(r, false, func(hdr *tar.Header, body io.Reader) (func(int64), error) { return nil, visit(hdr, body) })
}

// measure is Read, and tells what visit returns how many bytes of the compressed stream an entry
// has taken. With links those may lead out of ./app: a dyno follows them.
func measure(r io.Reader, links bool, visit func(hdr *tar.Header, body io.Reader) (packed func(int64), err error)) error {
	in := &counter{r: r}
	buf := bufio.NewReaderSize(in, 128<<10)
	magic, err := buf.Peek(4)
	switch {
	case bytes.HasPrefix(magic, []byte("hsqs")):
		return fmt.Errorf("read slug: %w", ErrSquashfs)
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
	case err != nil && !errors.Is(err, io.EOF):
		return fmt.Errorf("read slug: %w", err)
	default:
		return fmt.Errorf("read slug: it is not gzip: it starts with % x", magic)
	}
	zr, err := gzip.NewReader(buf)
	if err != nil {
		return fmt.Errorf("read slug: gzip header: %w", err)
	}
	zr.Multistream(false)
	at := &inflating{r: zr, taken: func() int64 { return in.n - int64(buf.Buffered()) }}
	c := &checker{in: &counter{r: bufio.NewReaderSize(at, 2*windowSize)}, kinds: map[string]byte{}, links: links}
	if err := c.entries(visit, at); err != nil {
		if errors.Is(err, tar.ErrHeader) { // no wonder, when the sums at the end do not hold either
			if _, damage := io.Copy(io.Discard, io.LimitReader(zr, maxBytes)); damage != nil {
				err = fmt.Errorf("the bytes are damaged: %w", damage)
			}
		}
		return fmt.Errorf("read slug: %w", err)
	}
	if err := drain(c.in); err != nil {
		return fmt.Errorf("read slug: after the last entry: %w", err)
	}
	if _, err := buf.ReadByte(); err == nil {
		return fmt.Errorf("read slug: there are bytes after the gzip member; other readers stop there")
	} else if !errors.Is(err, io.EOF) {
		return fmt.Errorf("read slug: %w", err)
	}
	return nil
}

// inflating knows where in the compressed stream a place of the tar stream stands. Bytes are inflated
// in pieces of up to a window; within a piece every byte counts the same, so that the figures of
// small files are means of their neighbours', and those of large ones are right.
type inflating struct {
	r io.Reader
	// taken is how many compressed bytes r has read.
	taken func() int64
	// ends are those of the pieces that were inflated and not yet asked for; last is the one before.
	ends []mark
	last mark
}

type mark struct{ tar, packed int64 }

func (p *inflating) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if n > 0 {
		before := p.last
		if len(p.ends) > 0 {
			before = p.ends[len(p.ends)-1]
		}
		p.ends = append(p.ends, mark{before.tar + int64(n), p.taken()})
	}
	return n, err
}

// at is the place in the compressed stream of one in the tar stream, which never goes back.
func (p *inflating) at(tar int64) int64 {
	for len(p.ends) > 0 && p.ends[0].tar <= tar {
		p.last, p.ends = p.ends[0], p.ends[1:]
	}
	if len(p.ends) == 0 {
		return p.last.packed
	}
	next := p.ends[0]
	return p.last.packed + (next.packed-p.last.packed)*(tar-p.last.tar)/(next.tar-p.last.tar)
}

// counter counts the bytes of a stream.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// drain reads to the end, where gzip checks its sums, and accepts zeros only.
func drain(r io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		for _, b := range buf[:n] {
			if b != 0 {
				return errors.New("there is data behind the end of the tar stream")
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

type checker struct {
	in    *counter
	kinds map[string]byte // of each path below ./app
	links bool            // any will do
	bytes int64
}

func (c *checker) entries(visit func(*tar.Header, io.Reader) (func(int64), error), at *inflating) error {
	tr := tar.NewReader(c.in)
	var before int64
	for {
		start := padded(c.in.n) // the rest of a block after an entry's content is skipped
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			// The library also takes a stream that just ends for a whole one.
			if c.in.n-start != trailer {
				return fmt.Errorf("the tar stream ends without its trailer: %w", io.ErrUnexpectedEOF)
			}
			return nil
		}
		if err != nil {
			return err
		}
		if hdr.Typeflag == tar.TypeXGlobalHeader {
			continue // archives made by git have one
		}
		if err := c.check(hdr); err != nil {
			return fmt.Errorf("entry %q: %w", hdr.Name, err)
		}
		packed, err := visit(hdr, tr)
		if err != nil {
			return fmt.Errorf("entry %q: %w", hdr.Name, err)
		}
		if _, err := io.Copy(io.Discard, tr); err != nil {
			return fmt.Errorf("entry %q: %w", hdr.Name, err)
		}
		end := at.at(padded(c.in.n))
		if packed != nil {
			packed(end - before)
		}
		before = end
	}
}

func (c *checker) check(hdr *tar.Header) error {
	switch hdr.Typeflag {
	case tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink:
	default:
		return fmt.Errorf("type %q: a slug has directories, files and links only", hdr.Typeflag)
	}
	for key := range hdr.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return errors.New("it is stored as a sparse file, which not every reader understands")
		}
	}
	name, err := Path(hdr.Name)
	if err != nil {
		return err
	}
	if name == "." {
		if hdr.Typeflag != tar.TypeDir {
			return errors.New("./app is no directory")
		}
		return nil
	}
	for i := range len(name) {
		if name[i] == '/' {
			switch c.kinds[name[:i]] {
			case 0:
				c.kinds[name[:i]] = tar.TypeDir // its own entry may be missing
			case tar.TypeDir:
			default:
				return fmt.Errorf("it lies below %q, which is no directory", name[:i])
			}
		}
	}
	if before, ok := c.kinds[name]; ok && (before != tar.TypeDir || hdr.Typeflag != tar.TypeDir) {
		return errors.New("the path stands in the slug twice")
	}
	if len(c.kinds) >= maxEntries {
		return fmt.Errorf("there are more than %d entries", maxEntries)
	}
	switch hdr.Typeflag {
	case tar.TypeReg:
		// Counted before a byte is read, so that a bomb is not even unpacked.
		if hdr.Size > maxBytes-c.bytes {
			return fmt.Errorf("the slug holds more than %d bytes", int64(maxBytes))
		}
		c.bytes += hdr.Size
	case tar.TypeLink:
		to, err := Path(hdr.Linkname)
		if err != nil || c.kinds[to] != tar.TypeReg {
			return fmt.Errorf("it is a hard link to %q, which is no file before it in this slug", hdr.Linkname)
		}
		c.kinds[name] = tar.TypeReg
		return nil
	case tar.TypeSymlink:
		if _, err := tree.LinkTarget(name, hdr.Linkname); err != nil && (!c.links || hdr.Linkname == "") {
			return err
		}
	}
	c.kinds[name] = hdr.Typeflag
	return nil
}

// Path makes a path below ./app of an entry's name: "." for ./app/ itself. A name that a
// dyno would not find under /app is an error.
func Path(name string) (string, error) {
	rel, ok := strings.CutPrefix(name, "./app")
	switch {
	case !ok || rel != "" && rel[0] != '/':
		return "", errors.New("the name does not start with ./app/, so a dyno would not have the file where the app looks")
	case rel == "" || rel == "/":
		return ".", nil
	}
	rel = strings.TrimSuffix(rel[1:], "/")
	switch {
	case rel == "" || path.Clean(rel) != rel || rel == ".." || strings.HasPrefix(rel, "../") || rel[0] == '/':
		return "", errors.New("the name is not clean")
	case strings.IndexByte(rel, 0) >= 0:
		return "", errors.New("the name has a NUL byte")
	case len(rel) > maxName:
		return "", fmt.Errorf("the name is longer than %d bytes", maxName)
	}
	return rel, nil
}

// Manifest reads a slug and returns what it holds below ./app. Targets of links are told
// word for word; a hard link is the file that it points to.
func Manifest(r io.Reader) (tree.Manifest, error) {
	m := tree.Manifest{}
	files := map[string]int{} // of this slug, for hard links
	dirs := map[string]bool{}
	err := Read(r, func(hdr *tar.Header, body io.Reader) error {
		name, err := Path(hdr.Name)
		if err != nil {
			return err
		}
		e := tree.Entry{Path: name}
		switch hdr.Typeflag {
		case tar.TypeDir:
			if name == "." || dirs[name] {
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
			e = m[files[to]]
			e.Path = name
			files[name] = len(m)
		default:
			h := digest.New()
			n, err := io.Copy(h, body)
			if err != nil {
				return err
			}
			e.Kind, e.Size, e.Digest = tree.File, n, digest.Sum(h)
			e.Exec = hdr.Mode&0o100 != 0
			files[name] = len(m)
		}
		m = append(m, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	m.Sort()
	return m, nil
}
