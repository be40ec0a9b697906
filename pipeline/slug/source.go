package slug

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// source reads the bytes of segments, in their order. A file of which a part is needed is read
// from its beginning to its end, because only the whole can be checked.
type source struct {
	members []artifact.Member
	o       Options

	// m is the member that is being read, of which pos bytes went into sum; nil between files.
	m   *artifact.Member
	pos int64
	sum hash.Hash
	// file is the one of m, or the pack of the last member. before is how it was found.
	file   *os.File
	before fs.FileInfo
	buf    []byte
	// whole reads a file that is in memory, for Options.Look.
	whole bytes.Reader
}

func (s *source) close() {
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
	s.m = nil
}

// read appends the bytes of a segment to b.
func (s *source) read(ctx context.Context, seg segment, b []byte) ([]byte, error) {
	b = slices.Grow(b, int(seg.size))
	for sp := range seg.spans(s.members) {
		if ctx.Err() != nil {
			return b, context.Cause(ctx)
		}
		b = s.headers(sp, b)
		if m := s.memberOf(sp); m != nil {
			var err error
			if b, err = s.content(ctx, m, sp, b); err != nil {
				return b, err
			}
		}
		b = appendZeros(b, sp.pad)
	}
	if seg.last {
		b = appendZeros(b, trailer)
	}
	return b, nil
}

// headers appends the headers that stand in a span.
func (s *source) headers(sp span, b []byte) []byte {
	switch {
	case sp.member < 0:
		return appendHeaders(b, rootEntry, s.o.Epoch)
	case sp.head:
		return appendHeaders(b, s.members[sp.member].Entry, s.o.Epoch)
	}
	return b
}

// memberOf is the member whose content stands in a span, or nil.
func (s *source) memberOf(sp span) *artifact.Member {
	if sp.member < 0 || s.members[sp.member].Kind != tree.File {
		return nil
	}
	return &s.members[sp.member]
}

func appendZeros(b []byte, n int64) []byte {
	start := len(b)
	b = slices.Grow(b, int(n))[:start+int(n)]
	clear(b[start:])
	return b
}

// content appends a span's part of a file and, at the file's end, checks the whole.
func (s *source) content(ctx context.Context, m *artifact.Member, sp span, b []byte) ([]byte, error) {
	start := len(b)
	b = slices.Grow(b, int(sp.n))[:start+int(sp.n)]
	part := b[start:]
	if m.Src == "" {
		copy(part, m.Content[sp.off:])
		if sp.off == 0 && !m.Digest.IsZero() && digest.Of(m.Content) != m.Digest {
			return b, fmt.Errorf("%s: the content of %q is not that of its digest", m.Origin, m.Path)
		}
		if sp.off == 0 {
			s.look(m, m.Content)
		}
		return b, nil
	}
	if s.m != m {
		if err := s.finish(ctx); err != nil {
			return b, err
		}
		if err := s.open(m); err != nil {
			return b, err
		}
	}
	if err := s.skim(ctx, sp.off); err != nil {
		return b, err
	}
	if err := s.next(part); err != nil {
		return b, err
	}
	if s.pos < m.Size {
		return b, nil
	}
	if sp.n < m.Size {
		part = nil
	}
	return b, s.check(part)
}

// look shows a file that was found to be right. What of it is not in memory is read again from
// the open file: a few tables of a large program.
func (s *source) look(m *artifact.Member, whole []byte) {
	switch {
	case s.o.Look == nil:
	case whole != nil || m.Size == 0:
		s.whole.Reset(whole)
		s.o.Look(m, &s.whole)
	default:
		s.o.Look(m, io.NewSectionReader(s.file, m.At, m.Size))
	}
}

// finish reads what is left of a file that is needed no more, for its end tells whether what
// was taken of it is right.
func (s *source) finish(ctx context.Context) error {
	if s.m == nil {
		return nil
	}
	if err := s.skim(ctx, s.m.Size); err != nil {
		return err
	}
	return s.check(nil)
}

// skim reads the file up to a place for the sake of its digest.
func (s *source) skim(ctx context.Context, to int64) error {
	if s.pos < to && s.buf == nil {
		s.buf = make([]byte, 256<<10)
	}
	for s.pos < to {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := s.next(s.buf[:min(int64(len(s.buf)), to-s.pos)]); err != nil {
			return err
		}
	}
	return nil
}

// next fills b with what follows in the file.
func (s *source) next(b []byte) error {
	n, err := s.file.ReadAt(b, s.m.At+s.pos)
	s.sum.Write(b[:n])
	s.pos += int64(n)
	if n == len(b) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return &ChangedError{s.m.From(), fmt.Sprintf("became shorter: it had %d bytes, now %d", s.m.Size, s.pos)}
	}
	return err
}

// check is for a file that was read to its end. whole is its content, or nil where that is not in memory.
func (s *source) check(whole []byte) error {
	m := s.m
	s.m = nil
	if m.At > 0 {
		if digest.Sum(s.sum) != m.Digest {
			return &ChangedError{m.From(), fmt.Sprintf("has other bytes for %q than before", m.Path)}
		}
		s.look(m, whole)
		return nil
	}
	defer s.close()
	after, err := s.file.Stat()
	if err != nil {
		return err
	}
	switch {
	case after.Size() != m.Size:
		return &ChangedError{m.From(), fmt.Sprintf("had %d bytes, now %d", m.Size, after.Size())}
	case m.Digest.IsZero() && !tree.Same(s.before, after), !m.Digest.IsZero() && digest.Sum(s.sum) != m.Digest:
		return &ChangedError{m.From(), "has other content than before"}
	}
	s.look(m, whole)
	return nil
}

// open opens the file of a member. A pack stays open for the members that follow.
func (s *source) open(m *artifact.Member) error {
	s.m, s.pos = m, 0
	if s.file != nil && m.At > 0 && s.file.Name() == m.From() {
		s.sum.Reset()
		return nil
	}
	s.close()
	f, info, err := openMember(m)
	if err != nil {
		return err
	}
	s.m, s.file, s.before, s.sum = m, f, info, digest.New()
	if mode := info.Mode(); mode&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0 && s.o.Masked != nil {
		s.o.Masked(*m, mode)
	}
	return nil
}

// openMember opens the file of a member if it still is what the member says.
func openMember(m *artifact.Member) (*os.File, fs.FileInfo, error) {
	f, err := tree.Open(m.From())
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return nil, nil, &ChangedError{m.From(), "is gone"}
	case errors.Is(err, syscall.ELOOP):
		return nil, nil, &ChangedError{m.From(), "is now a link"}
	case err != nil:
		return nil, nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = &ChangedError{m.From(), "is no regular file any more"}
	case m.At == 0 && info.Size() != m.Size:
		err = &ChangedError{m.From(), fmt.Sprintf("had %d bytes, now %d", m.Size, info.Size())}
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// tail appends the last bytes of a segment, as many as the next one can refer to, and reads no
// other. They are not checked.
func (s *source) tail(seg segment, b []byte) ([]byte, error) {
	skip := max(0, seg.size-windowSize)
	var scratch []byte
	for sp := range seg.spans(s.members) {
		scratch = s.headers(sp, scratch[:0])
		n := min(skip, int64(len(scratch)))
		b, skip = append(b, scratch[n:]...), skip-n
		n = min(skip, sp.n)
		if m := s.memberOf(sp); m != nil && n < sp.n {
			var err error
			if b, err = appendPart(m, sp.off+n, sp.n-n, b); err != nil {
				return b, err
			}
		}
		skip -= n
		n = min(skip, sp.pad)
		b, skip = appendZeros(b, sp.pad-n), skip-n
	}
	return b, nil
}

// appendPart appends n bytes of a member's content from off on.
func appendPart(m *artifact.Member, off, n int64, b []byte) ([]byte, error) {
	if m.Src == "" {
		return append(b, m.Content[off:off+n]...), nil
	}
	f, _, err := openMember(m)
	if err != nil {
		return b, err
	}
	defer f.Close()
	start := len(b)
	b = slices.Grow(b, int(n))[:start+int(n)]
	if got, err := f.ReadAt(b[start:], m.At+off); int64(got) < n {
		if errors.Is(err, io.EOF) {
			return b, &ChangedError{m.From(), fmt.Sprintf("became shorter: it had %d bytes, now %d", m.Size, off+int64(got))}
		}
		return b, err
	}
	return b, nil
}

// verify reads the files of a segment, to find the one that has changed.
func (s *source) verify(ctx context.Context, seg segment) error {
	for sp := range seg.spans(s.members) {
		if m := s.memberOf(sp); m != nil && m.Src != "" {
			if err := s.open(m); err != nil {
				return err
			}
			if err := s.finish(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}
