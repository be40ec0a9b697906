package unpack

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"
)

// block is a block header that asks for a dictionary, and no data. The guard checks no sums:
// the decoder does that.
func block(bits byte) []byte {
	header := []byte{2, 0, lzma2Filter, 1, bits, 0, 0, 0, 0, 0, 0, 0}
	return append(header, 0, 0, 0, 0, 1, 2, 3, 4) // end of data, padding, a check of 4 bytes
}

func TestXzGuard_limitsDictionaries(t *testing.T) {
	t.Parallel()
	stream := func(blocks ...[]byte) []byte {
		return append([]byte("\xfd7zXZ\x00\x00\x01crc4"), bytes.Join(blocks, nil)...)
	}
	for name, c := range map[string]struct {
		text []byte
		want string
	}{
		"64 MiB":              {stream(block(28), []byte{0, 1, 2, 3}), ""},
		"256 MiB":             {stream(block(32), []byte{0, 1, 2, 3}), ""},
		"384 MiB":             {stream(block(33)), "over the limit"},
		"4 GiB":               {stream(block(40)), "over the limit"},
		"41":                  {stream(block(41)), "damaged block header"},
		"32 times 256 MiB":    {stream(bytes.Repeat(block(32), 32), []byte{0}), ""},
		"33 times 256 MiB":    {stream(bytes.Repeat(block(32), 33)), "together, the limit"},
		"second block is big": {stream(block(10), block(40)), "over the limit"},
		"after data":          {stream(block(10)[:12], []byte("\x01\x00\x02abc\x00"), []byte{0, 1, 2, 3, 4}, block(40)), "over the limit"},
		"another filter":      {stream([]byte{2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0}), "filter 0x4"},
		"unknown chunk":       {stream(block(10)[:12], []byte{0x40, 0, 0, 0}), "unknown LZMA2 chunk 0x40"},
		"cut":                 {stream(block(10)[:7]), "unexpected EOF"},
	} {
		out, err := io.ReadAll(&xzGuard{r: bufio.NewReader(bytes.NewReader(c.text))})
		switch {
		case c.want == "" && (err != nil || !bytes.Equal(out, c.text)):
			t.Errorf("%s: passed %d of %d bytes, %v", name, len(out), len(c.text), err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}
