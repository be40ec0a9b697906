package unpack

import (
	"compress/gzip"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// gunzip reads gzip, RFC 1952, every member of it, as foreign archives may have several.
type gunzip struct {
	d      *inflater
	inside bool // a member's header was read, and its end was not
	crc    uint32
	size   uint32
	err    error
}

// newGunzip reads the first header.
func newGunzip(r io.Reader) (*gunzip, error) {
	z := &gunzip{d: newInflater(r)}
	return z, noEOF(z.header())
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (z *gunzip) Read(p []byte) (int, error) {
	for z.err == nil {
		if !z.inside {
			if z.err = z.header(); z.err != nil {
				break
			}
		}
		n, err := z.d.Read(p)
		z.crc = crc32.Update(z.crc, crc32.IEEETable, p[:n])
		z.size += uint32(n)
		switch {
		case errors.Is(err, io.EOF):
			z.err = noEOF(z.trailer())
		case err != nil:
			z.err = err
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, z.err
}

// bytes reads outside of deflate streams. It is io.EOF when there is none at all.
func (z *gunzip) bytes(b []byte) error {
	for i := range b {
		c, err := z.d.readByte()
		if err != nil {
			if i > 0 {
				return noEOF(err)
			}
			return err
		}
		b[i] = c
	}
	return nil
}

// The flags of a header.
const (
	flagHeaderCRC = 1 << (iota + 1)
	flagExtra
	flagName
	flagComment
)

// header reads the header of a member. It is io.EOF when no byte is left.
func (z *gunzip) header() error {
	var b [10]byte
	if err := z.bytes(b[:]); err != nil {
		return err
	}
	if b[0] != 0x1f || b[1] != 0x8b || b[2] != 8 {
		return gzip.ErrHeader
	}
	sum := crc32.ChecksumIEEE(b[:])
	next := func(p []byte) error {
		err := noEOF(z.bytes(p))
		sum = crc32.Update(sum, crc32.IEEETable, p)
		return err
	}
	flags := b[3]
	if flags&flagExtra != 0 {
		if err := next(b[:2]); err != nil {
			return err
		}
		if err := next(make([]byte, binary.LittleEndian.Uint16(b[:]))); err != nil {
			return err
		}
	}
	for _, flag := range []byte{flagName, flagComment} {
		for n := 0; flags&flag != 0; n++ {
			if err := next(b[:1]); err != nil {
				return err
			}
			if b[0] == 0 {
				break
			}
			if n == 512 { // as compress/gzip
				return gzip.ErrHeader
			}
		}
	}
	if flags&flagHeaderCRC != 0 {
		want := uint16(sum)
		if err := next(b[:2]); err != nil {
			return err
		}
		if binary.LittleEndian.Uint16(b[:]) != want {
			return gzip.ErrHeader
		}
	}
	z.inside, z.crc, z.size = true, 0, 0
	z.d.start()
	return nil
}

func (z *gunzip) trailer() error {
	var b [8]byte
	if err := z.bytes(b[:]); err != nil {
		return err
	}
	z.inside = false
	if binary.LittleEndian.Uint32(b[:]) != z.crc || binary.LittleEndian.Uint32(b[4:]) != z.size {
		return gzip.ErrChecksum
	}
	return nil
}
