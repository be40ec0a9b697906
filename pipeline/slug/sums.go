package slug

import (
	"context"
	"encoding"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/slugfile/slugfile/pipeline/digest"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sums hashes a slug while it is written, and remembers of every segment what the next slug
// needs to know.
type sums struct {
	d     *Draft
	h     hash.Hash
	parts []part
	buf   []byte
	// fresh is how many bytes were compressed just now.
	fresh int64
}

func newSums(d *Draft) *sums {
	return &sums{d: d, h: digest.New(), parts: make([]part, len(d.segments))}
}

// run takes the pieces in their order, and gives their jobs back.
func (s *sums) run(ctx context.Context, put <-chan piece, free chan<- *job) error {
	s.h.Write(header[:])
	for p := range put {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if len(p.run) > 0 {
			if err := s.found(ctx, p); err != nil {
				return err
			}
		} else {
			s.h.Write(p.job.out)
			s.fresh += p.job.part.size
			s.add(p.first, p.job.part)
		}
		if p.job != nil {
			free <- p.job
		}
	}
	return nil
}

// add remembers a segment, with the state of the hash behind it.
func (s *sums) add(i int, p part) {
	p.key = s.d.keys[i]
	p.state, _ = s.h.(encoding.BinaryAppender).AppendBinary(make([]byte, 0, stateSize)) // a sha256 always can
	s.parts[i] = p
}

// found takes a run of found segments. As long as nothing differs from one cached slug, its
// index knows the hash, and nothing is read.
func (s *sums) found(ctx context.Context, p piece) error {
	if p.first == 0 && p.run[0].i == 0 && s.resume(p.run[len(p.run)-1].part().state) {
		for k, at := range p.run {
			s.parts[k] = *at.part()
			s.parts[k].key = s.d.keys[k]
		}
		return nil
	}
	for k, at := range p.run {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		part := *at.part()
		if int64(cap(s.buf)) < part.size {
			s.buf = make([]byte, part.size, part.size+part.size/4)
		}
		b := s.buf[:part.size]
		if n, err := at.from.File.ReadAt(b, at.off); n < len(b) {
			if err == io.EOF {
				return at.fault("it is shorter than its index says")
			}
			return fmt.Errorf("read earlier slug: %w", err)
		}
		if crc32.Checksum(b, castagnoli) != part.check {
			return at.fault(fmt.Sprintf("%d bytes from %d on are damaged", part.size, at.off))
		}
		s.h.Write(b)
		s.add(p.first+k, part)
	}
	return nil
}

// resume goes on from a state that an index remembers, if this build can read it.
func (s *sums) resume(state []byte) bool {
	h := digest.New()
	if h.(encoding.BinaryUnmarshaler).UnmarshalBinary(state) != nil {
		return false
	}
	s.h = h
	return true
}

// result is what was written, once its end is known.
func (s *sums) result(end [footerLen]byte) Result {
	s.h.Write(end[:])
	x := &Index{Slug: digest.Sum(s.h), Size: headerLen + footerLen, parts: s.parts}
	var tar int64
	for i := range s.parts {
		x.Size += s.parts[i].size
		tar += s.parts[i].raw
	}
	return Result{Digest: x.Slug, Size: x.Size, TarSize: tar, Fresh: headerLen + s.fresh + footerLen, Index: x}
}
