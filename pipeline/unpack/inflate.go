package unpack

import (
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
)

// inflater decodes deflate streams, RFC 1951. Unpacking a runtime is mostly this, so it is
// made for speed, after libdeflate's design: tables that settle nearly every code with one
// look, a buffer of 64 bits that is filled by eight bytes, and no call for a byte. That takes
// 0.6 of the time of the readers at hand. It accepts what compress/flate does.
type inflater struct {
	r io.Reader
	// in[pos:end] is to be read, of which in[:real] came from r. At the end of r zeros follow,
	// so that eight bytes can be loaded anywhere; whoever takes bits of them finds out at the end
	// of the block.
	in             []byte
	pos, end, real int
	err            error // of r

	// bits holds n bits that are taken from in already, and may hold more that are not: they
	// will be loaded again, into the same place.
	bits uint64
	n    uint

	// out[read:at] was decoded and not given away; out[from:at] is what may be referred to.
	out            []byte
	from, read, at int

	block  blockKind
	final  bool
	stored int // bytes left of a stored block
	fixed  bool
	lit    [litTable]uint32
	dist   [distTable]uint32
	code   [1 << codeBits]uint32
}

type blockKind int

const (
	blockNone blockKind = iota
	blockStored
	blockCoded
)

const (
	inSize  = 128 << 10
	padding = 64
	window  = 32 << 10
	outSize = window + 192<<10
	// slack is more than one round of the loop writes: three literals and the longest match, with
	// what copying by eight bytes adds.
	slack = 3 + 258 + 16

	litBits, distBits, codeBits = 11, 9, 7
	maxCode                     = 15 // bits
	// Room for the first look, and for a second one of each long code.
	litTable  = 8192 // 1<<11 + 286<<(15-11), rounded up
	distTable = 4096 // 1<<9 + 30<<(15-9), rounded up
)

// An entry of a table: in the low byte how many bits the code takes; from bit 8 a literal, a
// base or the place of a second table; from bit 24 how many more bits there are, or how many
// lead into the second table.
const (
	isLiteral = 1 << 31
	isOther   = 1 << 30 // none of literal, length, distance
	isTable   = 1 << 29 // with isOther: there is a second table
	isEnd     = 1 << 28 // with isOther: the end of the block
)

var errDeflate = errors.New("corrupt deflate data")

func newInflater(r io.Reader) *inflater {
	return &inflater{r: r, in: make([]byte, inSize+padding), out: make([]byte, outSize+slack)}
}

// start begins a stream where the last one ended.
func (d *inflater) start() {
	d.from, d.read, d.at = window, window, window
	d.block, d.final = blockNone, false
}

// fill reads on until eight bytes can be loaded often, or r ends.
func (d *inflater) fill() {
	if d.end > d.real {
		return // the zeros are there
	}
	// The byte that bits holds a part of stays.
	copy(d.in, d.in[d.pos:d.end])
	d.end, d.pos = d.end-d.pos, 0
	for d.end < inSize && d.err == nil {
		var n int
		n, d.err = d.r.Read(d.in[d.end:inSize])
		d.end += n
	}
	d.real = d.end
	if d.err != nil {
		d.end += copy(d.in[d.end:], make([]byte, padding))
	}
}

// short is what to say when r has ended.
func (d *inflater) short() error {
	if errors.Is(d.err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return d.err
}

// refill loads bits until there are at least 56.
func (d *inflater) refill() error {
	if d.end-d.pos < 8 {
		if d.fill(); d.end-d.pos < 8 {
			return d.short()
		}
	}
	d.bits |= binary.LittleEndian.Uint64(d.in[d.pos:]) << (d.n & 63)
	d.pos += int((63 - d.n) >> 3)
	d.n |= 56
	return nil
}

func (d *inflater) take(k uint) uint64 {
	v := d.bits & (1<<k - 1)
	d.bits >>= k
	d.n -= k
	return v
}

// align drops the bits up to the next byte and gives back whole bytes that were loaded.
func (d *inflater) align() error {
	d.pos -= int(d.n >> 3)
	d.bits, d.n = 0, 0
	if d.pos > d.real {
		return d.short()
	}
	return nil
}

// overrun reports whether bits were used that r did not have.
func (d *inflater) overrun() bool { return d.pos-int(d.n>>3) > d.real }

// readByte reads outside of a stream, where no bits are held. It is io.EOF at the end of r.
func (d *inflater) readByte() (byte, error) {
	if d.pos >= d.real {
		if d.fill(); d.pos >= d.real {
			return 0, d.err
		}
	}
	d.pos++
	return d.in[d.pos-1], nil
}

// Read gives what a stream holds, and io.EOF at its end.
func (d *inflater) Read(p []byte) (int, error) {
	for d.read == d.at {
		if d.final && d.block == blockNone {
			if err := d.align(); err != nil {
				return 0, err
			}
			return 0, io.EOF
		}
		if d.at >= outSize {
			copy(d.out[:window], d.out[d.at-window:d.at])
			d.from = max(0, d.from-(d.at-window))
			d.read, d.at = window, window
		}
		if err := d.more(); err != nil {
			return 0, err
		}
	}
	n := copy(p, d.out[d.read:d.at])
	d.read += n
	return n, nil
}

// more decodes until out is full or the stream ends.
func (d *inflater) more() error {
	for d.at < outSize {
		var err error
		switch d.block {
		case blockNone:
			if d.final {
				return nil
			}
			err = d.begin()
		case blockStored:
			err = d.copyStored()
		case blockCoded:
			err = d.decode()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// begin reads the header of a block.
func (d *inflater) begin() error {
	if err := d.refill(); err != nil {
		return err
	}
	d.final = d.take(1) == 1
	switch d.take(2) {
	case 0:
		if err := d.align(); err != nil {
			return err
		}
		if err := d.refill(); err != nil {
			return err
		}
		n, not := d.take(16), d.take(16)
		if n != not^0xffff {
			return errDeflate
		}
		d.stored, d.block = int(n), blockStored
		if n == 0 {
			d.block = blockNone
		}
		return d.align()
	case 1:
		d.block = blockCoded
		if d.fixed {
			return nil
		}
		d.fixed = true
		var lens [288 + 32]uint8
		for i := range lens {
			switch {
			case i < 144:
				lens[i] = 8
			case i < 256:
				lens[i] = 9
			case i < 280:
				lens[i] = 7
			case i < 288:
				lens[i] = 8
			default:
				lens[i] = 5
			}
		}
		return d.tables(lens[:288], lens[288:])
	case 2:
		d.block, d.fixed = blockCoded, false
		return d.dynamic()
	}
	return errDeflate
}

func (d *inflater) copyStored() error {
	if d.pos >= d.real {
		if d.fill(); d.pos >= d.real {
			return d.short()
		}
	}
	n := copy(d.out[d.at:min(d.at+d.stored, outSize)], d.in[d.pos:d.real])
	d.at += n
	d.pos += n
	if d.stored -= n; d.stored == 0 {
		d.block = blockNone
	}
	return nil
}

var codeOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamic reads the codes of a block.
func (d *inflater) dynamic() error {
	if err := d.refill(); err != nil {
		return err
	}
	nlit, ndist, ncode := int(d.take(5))+257, int(d.take(5))+1, int(d.take(4))+4
	if nlit > 286 || ndist > 30 {
		return errDeflate
	}
	var lens [286 + 30]uint8
	for i := range ncode {
		if err := d.refill(); err != nil {
			return err
		}
		lens[codeOrder[i]] = uint8(d.take(3))
	}
	if !build(d.code[:], codeBits, lens[:19], func(s int) uint32 { return uint32(s) << 8 }) {
		return errDeflate
	}
	clear(lens[:19])
	for i := 0; i < nlit+ndist; {
		if err := d.refill(); err != nil {
			return err
		}
		e := d.code[d.bits&(1<<codeBits-1)]
		if e&isOther != 0 {
			return errDeflate
		}
		d.take(uint(e & 0xff))
		var value uint8
		var times int
		switch s := e >> 8; s {
		default:
			lens[i] = uint8(s)
			i++
			continue
		case 16:
			if i == 0 {
				return errDeflate
			}
			value, times = lens[i-1], 3+int(d.take(2))
		case 17:
			times = 3 + int(d.take(3))
		case 18:
			times = 11 + int(d.take(7))
		}
		if i+times > nlit+ndist {
			return errDeflate
		}
		for range times {
			lens[i] = value
			i++
		}
	}
	if d.overrun() {
		return d.short()
	}
	return d.tables(lens[:nlit], lens[nlit:nlit+ndist])
}

func (d *inflater) tables(lit, dist []uint8) error {
	if !build(d.lit[:], litBits, lit, litEntry) || !build(d.dist[:], distBits, dist, distEntry) {
		return errDeflate
	}
	return nil
}

// litEntry is the entry of a literal, the end, or a length. See RFC 1951, 3.2.5.
func litEntry(s int) uint32 {
	switch {
	case s < 256:
		return isLiteral | uint32(s)<<8
	case s == 256:
		return isOther | isEnd
	case s < 265:
		return uint32(s-257+3) << 8
	case s < 285:
		extra := uint32(s-261) / 4
		return extra<<24 | (3+(4+uint32(s-261)%4)<<extra)<<8
	case s == 285:
		return 258 << 8
	}
	return isOther
}

func distEntry(s int) uint32 {
	switch {
	case s < 4:
		return uint32(s+1) << 8
	case s < 30:
		extra := uint32(s-2) / 2
		return extra<<24 | (1+(2+uint32(s)%2)<<extra)<<8
	}
	return isOther
}

// build makes a table of the codes with these lengths. The first look takes width bits. It
// reports false when the lengths are not those of a complete code; one code of one bit may
// stand alone, and no code at all is fine until one is used.
func build(table []uint32, width int, lens []uint8, entry func(symbol int) uint32) bool {
	var count, next [maxCode + 1]int
	longest := 0
	for _, l := range lens {
		count[l]++
		longest = max(longest, int(l))
	}
	count[0] = 0
	code := 0
	for l := 1; l <= longest; l++ {
		code = (code + count[l-1]) << 1
		next[l] = code
	}
	if longest > 0 && code+count[longest] != 1<<longest && (longest != 1 || count[1] != 1) {
		return false
	}
	first := table[:1<<width]
	for i := range first {
		first[i] = isOther
	}
	second := max(0, longest-width) // bits of second tables
	free := 1 << width
	for s, l8 := range lens {
		l := int(l8)
		if l == 0 {
			continue
		}
		c := int(bits.Reverse16(uint16(next[l])) >> (16 - l))
		next[l]++
		e := entry(s)
		if l <= width {
			for i := c; i < 1<<width; i += 1 << l {
				table[i] = e | uint32(l)
			}
			continue
		}
		lead := &table[c&(1<<width-1)]
		if *lead&isTable == 0 {
			*lead = isOther | isTable | uint32(second)<<24 | uint32(free)<<8 | uint32(width)
			for i := range 1 << second {
				table[free+i] = isOther
			}
			free += 1 << second
		}
		at := int(*lead >> 8 & 0xffff)
		for i := c >> width; i < 1<<second; i += 1 << (l - width) {
			table[at+i] = e | uint32(l-width)
		}
	}
	return true
}

// decode decodes a block until its end, or until out is full.
func (d *inflater) decode() error {
	for {
		if d.end-d.pos < 32 {
			if d.fill(); d.end-d.pos < 32 {
				return d.short()
			}
		}
		done, err := d.rounds()
		if err != nil {
			if d.overrun() {
				return d.short()
			}
			return err
		}
		if done {
			d.block = blockNone
		}
		if done || d.at >= outSize {
			if d.overrun() {
				return d.short()
			}
			return nil
		}
	}
}

// rounds decodes while eight bytes can be loaded twice and out has room for a round. It reports
// the end of the block.
func (d *inflater) rounds() (done bool, err error) {
	// In variables of its own, none of which escapes: they stay in registers.
	in, out := d.in[:d.end], d.out
	pos, at, acc, n := d.pos, d.at, d.bits, d.n
	lit, dist, from := &d.lit, &d.dist, d.from
loop:
	for pos+16 <= len(in) && at < outSize {
		acc |= binary.LittleEndian.Uint64(in[pos:]) << (n & 63)
		pos += int((63 - n) >> 3)
		n |= 56
		e := lit[acc&(1<<litBits-1)]
		if e&isLiteral != 0 {
			acc >>= e & 63
			n -= uint(e & 63)
			out[at] = byte(e >> 8)
			at++
			e = lit[acc&(1<<litBits-1)]
			if e&isLiteral != 0 {
				acc >>= e & 63
				n -= uint(e & 63)
				out[at] = byte(e >> 8)
				at++
				e = lit[acc&(1<<litBits-1)]
				if e&isLiteral != 0 {
					acc >>= e & 63
					n -= uint(e & 63)
					out[at] = byte(e >> 8)
					at++
					continue
				}
			}
			// A length and a distance take 48 bits.
			acc |= binary.LittleEndian.Uint64(in[pos:]) << (n & 63)
			pos += int((63 - n) >> 3)
			n |= 56
		}
		if e&isOther != 0 {
			if e&isTable != 0 {
				acc >>= litBits
				n -= litBits
				e = lit[(e>>8&0xffff+uint32(acc)&(1<<(e>>24&15)-1))&(litTable-1)]
				if e&isLiteral != 0 {
					acc >>= e & 63
					n -= uint(e & 63)
					out[at] = byte(e >> 8)
					at++
					continue
				}
			}
			if e&isOther != 0 {
				if e&isEnd == 0 {
					err = errDeflate
					break loop
				}
				acc >>= e & 63
				n -= uint(e & 63)
				done = true
				break loop
			}
		}
		acc >>= e & 63
		n -= uint(e & 63)
		extra := e >> 24 & 15
		length := int(e>>8&0xffff) + int(acc&(1<<extra-1))
		acc >>= extra
		n -= uint(extra)

		e = dist[acc&(1<<distBits-1)]
		if e&isTable != 0 {
			acc >>= distBits
			n -= distBits
			e = dist[(e>>8&0xffff+uint32(acc)&(1<<(e>>24&15)-1))&(distTable-1)]
		}
		if e&isOther != 0 {
			err = errDeflate
			break loop
		}
		acc >>= e & 63
		n -= uint(e & 63)
		extra = e >> 24 & 15
		back := int(e>>8&0xffff) + int(acc&(1<<extra-1))
		acc >>= extra
		n -= uint(extra)
		if back > at-from {
			err = errDeflate
			break loop
		}
		to, src := out[at:at+length+8], out[at-back:]
		at += length
		switch {
		case back >= 8:
			// What is written beyond the match is written again by what follows.
			src = src[:len(to)]
			for i := 0; i < length; i += 8 {
				binary.LittleEndian.PutUint64(to[i:], binary.LittleEndian.Uint64(src[i:]))
			}
		case back == 1:
			b := src[0]
			for i := range to[:length] {
				to[i] = b
			}
		default:
			for i := range to[:length] {
				to[i] = src[i]
			}
		}
	}
	d.pos, d.at, d.bits, d.n = pos, at, acc, n
	return done, err
}
