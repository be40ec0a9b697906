package unpack

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// xzGuard passes an xz stream on to its decoder piece by piece, and looks at each block's
// header before the decoder does: the decoder allocates whatever dictionary a header asks
// for, up to 4 GiB. It follows the container (stream header, blocks of LZMA2 chunks, index)
// and leaves all other checks to the decoder.
// Format: https://tukaani.org/xz/xz-file-format.txt
type xzGuard struct {
	r     *bufio.Reader
	state xzState
	left  int // bytes of the current piece that may be passed on
	check int // bytes of the check after each block
	block int // bytes of LZMA2 data of this block, for its padding
	dicts uint64
	err   error
}

type xzState int

const (
	xzStream xzState = iota
	xzBlock
	xzChunk
	xzTail
)

const (
	xzStreamHeader = 12
	lzma2Filter    = 0x21
	// maxDictionaries is ten times what xz -9 -T0 needs for 2 GiB.
	maxDictionaries = 8 << 30
)

func (g *xzGuard) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if g.left == 0 && g.state != xzTail && g.err == nil {
		g.err = g.next()
	}
	if g.err != nil {
		return 0, g.err
	}
	if g.state != xzTail && len(p) > g.left {
		p = p[:g.left]
	}
	n, err := g.r.Read(p)
	if g.state != xzTail {
		g.left -= n
	}
	return n, err
}

// next finds out how long the next piece is. A peek that ends early is passed on as it is:
// the decoder says what is missing.
func (g *xzGuard) next() error {
	switch g.state {
	case xzStream:
		head, err := g.r.Peek(xzStreamHeader)
		if err != nil {
			return cut(err)
		}
		g.check = [16]int{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}[head[7]&15]
		g.left, g.state = xzStreamHeader, xzBlock
		return nil
	case xzBlock:
		return g.nextBlock()
	}
	return g.nextChunk()
}

func (g *xzGuard) nextBlock() error {
	b, err := g.r.Peek(1)
	if err != nil {
		return cut(err)
	}
	if b[0] == 0 { // the index: no more blocks
		g.state = xzTail
		return nil
	}
	size := (int(b[0]) + 1) * 4
	head, err := g.r.Peek(size)
	if err != nil {
		return cut(err)
	}
	dict, err := checkBlockHeader(head)
	if err != nil {
		return err
	}
	// The decoder makes a new dictionary for every block, so many small blocks cost time.
	if g.dicts += dict; g.dicts > maxDictionaries {
		return fmt.Errorf("xz: the blocks ask for dictionaries of more than %d bytes together, the limit", int64(maxDictionaries))
	}
	g.left, g.state, g.block = size, xzChunk, 0
	return nil
}

func (g *xzGuard) nextChunk() error {
	b, err := g.r.Peek(1)
	if err != nil {
		return cut(err)
	}
	switch c := b[0]; {
	case c == 0: // end of the block: marker, padding to 4 bytes, check
		g.block++
		g.left = 1 + (4-g.block%4)%4 + g.check
		g.state = xzBlock
		return nil
	case c == 1 || c == 2: // stored
		h, err := g.r.Peek(3)
		if err != nil {
			return cut(err)
		}
		g.left = 3 + (int(h[1])<<8 | int(h[2])) + 1
	case c >= 0x80: // compressed; from 0xc0 on with a byte of properties
		h, err := g.r.Peek(5)
		if err != nil {
			return cut(err)
		}
		g.left = 5 + (int(h[3])<<8 | int(h[4])) + 1
		if c >= 0xc0 {
			g.left++
		}
	default:
		return fmt.Errorf("xz: unknown LZMA2 chunk 0x%02x", c)
	}
	g.block += g.left
	return nil
}

var errXzHeader = errors.New("xz: damaged block header")

// checkBlockHeader reads the filters of a block and limits the dictionary, whose size it returns.
func checkBlockHeader(head []byte) (dict uint64, err error) {
	flags, rest := head[1], head[2:]
	for _, bit := range []byte{0x40, 0x80} { // compressed and uncompressed size
		if flags&bit != 0 {
			var ok bool
			if _, rest, ok = xzNumber(rest); !ok {
				return 0, errXzHeader
			}
		}
	}
	for range flags&3 + 1 {
		id, after, ok := xzNumber(rest)
		if !ok {
			return 0, errXzHeader
		}
		n, after, ok := xzNumber(after)
		if !ok || n > uint64(len(after)) {
			return 0, errXzHeader
		}
		props := after[:n]
		rest = after[n:]
		if id != lzma2Filter {
			return 0, fmt.Errorf("xz: filter 0x%x is not supported", id)
		}
		if len(props) != 1 || props[0] > 40 {
			return 0, errXzHeader
		}
		if dict = dictionary(props[0]); dict > maxWindow {
			return 0, fmt.Errorf("xz: the file asks for a dictionary of %d bytes, over the limit of %d", dict, maxWindow)
		}
	}
	return dict, nil
}

func dictionary(bits byte) uint64 {
	if bits == 40 {
		return 1<<32 - 1
	}
	return uint64(2|bits&1) << (bits/2 + 11)
}

// xzNumber reads the container's variable-length integer: 7 bits a byte, 9 bytes at most.
func xzNumber(b []byte) (v uint64, rest []byte, ok bool) {
	for i := 0; i < len(b) && i < 9; i++ {
		v |= uint64(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			return v, b[i+1:], true
		}
	}
	return 0, nil, false
}

func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
