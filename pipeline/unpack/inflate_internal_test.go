package unpack

import (
	"bytes"
	"compress/flate"
	stdgzip "compress/gzip"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// both reads gzip with ours and with the standard library's: the same bytes, and either no error
// or one in each. What ours gives before an error is part of what theirs would have given.
func both(t interface {
	Helper()
	Fatalf(string, ...any)
}, z []byte, chop bool) {
	t.Helper()
	read := func(open func(io.Reader) (io.Reader, error)) ([]byte, error) {
		var src io.Reader = bytes.NewReader(z)
		if chop {
			src = iotest.OneByteReader(src)
		}
		r, err := open(src)
		if err != nil {
			return nil, err
		}
		return io.ReadAll(io.LimitReader(r, 64<<20))
	}
	want, wantErr := read(func(r io.Reader) (io.Reader, error) { return stdgzip.NewReader(r) })
	got, err := read(func(r io.Reader) (io.Reader, error) { return newGunzip(r) })
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%d bytes: error %v, compress/gzip: %v", len(z), err, wantErr)
	}
	if err == nil && !bytes.Equal(got, want) {
		t.Fatalf("%d bytes: %d bytes come out, of compress/gzip %d, and they differ", len(z), len(got), len(want))
	}
}

// texts of every kind of redundancy.
func sampleText(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	words := make([][]byte, 1+r.IntN(300))
	for i := range words {
		words[i] = make([]byte, 1+r.IntN(12))
		for k := range words[i] {
			words[i][k] = byte('a' + r.IntN(1+r.IntN(200)))
		}
	}
	var b []byte
	for len(b) < n {
		switch r.IntN(8) {
		case 0:
			b = append(b, bytes.Repeat([]byte{byte(r.IntN(256))}, r.IntN(600))...)
		case 1:
			for range r.IntN(400) {
				b = append(b, byte(r.Uint32()))
			}
		case 2:
			if len(b) > 0 {
				back := 1 + r.IntN(min(len(b), 40000))
				for range r.IntN(500) {
					b = append(b, b[len(b)-back])
				}
			}
		default:
			for range r.IntN(200) {
				b = append(b, words[r.IntN(len(words))]...)
			}
		}
	}
	return b[:n]
}

func gzipped(t testing.TB, level int, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := stdgzip.NewWriterLevel(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestGunzip_readsWhatOthersRead(t *testing.T) {
	t.Parallel()
	sizes := []int{0, 1, 7, 258, 1000, 32769, 65535, 65536, outSize - window, 2*outSize + 1}
	for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, flate.BestSpeed, flate.DefaultCompression, flate.BestCompression} {
		for i, n := range sizes {
			text := sampleText(uint64(i), n)
			z := gzipped(t, level, text)
			both(t, z, n < 10_000)
			both(t, append(bytes.Clone(z), gzipped(t, 6, text[:n/2])...), false)
			r, err := newGunzip(bytes.NewReader(z))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, text) {
				t.Errorf("level %d, %d bytes: %d came out, %v", level, n, len(got), err)
			}
		}
	}
}

// One byte changed, cut or added, anywhere: the verdict is that of the standard library.
func TestGunzip_refusesWhatOthersRefuse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := sampleText(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(0, 3000).Draw(t, "size"))
		var b bytes.Buffer
		w, err := stdgzip.NewWriterLevel(&b, rapid.IntRange(-2, 9).Draw(t, "level"))
		if err != nil {
			t.Fatal(err)
		}
		w.Name, w.Comment = rapid.StringMatching("[a-z]*").Draw(t, "name"), rapid.StringMatching("[a-z]*").Draw(t, "comment")
		w.Extra = rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "extra")
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		z := b.Bytes()
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			at := rapid.IntRange(0, len(z)-1).Draw(t, "at")
			switch rapid.IntRange(0, 3).Draw(t, "how") {
			case 0:
				z = z[:at+1]
			case 1:
				z = append(z, rapid.SliceOfN(rapid.Byte(), 0, 12).Draw(t, "more")...)
			default:
				z[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			}
		}
		both(t, z, rapid.Bool().Draw(t, "chopped"))
	})
}

func FuzzGunzip(f *testing.F) {
	for i, n := range []int{0, 1, 100, 5000, 70_000} {
		for _, level := range []int{-2, 0, 1, 6} {
			f.Add(gzipped(f, level, sampleText(uint64(i), n)))
		}
	}
	f.Fuzz(func(t *testing.T, z []byte) {
		both(t, z, false)
		// As a bare block too, for a change of the header ends everything.
		both(t, append([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}, z...), true)
	})
}

func BenchmarkGunzip(b *testing.B) {
	text := sampleText(3, 8<<20)
	z := gzipped(b, 6, text)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		r, err := newGunzip(bytes.NewReader(z))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			b.Fatal(err)
		}
	}
}
