package slug

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/slugfile/slugfile/pipeline/digest"
)

// Index tells what the segments of a slug are, so that the next slug can take over those
// that it has too. It is only ever a hint: whoever has none packs everything anew, and gets
// the same bytes.
type Index struct {
	// Slug and Size are of the whole slug, compressed.
	Slug digest.Digest
	Size int64

	parts []part
}

// part is what is remembered of a segment.
type part struct {
	// key names the compressed bytes by what they are made of. It is zero when that is not
	// known from digests alone.
	key digest.Digest
	// content names them by the tar bytes themselves. It is set for a piece of a file that is
	// longer than a segment, for such a file's digest says nothing of its pieces.
	content digest.Digest
	// tail is the digest of the last 32 KiB of the tar bytes: the window of the next segment.
	tail digest.Digest
	// raw and size are the lengths in bytes, as tar and compressed.
	raw, size int64
	// crc is the CRC-32 of the tar bytes, check the CRC-32C of the compressed ones.
	crc, check uint32
	// state is the sha256 of the slug up to the end of the segment, going on from which saves
	// to hash what stands before.
	state []byte
}

// indexFormat is the first line of an encoded index. It changes with what stands in an index,
// and with how the headers of a tar stream look, of which the keys know nothing.
const indexFormat = "slugfile segments 1\n"

// stateSize is the length of a part's state, as the standard library writes it.
const stateSize = 108

// partSize is the length of an encoded part.
const partSize = 3*digest.Size + 4*4 + stateSize

// maxPart is more than a segment has, as tar or compressed.
const maxPart = 1 << 24

// AppendBinary appends the index in the form that ParseIndex reads. It never fails.
func (x *Index) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, indexFormat...)
	b = append(b, x.Slug[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(x.Size))
	for i := range x.parts {
		p := &x.parts[i]
		b = append(b, p.key[:]...)
		b = append(b, p.content[:]...)
		b = append(b, p.tail[:]...)
		b = binary.LittleEndian.AppendUint32(b, uint32(p.raw))
		b = binary.LittleEndian.AppendUint32(b, uint32(p.size))
		b = binary.LittleEndian.AppendUint32(b, p.crc)
		b = binary.LittleEndian.AppendUint32(b, p.check)
		var state [stateSize]byte
		copy(state[:], p.state)
		b = append(b, state[:]...)
	}
	return b, nil
}

// ParseIndex reads an index. It keeps b.
func ParseIndex(b []byte) (*Index, error) {
	rest, ok := bytes.CutPrefix(b, []byte(indexFormat))
	if !ok {
		return nil, errors.New("index of a slug: written by another version")
	}
	if len(rest) < digest.Size+8 || (len(rest)-digest.Size-8)%partSize != 0 {
		return nil, fmt.Errorf("index of a slug: %d bytes are not whole", len(b))
	}
	x := &Index{}
	rest = rest[copy(x.Slug[:], rest):]
	x.Size = int64(binary.LittleEndian.Uint64(rest))
	rest = rest[8:]
	x.parts = make([]part, len(rest)/partSize)
	total := int64(headerLen + footerLen)
	for i := range x.parts {
		p := &x.parts[i]
		rest = rest[copy(p.key[:], rest):]
		rest = rest[copy(p.content[:], rest):]
		rest = rest[copy(p.tail[:], rest):]
		p.raw = int64(binary.LittleEndian.Uint32(rest))
		p.size = int64(binary.LittleEndian.Uint32(rest[4:]))
		p.crc = binary.LittleEndian.Uint32(rest[8:])
		p.check = binary.LittleEndian.Uint32(rest[12:])
		p.state = rest[16 : 16+stateSize]
		rest = rest[16+stateSize:]
		if p.raw > maxPart || p.size > maxPart || p.size == 0 {
			return nil, fmt.Errorf("index of a slug: segment %d cannot have %d bytes in %d", i, p.raw, p.size)
		}
		total += p.size
	}
	if total != x.Size {
		return nil, fmt.Errorf("index of a slug: its segments have %d bytes, the slug %d", total, x.Size)
	}
	return x, nil
}

// Cached is an earlier slug, to take segments from.
type Cached struct {
	Index *Index
	// File is the slug. That it is the one of Index is the caller's word; what is read of it is
	// checked, but what is copied in front of the first change is not.
	File *os.File
}

// Check holds the index against the end of the slug. Sums that do not fit would spoil the next
// slug in a way that its digest does not show: the digest is of what was written.
func (c Cached) Check() error {
	var crc uint32
	var raw int64
	for i := range c.Index.parts {
		p := &c.Index.parts[i]
		crc = combineCRC(crc, p.crc, p.raw)
		raw += p.raw
	}
	var end [footerLen]byte
	if _, err := c.File.ReadAt(end[:], c.Index.Size-footerLen); err != nil {
		return fmt.Errorf("read its end: %w", err)
	}
	if end != footer(crc, raw) {
		return errors.New("its index does not fit its end")
	}
	return nil
}

// CacheError says that an earlier slug, or its index, is not what it was taken for. Without it
// the slug can be made.
type CacheError struct {
	// Slug names the earlier one.
	Slug digest.Digest
	// Why is what was noticed.
	Why string
}

func (e *CacheError) Error() string {
	return fmt.Sprintf("earlier slug %s: %s", e.Slug.Short(), e.Why)
}

// place is where the compressed bytes of a segment lie: in part i of a cached slug, at off.
type place struct {
	from *Cached
	i    int
	off  int64
}

func (p place) part() *part { return &p.from.Index.parts[p.i] }

func (p place) fault(why string) error { return &CacheError{Slug: p.from.Index.Slug, Why: why} }

// places finds segments by their key and by their content. The first slug that has one wins.
type places struct {
	keys, contents map[digest.Digest]place
}

func newPlaces(cache []Cached) places {
	var p places
	for c := range cache {
		from := &cache[c]
		if p.keys == nil {
			p.keys = make(map[digest.Digest]place, len(from.Index.parts))
			p.contents = map[digest.Digest]place{}
		}
		off := int64(headerLen)
		for i := range from.Index.parts {
			part := &from.Index.parts[i]
			at := place{from: from, i: i, off: off}
			if _, ok := p.keys[part.key]; !ok && !part.key.IsZero() {
				p.keys[part.key] = at
			}
			if _, ok := p.contents[part.content]; !ok && !part.content.IsZero() {
				p.contents[part.content] = at
			}
			off += part.size
		}
	}
	return p
}
