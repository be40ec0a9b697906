package deflate

import "math/bits"

// tuning is what makes the difference between levels.
type tuning struct {
	tries int    // how many earlier places are looked at
	nice  uint32 // a match of this length is taken at once
	lazy  int    // how many bytes later a better match is looked for
}

var tunings = [...]tuning{
	Fast:    {tries: 8, nice: 30, lazy: 1},
	Default: {tries: 35, nice: 65, lazy: 1},
}

const (
	maxSeqs = 1 << 15
	// A cut is where a block may end: the first match that reaches cutSize bytes.
	cutSize = 8 << 10
	maxCuts = 24
	farFor3 = 8 << 10 // a match of 3 bytes from further away costs more than its literals
)

// A seq is a run of literals and the match that follows it. A length of 0 is no match.
type seq struct {
	lits    uint32
	dist    uint16 // less one
	lenSlot uint16 // length, and the slot of dist above it
}

const slotShift = 10

// tally counts symbols.
type tally struct {
	lit  [288]uint32
	dist [32]uint32
}

// A cut is a stretch of input that no block divides.
type cut struct {
	size  uint32 // in bytes of input
	seqs  int    // the end in parser.seqs
	tally tally
}

type parser struct {
	seqs [maxSeqs]seq
	nseq int
	cuts [maxCuts]cut
	ncut int
	from uint32 // index of buf where the first cut begins
}

// parse turns what follows f.at into seqs, until the cuts or the seqs are full, or the buffer has
// too little left to look ahead. With all the buffer ends where the input does.
func (p *parser) parse(f *finder, t tuning, all bool) {
	p.nseq, p.ncut, p.from = 0, 0, f.at
	i, end := f.at, f.end
	stop := end
	if !all {
		stop -= maxMatch + slack
	}
	for i < stop && p.ncut < maxCuts && p.nseq < maxSeqs-cutSize/minMatch {
		c := &p.cuts[p.ncut]
		c.tally = tally{}
		begin, lit := i, i
		until := min(stop, i+cutSize)
		for i < until {
			n, d := f.longest(i, 2, min(maxMatch, end-i), t.nice, t.tries)
			if d == 0 || n == 3 && d > farFor3 {
				c.tally.lit[f.buf[i&bufMask]]++
				i++
				continue
			}
			known := i + 1
			for n < t.nice && t.lazy > 0 {
				n1, d1 := f.longest(i+1, n-1, min(maxMatch, end-i-1), t.nice, t.tries/2)
				known = i + 2
				if d1 != 0 && 4*(int(n1)-int(n))+bits.Len32(d)-bits.Len32(d1) > 2 {
					c.tally.lit[f.buf[i&bufMask]]++
					i++
					n, d = n1, d1
					continue
				}
				if t.lazy < 2 {
					break
				}
				n2, d2 := f.longest(i+2, n-1, min(maxMatch, end-i-2), t.nice, t.tries/4)
				known = i + 3
				if d2 != 0 && 4*(int(n2)-int(n))+bits.Len32(d)-bits.Len32(d2) > 6 {
					c.tally.lit[f.buf[i&bufMask]]++
					c.tally.lit[f.buf[(i+1)&bufMask]]++
					i += 2
					n, d = n2, d2
					continue
				}
				break
			}
			s := distSlot(d - 1)
			c.tally.dist[s]++
			c.tally.lit[lengthSymbols[n]&511]++
			p.seqs[p.nseq&(maxSeqs-1)] = seq{i - lit, uint16(d - 1), uint16(n | s<<slotShift)}
			p.nseq++
			f.insert(known, i+n)
			i += n
			lit = i
		}
		if i > lit {
			p.seqs[p.nseq&(maxSeqs-1)] = seq{lits: i - lit}
			p.nseq++
		}
		c.size, c.seqs = i-begin, p.nseq
		p.ncut++
	}
	f.at = i
}

// distSlot returns the code of a distance less one.
func distSlot(d uint32) uint32 {
	if d < 2 {
		return d
	}
	n := uint32(bits.Len32(d)) - 1
	return 2*n + d>>(n-1)&1
}
