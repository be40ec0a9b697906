package deflate

import (
	"encoding/binary"
	"slices"
	"sync"
)

// random is a generator (xorshift64*) whose numbers are the same everywhere and for ever.
type random uint64

func (r *random) next() uint64 {
	x := uint64(*r)
	x ^= x >> 12
	x ^= x << 25
	x ^= x >> 27
	*r = random(x)
	return x * 0x2545f4914f6cdd1d
}

func (r *random) below(n int) int { return int(r.next() >> 33 % uint64(n)) }

func noise(n int) []byte {
	r := random(7)
	b := make([]byte, 0, n+8)
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, r.next())
	}
	return b[:n]
}

// prose is words of a small language, a few of them much more frequent than most, with lines,
// indents and repeated phrases.
func prose(n int) []byte {
	r := random(1)
	words := make([][]byte, 4000)
	for i := range words {
		w := make([]byte, 2+r.below(4)+r.below(5))
		for j := range w {
			w[j] = "etaoinshrdlucmfwypvbgkjqxz"[min(r.below(26), r.below(26))]
		}
		words[i] = w
	}
	b := make([]byte, 0, n+1000)
	for len(b) < n {
		switch k := r.below(100); {
		case k < 6 && len(b) > 1000: // a phrase again
			from := len(b) - 20 - r.below(min(len(b)-20, 60_000))
			b = append(b, b[from:min(len(b), from+5+r.below(60))]...)
		case k < 14:
			b = append(b, "\n\t\t\t"[:1+r.below(4)]...)
		default:
			most := 1 + r.below(len(words))
			b = append(b, words[r.below(1+r.below(most))]...)
			b = append(b, " .,(){}=;:"[min(r.below(10), r.below(10))])
		}
	}
	return b[:n]
}

// machine is like the code of a program: short records of skewed fields and rising addresses.
func machine(n int) []byte {
	r := random(2)
	b := make([]byte, 0, n+64)
	for addr := uint32(0x400000); len(b) < n; addr += uint32(r.below(64)) {
		op := min(r.below(64), r.below(64), r.below(64))
		b = append(b, byte(op), byte(op>>2|0x40))
		switch op & 3 {
		case 0:
			b = binary.LittleEndian.AppendUint32(b, addr)
		case 1:
			b = append(b, byte(r.below(256)), 0, 0, byte(r.below(4)))
		case 2:
			b = binary.LittleEndian.AppendUint16(b, uint16(r.below(1<<(4+r.below(12)))))
		}
	}
	return b[:n]
}

// members is like a tar: heads of 512 bytes, then texts, code or noise, padded with zeros.
func members(n int) []byte {
	r := random(3)
	text, code, hard := prose(300_000), machine(300_000), noise(100_000)
	b := make([]byte, 0, n+200_000)
	for len(b) < n {
		head := make([]byte, 512)
		copy(head, "./app/lib/")
		for i := range 6 + r.below(20) {
			head[10+i] = byte('a' + r.below(26))
		}
		copy(head[100:], "0000644\x000000000\x000000000\x0000000017562\x0014000000000\x00")
		copy(head[257:], "ustar  \x00root")
		src := [][]byte{text, text, text, code, hard}[r.below(5)]
		size := 1 + r.below(1<<(6+r.below(11)))
		from := r.below(len(src) - size)
		b = append(append(b, head...), src[from:from+size]...)
		b = append(b, make([]byte, -len(b)&511)...)
	}
	return b[:n]
}

// corpus is what the output is known for. It must not change.
var corpus = sync.OnceValue(func() map[string][]byte {
	return map[string][]byte{
		"zeros":   make([]byte, 700_000),
		"noise":   noise(300_000),
		"prose":   prose(1 << 20),
		"machine": machine(1 << 20),
		"members": members(1500 << 10),
		"mixed":   slices.Concat(noise(9_000), prose(100_000), make([]byte, 70_000), machine(40_000), noise(140_000), prose(50_000)),
	}
})

// Mixture is all of the corpus in a row, for the tests outside.
func Mixture() []byte {
	c := corpus()
	return slices.Concat(c["mixed"], c["members"], c["zeros"], c["noise"], c["machine"], c["prose"])
}
