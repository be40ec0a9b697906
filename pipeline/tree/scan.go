package tree

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"iter"
	"os"
	"path"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slugfile/slugfile/pipeline/digest"
)

// scanWorkers is fixed: a few more readers than cores hide the latency of a disk, and the
// result does not depend on their number. It also bounds the open files of a scan.
const scanWorkers = 8

// ScanOptions limit and shape a scan. The zero value takes and reads everything.
type ScanOptions struct {
	// Skip leaves a path out; of a directory everything below it too. It may be nil. It is
	// called from several goroutines, for a directory before anything in it.
	Skip func(rel string, isDir bool) bool
	// Known is what an earlier scan of the directory learnt. It may be nil.
	Known *Index
	// Now is when the scan begins; zero is the time of this machine.
	Now time.Time

	workers int
}

// Scanned is what a scan found.
type Scanned struct {
	Manifest Manifest
	Index    *Index
	// Hashed counts the files that were read, and Reused those that were known.
	Hashed, Reused int
	// Learnt says that a scan with Index would read so much less than one with the Known of
	// this scan that writing it pays.
	Learnt bool
}

// Exec is what a list of paths says of a file's executable bit.
type Exec uint8

// ByMode takes the owner's bit of the file. With the others the file system is not asked: it
// may not have one.
const (
	ByMode Exec = iota
	NotExecutable
	Executable
)

// ChangedError says that a file did not hold still while it was read.
type ChangedError struct {
	// Path is as it was opened.
	Path string
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("read %q: changed while it was read", e.Path)
}

// Scan lists everything below root: directories too, links as links and never followed (root
// itself may be one). Files are hashed. A device, FIFO or socket is refused by its path and
// never opened; a file that cannot be read, or that changes meanwhile, is an error.
func Scan(ctx context.Context, root string, o ScanOptions) (Manifest, error) {
	s, err := ScanIndexed(ctx, root, o)
	return s.Manifest, err
}

// ScanIndexed is Scan that also tells what it learnt.
func ScanIndexed(ctx context.Context, root string, o ScanOptions) (Scanned, error) {
	s, err := newScan(root, o)
	if err != nil {
		return Scanned{}, fmt.Errorf("list directory: %w", err)
	}
	defer s.root.close()
	top := &spot{}
	s.start(ctx)
	s.push(&batch{spot: top, known: s.known.find(""), all: true})
	if err := s.wait(); err != nil {
		// An index that is not of this directory makes no error.
		if moved := (*ChangedError)(nil); errors.As(err, &moved) && s.trusted.Load() {
			o.Known = nil
			return ScanIndexed(ctx, root, o)
		}
		return Scanned{}, err
	}
	return s.finish(ctx, top)
}

// ScanPaths is ScanIndexed for a list of paths, such as git makes: nothing else is looked at.
// A path that is gone, or that lies behind a link, is left out, as git leaves it out. A
// directory in the list (a submodule) is listed alone. Repeats count once. Files are looked at
// while the list is still coming, and the sooner the better it is sorted.
func ScanPaths(ctx context.Context, root string, paths iter.Seq2[string, Exec], o ScanOptions) (Scanned, error) {
	s, err := newScan(root, o)
	if err != nil {
		return Scanned{}, fmt.Errorf("list directory: %w", err)
	}
	defer s.root.close()
	s.start(ctx)
	l := newLister(s)
	for p, exec := range paths {
		if err = l.add(strings.TrimSuffix(p, "/"), exec); err != nil || ctx.Err() != nil {
			break
		}
	}
	if err == nil {
		l.end()
	} else {
		s.stop(err)
	}
	if err := s.wait(); err != nil {
		return Scanned{}, err
	}
	l.link()
	return s.finish(ctx, l.top)
}

// isBelow reports whether a path is relative, clean, and leads to something below its root.
func isBelow(rel string) bool {
	if rel != "" && rel[0] != '/' && rel[0] != '.' && rel[len(rel)-1] != '/' && !strings.Contains(rel, "/.") && !strings.Contains(rel, "//") {
		return true // nearly all, without a closer look
	}
	return rel != "" && rel == path.Clean(rel) && rel[0] != '/' && rel != "." && rel != ".." && !strings.HasPrefix(rel, "../")
}

func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP)
}

func describe(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	case mode&fs.ModeSymlink != 0:
		return "a link"
	case mode.IsDir():
		return "a directory"
	}
	return "no regular file"
}

// unreadFile is a file whose content no index vouches for.
type unreadFile struct {
	e      *Entry
	record []byte // its record, from the flags on
	body   []byte
	dev    uint64
}

// finish makes the manifest and reads what is not known.
func (s *scan) finish(ctx context.Context, top *spot) (Scanned, error) {
	out := Scanned{Manifest: make(Manifest, 0, s.entries.Load()), Index: &Index{}}
	var unread []unreadFile
	var walk func(at *spot)
	walk = func(at *spot) {
		subs, paths := at.subs, at.paths
		for b := at.records; len(b) > 0; {
			var r record
			rest, _ := r.read(b)
			n := len(at.prefix()) + len(r.name)
			if r.kind() != 0 && (r.kind() != Dir || r.flags&flagListed != 0) {
				out.Manifest = append(out.Manifest, r.entry(paths[:n]))
				if r.kind() == File {
					if r.unread() {
						unread = append(unread, unreadFile{&out.Manifest[len(out.Manifest)-1], b, r.body, at.dev})
					} else {
						out.Reused++
					}
				}
			}
			if r.flags&flagFolder != 0 {
				walk(subs[0])
				subs = subs[1:]
			}
			b, paths = rest, paths[n:]
		}
		at.paths = ""
	}
	walk(top)
	out.Hashed = len(unread)
	learnt, err := s.hash(ctx, unread)
	if err != nil {
		return Scanned{}, err
	}
	out.Index.collect(top)
	out.Learnt = learnt
	return out, nil
}

// hash reads files in parallel and completes their entries and records.
func (s *scan) hash(ctx context.Context, files []unreadFile) (learnt bool, err error) {
	if len(files) == 0 {
		return false, nil
	}
	g, ctx := errgroup.WithContext(ctx)
	const openCost = 32 << 10 // bytes that are hashed in the time that it takes to open a file
	var next, gain atomic.Int64
	for range min(s.hashers, len(files)) {
		g.Go(func() error {
			h, buf := digest.New(), make([]byte, 128<<10)
			for {
				i := int(next.Add(1)) - 1
				if i >= len(files) {
					return nil
				}
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				f := &files[i]
				seen, atRest, err := s.hashFile(ctx, f.e, h, buf)
				if err != nil {
					return err
				}
				if seen.mode != order.Uint32(f.body[atMode:]) {
					return &ChangedError{Path: s.name(f.e.Path)} // the executable bit is another file's
				}
				putStamp(f.body, &seen)
				copy(f.body[atDigest:], f.e.Digest[:])
				if atRest && seen.ctime != 0 && seen.dev == f.dev && seen.ctime < s.cutoff {
					f.record[0] |= flagStamped
					gain.Add(openCost + seen.size)
				}
			}
		})
	}
	if err := g.Wait(); err != nil {
		return false, err
	}
	// Writing an index means to write and flush so many bytes, in units of bytes hashed.
	return gain.Load() > 1<<20+64*s.entries.Load(), nil
}

// hashFile fills size and digest, and returns the stamp of the file that it read, and whether
// its inode was at rest meanwhile.
func (s *scan) hashFile(ctx context.Context, e *Entry, h hash.Hash, buf []byte) (seen stamp, atRest bool, err error) {
	f, err := s.root.openFile(e.Path)
	if isGone(err) {
		return seen, false, &ChangedError{Path: s.name(e.Path)}
	}
	if err != nil {
		return seen, false, err
	}
	defer f.close()
	seen, mode, err := f.stat()
	if err != nil {
		return seen, false, err
	}
	if !mode.IsRegular() {
		return seen, false, &ChangedError{Path: s.name(e.Path)}
	}
	h.Reset()
	size := int64(0)
	for n := -1; n != 0 && (n < 0 || size < seen.size); { // an end that was told is not read
		if ctx.Err() != nil {
			return seen, false, context.Cause(ctx)
		}
		if n, err = f.read(buf); err != nil {
			return seen, false, err
		}
		h.Write(buf[:n])
		size += int64(n)
	}
	after, _, err := f.stat()
	if err != nil {
		return seen, false, err
	}
	e.Size, e.Digest = size, digest.Sum(h)
	atRest = seen == after
	after.ctime = seen.ctime // names and modes may change
	after.mode = seen.mode
	if size != seen.size || seen != after {
		return seen, false, &ChangedError{Path: s.name(e.Path)}
	}
	return seen, atRest, nil
}

// Same reports whether two looks at one open file saw the same: size, time of the last
// change of content, and the file itself.
func Same(before, after fs.FileInfo) bool {
	return before.Size() == after.Size() && before.ModTime().Equal(after.ModTime()) && os.SameFile(before, after)
}
