package slug

import (
	"crypto/sha256"
	"encoding/binary"
	"math"

	"github.com/slugfile/slugfile/pipeline/artifact"
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
type segment struct {
	spans []span
	// size is in bytes of the tar stream.
	size int64
	// last says that the trailer follows the spans and that the stream ends.
	last bool
}

// cut divides the stream of the members into segments. Where it cuts depends on paths and
// sizes alone. The hash of a path, weighted by the size of the member, decides whether a
// segment ends before that member; so a change moves the cuts near it, and those further on
// fall where they fell before. A file above the target is cut into pieces of just that
// size, counted from its own start.
func cut(members []artifact.Member) []segment {
	var done []segment
	var open segment
	end := func() {
		done = append(done, open)
		open = segment{}
	}
	add := func(s span, size int64) {
		open.spans = append(open.spans, s)
		open.size += size
	}
	add(span{member: -1, head: true}, headerSize(rootEntry))
	for i := range members {
		e := &members[i].Entry
		head := headerSize(*e)
		pad := padded(e.Size) - e.Size
		whole := head + e.Size + pad
		if open.size >= segmentMin && (open.size+min(whole, segmentTarget) > segmentMax || endsBefore(e.Path, whole)) {
			end()
		}
		if e.Size <= segmentTarget {
			add(span{member: i, head: true, n: e.Size, pad: pad}, whole)
			continue
		}
		for off := int64(0); off < e.Size; off += segmentTarget {
			s := span{member: i, head: off == 0, off: off, n: min(segmentTarget, e.Size-off)}
			size := s.n
			if s.head {
				size += head
			}
			if off+s.n == e.Size {
				s.pad = pad
				size += pad
			}
			add(s, size)
			if off+s.n < e.Size {
				end()
			}
		}
	}
	open.size += trailer
	open.last = true
	end()
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
	sum := sha256.Sum256([]byte(path))
	return float64(binary.BigEndian.Uint64(sum[:8])) < float64(size)/room*math.MaxUint64
}

// rootEntry is ./app/ itself, the first member of every slug.
var rootEntry = tree.Entry{Kind: tree.Dir}
