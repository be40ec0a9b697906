package unpack

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// format is what an archive is, told from its first bytes and never from its name.
type format string

const (
	formatTar   format = "tar"
	formatGzip  format = "gzip"
	formatXz    format = "xz"
	formatZstd  format = "zstd"
	formatBzip2 format = "bzip2"
	formatZip   format = "zip"
)

var magics = []struct {
	format format
	magic  string
}{
	{formatGzip, "\x1f\x8b"},
	{formatXz, "\xfd7zXZ\x00"},
	{formatZstd, "\x28\xb5\x2f\xfd"},
	{formatBzip2, "BZh"},
	{formatZip, "PK\x03\x04"},
	{formatZip, "PK\x05\x06"}, // without entries
}

const tarBlock = 512

func identify(r io.ReaderAt, size int64) (format, error) {
	if size == 0 {
		return "", errors.New("the file is empty")
	}
	head := make([]byte, min(size, tarBlock))
	if _, err := r.ReadAt(head, 0); err != nil && err != io.EOF {
		return "", err
	}
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return m.format, nil
		}
	}
	if isTarHeader(head) {
		return formatTar, nil
	}
	return "", &FormatError{Head: head[:min(len(head), 24)]}
}

// isTarHeader checks the header's own sum, which also the oldest tar has.
func isTarHeader(b []byte) bool {
	if len(b) < tarBlock {
		return false
	}
	field := strings.Trim(string(b[148:156]), " \x00")
	want, err := strconv.ParseInt(field, 8, 64)
	if err != nil {
		return false
	}
	var sum int64
	for i, c := range b[:tarBlock] {
		if 148 <= i && i < 156 {
			c = ' '
		}
		sum += int64(c)
	}
	return sum == want
}

// maxWindow limits the memory of a decompressor: xz and zstd let the file name a size.
const maxWindow = 256 << 20

// decompress returns the tar stream inside.
func decompress(src io.Reader, kind format) (io.Reader, error) {
	br := bufio.NewReaderSize(src, 256<<10)
	switch kind {
	case formatGzip:
		return gzip.NewReader(br) // reads every member, as foreign archives may have several
	case formatBzip2:
		return bzip2.NewReader(br), nil
	case formatZstd:
		z, err := zstd.NewReader(br, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return z, nil
	case formatXz:
		return xz.ReaderConfig{SingleStream: true}.NewReader(&xzGuard{r: br})
	}
	return br, nil
}

// ahead reads in a goroutine of its own, so that decompressing runs beside hashing and
// writing.
type ahead struct {
	full chan chunk
	free chan []byte
	stop chan struct{}
	done chan struct{}
	cur  chunk
	rest []byte
}

type chunk struct {
	buf []byte
	n   int
	err error
}

func readAhead(r io.Reader) *ahead {
	const chunks, size = 4, 256 << 10
	a := &ahead{
		full: make(chan chunk, chunks), free: make(chan []byte, chunks),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	for range chunks {
		a.free <- make([]byte, size)
	}
	go a.run(r)
	return a
}

func (a *ahead) run(r io.Reader) {
	defer close(a.done)
	for {
		var c chunk
		select {
		case c.buf = <-a.free:
		case <-a.stop:
			return
		}
		for c.n < len(c.buf) && c.err == nil {
			var k int
			k, c.err = r.Read(c.buf[c.n:])
			c.n += k
		}
		a.full <- c // never blocks: there are as many places as buffers
		if c.err != nil {
			return
		}
	}
}

func (a *ahead) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.cur.err != nil {
			return 0, a.cur.err
		}
		if a.cur.buf != nil {
			a.free <- a.cur.buf
		}
		a.cur = <-a.full
		a.rest = a.cur.buf[:a.cur.n]
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// close ends the goroutine and waits for it, so that nobody reads the file any more.
func (a *ahead) close() {
	close(a.stop)
	<-a.done
}

// FormatError says that a file is none of the archives that Extract reads.
type FormatError struct {
	// Head is how the file starts, at most 24 bytes.
	Head []byte
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("it is no archive that slugfile reads (gzip, xz, zstd, bzip2, tar, zip): it starts with %q", e.Head)
}

// Hint says what such files usually are.
func (e *FormatError) Hint() string {
	if bytes.HasPrefix(bytes.TrimSpace(e.Head), []byte("<")) {
		return "the server sent a page instead of the archive: open the address in a browser; it may ask to log in, or the file has moved"
	}
	return "look at the file itself: something else stands where the archive was"
}
