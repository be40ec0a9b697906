// Package deflate compresses whole buffers into the deflate format (RFC 1951), for the archive
// stage: a piece of a stream at a time, each piece with the bytes before it as its window, the
// pieces ready to be joined. It is of libdeflate's design: hash chains over one buffer, lazy
// matching, blocks cut where the statistics change, and Huffman codes written 64 bits at a time.
//
// What Append appends is a function of level, window, raw and last alone. It does not depend on what
// the encoder did before, on the capacity of dst, on the architecture or on the Go version: all
// arithmetic is on integers. It writes no gzip header, computes no checksum and starts no
// goroutine.
package deflate

// ID names the output of this package, byte for byte. It is raised whenever any output changes.
const ID = "slugfile-deflate 1"

// Level is how hard an Encoder tries.
type Level int

const (
	// Fast is a little larger than gzip -6, in less than a third of its time.
	Fast Level = iota
	// Default is smaller than gzip -6, in about half of its time.
	Default
)

// Encoder holds about 1.1 MiB. It serves one goroutine at a time, and any number of Appends.
type Encoder struct {
	finder
	parser
	blocks
	tuning tuning
}

// NewEncoder makes an encoder of level l.
func NewEncoder(l Level) *Encoder {
	e := &Encoder{tuning: tunings[l]}
	e.base = windowSize // so that the zero stamp is out of reach
	e.deep = e.tuning.deep
	return e
}

// Append appends the deflated bytes of raw to dst. They may refer to the last 32 KiB of window,
// which is what lies before raw in the stream. With last the stream ends there; else the bytes
// end in an empty stored block (a sync flush), so that the next piece can follow on a byte
// boundary.
func (e *Encoder) Append(dst, window, raw []byte, last bool) []byte {
	w := bitWriter{out: dst}
	raw = raw[e.begin(window, raw):]
	for e.at < e.end {
		e.parse(&e.finder, e.tuning, len(raw) == 0)
		e.write(&w, &e.finder, &e.parser, last && len(raw) == 0 && e.at == e.end)
		raw = raw[e.fill(raw):]
	}
	switch {
	case !last:
		w.stored(nil, false)
	case !w.final:
		w.emptyFinal()
	}
	return w.close()
}
