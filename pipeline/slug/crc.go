package slug

import "hash/crc32"

// matrix is a linear map of 32-bit vectors over GF(2), one column a bit.
type matrix [32]uint32

func (m *matrix) times(v uint32) uint32 {
	var sum uint32
	for i := 0; v != 0; i, v = i+1, v>>1 {
		if v&1 != 0 {
			sum ^= m[i]
		}
	}
	return sum
}

func (m *matrix) square() matrix {
	var s matrix
	for i, column := range m {
		s[i] = m.times(column)
	}
	return s
}

// zeros[k] takes the CRC of some bytes to that of the same bytes and 2^k zero bytes.
var zeros = func() (z [63]matrix) {
	var bit matrix // one zero bit
	bit[0] = crc32.IEEE
	for i := 1; i < 32; i++ {
		bit[i] = 1 << (i - 1)
	}
	two := bit.square()
	four := two.square()
	z[0] = four.square()
	for k := 1; k < len(z); k++ {
		z[k] = z[k-1].square()
	}
	return z
}()

// combineCRC returns the CRC-32 of a and b put together, from that of each and the length
// of b in bytes. A CRC is linear, so a's only has to be moved on by as many zero bytes as b
// is long; the way is that of zlib's crc32_combine.
func combineCRC(a, b uint32, length int64) uint32 {
	for k := 0; length != 0; k, length = k+1, length>>1 {
		if length&1 != 0 {
			a = zeros[k].times(a)
		}
	}
	return a ^ b
}
