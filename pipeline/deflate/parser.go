package deflate

import "math/bits"

// tuning is what makes the difference between levels.
type tuning struct {
	deep  bool   // see finder
	tries int    // how many earlier places are looked at, and half as many for a later match
	nice  uint32 // a match of this length is taken at once
}

// Measured over tars of node_modules, Go programs and library trees, against gzip -6. Hashes of 3
// and of 5 bytes cost Fast more time than more tries; looking two bytes ahead, or less far the longer
// the match, gained neither level anything that more tries did not give for less.
var tunings = [...]tuning{
	Fast:    {tries: 8, nice: 64},
	Default: {deep: true, tries: 40, nice: 128},
}

const (
	maxSeqs = 1 << 15
	// A cut is where a block may end: behind the first match that reaches so many bytes.
	cutSize = 6000
	maxCuts = 32
	// From further away a match of 3 bytes costs more than its literals.
	farFor3 = 8 << 10
	// After each so many literals in a row one more is taken unseen: it is noise, most likely.
	boredom   = 256
	maxUnseen = 31
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

// parse turns what follows f.at into seqs, until the cuts or the seqs are full, or too little of the
// buffer is left to look ahead; with all, the buffer ends where the input does.
func (p *parser) parse(f *finder, t tuning, all bool) {
	p.nseq, p.ncut, p.from = 0, 0, f.at
	i, end := f.at, f.end
	stop := end
	if !all {
		stop -= maxMatch + slack
	}
	for i < stop && p.ncut < maxCuts && p.nseq < maxSeqs-cutSize/minMatch-2 {
		c := &p.cuts[p.ncut]
		c.tally = tally{}
		begin, lit := i, i
		until := min(stop, i+cutSize)
		for i < until {
			n, d := f.longest(i, minMatch-1, min(maxMatch, end-i), t.nice, t.tries)
			if d == 0 || n == 3 && d > farFor3 {
				for unseen := min((i-lit)/boredom, maxUnseen, stop-i-1); ; unseen-- {
					c.tally.lit[f.buf[i&bufMask]]++
					i++
					if unseen == 0 {
						break
					}
				}
				continue
			}
			known := i + 1
			for n < t.nice {
				n1, d1 := f.longest(i+1, n-1, min(maxMatch, end-i-1), t.nice, t.tries/2)
				known = i + 2
				// A byte of length is worth about as much as four bits of distance.
				if d1 == 0 || 4*(int(n1)-int(n))+bits.Len32(d)-bits.Len32(d1) <= 2 {
					break
				}
				c.tally.lit[f.buf[i&bufMask]]++
				i++
				n, d = n1, d1
			}
			f.insert(known, i+n)
			slot := distSlot(d - 1)
			c.tally.dist[slot]++
			c.tally.lit[lengthSymbols[n]&511]++
			p.seqs[p.nseq] = seq{i - lit, uint16(d - 1), uint16(n | slot<<slotShift)}
			p.nseq++
			i += n
			lit = i
		}
		if i > lit {
			p.seqs[p.nseq] = seq{lits: i - lit}
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
