package slug

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"runtime"
	"syscall"

	"github.com/klauspost/compress/flate"
	"golang.org/x/sync/errgroup"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// The names of the levels in slug.yaml.
const (
	LevelDefault = "default"
	LevelFast    = "fast"
)

// levels maps names to those of the compressor. Chosen by BenchmarkLevels: default is the
// cheapest whose size is within one percent of gzip -6.
var levels = map[string]int{"": 8, LevelDefault: 8, LevelFast: 6}

// maxWorkers bounds the memory: a worker needs about four MiB.
const maxWorkers = 8

// Options shape a slug. Only Level and Epoch can change its bytes.
type Options struct {
	// Level is LevelDefault or LevelFast; empty means LevelDefault.
	Level string
	// Epoch is the mtime of every member, in seconds since 1970.
	Epoch int64
	// Workers is how many segments are compressed at a time; 0 means one a core, at most 8.
	Workers int
	// Progress is told the bytes of the tar stream that are written, and the total. It is
	// called from one goroutine. It may be nil.
	Progress func(done, total int64)
	// Masked is told of each file whose setuid, setgid or sticky bit is not in the slug. It is
	// called from one goroutine. It may be nil.
	Masked func(m artifact.Member, mode fs.FileMode)
}

// Result says what was written.
type Result struct {
	// Digest and Size are of the slug.
	Digest digest.Digest
	Size   int64
	// TarDigest and TarSize are of the tar stream inside.
	TarDigest digest.Digest
	TarSize   int64
}

// ChangedError says that a file is not what the plan saw.
type ChangedError struct {
	// Path is of the file on this machine.
	Path string
	// Why is what was noticed.
	Why string
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("changed while archiving: %q %s", e.Path, e.Why)
}

// Write writes a slug of the members to w, in any order they come. Files are read once,
// without following links; one whose bytes are not those of its entry is a *ChangedError,
// and what was written until then is of no use.
func Write(ctx context.Context, w io.Writer, members []artifact.Member, o Options) (Result, error) {
	level, ok := levels[o.Level]
	if !ok {
		return Result{}, fmt.Errorf("compression level %q: there are %s and %s", o.Level, LevelDefault, LevelFast)
	}
	members, err := Arrange(members)
	if err != nil {
		return Result{}, err
	}
	workers := o.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	workers = min(workers, maxWorkers)
	segments := cut(members)

	// Jobs go round: filled in order, compressed by any worker, written in order. Their
	// number bounds the memory.
	g, ctx := errgroup.WithContext(ctx)
	free := make(chan *job, workers+2)
	for range cap(free) {
		free <- &job{done: make(chan struct{}, 1)}
	}
	work := make(chan *job, cap(free))
	queue := make(chan *job, cap(free))

	g.Go(func() error {
		defer close(work)
		defer close(queue)
		s := source{members: members, o: o}
		defer s.close()
		var window []byte
		for i := range segments {
			var j *job
			select {
			case j = <-free:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			j.last = segments[i].last
			j.window = append(j.window[:0], window...)
			var err error
			if j.raw, err = s.read(ctx, segments[i], j.raw[:0]); err != nil {
				return err
			}
			window = append(window, j.raw[max(0, len(j.raw)-windowSize):]...)
			window = append(window[:0], window[max(0, len(window)-windowSize):]...)
			work <- j
			queue <- j
		}
		return nil
	})
	for range workers {
		g.Go(func() error {
			d, err := flate.NewWriter(nil, level)
			if err != nil {
				return err
			}
			for j := range work {
				if err := j.deflate(d); err != nil {
					return err
				}
				j.done <- struct{}{}
			}
			return nil
		})
	}
	var out output
	g.Go(func() error {
		out = newOutput(w)
		var total int64
		for i := range segments {
			total += segments[i].size
		}
		if err := out.begin(); err != nil {
			return err
		}
		if o.Progress != nil {
			o.Progress(0, total)
		}
		for j := range queue {
			select {
			case <-j.done:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if err := out.add(j); err != nil {
				return err
			}
			if o.Progress != nil {
				o.Progress(out.tarSize, total)
			}
			free <- j
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return Result{}, err
	}
	if err := out.end(); err != nil {
		return Result{}, err
	}
	return out.result(), nil
}

// job is one segment on its way.
type job struct {
	raw, window []byte
	last        bool
	out         bytes.Buffer
	crc         uint32
	done        chan struct{}
}

// deflate compresses the segment by itself: it may refer to the window, but its bytes can
// be put behind those of any other segment. A sync flush ends it on a byte boundary.
func (j *job) deflate(d *flate.Writer) error {
	j.crc = crc32.ChecksumIEEE(j.raw)
	j.out.Reset()
	d.ResetDict(&j.out, j.window)
	if _, err := d.Write(j.raw); err != nil {
		return err
	}
	if j.last {
		return d.Close()
	}
	return d.Flush()
}

// output writes the gzip member and keeps its sums.
type output struct {
	w             io.Writer
	slug, tar     hash.Hash
	size, tarSize int64
	crc           uint32
}

func newOutput(w io.Writer) output {
	return output{w: w, slug: digest.New(), tar: digest.New()}
}

func (o *output) write(b []byte) error {
	o.slug.Write(b)
	o.size += int64(len(b))
	if _, err := o.w.Write(b); err != nil {
		return fmt.Errorf("write slug: %w", err)
	}
	return nil
}

// begin writes the gzip header of RFC 1952: no flags, no time, no extra flags, and 255 for
// a file system that is not known.
func (o *output) begin() error {
	return o.write([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255})
}

func (o *output) add(j *job) error {
	o.tar.Write(j.raw)
	o.tarSize += int64(len(j.raw))
	o.crc = combineCRC(o.crc, j.crc, int64(len(j.raw)))
	return o.write(j.out.Bytes())
}

func (o *output) end() error {
	b := binary.LittleEndian.AppendUint32(nil, o.crc)
	return o.write(binary.LittleEndian.AppendUint32(b, uint32(o.tarSize)))
}

func (o *output) result() Result {
	return Result{Digest: digest.Sum(o.slug), Size: o.size, TarDigest: digest.Sum(o.tar), TarSize: o.tarSize}
}

// source reads the bytes of segments, in their order.
type source struct {
	members []artifact.Member
	o       Options

	// The file that a segment ended in the middle of, or the pack of the last member.
	file   *os.File
	before fs.FileInfo
	sum    hash.Hash
}

func (s *source) close() {
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
}

// read appends the bytes of a segment to b.
func (s *source) read(ctx context.Context, seg segment, b []byte) ([]byte, error) {
	for _, sp := range seg.spans {
		if ctx.Err() != nil {
			return b, context.Cause(ctx)
		}
		if sp.member < 0 {
			b = appendHeaders(b, rootEntry, s.o.Epoch)
			continue
		}
		m := &s.members[sp.member]
		if sp.head {
			b = appendHeaders(b, m.Entry, s.o.Epoch)
		}
		if m.Kind == tree.File {
			var err error
			if b, err = s.content(m, sp, b); err != nil {
				return b, err
			}
		}
		b = append(b, make([]byte, sp.pad)...)
	}
	if seg.last {
		b = append(b, make([]byte, trailer)...)
	}
	return b, nil
}

// content appends a span's part of a file and, at the file's end, checks the whole.
func (s *source) content(m *artifact.Member, sp span, b []byte) ([]byte, error) {
	start := len(b)
	b = append(b, make([]byte, sp.n)...)
	part := b[start:]
	if m.Src == "" {
		copy(part, m.Content[sp.off:])
		if sp.off == 0 {
			if !m.Digest.IsZero() && digest.Of(m.Content) != m.Digest {
				return b, fmt.Errorf("%s: the content of %q is not that of its digest", m.Origin, m.Path)
			}
		}
		return b, nil
	}
	if sp.off == 0 {
		if err := s.open(m); err != nil {
			return b, err
		}
	}
	n, err := s.file.ReadAt(part, m.At+sp.off)
	s.sum.Write(part[:n])
	switch {
	case errors.Is(err, io.EOF):
		return b, &ChangedError{m.From(), fmt.Sprintf("became shorter: it had %d bytes, now %d", m.Size, sp.off+int64(n))}
	case err != nil:
		return b, err
	}
	if sp.off+sp.n < m.Size {
		return b, nil
	}
	if m.At > 0 {
		if digest.Sum(s.sum) != m.Digest {
			return b, &ChangedError{m.From(), fmt.Sprintf("has other bytes for %q than before", m.Path)}
		}
		return b, nil
	}
	defer s.close()
	after, err := s.file.Stat()
	if err != nil {
		return b, err
	}
	switch {
	case after.Size() != m.Size:
		return b, &ChangedError{m.From(), fmt.Sprintf("had %d bytes, now %d", m.Size, after.Size())}
	case m.Digest.IsZero() && !tree.Same(s.before, after), !m.Digest.IsZero() && digest.Sum(s.sum) != m.Digest:
		return b, &ChangedError{m.From(), "has other content than before"}
	}
	return b, nil
}

// open opens the file of a member. A pack stays open for the members that follow.
func (s *source) open(m *artifact.Member) error {
	if s.file != nil && m.At > 0 && s.file.Name() == m.From() {
		s.sum.Reset()
		return nil
	}
	f, err := tree.Open(m.From())
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return &ChangedError{m.From(), "is gone"}
	case errors.Is(err, syscall.ELOOP):
		return &ChangedError{m.From(), "is now a link"}
	case err != nil:
		return err
	}
	s.close()
	s.file, s.sum = f, digest.New()
	if s.before, err = f.Stat(); err != nil {
		return err
	}
	mode := s.before.Mode()
	switch {
	case !mode.IsRegular():
		return &ChangedError{m.From(), "is no regular file any more"}
	case m.At == 0 && s.before.Size() != m.Size:
		return &ChangedError{m.From(), fmt.Sprintf("had %d bytes, now %d", m.Size, s.before.Size())}
	}
	if mode&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0 && s.o.Masked != nil {
		s.o.Masked(*m, mode)
	}
	return nil
}
