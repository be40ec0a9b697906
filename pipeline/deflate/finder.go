package deflate

import (
	"encoding/binary"
	"math/bits"
)

const (
	windowSize = 1 << 15 // as far back as deflate can refer
	windowMask = windowSize - 1
	minMatch   = 3
	maxMatch   = 258

	bufSize = 1 << 18
	bufMask = bufSize - 1
	slack   = 8 // loads of 8 bytes may begin at the last byte

	hash4Bits = 16
	hash3Bits = 15

	// rebaseAt is where stamps are brought down, long before they would wrap.
	rebaseAt = 1 << 31
)

// finder finds earlier occurrences of what comes next. A stamp is a position in the stream as
// the finder counts it: base plus an index of buf. Base is a multiple of the window size, so
// that chain needs only the index.
type finder struct {
	at, end uint32 // the next byte of buf to parse, and the end of what is there
	base    uint32
	start   uint32 // the oldest stamp of this Append: whatever is older is not there any more

	chain [windowSize]uint16 // how far back the one before with the same hash lies
	head3 [1 << hash3Bits]uint32
	head4 [1 << hash4Bits]uint32
	buf   [bufSize + slack]byte
}

// begin forgets all and takes the window. Stamps go on from where they were, so that nothing
// needs to be cleared.
func (f *finder) begin(window []byte) {
	f.base += (f.end + windowSize) &^ windowMask
	if f.base == 0 {
		f.base = windowSize // the zero stamp is in the past of everything
	}
	if f.base >= rebaseAt {
		f.rebase(f.base - windowSize)
	}
	f.start = f.base
	f.at, f.end = 0, uint32(copy(f.buf[:], window))
}

// rebase takes by from every stamp. Stamps which are older than that are out of reach anyway.
func (f *finder) rebase(by uint32) {
	for i, s := range f.head3 {
		f.head3[i] = s - min(s, by)
	}
	for i, s := range f.head4 {
		f.head4[i] = s - min(s, by)
	}
	f.base -= by
	f.start -= min(f.start, by)
}

// fill tops up the buffer, keeps a window before f.at, and returns how much of raw it took.
func (f *finder) fill(raw []byte) int {
	if shift := (f.at - min(f.at, windowSize)) &^ windowMask; shift > 0 && len(raw) > 0 {
		copy(f.buf[:], f.buf[shift:f.end])
		f.at, f.end, f.base = f.at-shift, f.end-shift, f.base+shift
		if f.base >= rebaseAt {
			f.rebase(f.base - 2*windowSize)
		}
	}
	first := f.at == 0 && f.base == f.start
	n := copy(f.buf[f.end:bufSize], raw)
	window := f.end
	f.end += uint32(n)
	clear(f.buf[f.end : f.end+slack]) // what lies after the end decides about nothing
	if first {
		f.insert(0, window)
		f.at = window
	}
	return n
}

func (f *finder) load32(i uint32) uint32 {
	i &= bufMask
	return binary.LittleEndian.Uint32(f.buf[i : i+4])
}

func (f *finder) load64(i uint32) uint64 {
	i &= bufMask
	return binary.LittleEndian.Uint64(f.buf[i : i+8])
}

func hash4(v uint32) uint32 { return v * 0x9e3779b1 >> (32 - hash4Bits) }
func hash3(v uint32) uint32 { return v << 8 * 0x9e3779b1 >> (32 - hash3Bits) }

// insert makes the positions from i until end known.
func (f *finder) insert(i, end uint32) {
	for ; i < end; i++ {
		v := f.load32(i)
		f.head3[hash3(v)] = f.base + i
		h := hash4(v)
		f.chain[i&windowMask] = uint16(min(f.base+i-f.head4[h], 0xffff))
		f.head4[h] = f.base + i
	}
}

// longest makes position i known and returns the longest match there that is longer than best,
// of at most limit bytes: the nearest of its length among the first tries of the chain.
// It returns best, 0 when there is none. It stops at a match of nice bytes.
func (f *finder) longest(i, best, limit, nice uint32, tries int) (length, dist uint32) {
	v := f.load32(i)
	cur := f.base + i
	reach := min(cur-f.start, windowSize)

	h3 := hash3(v)
	d3 := cur - f.head3[h3]
	f.head3[h3] = cur
	h := hash4(v)
	d := cur - f.head4[h]
	f.chain[i&windowMask] = uint16(min(d, 0xffff))
	f.head4[h] = cur
	if best >= limit {
		return best, 0
	}

	if best < 3 && d3 <= reach && (f.load32(i-d3)^v)<<8 == 0 {
		best, dist = 3, d3
		if limit == 3 {
			return best, dist
		}
	}
	if best < 4 {
		for ; ; tries-- {
			if d > reach || tries == 0 {
				return best, dist
			}
			if f.load32(i-d) == v {
				break
			}
			d += uint32(f.chain[(i-d)&windowMask])
		}
		best, dist = f.extend(i, i-d, 4, limit), d
		if best >= nice || best >= limit {
			return best, dist
		}
		d += uint32(f.chain[(i-d)&windowMask])
		tries--
	}
	tail := f.load32(i + best - 3)
	for ; d <= reach && tries > 0; tries-- {
		j := i - d
		if f.load32(j+best-3) == tail && f.load32(j) == v {
			if n := f.extend(i, j, 4, limit); n > best {
				best, dist = n, d
				if best >= nice || best >= limit {
					break
				}
				tail = f.load32(i + best - 3)
			}
		}
		d += uint32(f.chain[j&windowMask])
	}
	return best, dist
}

// extend returns how long the bytes at i and j are equal, n being known, and limit the most.
func (f *finder) extend(i, j, n, limit uint32) uint32 {
	for n < limit {
		if x := f.load64(i+n) ^ f.load64(j+n); x != 0 {
			n += uint32(bits.TrailingZeros64(x)) >> 3
			break
		}
		n += 8
	}
	return min(n, limit)
}
