package slug

import (
	"archive/tar"
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/tree"
)

func sized(path string, size int64) artifact.Member {
	return artifact.Member{Entry: tree.Entry{Path: path, Kind: tree.File, Size: size}, Src: path}
}

func TestCut_coversTheStreamOnceInSegmentsOfBoundedSize(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var ms []artifact.Member
		var want int64 = blockSize + trailer
		for i := range rapid.IntRange(0, 60).Draw(t, "members") {
			size := rapid.OneOf(
				rapid.Int64Range(0, 5000), rapid.Int64Range(0, 3*segmentTarget),
				rapid.SampledFrom([]int64{0, 1, 511, 512, 513, segmentTarget - 1, segmentTarget, segmentTarget + 1, 2 * segmentTarget}),
			).Draw(t, "size")
			m := sized(fmt.Sprintf("%04d", i), size)
			ms = append(ms, m)
			want += headerSize(m.Entry) + padded(size)
		}
		segments := cut(ms)
		var got int64
		member, off := -1, int64(0)
		for i, s := range segments {
			var size int64
			for sp := range s.spans(ms) {
				switch {
				case sp.member == member && !sp.head && sp.off == off: // the file goes on
				case sp.member == member+1 && sp.head && sp.off == 0, sp.member == -1 && i == 0:
					if member >= 0 && off != ms[member].Size {
						t.Fatalf("member %d ends at %d of %d", member, off, ms[member].Size)
					}
					member, off = sp.member, 0
				default:
					t.Fatalf("segment %d: span %+v after member %d, offset %d", i, sp, member, off)
				}
				off += sp.n
				size += sp.n + sp.pad
				switch {
				case sp.member < 0:
					size += blockSize
				case sp.head:
					size += headerSize(ms[sp.member].Entry)
				}
			}
			if s.last != (i == len(segments)-1) {
				t.Fatalf("segment %d of %d: last is %v", i, len(segments), s.last)
			}
			if s.last {
				size += trailer
			} else if size < segmentMin {
				t.Fatalf("segment %d has %d bytes", i, size)
			}
			if size != s.size || size > segmentMax+trailer {
				t.Fatalf("segment %d has %d bytes and says %d", i, size, s.size)
			}
			got += size
		}
		if got != want || member != len(ms)-1 {
			t.Fatalf("%d bytes in segments, the stream has %d", got, want)
		}
	})
}

func TestCut_segmentsAreNearTheTarget(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 1))
	var ms []artifact.Member
	for i := range 20_000 {
		ms = append(ms, sized(fmt.Sprintf("lib/module%05d/index.js", i), random.Int64N(16_000)))
	}
	segments := cut(ms)
	var total int64
	for _, s := range segments {
		total += s.size
	}
	if mean := total / int64(len(segments)); mean < segmentTarget*3/4 || mean > segmentTarget*5/4 {
		t.Errorf("the mean segment has %d bytes, the target is %d", mean, segmentTarget)
	}
}

func TestCut_aChangeMovesOnlyItsNeighbours(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(2, 2))
	var ms []artifact.Member
	for i := range 10_000 {
		ms = append(ms, sized(fmt.Sprintf("lib/%05d.js", i), random.Int64N(16_000)))
	}
	ms[7000].Size = 5 << 20
	// firsts names the member or piece that each segment begins with.
	firsts := func(ms []artifact.Member) map[string]bool {
		out := map[string]bool{}
		for _, s := range cut(ms) {
			if s.from >= 0 {
				out[fmt.Sprint(ms[s.from].Path, " ", s.begin)] = true
			}
		}
		return out
	}
	before := firsts(ms)
	for name, edit := range map[string]func([]artifact.Member) []artifact.Member{
		"insert": func(ms []artifact.Member) []artifact.Member {
			return append(append(append([]artifact.Member{}, ms[:3000]...), sized("lib/02999x.js", 9000)), ms[3000:]...)
		},
		"remove": func(ms []artifact.Member) []artifact.Member {
			return append(append([]artifact.Member{}, ms[:3000]...), ms[3001:]...)
		},
		"grow": func(ms []artifact.Member) []artifact.Member {
			out := append([]artifact.Member{}, ms...)
			out[3000].Size += 40_000
			return out
		},
	} {
		moved := 0
		for first := range firsts(edit(ms)) {
			if !before[first] {
				moved++
			}
		}
		if moved > 4 {
			t.Errorf("%s: %d of %d segments begin elsewhere", name, moved, len(before))
		}
	}
}

func TestHeader_holdsWhatOctalCannot(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{0, 1, maxOctal - 1, maxOctal, maxOctal + 1, 1 << 40} {
		for _, epoch := range []int64{0, 1_000_000_000, maxOctal, -1} {
			e := tree.Entry{Path: "big", Kind: tree.File, Size: size}
			b := appendHeaders(nil, e, epoch)
			if int64(len(b)) != headerSize(e) {
				t.Fatalf("%d bytes of headers, headerSize says %d", len(b), headerSize(e))
			}
			hdr, err := tar.NewReader(bytes.NewReader(b)).Next()
			if err != nil {
				t.Fatalf("size %d, time %d: %v", size, epoch, err)
			}
			if hdr.Size != size || hdr.ModTime.Unix() != epoch || hdr.Format != tar.FormatGNU {
				t.Errorf("size %d, time %d: read as %d, %d, %s", size, epoch, hdr.Size, hdr.ModTime.Unix(), hdr.Format)
			}
			if !hdr.AccessTime.IsZero() || !hdr.ChangeTime.IsZero() {
				t.Errorf("access and change time are set: %v, %v", hdr.AccessTime, hdr.ChangeTime)
			}
		}
	}
}

func TestHeaders_sizeIsKnownBeforehand(t *testing.T) {
	t.Parallel()
	for n := range 1200 {
		for _, e := range []tree.Entry{
			{Path: strings.Repeat("p", n), Kind: tree.Dir},
			{Path: strings.Repeat("p", n), Kind: tree.File},
			{Path: "l", Kind: tree.Link, Target: strings.Repeat("t", n)},
		} {
			if b := appendHeaders(nil, e, 0); int64(len(b)) != headerSize(e) {
				t.Fatalf("%s of %d bytes: %d bytes of headers, headerSize says %d", e.Kind, n, len(b), headerSize(e))
			}
		}
	}
}

func TestCombineCRC_isTheCRCOfBoth(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SliceOf(rapid.Byte()).Draw(t, "a")
		b := bytes.Repeat(rapid.SliceOf(rapid.Byte()).Draw(t, "b"), rapid.SampledFrom([]int{1, 2, 1000}).Draw(t, "times"))
		got := combineCRC(crc32.ChecksumIEEE(a), crc32.ChecksumIEEE(b), int64(len(b)))
		if want := crc32.ChecksumIEEE(append(append([]byte{}, a...), b...)); got != want {
			t.Fatalf("%08x, want %08x", got, want)
		}
	})
	// A length beyond 32 bits: as many zeros as two halves of it.
	half := combineCRC(0x12345678, 0, 5<<30)
	if combineCRC(half, 0, 5<<30) != combineCRC(0x12345678, 0, 10<<30) {
		t.Error("long zeros do not add up")
	}
}

func BenchmarkCombineCRC(b *testing.B) {
	var crc uint32
	for b.Loop() {
		crc = combineCRC(crc, 0xdeadbeef, segmentTarget+12_345)
	}
	_, _ = fmt.Fprint(io.Discard, crc)
}

func BenchmarkCut(b *testing.B) {
	var ms []artifact.Member
	for i := range 40_000 {
		ms = append(ms, sized(fmt.Sprintf("node_modules/package%04d/lib/file%02d.js", i/30, i%30), int64(i%9000)))
	}
	b.ReportAllocs()
	for b.Loop() {
		if len(cut(ms)) < 10 {
			b.Fatal("too few segments")
		}
	}
}
