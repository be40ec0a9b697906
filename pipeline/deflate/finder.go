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

	hashBits  = 16
	near3Bits = 14
	near4Bits = 15

	// rebaseAt is where stamps are brought down, long before they would wrap.
	rebaseAt = 1 << 31
)

// finder finds earlier occurrences of what comes next. A stamp is a position as the finder counts
// it, on and on: base plus an index of buf. Base is a multiple of the window size, so that an
// index finds its place in chain without it.
type finder struct {
	at, end uint32 // the next byte of buf to parse, and the end of what is there
	base    uint32
	start   uint32 // the oldest stamp of this Append: what is older is not in buf any more

	deep  bool                  // chain those with 5 bytes in common, not 4, and use near
	head  [1 << hashBits]uint32 // the newest stamp of each hash
	chain [windowSize]uint16    // how far back the one before with the same hash lies
	near3 [1 << near3Bits]uint32
	near4 [1 << near4Bits]uint32
	buf   [bufSize + slack]byte
}

// begin forgets all and takes the window, and as much of raw as there is room for, and returns
// how much that is. Stamps go on from where they were, so that nothing needs to be cleared.
func (f *finder) begin(window, raw []byte) int {
	f.base += (f.end + windowSize) &^ windowMask
	f.start = f.base
	f.end = uint32(copy(f.buf[:], window[max(0, len(window)-windowSize):]))
	f.at = f.end
	n := f.fill(raw)
	f.insert(0, f.at)
	return n
}

// fill tops the buffer up, keeps a window before f.at, and returns how much of raw it took.
func (f *finder) fill(raw []byte) int {
	if shift := (f.at - min(f.at, windowSize)) &^ windowMask; shift > 0 && len(raw) > 0 {
		copy(f.buf[:], f.buf[shift:f.end])
		f.at, f.end, f.base = f.at-shift, f.end-shift, f.base+shift
	}
	if f.base >= rebaseAt {
		f.rebase(f.base - 2*windowSize)
	}
	n := copy(f.buf[f.end:bufSize], raw)
	f.end += uint32(n)
	clear(f.buf[f.end : f.end+slack]) // loads reach beyond the end, and must not see what was there before
	return n
}

// rebase takes by from every stamp. Those that are less are out of reach, and stay so as zeros.
func (f *finder) rebase(by uint32) {
	for _, stamps := range [][]uint32{f.head[:], f.near3[:], f.near4[:]} {
		for i, s := range stamps {
			stamps[i] = s - min(s, by)
		}
	}
	f.base -= by
	f.start -= min(f.start, by)
}

// load32 and load64 have an index that the compiler knows to lie in buf.
func (f *finder) load32(at uint32) uint32 {
	i := uint(at & bufMask)
	return binary.LittleEndian.Uint32(f.buf[i : i+4])
}

func (f *finder) load64(at uint32) uint64 {
	i := uint(at & bufMask)
	return binary.LittleEndian.Uint64(f.buf[i : i+8])
}

// hash mixes the lowest bytes of v into so many bits.
func hash(v uint64, bytes, bits uint) uint32 {
	return uint32(v << (64 - 8*bytes) * 0x9e3779b185ebca87 >> (64 - bits))
}

// insert makes the positions from i until end known.
func (f *finder) insert(i, end uint32) {
	if !f.deep {
		for ; i < end; i++ {
			f.link(i, hash(f.load64(i), 4, hashBits))
		}
		return
	}
	for ; i < end; i++ {
		v := f.load64(i)
		f.near3[hash(v, 3, near3Bits)] = f.base + i
		f.near4[hash(v, 4, near4Bits)] = f.base + i
		f.link(i, hash(v, 5, hashBits))
	}
}

// link puts position i at the head of the chain of hash h, and returns how far back the next lies.
func (f *finder) link(i, h uint32) uint32 {
	cur := f.base + i
	h &= 1<<hashBits - 1
	d := cur - f.head[h]
	f.head[h] = cur
	f.chain[i&windowMask] = uint16(min(d, 0xffff))
	return d
}

// longest makes position i known and returns the longest match there that is longer than best,
// of at most limit bytes: the nearest of its length among the first tries of the chain.
// Without any it returns 0 as the distance. It stops at a match of nice bytes.
func (f *finder) longest(i, best, limit, nice uint32, tries int) (length, dist uint32) {
	v := f.load64(i)
	cur := f.base + i
	reach := min(cur-f.start, windowSize)
	var d uint32
	if f.deep {
		h3, h4 := hash(v, 3, near3Bits), hash(v, 4, near4Bits)
		d3, d4 := cur-f.near3[h3], cur-f.near4[h4]
		f.near3[h3], f.near4[h4] = cur, cur
		d = f.link(i, hash(v, 5, hashBits))
		if best < 4 && best < limit {
			if d4 <= reach && f.load32(i-d4) == uint32(v) {
				best, dist = f.extend(i, i-d4, 4, limit), d4
			} else if best < 3 && d3 <= reach && (f.load32(i-d3)^uint32(v))<<8 == 0 {
				best, dist = 3, d3
			}
			if best >= nice {
				return best, dist
			}
		}
	} else {
		d = f.link(i, hash(v, 4, hashBits))
	}
	if d > reach || best >= limit {
		return best, dist
	}
	best = max(best, 3)
	for tail := f.load32(i + best - 3); tries > 0; tries-- {
		j := i - d
		if f.load32(j+best-3) == tail && f.load32(j) == uint32(v) {
			if n := f.extend(i, j, 4, limit); n > best {
				best, dist = n, d
				if best >= nice || best >= limit {
					break
				}
				tail = f.load32(i + best - 3)
			}
		}
		d += uint32(f.chain[j&windowMask])
		if d > reach {
			break
		}
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
