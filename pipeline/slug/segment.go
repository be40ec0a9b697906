package slug

import (
	"encoding/binary"
	"iter"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// The tar stream is cut into segments that are deflated one by one. Each is primed with
// the window bytes before it, so cutting costs next to nothing in size, and each ends on a
// byte boundary, so segments can be put together by concatenation.
const (
	segmentTarget = 512 << 10
	segmentMin    = segmentTarget / 4
	segmentMax    = segmentTarget * 2
	// windowSize is as far back as deflate can refer.
	windowSize = 32 << 10
)

// span is a part of the stream that comes from one member, in this order: its headers, a
// part of its content, zeros up to the next block.
type span struct {
	// member is an index into the arranged members, or -1 for the directory ./app/ itself.
	member int
	// head says that the headers stand in this span.
	head bool
	// off and n are the part of the content, in bytes.
	off, n int64
	// pad is how many zeros follow.
	pad int64
}

// segment is a part of the tar stream. Its compressed bytes are a function of its own bytes,
// the window bytes before it, whether it is the last, the level, and Compressor: whoever
// knows all of these equal may take the compressed bytes of an earlier run. Its own bytes
// are a function of the entries in its spans, their content, and the epoch.
//
// It names its first and its last member only, since there may be a million in all.
type segment struct {
	// from and to limit the members: the last is to-1. The number -1 is ./app/ itself.
	from, to int
	// begin is where the content of the first goes on, 0 when it begins here. end is where that
	// of the last stops.
	begin, end int64
	// size is in bytes of the tar stream.
	size int64
	// last says that the trailer follows the spans and that the stream ends.
	last bool
}

// spans are the parts of the segment, one a member.
func (s segment) spans(members []artifact.Member) iter.Seq[span] {
	return func(yield func(span) bool) {
		for i := s.from; i < s.to; i++ {
			sp := span{member: i, head: true}
			if i >= 0 && members[i].Size > 0 {
				size := members[i].Size
				sp.n = size
				if i == s.to-1 {
					sp.n = s.end
				}
				if sp.n == size {
					sp.pad = padded(size) - size
				}
				if i == s.from && s.begin > 0 {
					sp.head, sp.off, sp.n = false, s.begin, sp.n-s.begin
				}
			}
			if !yield(sp) {
				return
			}
		}
	}
}

// cut divides the stream of the members into segments. Where it cuts depends on paths and
// sizes alone. The hash of a path, weighted by the size of the member, decides whether a
// segment ends before that member; so a change moves the cuts near it, and those further on
// fall where they fell before. A file above the target is cut into pieces of just that
// size, counted from its own start.
func cut(members []artifact.Member) []segment {
	var done []segment
	open := segment{from: -1, size: headerSize(rootEntry)}
	// end ends the segment before a member, at off of its content.
	end := func(member int, off int64) {
		open.to = member
		if off > 0 {
			open.to, open.end = member+1, off
		} else if member > 0 {
			open.end = members[member-1].Size
		}
		done = append(done, open)
		open = segment{from: member, begin: off}
	}
	for i := range members {
		e := &members[i].Entry
		head := headerSize(*e)
		pad := padded(e.Size) - e.Size
		whole := head + e.Size + pad
		if open.size >= segmentMin && (open.size+min(whole, segmentTarget) > segmentMax || endsBefore(e.Path, whole)) {
			end(i, 0)
		}
		open.size += head
		if e.Size > segmentTarget {
			for off := int64(segmentTarget); off < e.Size; off += segmentTarget {
				open.size += segmentTarget
				end(i, off)
			}
			open.size -= open.begin
		}
		open.size += e.Size + pad
	}
	open.size += trailer
	open.last = true
	end(len(members), 0)
	return done
}

// endsBefore says whether a segment that is long enough ends before the member at path. The
// chance is the member's share of what a segment holds beyond its minimum, so that segments
// come out near the target on average. A file above the target always begins one.
func endsBefore(path string, size int64) bool {
	if size > segmentTarget {
		return true
	}
	const room = segmentTarget - segmentMin
	return mix(path)>>32 < uint64(size)<<32/room
}

// mix spreads a path over 64 bits: FNV-1a, and the last step of MurmurHash3, which brings each
// bit of the input to the upper ones. An unlucky or malicious tree gets uneven segments, and
// nothing worse.
func mix(path string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(path) {
		h = (h ^ uint64(path[i])) * 0x100000001b3
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// rootEntry is ./app/ itself, the first member of every slug.
var rootEntry = tree.Entry{Kind: tree.Dir}

// isPiece reports whether the segment holds a piece of a file that needs several.
func (s segment) isPiece(members []artifact.Member) bool {
	return s.begin > 0 || s.to > 0 && s.end < members[s.to-1].Size
}

// keys names the compressed bytes of each segment by what they are made of: what lies in it
// and, for the window, what lies in the one before. A key is zero when the digest of a file
// is not known.
func keys(members []artifact.Member, segments []segment, o Options) []digest.Digest {
	out := make([]digest.Digest, len(segments))
	begin := keyStart(o, "digests")
	begin = binary.AppendVarint(begin, o.Epoch)
	var b []byte
	var before digest.Digest // of the segment before; its zero value stands for the beginning
	beforeKnown := true
	for i, seg := range segments {
		known := true
		b = b[:0]
		for sp := range seg.spans(members) {
			known = describe(&b, members, sp) && known
		}
		sum := digest.Of(b)
		if known && beforeKnown {
			b = append(append(append(b[:0], begin...), before[:]...), sum[:]...)
			if seg.last {
				b = append(b, 'L')
			}
			out[i] = digest.Of(b)
		}
		before, beforeKnown = sum, known
	}
	return out
}

// describe appends all that the bytes of a span depend on, beside the epoch.
func describe(b *[]byte, members []artifact.Member, sp span) (known bool) {
	e := &rootEntry
	if sp.member >= 0 {
		e = &members[sp.member].Entry
	}
	flags := byte(e.Kind) << 2
	if sp.head {
		flags |= 1
	}
	if e.Exec {
		flags |= 2
	}
	*b = append(*b, flags)
	*b = appendString(*b, e.Path)
	*b = appendString(*b, e.Target)
	if e.Kind != tree.File {
		return true
	}
	*b = binary.AppendUvarint(*b, uint64(e.Size))
	*b = binary.AppendUvarint(*b, uint64(sp.off))
	*b = binary.AppendUvarint(*b, uint64(sp.n))
	*b = append(*b, e.Digest[:]...)
	return !e.Digest.IsZero()
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// contentKey names the compressed bytes of a segment by its tar bytes.
func contentKey(o Options, last bool, window, raw []byte) digest.Digest {
	h := digest.New()
	h.Write(keyStart(o, "bytes"))
	if last {
		h.Write([]byte{'L'})
	}
	h.Write(binary.AppendUvarint(nil, uint64(len(window))))
	h.Write(window)
	h.Write(raw)
	return digest.Sum(h)
}

// keyStart holds what a key depends on beside the segment: how it is compressed, and what the
// key is made of.
func keyStart(o Options, of string) []byte {
	level := o.Level
	if level == "" {
		level = LevelDefault
	}
	var b []byte
	for _, s := range []string{Compressor, level, of} {
		b = appendString(b, s)
	}
	return b
}
