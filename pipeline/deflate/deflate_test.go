package deflate

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"testing"
)

var levels = []Level{Fast, Default}

func (l Level) name() string { return [...]string{"fast", "default"}[l] }

// inflate reads a whole stream with the standard library.
func inflate(t *testing.T, b, dict []byte) []byte {
	t.Helper()
	src := bytes.NewReader(b)
	got, err := io.ReadAll(flate.NewReaderDict(src, dict))
	if err != nil {
		t.Fatalf("inflate %d bytes: %v", len(b), err)
	}
	if src.Len() != 0 {
		t.Fatalf("inflate left %d of %d bytes", src.Len(), len(b))
	}
	return got
}

// pieces deflates raw in pieces of size bytes, each primed with what lies before it.
func pieces(e *Encoder, dst, raw []byte, size int) []byte {
	for i := 0; ; i += size {
		end := min(i+size, len(raw))
		dst = e.Append(dst, raw[max(0, i-windowSize):i], raw[i:end], end == len(raw))
		if end == len(raw) {
			return dst
		}
	}
}

func TestAppend_isReadBackByTheStandardLibrary(t *testing.T) {
	t.Parallel()
	for _, l := range levels {
		e := NewEncoder(l)
		for name, raw := range corpus() {
			for _, size := range []int{1 << 12, 1<<17 + 1, 1 << 19, 1 << 21} {
				t.Run(fmt.Sprint(l.name(), "/", name, "/", size), func(t *testing.T) {
					if got := inflate(t, pieces(e, nil, raw, size), nil); !bytes.Equal(got, raw) {
						t.Errorf("%d bytes came back as %d, or others", len(raw), len(got))
					}
				})
			}
		}
	}
}
