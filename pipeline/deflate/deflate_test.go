package deflate

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	kflate "github.com/klauspost/compress/flate"
	"pgregory.net/rapid"
)

var levels = []Level{Fast, Default}

func (l Level) String() string { return [...]string{"fast", "default"}[l] }

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// inflate reads one whole stream, which must be all of b, by two decoders.
func inflate(t fataler, b, dict []byte) []byte {
	t.Helper()
	src := bytes.NewReader(b)
	got, err := io.ReadAll(flate.NewReaderDict(src, dict))
	if err != nil {
		t.Fatalf("inflate %d bytes: %v", len(b), err)
	}
	if src.Len() != 0 {
		t.Fatalf("inflate left %d of %d bytes", src.Len(), len(b))
	}
	again, err := io.ReadAll(kflate.NewReaderDict(bytes.NewReader(b), dict))
	if err != nil || !bytes.Equal(again, got) {
		t.Fatalf("klauspost/compress reads %d bytes otherwise than the standard library: %v", len(b), err)
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

// ended makes a whole stream of a piece that was not the last.
func ended(b []byte) []byte { return append(slices.Clip(b), 3, 0) }

func TestAppend_isReadBack(t *testing.T) {
	t.Parallel()
	for _, l := range levels {
		for name, raw := range corpus() {
			t.Run(fmt.Sprint(l, "/", name), func(t *testing.T) {
				t.Parallel()
				e := NewEncoder(l)
				for _, size := range []int{1 << 12, 1<<17 + 1, 1 << 19, 1 << 21} {
					if got := inflate(t, pieces(e, nil, raw, size), nil); !bytes.Equal(got, raw) {
						t.Errorf("in pieces of %d: %d bytes came back as %d, or others", size, len(raw), len(got))
					}
				}
			})
		}
	}
}

func TestAppend_takesAnySizes(t *testing.T) {
	t.Parallel()
	text := members(200_000)
	near := func(n int) []int { return []int{n - 1, n, n + 1} }
	windows := slices.Concat([]int{0, 1, 3, 5, 300}, near(windowSize), []int{70_000})
	raws := slices.Concat([]int{0, 1, 2, 3, 4, 5, 8, 9}, near(maxMatch), near(cutSize), []int{1 << 16})
	for _, l := range levels {
		e := NewEncoder(l)
		for _, w := range windows {
			for _, n := range raws {
				window, raw := text[:w], text[w:w+n]
				for _, last := range []bool{false, true} {
					b := e.Append(nil, window, raw, last)
					if !last {
						if !bytes.HasSuffix(b, []byte{0, 0, 0xff, 0xff}) {
							t.Fatalf("%v, window %d, raw %d: no sync flush at the end of % x", l, w, n, b[max(0, len(b)-8):])
						}
						b = ended(b)
					}
					if got := inflate(t, b, window[max(0, w-windowSize):]); !bytes.Equal(got, raw) {
						t.Fatalf("%v, window %d, raw %d, last %v: came back as %d bytes, or others", l, w, n, last, len(got))
					}
				}
			}
		}
	}
}

func TestAppend_looksAtNoMoreThanTheWindow(t *testing.T) {
	t.Parallel()
	text := members(300_000)
	for _, l := range levels {
		e := NewEncoder(l)
		far := e.Append(nil, text[:100_000], text[100_000:], true)
		near := e.Append(nil, text[100_000-windowSize:100_000], text[100_000:], true)
		if !bytes.Equal(far, near) {
			t.Errorf("%v: what lies before the last 32 KiB of the window changed the output", l)
		}
	}
}

func TestAppend_refersToTheFarEndOfTheWindowAndNotBeyond(t *testing.T) {
	t.Parallel()
	b := noise(windowSize + 200)
	for _, l := range levels {
		e := NewEncoder(l)
		for _, c := range []struct{ dist, most, least int }{{windowSize - 1, 80, 0}, {windowSize, 80, 0}, {windowSize + 1, 1000, 100}} {
			// The first 100 bytes come again, at that distance.
			window := slices.Concat(b[:100], b[200:200+c.dist-100])
			for name, put := range map[string]func() (out, dict []byte){
				"from the window": func() ([]byte, []byte) {
					return e.Append(nil, window, b[:100], true), window[max(0, len(window)-windowSize):]
				},
				"from raw": func() ([]byte, []byte) {
					out := e.Append(nil, nil, slices.Concat(window, b[:100]), true)
					return out[min(len(out), len(window)):], nil
				},
			} {
				out, dict := put()
				if dict != nil {
					if got := inflate(t, out, dict); !bytes.Equal(got, b[:100]) {
						t.Errorf("%v, %s, distance %d: came back as %d bytes, or others", l, name, c.dist, len(got))
					}
				}
				if len(out) > c.most || len(out) < c.least {
					t.Errorf("%v, %s, distance %d: %d bytes for 100", l, name, c.dist, len(out))
				}
			}
		}
	}
}

func TestAppend_writesRunsOfAnyLength(t *testing.T) {
	t.Parallel()
	for _, l := range levels {
		e := NewEncoder(l)
		for n := range 2*maxMatch + 5 {
			for period := 1; period <= 3; period++ {
				raw := bytes.Repeat([]byte("abcd")[:period], n)
				b := e.Append(nil, nil, raw, true)
				if got := inflate(t, b, nil); !bytes.Equal(got, raw) {
					t.Fatalf("%v: %d times %d bytes came back as %d, or others", l, n, period, len(got))
				}
				if len(b) > 32 {
					t.Fatalf("%v: %d times %d bytes took %d", l, n, period, len(b))
				}
			}
		}
	}
}

func TestAppend_choosesTheShortestForm(t *testing.T) {
	t.Parallel()
	forms := [...]string{"stored", "fixed", "dynamic"}
	for _, l := range levels {
		e := NewEncoder(l)
		for want, raw := range map[string][]byte{"stored": noise(1000), "fixed": []byte("hello hello"), "dynamic": prose(10_000)} {
			if got := forms[e.Append(nil, nil, raw, true)[0]>>1&3]; got != want {
				t.Errorf("%v: the block for %d bytes is %s, want %s", l, len(raw), got, want)
			}
		}
	}
}

func TestAppend_growsNoiseByNextToNothing(t *testing.T) {
	t.Parallel()
	for _, l := range levels {
		e := NewEncoder(l)
		for _, n := range []int{1, 100, maxStored - 1, maxStored, maxStored + 1, 400_000} {
			// Blocks end where cuts do: less than 5 bytes in 32 KiB.
			if got := len(e.Append(nil, nil, noise(n), false)); got > n+5*(n/windowSize+1)+5 {
				t.Errorf("%v: %d bytes of noise became %d", l, n, got)
			}
		}
	}
}

func TestAppend_isAsSmallAsItsLevelSays(t *testing.T) {
	t.Parallel()
	raw := members(2 << 20)
	var std bytes.Buffer
	w, err := flate.NewWriter(&std, 6)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(raw)
	_ = w.Close()
	for l, most := range map[Level]int{Default: std.Len(), Fast: std.Len() + std.Len()/25} {
		if got := len(pieces(NewEncoder(l), nil, raw, 1<<19)); got > most {
			t.Errorf("%v: %d bytes of a tar, where compress/flate at 6 takes %d", l, got, std.Len())
		}
	}
}

// What leaves here is compared with what left before: slugs are the same bytes wherever they are
// made, and their parts are cached under ID. Whoever changes these sums raises ID.
func TestAppend_writesTheBytesThatIDStandsFor(t *testing.T) {
	t.Parallel()
	if ID != "slugfile-deflate 1" {
		t.Error("ID is new: write the new sums down, too")
	}
	want := map[string]string{
		"machine default": "e634387c151964b485171090",
		"machine fast":    "548268820fc452d6ce0624ba",
		"members default": "fdb6965b5c39081c016d8fc7",
		"members fast":    "a2c5c1182b8ab92948896bd7",
		"mixed default":   "0e9864623e8e8930c7566998",
		"mixed fast":      "a8b2ef590f714903dcd33b97",
		"noise default":   "fa247a4fe82b519cf4236689",
		"noise fast":      "cd6d914992726b24e54a6f2d",
		"prose default":   "cda54960a31868bb8b215084",
		"prose fast":      "62835773c50e8d64501eea07",
		"zeros default":   "f40b4db550a74c71c8aa3835",
		"zeros fast":      "f40b4db550a74c71c8aa3835",
	}
	got := map[string]string{}
	for name, raw := range corpus() {
		for _, l := range levels {
			e := NewEncoder(l)
			sum := sha256.Sum256(pieces(e, pieces(e, nil, raw, 1<<19), raw, 100_001))
			got[fmt.Sprint(name, " ", l)] = hex.EncodeToString(sum[:12])
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the output is not what ID stands for (-want +got):\n%s", d)
	}
}

func TestAppend_doesNotDependOnWhatCameBeforeOrOnDst(t *testing.T) {
	t.Parallel()
	for _, l := range levels {
		used := NewEncoder(l)
		for _, raw := range corpus() {
			used.Append(nil, nil, raw, true)
		}
		for name, raw := range corpus() {
			window, raw := raw[:50_000], raw[50_000:200_000]
			want := NewEncoder(l).Append(nil, window, raw, false)
			for _, room := range []int{0, 100, len(want), len(want) + 7, 2 * len(raw)} {
				dst := append(make([]byte, 0, 3+room), "dst"...)
				got := used.Append(dst, window, raw, false)
				if string(got[:3]) != "dst" || !bytes.Equal(got[3:], want) {
					t.Errorf("%v, %s: another output with %d bytes of room in a used encoder", l, name, room)
				}
			}
		}
	}
}

func TestAppend_goesOnWhenStampsAreBroughtDown(t *testing.T) {
	t.Parallel()
	raw := members(400 << 10)
	for _, l := range levels {
		want := NewEncoder(l).Append(nil, raw[:windowSize], raw[windowSize:], true)
		for before := uint32(0); before < 1<<20; before += 1 << 17 {
			e := NewEncoder(l)
			e.base = rebaseAt - before
			e.Append(nil, nil, raw[:100_000], true) // leaves stamps just below
			for range 2 {
				if !bytes.Equal(e.Append(nil, raw[:windowSize], raw[windowSize:], true), want) {
					t.Errorf("%v: another output %d before the stamps are brought down", l, before)
				}
			}
			if e.base >= rebaseAt {
				t.Errorf("%v: stamps of %#x were not brought down", l, e.base)
			}
		}
	}
}

func TestAppend_allocatesNothing(t *testing.T) {
	raw := members(1 << 20)
	for _, l := range levels {
		e := NewEncoder(l)
		dst := make([]byte, 0, len(raw))
		if n := testing.AllocsPerRun(3, func() { dst = pieces(e, dst[:0], raw, 1<<18) }); n != 0 {
			t.Errorf("%v: %v allocations", l, n)
		}
	}
}

func TestEncoder_isSmall(t *testing.T) {
	t.Parallel()
	if size := reflect.TypeFor[Encoder]().Size(); size > 1200<<10 {
		t.Errorf("an Encoder takes %d bytes", size)
	}
}

// edits draws data as edits make it: new bytes, repeats from any distance, runs.
func edits(t *rapid.T) []byte {
	var b []byte
	for range rapid.IntRange(0, 30).Draw(t, "edits") {
		r := random(rapid.Uint64Min(1).Draw(t, "seed"))
		n := rapid.SampledFrom([]int{1, 3, 60, 258, 3000, 40_000, 100_000}).Draw(t, "n")
		n = 1 + r.below(n)
		switch rapid.IntRange(0, 3).Draw(t, "edit") {
		case 0:
			for range n {
				b = append(b, byte(r.next()))
			}
		case 1:
			for range n {
				b = append(b, byte(min(r.below(256), r.below(256), r.below(256))))
			}
		case 2:
			b = append(b, bytes.Repeat([]byte{byte(r.next())}, n)...)
		case 3:
			if len(b) > 0 {
				for from := len(b) - 1 - r.below(min(len(b), 2*windowSize)); n > 0; n-- {
					b = append(b, b[from])
					from++
				}
			}
		}
	}
	return b
}

func TestAppend_joinsIntoOneStream(t *testing.T) {
	t.Parallel()
	encoders := [...]*Encoder{NewEncoder(Fast), NewEncoder(Default)}
	rapid.Check(t, func(t *rapid.T) {
		raw := edits(t)
		var out []byte
		for at, last := 0, false; !last; {
			n := min(rapid.SampledFrom([]int{0, 1, 5, 700, 30_000, 1 << 18, 1 << 20}).Draw(t, "piece"), len(raw)-at)
			last = at+n == len(raw) && rapid.Bool().Draw(t, "last")
			window := raw[max(0, at-rapid.SampledFrom([]int{0, 10, windowSize}).Draw(t, "window")):at]
			e := encoders[rapid.IntRange(0, 1).Draw(t, "level")]
			out = e.Append(out, window, raw[at:at+n], last)
			at += n
		}
		if got := inflate(t, out, nil); !bytes.Equal(got, raw) {
			t.Fatalf("%d bytes came back as %d, or others", len(raw), len(got))
		}
	})
}

func FuzzAppend(f *testing.F) {
	f.Add([]byte(""), uint16(0), uint16(0))
	f.Add([]byte("hello hello hello"), uint16(6), uint16(3))
	f.Add(members(3000), uint16(1000), uint16(40))
	f.Add(prose(300), uint16(100), uint16(2000))
	encoders := [...]*Encoder{NewEncoder(Fast), NewEncoder(Default)}
	f.Fuzz(func(t *testing.T, b []byte, cut, times uint16) {
		window := b[:min(int(cut), len(b))]
		raw := bytes.Repeat(b[len(window):], 1+int(times)%64)
		for _, e := range encoders {
			open := e.Append(nil, window, raw, false)
			whole := e.Append(open[:len(open):len(open)], slices.Concat(window, raw), raw, true)
			want := slices.Concat(raw, raw)
			if got := inflate(t, whole, window[max(0, len(window)-windowSize):]); !bytes.Equal(got, want) {
				t.Fatalf("%d bytes came back as %d, or others", len(want), len(got))
			}
		}
	})
}

func TestBuild_makesCompleteCodesWithinTheLimit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.SampledFrom([]int{maxPreCode, maxCode}).Draw(t, "limit")
		size := 19
		if limit == maxCode {
			size = rapid.SampledFrom([]int{32, 288}).Draw(t, "size")
		}
		// Frequencies that grow like Fibonacci's make the deepest trees.
		freqs := make([]uint32, size)
		a, b := uint32(1), uint32(1)
		for range rapid.IntRange(0, size).Draw(t, "used") {
			freqs[rapid.IntRange(0, size-1).Draw(t, "symbol")] = a
			if steep := rapid.Bool().Draw(t, "steep"); steep && b < 1<<17 {
				a, b = b, a+b
			}
		}
		var h huffman
		lens := make([]uint8, size)
		h.build(lens, freqs, limit)
		full := 0
		for s, n := range lens {
			if int(n) > limit {
				t.Fatalf("symbol %d has %d bits, more than %d", s, n, limit)
			}
			if n == 0 && freqs[s] != 0 {
				t.Fatalf("symbol %d occurs and has no code", s)
			}
			if n != 0 {
				full += 1 << (limit - int(n))
			}
			for o := range lens {
				if freqs[s] < freqs[o] && lens[s] != 0 && n < lens[o] {
					t.Fatalf("symbol %d is rarer than %d and has less bits", s, o)
				}
			}
		}
		if full != 1<<limit {
			t.Fatalf("the code fills %d of %d", full, 1<<limit)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	type coder func(dst, window, raw []byte) []byte
	coders := []struct {
		name string
		new  func() coder
	}{}
	for _, l := range levels {
		coders = append(coders, struct {
			name string
			new  func() coder
		}{l.String(), func() coder {
			e := NewEncoder(l)
			return func(dst, window, raw []byte) []byte { return e.Append(dst, window, raw, false) }
		}})
	}
	for _, level := range []int{6, 8} {
		coders = append(coders, struct {
			name string
			new  func() coder
		}{fmt.Sprint("klauspost", level), func() coder {
			w, err := kflate.NewWriter(nil, level)
			if err != nil {
				b.Fatal(err)
			}
			return func(dst, window, raw []byte) []byte {
				out := bytes.NewBuffer(dst)
				w.ResetDict(out, window)
				_, _ = w.Write(raw)
				_ = w.Flush()
				return out.Bytes()
			}
		}})
	}
	coders = append(coders, struct {
		name string
		new  func() coder
	}{"stdlib6", func() coder {
		return func(dst, window, raw []byte) []byte {
			out := bytes.NewBuffer(dst)
			w, err := flate.NewWriterDict(out, 6, window)
			if err != nil {
				b.Fatal(err)
			}
			_, _ = w.Write(raw)
			_ = w.Flush()
			return out.Bytes()
		}
	}})
	for name, raw := range corpus() {
		for _, c := range coders {
			b.Run(name+"/"+c.name, func(b *testing.B) {
				code := c.new()
				window, raw := raw[:windowSize], raw[windowSize:]
				dst := make([]byte, 0, len(raw)+1000)
				b.SetBytes(int64(len(raw)))
				for b.Loop() {
					dst = code(dst[:0], window, raw)
				}
				b.ReportMetric(100*float64(len(dst))/float64(len(raw)), "%size")
			})
		}
	}
}
