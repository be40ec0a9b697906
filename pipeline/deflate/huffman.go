package deflate

import "math/bits"

// huffman has the working memory for one code.
type huffman struct {
	keys [2][288]uint32
	tree [288]uint32
}

// build sets lens to the lengths of a code for symbols of these frequencies, of at most limit
// bits. A symbol without occurrences gets none, and a code has two symbols at least: some decoders
// reject less.
func (h *huffman) build(lens []uint8, freqs []uint32, limit int) {
	clear(lens)
	const symBits = 9
	n := 0
	for s, f := range freqs {
		if f != 0 {
			h.keys[0][n] = f<<symBits | uint32(s)
			n++
		}
	}
	if n < 2 {
		lens[0], lens[1] = 1, 1
		if n == 1 {
			s := h.keys[0][0] & (1<<symBits - 1)
			lens[0], lens[1] = 0, 0
			lens[s] = 1
			lens[bit(s == 0)] = 1
		}
		return
	}
	keys := h.sort(n)

	// Moffat and Katajainen's way in place: first the tree holds weights, then parents, then depths.
	t := h.tree[:n]
	leaf, root := 0, 0
	for next := 0; next < n-1; next++ {
		take := func() (w uint32) {
			if leaf >= n || root < next && t[root] < keys[leaf]>>symBits {
				w = t[root]
				t[root] = uint32(next)
				root++
				return w
			}
			leaf++
			return keys[leaf-1] >> symBits
		}
		w := take()
		w += take()
		t[next] = w
	}
	var count [32]int
	t[n-2] = 0
	for i := n - 3; i >= 0; i-- {
		t[i] = t[t[i]] + 1
	}
	// What of a depth's places are not inner nodes are leaves.
	places, depth := 1, uint32(0)
	for i := n - 2; places > 0; depth++ {
		inner := 0
		for i >= 0 && t[i] == depth {
			inner++
			i--
		}
		count[min(int(depth), limit)] += places - inner
		places = 2 * inner
	}
	// Codes cut to the limit overfill it: one leaf above goes down to make room for two, until it fits.
	full := 0
	for l, c := range count[:limit+1] {
		full += c << (limit - l)
	}
	for ; full > 1<<limit; full-- {
		l := limit - 1
		for count[l] == 0 {
			l--
		}
		count[l]--
		count[l+1] += 2
		count[limit]--
	}
	i := 0
	for l := limit; l > 0; l-- {
		for range count[l] {
			lens[keys[i]&(1<<symBits-1)] = uint8(l)
			i++
		}
	}
}

// sort orders the n keys by radix, by all their bits.
func (h *huffman) sort(n int) []uint32 {
	from, to := h.keys[0][:n], h.keys[1][:n]
	all := uint32(0)
	for _, k := range from {
		all |= k
	}
	// They come in order of the symbol, and the sort is stable: the frequencies suffice.
	for shift := 9; all>>shift != 0; shift += 8 {
		var at [256]int
		for _, k := range from {
			at[k>>shift&255]++
		}
		sum := 0
		for i, c := range at {
			at[i] = sum
			sum += c
		}
		for _, k := range from {
			d := &at[k>>shift&255]
			to[*d] = k
			*d++
		}
		from, to = to, from
	}
	return from
}

// assign sets codes to the canonical code of these lengths, as code<<4 | length, in the order of
// bits in which it is written.
func assign(codes []uint32, lens []uint8) {
	var next [17]uint32
	for _, l := range lens {
		next[l+1]++
	}
	next[1] = 0
	code := uint32(0)
	for l := 1; l < 16; l++ {
		count := next[l+1]
		next[l] = code
		code = (code + count) << 1
	}
	for s, l := range lens {
		codes[s] = 0
		if l > 0 {
			codes[s] = uint32(bits.Reverse16(uint16(next[l]))>>(16-l))<<4 | uint32(l)
			next[l]++
		}
	}
}
