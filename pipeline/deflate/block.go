package deflate

import "math/bits"

const (
	endOfBlock = 256
	numLits    = 286
	numDists   = 30
	maxCode    = 14 // bits; deflate allows 15, but four of 14 go out at once
	maxPreCode = 7
)

// lengthSymbols has the symbol of each length, its extra bits' number and their value:
// symbol | number<<9 | value<<12.
var lengthSymbols = func() (t [maxMatch + 1]uint32) {
	n, sym := uint32(minMatch), uint32(257)
	for ; n < maxMatch; sym++ {
		extra := uint32(0)
		if sym >= 265 {
			extra = (sym - 261) / 4
		}
		for v := uint32(0); v < 1<<extra && n < maxMatch; v++ {
			t[n] = sym | extra<<9 | v<<12
			n++
		}
	}
	t[maxMatch] = 285
	return t
}()

// distBase and distExtra tell what the code of a distance stands for, less one.
var distBase, distExtra = func() (base, extra [numDists]uint32) {
	for s := range uint32(numDists) {
		base[s] = s
		if s >= 2 {
			extra[s] = s/2 - 1
			base[s] = (2 + s&1) << extra[s]
		}
	}
	return base, extra
}()

// preOrder is the order in which a block's head has the lengths of its first code (RFC 1951, 3.2.7).
var preOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// fixed is the code that needs no head (RFC 1951, 3.2.6).
var fixedLits, fixedDists = func() (l [288]uint32, d [32]uint32) {
	var lens [288]uint8
	for i := range lens {
		switch {
		case i < 144:
			lens[i] = 8
		case i < 256:
			lens[i] = 9
		case i < 280:
			lens[i] = 7
		default:
			lens[i] = 8
		}
	}
	assign(l[:], lens[:])
	var five [32]uint8
	for i := range five {
		five[i] = 5
	}
	assign(d[:], five[:])
	return l, d
}()

type blocks struct {
	sum        tally
	lits       [288]uint32 // code<<4 | its length
	dists      [32]uint32
	lens       [288 + 32]uint8
	pre        [19]uint32
	head       [288 + 32]uint16 // of a dynamic block: symbol | extra<<5
	lengthCode [maxMatch + 1]uint32
	distCode   [32]uint64
	work       huffman
}

// write writes what the parser found as blocks, the last of which ends the stream if last.
func (b *blocks) write(w *bitWriter, f *finder, p *parser, last bool) {
	cuts := p.cuts[:p.ncut]
	from, seq := p.from, 0
	for len(cuts) > 0 {
		n := b.join(cuts)
		size := uint32(0)
		for i := range cuts[:n] {
			size += cuts[i].size
		}
		b.block(w, f.buf[from:from+size], p.seqs[seq:cuts[n-1].seqs], last && n == len(cuts))
		from, seq, cuts = from+size, cuts[n-1].seqs, cuts[n:]
	}
}

// join returns how many of the cuts to put into one block, and leaves their tally in b.sum.
func (b *blocks) join(cuts []cut) int {
	b.sum = cuts[0].tally
	cost := b.sum.cost()
	for n := 1; n < len(cuts); n++ {
		both := b.sum
		both.add(&cuts[n].tally)
		apart := cost + cuts[n].tally.cost()
		together := both.cost()
		if together > apart {
			return n
		}
		b.sum, cost = both, together
	}
	return len(cuts)
}

func (t *tally) add(o *tally) {
	for i, n := range &o.lit {
		t.lit[i] += n
	}
	for i, n := range &o.dist {
		t.dist[i] += n
	}
}

// headCost is about what a symbol in use costs in the head of a block, in 1/256 bits.
const headCost = 1088

// cost is about how many 1/256 bits a block of these symbols takes, without extra bits.
func (t *tally) cost() int {
	return entropy(t.lit[:]) + entropy(t.dist[:]) + 40<<8
}

func entropy(freqs []uint32) (cost int) {
	total := uint32(0)
	for _, n := range freqs {
		if n != 0 {
			cost += headCost - int(n)*log2(n)
			total += n
		}
	}
	if total == 0 {
		return 0
	}
	return cost + int(total)*log2(total)
}

// log2 is in 1/256.
func log2(n uint32) int {
	top := bits.Len32(n) - 1
	return top<<8 + int(mantissa[n<<(31-top)>>23&0xff])
}

// mantissa has 256*log2(1 + i/256), by repeated squaring.
var mantissa = func() (t [256]uint8) {
	for i := range t {
		x := uint64(256+i) << 22 // 1 is 1<<30
		v := 0
		for range 8 {
			x = x * x >> 30
			v <<= 1
			if x >= 2<<30 {
				x >>= 1
				v |= 1
			}
		}
		t[i] = uint8(v)
	}
	return t
}()

// block writes one block, in whichever of the three forms is the shortest.
func (b *blocks) block(w *bitWriter, raw []byte, seqs []seq, last bool) {
	t := &b.sum
	t.lit[endOfBlock]++
	b.work.build(b.lens[:288], t.lit[:], maxCode)
	b.work.build(b.lens[288:], t.dist[:], maxCode)
	extra := 0
	for s := 265; s < 285; s++ {
		extra += int(t.lit[s]) * ((s - 261) / 4)
	}
	for s := 4; s < numDists; s++ {
		extra += int(t.dist[s]) * (s/2 - 1)
	}
	dynamic, static := extra+3, extra+3
	for s, n := range t.lit {
		dynamic += int(n) * int(b.lens[s])
		static += int(n) * int(fixedLits[s]&15)
	}
	for s, n := range t.dist {
		dynamic += int(n) * int(b.lens[288+s])
		static += int(n) * 5
	}
	nl, nd := numLits, numDists
	for nl > 257 && b.lens[nl-1] == 0 {
		nl--
	}
	for nd > 1 && b.lens[288+nd-1] == 0 {
		nd--
	}
	head, np, bitsOfHead := b.headOf(nl, nd)
	dynamic += bitsOfHead

	if stored := w.storedBits(len(raw)); stored <= min(dynamic, static) {
		w.stored(raw, last)
		return
	}
	w.room(min(dynamic, static)/8 + 16)
	if static <= dynamic {
		w.put(1<<1|bit(last), 3)
		b.lits, b.dists = fixedLits, fixedDists
	} else {
		w.put(2<<1|bit(last), 3)
		w.put(uint64(nl-257)|uint64(nd-1)<<5|uint64(np-4)<<10, 14)
		w.flush()
		for _, s := range preOrder[:np] {
			w.put(uint64(b.pre[s]&15), 3)
			w.flush()
		}
		for _, h := range head {
			s := h & 31
			w.put(uint64(b.pre[s]>>4), uint(b.pre[s]&15))
			if s >= 16 {
				w.put(uint64(h>>5), [...]uint{2, 3, 7}[s-16])
			}
			w.flush()
		}
		assign(b.lits[:], b.lens[:288])
		assign(b.dists[:], b.lens[288:])
	}
	w.final = w.final || last
	b.body(w, raw, seqs)
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// headOf packs the lengths of both codes into b.head, makes the code for that in b.pre, and returns the
// symbols, how many lengths of the code are to be written, and the bits of all.
func (b *blocks) headOf(nl, nd int) (head []uint16, np, size int) {
	var all [numLits + numDists]uint8
	copy(all[:], b.lens[:nl])
	copy(all[nl:], b.lens[288:288+nd])
	lens := all[:nl+nd]
	head = b.head[:0]
	for i := 0; i < len(lens); {
		v, n := lens[i], 1
		for i+n < len(lens) && lens[i+n] == v {
			n++
		}
		i += n
		if v == 0 {
			for n >= 11 {
				k := min(n, 138)
				head = append(head, 18|uint16(k-11)<<5)
				n -= k
			}
			if n >= 3 {
				head = append(head, 17|uint16(n-3)<<5)
				n = 0
			}
		} else if n >= 4 {
			head = append(head, uint16(v))
			n--
			for n >= 3 {
				k := min(n, 6)
				head = append(head, 16|uint16(k-3)<<5)
				n -= k
			}
		}
		for ; n > 0; n-- {
			head = append(head, uint16(v))
		}
	}
	var freq [19]uint32
	for _, h := range head {
		freq[h&31]++
	}
	var plens [19]uint8
	b.work.build(plens[:], freq[:], maxPreCode)
	assign(b.pre[:], plens[:])
	np = 19
	for np > 4 && plens[preOrder[np-1]] == 0 {
		np--
	}
	size = 14 + 3*np + 2*int(freq[16]) + 3*int(freq[17]) + 7*int(freq[18])
	for s, n := range freq {
		size += int(n) * int(plens[s])
	}
	return head, np, size
}

// body writes the seqs of a block, and its end.
func (b *blocks) body(w *bitWriter, raw []byte, seqs []seq) {
	for n := minMatch; n <= maxMatch; n++ {
		s := lengthSymbols[n]
		c := b.lits[s&511]
		b.lengthCode[n] = c&15 + s>>9&7 | (c>>4|s>>12<<(c&15))<<8
	}
	for s := range numDists {
		c := b.dists[s]
		b.distCode[s] = uint64(c&15) | uint64(c&15+distExtra[s])<<8 | uint64(distBase[s])<<16 | uint64(c>>4)<<32
	}
	acc, n := w.acc, w.n
	out, at := w.out[:cap(w.out)], len(w.out)
	for _, s := range seqs {
		lits := raw[:s.lits]
		raw = raw[s.lits:]
		for len(lits) >= 4 {
			c0, c1, c2, c3 := b.lits[lits[0]], b.lits[lits[1]], b.lits[lits[2]], b.lits[lits[3]]
			lits = lits[4:]
			acc |= uint64(c0>>4) << (n & 63)
			n += uint(c0 & 15)
			acc |= uint64(c1>>4) << (n & 63)
			n += uint(c1 & 15)
			acc |= uint64(c2>>4) << (n & 63)
			n += uint(c2 & 15)
			acc |= uint64(c3>>4) << (n & 63)
			n += uint(c3 & 15)
			put64(out[at:], acc)
			at += int(n >> 3)
			acc >>= n &^ 7 & 63
			n &= 7
		}
		for _, c := range lits {
			c0 := b.lits[c]
			acc |= uint64(c0>>4) << (n & 63)
			n += uint(c0 & 15)
		}
		if len(lits) > 0 {
			put64(out[at:], acc)
			at += int(n >> 3)
			acc >>= n &^ 7 & 63
			n &= 7
		}
		length := uint(s.lenSlot & (1<<slotShift - 1))
		if length == 0 {
			continue
		}
		raw = raw[length:]
		c := b.lengthCode[length]
		acc |= uint64(c>>8) << (n & 63)
		n += uint(c & 0xff)
		d := b.distCode[s.lenSlot>>slotShift&31]
		v := d>>32 | (uint64(s.dist)-d>>16&0xffff)<<(d&15)
		acc |= v << (n & 63)
		n += uint(d >> 8 & 0xff)
		put64(out[at:], acc)
		at += int(n >> 3)
		acc >>= n &^ 7 & 63
		n &= 7
	}
	w.out, w.acc, w.n = out[:at], acc, n
	c := b.lits[endOfBlock]
	w.put(uint64(c>>4), uint(c&15))
	w.flush()
}
