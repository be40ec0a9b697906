package tree

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"github.com/slugfile/slugfile/pipeline/digest"
)

// The binary form of a manifest is that of its entries, one after another, without a length:
//
//	head    one byte: the kind in the lowest two bits, then what follows
//	shared  how many bytes of the path are those of the entry before, as a uvarint
//	path    the rest of the path, its length first, as a uvarint
//	size    as a uvarint, when it is not 0
//	digest  32 bytes, when there is one
//	target  its length first, as a uvarint, when there is one
//
// It is lossless, a third of the JSON form, and what a manifest's digest is made of.
const (
	headKind   = 0b11
	headExec   = 1 << 2
	headSize   = 1 << 3
	headDigest = 1 << 4
	headTarget = 1 << 5
	headAll    = headKind | headExec | headSize | headDigest | headTarget
)

// longestName is the most bytes that a path or a target can have. Linux takes 4096.
const longestName = 1 << 16

// errBinary says that bytes are not the binary form of a manifest.
var errBinary = errors.New("not the binary form of a tree")

// AppendBinary appends the binary form of the manifest. It never fails.
func (m Manifest) AppendBinary(b []byte) ([]byte, error) {
	b = slices.Grow(b, 64*len(m)) // what an ordinary entry takes
	before := ""
	for i := range m {
		b = m[i].appendBinary(b, before)
		before = m[i].Path
	}
	return b, nil
}

// appendBinary appends the binary form of an entry after one with the path before.
func (e *Entry) appendBinary(b []byte, before string) []byte {
	head := byte(e.Kind) & headKind
	if e.Exec {
		head |= headExec
	}
	if e.Size != 0 {
		head |= headSize
	}
	if !e.Digest.IsZero() {
		head |= headDigest
	}
	if e.Target != "" {
		head |= headTarget
	}
	shared := sharedPrefix(before, e.Path)
	b = binary.AppendUvarint(append(b, head), uint64(shared))
	b = appendText(b, e.Path[shared:])
	if e.Size != 0 {
		b = binary.AppendUvarint(b, uint64(e.Size))
	}
	if !e.Digest.IsZero() {
		b = append(b, e.Digest[:]...)
	}
	if e.Target != "" {
		b = appendText(b, e.Target)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// sharedPrefix is how many bytes two texts begin with alike.
func sharedPrefix(a, b string) int {
	n := min(len(a), len(b))
	i := 0
	for i+8 <= n && a[i:i+8] == b[i:i+8] {
		i += 8
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

// Digest is the sha256 of the whole manifest in its binary form.
func (m Manifest) Digest() digest.Digest {
	return m.digest(func(int) bool { return true })
}

// BareDigest is Digest without the directories that hold something. Git does not list those
// and a walk does; who must not tell the two apart asks for this one.
func (m Manifest) BareDigest() digest.Digest {
	return m.digest(func(i int) bool {
		return m[i].Kind != Dir || i+1 == len(m) || m[i].Path == m[i+1].Path || !Under(m[i+1].Path, m[i].Path)
	})
}

func (m Manifest) digest(keep func(i int) bool) digest.Digest {
	const enough = 64 << 10
	h := digest.New()
	b := make([]byte, 0, enough+4<<10)
	before := ""
	for i := range m {
		if !keep(i) {
			continue
		}
		if b = m[i].appendBinary(b, before); len(b) >= enough {
			h.Write(b)
			b = b[:0]
		}
		before = m[i].Path
	}
	h.Write(b)
	return digest.Sum(h)
}

// UnmarshalBinary reads what AppendBinary writes. All names are parts of one text: however
// many there are, they are one object to the garbage collector.
func (m *Manifest) UnmarshalBinary(b []byte) error {
	n, size := 0, 0
	for r, path := (packed{b}), 0; len(r.b) > 0; n++ {
		p, ok := r.entry(path)
		if !ok {
			return errBinary
		}
		path = p.shared + len(p.rest)
		size += path + len(p.target)
	}
	list := make(Manifest, n)
	var names strings.Builder
	names.Grow(size)
	at := 0 // of the path before
	for r, i := (packed{b}), 0; i < n; i++ {
		p, _ := r.entry(longestName)
		start := names.Len()
		names.WriteString(names.String()[at : at+p.shared])
		names.Write(p.rest)
		end := names.Len()
		names.Write(p.target)
		e := &list[i]
		e.Kind, e.Exec, e.Size = Kind(p.head&headKind), p.head&headExec != 0, int64(p.size)
		copy(e.Digest[:], p.digest)
		// The text never moves: it has its full size from the start.
		text := names.String()
		e.Path, e.Target = text[start:end], text[end:]
		at = start
	}
	*m = list
	return nil
}

// packed is what is left of a binary form.
type packed struct{ b []byte }

// packedEntry is an entry in its binary form; its slices are parts of that.
type packedEntry struct {
	head                 byte
	shared               int
	rest, digest, target []byte
	size                 uint64
}

// entry reads an entry after one whose path has before bytes.
func (r *packed) entry(before int) (e packedEntry, ok bool) {
	if len(r.b) == 0 {
		return e, false
	}
	e.head, r.b = r.b[0], r.b[1:]
	if e.head&^headAll != 0 || e.head&headKind == 0 {
		return e, false
	}
	shared, ok := r.number()
	if !ok || shared > uint64(before) {
		return e, false
	}
	e.shared = int(shared)
	if e.rest, ok = r.text(longestName - e.shared); !ok || e.shared+len(e.rest) == 0 {
		return e, false
	}
	if e.head&headSize != 0 {
		if e.size, ok = r.number(); !ok {
			return e, false
		}
	}
	if e.head&headDigest != 0 {
		if len(r.b) < digest.Size {
			return e, false
		}
		e.digest, r.b = r.b[:digest.Size], r.b[digest.Size:]
	}
	if e.head&headTarget != 0 {
		if e.target, ok = r.text(longestName); !ok {
			return e, false
		}
	}
	return e, true
}

func (r *packed) number() (uint64, bool) {
	if len(r.b) > 0 && r.b[0] < 0x80 { // nearly always
		n := r.b[0]
		r.b = r.b[1:]
		return uint64(n), true
	}
	n, used := binary.Uvarint(r.b)
	if used <= 0 {
		return 0, false
	}
	r.b = r.b[used:]
	return n, true
}

func (r *packed) text(most int) ([]byte, bool) {
	n, ok := r.number()
	if !ok || n > uint64(len(r.b)) || n > uint64(most) {
		return nil, false
	}
	text := r.b[:n]
	r.b = r.b[n:]
	return text, true
}
