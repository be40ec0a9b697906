package slug

import (
	"encoding/binary"

	"github.com/slugfile/slugfile/pipeline/tree"
)

const (
	blockSize = 512
	// nameSize is what a header has room for; one byte more needs a @LongLink entry.
	nameSize = 100
	// maxOctal is the first number that eleven octal digits cannot hold: 8 GiB.
	maxOctal = 1 << 33
)

// header begins the gzip member, as RFC 1952 has it: no flags, no time, no extra flags, and 255
// for a file system that is not known.
var header = [headerLen]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}

const headerLen, footerLen = 10, 8

// footer ends the gzip member: the CRC-32 of the tar stream and the lower half of its length.
func footer(crc uint32, size int64) (b [footerLen]byte) {
	binary.LittleEndian.PutUint32(b[:], crc)
	binary.LittleEndian.PutUint32(b[4:], uint32(size))
	return b
}

// The kinds of tar entries that slugs have.
const (
	typeFile     = '0'
	typeSymlink  = '2'
	typeDir      = '5'
	typeLongLink = 'K' // the next entry's link target
	typeLongName = 'L' // the next entry's name
)

// trailer ends a tar stream. GNU tar pads to 20 blocks for the sake of tape drives, which
// readers do not ask for.
const trailer = 2 * blockSize

// appendHeaders appends the header blocks of an entry. The headers are written here and
// not by archive/tar because their bytes are a promise: they must not move with the
// version of Go.
func appendHeaders(b []byte, e tree.Entry, epoch int64) []byte {
	name, target := root+e.Path, ""
	kind, mode := byte(typeFile), int64(0o644)
	switch {
	case e.Kind == tree.Dir:
		kind, mode = typeDir, 0o755
		if e.Path != "" {
			name += "/"
		}
	case e.Kind == tree.Link:
		kind, mode, target = typeSymlink, 0o777, e.Target
	case e.Exec:
		mode = 0o755
	}
	if len(target) > nameSize {
		b = appendLong(b, typeLongLink, target)
	}
	if len(name) > nameSize {
		b = appendLong(b, typeLongName, name)
	}
	return appendHeader(b, kind, name, target, mode, e.Size, epoch)
}

// headerSize is the length of what appendHeaders appends.
func headerSize(e tree.Entry) int64 {
	name := len(root) + len(e.Path)
	if e.Kind == tree.Dir && e.Path != "" {
		name++
	}
	n := int64(blockSize)
	if name > nameSize {
		n += blockSize + padded(int64(name)+1)
	}
	if e.Kind == tree.Link && len(e.Target) > nameSize {
		n += blockSize + padded(int64(len(e.Target))+1)
	}
	return n
}

// padded rounds up to whole blocks.
func padded(n int64) int64 { return (n + blockSize - 1) / blockSize * blockSize }

// appendLong appends a text that is too long for a header, as GNU tar does: an entry of its
// own, whose content ends with a NUL.
func appendLong(b []byte, kind byte, text string) []byte {
	n := int64(len(text)) + 1
	b = appendHeader(b, kind, "././@LongLink", "", 0o644, n, 0)
	b = append(b, text...)
	return append(b, make([]byte, padded(n)-n+1)...)
}

// appendHeader appends one block. The layout is that of GNU tar's manual, "Basic Tar
// Format", struct oldgnu_header; access and change time stay empty.
func appendHeader(b []byte, kind byte, name, target string, mode, size, mtime int64) []byte {
	start := len(b)
	b = append(b, make([]byte, blockSize)...)
	h := b[start:]
	copy(h[0:nameSize], name)
	octal(h[100:108], mode)
	octal(h[108:116], 0)
	octal(h[116:124], 0)
	number(h[124:136], size)
	number(h[136:148], mtime)
	copy(h[148:156], "        ") // counts as blanks in its own sum
	h[156] = kind
	copy(h[157:257], target)
	copy(h[257:265], "ustar  \x00")
	copy(h[265:297], "root")
	copy(h[297:329], "root")
	var sum int64
	for _, c := range h {
		sum += int64(c)
	}
	octal(h[148:155], sum)
	return b
}

// octal fills a field with digits and a final NUL.
func octal(field []byte, n int64) {
	last := len(field) - 1
	field[last] = 0
	for i := last - 1; i >= 0; i, n = i-1, n>>3 {
		field[i] = '0' + byte(n&7)
	}
}

// number is octal, or GNU's base 256 for what eleven digits cannot hold.
func number(field []byte, n int64) {
	if 0 <= n && n < maxOctal {
		octal(field, n)
		return
	}
	clear(field)
	if n < 0 {
		for i := range field {
			field[i] = 0xff
		}
	}
	binary.BigEndian.PutUint64(field[len(field)-8:], uint64(n))
	field[0] |= 0x80
}
