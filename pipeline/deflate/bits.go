package deflate

import (
	"encoding/binary"
	"slices"
)

// bitWriter appends bits to out, the lowest first. Whoever puts bits makes room before.
type bitWriter struct {
	out   []byte
	acc   uint64
	n     uint // bits in acc, at most 7 after a flush
	final bool // the last block has been written
}

// room makes sure that n more bytes fit, and 8 that are written in advance.
func (w *bitWriter) room(n int) { w.out = slices.Grow(w.out, n+8) }

func (w *bitWriter) put(v uint64, n uint) {
	w.acc |= v << (w.n & 63)
	w.n += n
}

// flush moves whole bytes out.
func (w *bitWriter) flush() {
	at := len(w.out)
	out := w.out[:cap(w.out)]
	put64(out[at:], w.acc)
	w.out = out[:at+int(w.n>>3)]
	w.acc >>= w.n &^ 7 & 63
	w.n &= 7
}

func put64(b []byte, v uint64) { binary.LittleEndian.PutUint64(b, v) }

const maxStored = 1<<16 - 1

// storedBits is what size bytes take in stored blocks, from here on.
func (w *bitWriter) storedBits(size int) int {
	first := int(-(w.n+3)&7) + 3 + 32
	more := max(0, size-1) / maxStored
	return first + more*40 + 8*size
}

// stored writes raw as it is.
func (w *bitWriter) stored(raw []byte, last bool) {
	w.room(len(raw) + 5*(len(raw)/maxStored+1) + 8)
	for {
		part := raw[:min(len(raw), maxStored)]
		raw = raw[len(part):]
		end := len(raw) == 0
		w.put(bit(last && end), 3)
		w.n = (w.n + 7) &^ 7
		w.put(uint64(len(part))|uint64(^uint16(len(part)))<<16, 32)
		w.flush()
		w.out = append(w.out, part...)
		if end {
			break
		}
	}
	w.final = w.final || last
}

// emptyFinal ends a stream that has no block left to end it: a block of the fixed code that is
// nothing but its end.
func (w *bitWriter) emptyFinal() {
	w.room(8)
	w.put(1|1<<1, 10)
	w.flush()
	w.final = true
}

// close pads to a byte.
func (w *bitWriter) close() []byte {
	w.room(8)
	w.n = (w.n + 7) &^ 7
	w.flush()
	return w.out
}
