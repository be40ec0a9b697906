package slug

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"os"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/deflate"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// Draft is a slug that can be written: its members in their order, cut into segments, each
// with the place where its compressed bytes lie already, if they do.
type Draft struct {
	members  []artifact.Member
	segments []segment
	keys     []digest.Digest
	// found is parallel to segments. Its from is nil where the segment has to be compressed.
	found []place
	known places
	o     Options
}

// New prepares a slug of the members, in any order they come. It reads no file.
func New(members []artifact.Member, o Options) (*Draft, error) {
	if _, ok := levels[o.Level]; !ok {
		return nil, fmt.Errorf("compression level %q: there are %s and %s", o.Level, LevelDefault, LevelFast)
	}
	members, err := Arrange(members)
	if err != nil {
		return nil, err
	}
	d := &Draft{members: members, segments: cut(members), known: newPlaces(o.Cache), o: o}
	d.keys = keys(d.members, d.segments, o)
	d.found = make([]place, len(d.segments))
	for i, k := range d.keys {
		if !k.IsZero() {
			d.found[i] = d.known.keys[k]
		}
	}
	return d, nil
}

// Same returns the cached slug that is this very one.
func (d *Draft) Same() (Cached, bool) {
	for _, c := range d.o.Cache {
		if slices.EqualFunc(d.keys, c.Index.parts, func(k digest.Digest, p part) bool { return k == p.key && !k.IsZero() }) {
			return c, true
		}
	}
	return Cached{}, false
}

// Members are all that the slug holds, in its order.
func (d *Draft) Members() []artifact.Member { return d.members }

// Taken are the files whose bytes lie in a cached slug already, at the same path, so that Write may not read them,
// each with the digest of that slug. One that several segments hold may come more than once.
func (d *Draft) Taken() iter.Seq2[digest.Digest, *artifact.Member] {
	return func(yield func(digest.Digest, *artifact.Member) bool) {
		for i, seg := range d.segments {
			from := d.found[i].from
			if from == nil {
				continue
			}
			for k := max(seg.from, 0); k < seg.to; k++ {
				if m := &d.members[k]; m.Kind == tree.File && !yield(from.Index.Slug, m) {
					return
				}
			}
		}
	}
}

// TarSize is the length of the tar stream in bytes.
func (d *Draft) TarSize() int64 {
	var n int64
	for i := range d.segments {
		n += d.segments[i].size
	}
	return n
}

// Copier is a writer that can take a part of a file without its bytes passing through here.
type Copier interface {
	// Copy appends the n bytes of src from off on. A file that is shorter is an
	// io.ErrUnexpectedEOF.
	Copy(src *os.File, off, n int64) error
}

// Write writes the slug. Files are read once, without following links; one whose bytes are
// not those of its member is a *ChangedError, and a cached slug that is not what its index
// says a *CacheError; a slug above its limit is ErrLimit. What was written until then is of no
// use. A draft can be written again.
//
// One goroutine reads segments in their order, workers compress them in any, one puts them
// together in order again, and one hashes what was put. Segments that lie in a cached slug are
// neither read nor compressed. The number of jobs that go round bounds the memory.
func (d *Draft) Write(ctx context.Context, w io.Writer) (Result, error) {
	workers := d.o.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	workers = min(workers, maxWorkers)
	g, ctx := errgroup.WithContext(ctx)
	free := make(chan *job, workers+2)
	// Buffers that grow leave the smaller ones behind. Only what hardly compresses, which is
	// seldom, needs more than half of its length.
	room := d.largest()
	for range cap(free) {
		free <- &job{raw: make([]byte, 0, room), out: make([]byte, 0, room/2), done: make(chan struct{}, 1)}
	}
	work := make(chan *job, cap(free))
	queue := make(chan *job, cap(free))
	put := make(chan piece, cap(free))

	g.Go(func() error {
		defer close(work)
		defer close(queue)
		return d.read(ctx, free, work, queue)
	})
	for range workers {
		g.Go(func() error {
			z := deflate.NewEncoder(levels[d.o.Level])
			for j := range work {
				d.compress(j, z)
				j.done <- struct{}{}
			}
			return nil
		})
	}
	var end [footerLen]byte
	g.Go(func() (err error) {
		defer close(put)
		end, err = d.put(ctx, w, queue, put)
		return err
	})
	sums := newSums(d)
	g.Go(func() error { return sums.run(ctx, put, free) })
	if err := g.Wait(); err != nil {
		return Result{}, err
	}
	return sums.result(end), nil
}

// largest is the length of the longest segment that has to be compressed, in bytes of the tar
// stream.
func (d *Draft) largest() int64 {
	var n int64
	for i := range d.segments {
		if d.found[i].from == nil {
			n = max(n, d.segments[i].size)
		}
	}
	return n
}

// job is a segment that has to be compressed, on its way.
type job struct {
	// i is the number of the segment.
	i           int
	raw, window []byte
	out         []byte
	part        part
	// found is set when the tar bytes turned out to be those of a cached segment.
	found place
	done  chan struct{}
}

// read fills jobs with the segments that were not found, in their order.
func (d *Draft) read(ctx context.Context, free <-chan *job, work, queue chan<- *job) error {
	s := source{members: d.members, o: d.o}
	defer s.close()
	var window []byte // of segment next
	next := 0
	for i := range d.segments {
		if d.found[i].from != nil {
			continue
		}
		var j *job
		select {
		case j = <-free:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		var err error
		if i != next {
			if window, err = d.window(ctx, &s, i, window[:0]); err != nil {
				return err
			}
		}
		j.i, j.found = i, place{}
		j.window = append(j.window[:0], window...)
		if j.raw, err = s.read(ctx, d.segments[i], j.raw[:0]); err != nil {
			return err
		}
		window = append(window[:0], tail(j.raw)...)
		next = i + 1
		work <- j
		queue <- j
	}
	return s.finish(ctx)
}

// tail is the part of a segment that the next one can refer to.
func tail(raw []byte) []byte { return raw[max(0, len(raw)-windowSize):] }

// window returns the bytes before segment i when the segment there was found, and so not read.
// The files are asked for these bytes alone: the index knows whether they are right.
func (d *Draft) window(ctx context.Context, s *source, i int, b []byte) ([]byte, error) {
	b, err := s.tail(d.segments[i-1], b)
	if err != nil {
		return b, err
	}
	at := d.found[i-1]
	if digest.Of(b) == at.part().tail {
		return b, nil
	}
	if err := s.verify(ctx, d.segments[i-1]); err != nil {
		return b, err
	}
	return b, at.fault("its index does not fit the files")
}

// compress deflates a segment by itself: it may refer to the window, but its bytes can be put
// behind those of any other segment.
func (d *Draft) compress(j *job, z *deflate.Encoder) {
	seg := d.segments[j.i]
	j.part = part{raw: int64(len(j.raw)), tail: digest.Of(tail(j.raw))}
	if seg.isPiece(d.members) {
		j.part.content = contentKey(d.o, seg.last, j.window, j.raw)
		if at, ok := d.known.contents[j.part.content]; ok {
			j.found = at
			return
		}
	}
	j.out = z.Append(j.out[:0], j.window, j.raw, seg.last)
	j.part.size = int64(len(j.out))
	j.part.crc = crc32.ChecksumIEEE(j.raw)
	j.part.check = crc32.Checksum(j.out, castagnoli)
}

// run returns the places of the found segments from number i on that lie one behind the other
// in one cached slug.
func (d *Draft) run(i int) []place {
	n := 0
	for i+n < len(d.found) && d.found[i+n].from != nil && d.found[i+n].from == d.found[i].from && d.found[i+n].i == d.found[i].i+n {
		n++
	}
	return d.found[i : i+n]
}

// piece is what was put into the slug at a time: a run of found segments, or what was made of
// a job; of a job that was found to be there already, both.
type piece struct {
	// first is the number of the first segment.
	first int
	run   []place
	job   *job
}

// put writes the segments one behind the other, and hands on what it wrote. It returns the
// end of the gzip member.
func (d *Draft) put(ctx context.Context, w io.Writer, queue <-chan *job, put chan<- piece) (end [footerLen]byte, err error) {
	size := int64(headerLen + footerLen)
	fits := func(n int64) bool {
		size += n
		return d.o.Limit <= 0 || size <= d.o.Limit
	}
	if _, err := w.Write(header[:]); err != nil {
		return end, fmt.Errorf("write slug: %w", err)
	}
	total, done := d.TarSize(), int64(0)
	progress := func(n int64) {
		if done += n; d.o.Progress != nil {
			d.o.Progress(done, total)
		}
	}
	progress(0)
	var crc uint32
	add := func(p *part) {
		crc = combineCRC(crc, p.crc, p.raw)
		progress(p.raw)
	}
	for i := 0; i < len(d.segments); {
		p := piece{first: i, run: d.run(i)}
		if len(p.run) == 0 {
			if p.job, err = wait(ctx, queue); err != nil || p.job == nil {
				return end, err
			}
			if p.job.found.from != nil {
				p.run = []place{p.job.found}
			}
		}
		if len(p.run) > 0 {
			// What fits is told, as if it had come piece by piece.
			fit := 0
			for fit < len(p.run) && fits(p.run[fit].part().size) {
				fit++
			}
			if err := copyRun(w, p.run[:fit]); err != nil {
				return end, err
			}
			for _, at := range p.run[:fit] {
				add(at.part())
			}
			if fit < len(p.run) {
				return end, ErrLimit
			}
		} else {
			if !fits(p.job.part.size) {
				return end, ErrLimit
			}
			if _, err := w.Write(p.job.out); err != nil {
				return end, fmt.Errorf("write slug: %w", err)
			}
			add(&p.job.part)
		}
		i += max(1, len(p.run))
		select {
		case put <- p:
		case <-ctx.Done():
			return end, context.Cause(ctx)
		}
	}
	end = footer(crc, total)
	if _, err := w.Write(end[:]); err != nil {
		return end, fmt.Errorf("write slug: %w", err)
	}
	return end, nil
}

// wait returns the next job when it is compressed, and nil when there is none, for the reader
// has given up.
func wait(ctx context.Context, queue <-chan *job) (*job, error) {
	select {
	case j := <-queue:
		if j == nil {
			return nil, nil
		}
		select {
		case <-j.done:
			return j, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// copyRun appends what lies at the places, which are one behind the other.
func copyRun(w io.Writer, run []place) error {
	if len(run) == 0 {
		return nil
	}
	var n int64
	for _, at := range run {
		n += at.part().size
	}
	src, off := run[0].from.File, run[0].off
	var err error
	if c, ok := w.(Copier); ok {
		err = c.Copy(src, off, n)
	} else {
		var got int64
		if got, err = io.Copy(w, io.NewSectionReader(src, off, n)); err == nil && got < n {
			err = io.ErrUnexpectedEOF
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return run[0].fault("it is shorter than its index says")
	}
	if err != nil {
		return fmt.Errorf("write slug: %w", err)
	}
	return nil
}
