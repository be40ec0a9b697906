package tree_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// anyManifest has names of all sorts, and fields that a kind has no use for.
var anyManifest = rapid.Custom(func(t *rapid.T) tree.Manifest {
	name := rapid.StringMatching(`[ab\xff/]{1,12}|(dir/){1,40}[a-z"]`)
	var m tree.Manifest
	for _, p := range rapid.SliceOfNDistinct(name, 0, 8, rapid.ID).Draw(t, "paths") {
		e := tree.Entry{
			Path: p, Kind: rapid.SampledFrom([]tree.Kind{tree.File, tree.Dir, tree.Link}).Draw(t, "kind"),
			Exec: rapid.Bool().Draw(t, "exec"), Size: rapid.OneOf(rapid.Just(int64(0)), rapid.Int64()).Draw(t, "size"),
			Target: rapid.OneOf(rapid.Just(""), rapid.String()).Draw(t, "target"),
		}
		if rapid.Bool().Draw(t, "known") {
			e.Digest = digest.Of([]byte(p))
		}
		m = append(m, e)
	}
	m.Sort()
	return m
})

func packed(t interface{ Fatal(...any) }, m tree.Manifest) []byte {
	b, err := m.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestManifest_survivesItsBinaryForm(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := anyManifest.Draw(t, "tree")
		b := packed(t, m)
		var got tree.Manifest
		if err := got.UnmarshalBinary(b); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		if diff := cmp.Diff(append(tree.Manifest{}, m...), got); diff != "" {
			t.Fatalf("read back (-want +got):\n%s", diff)
		}
		if m.Digest() != digest.Of(b) {
			t.Fatal("the digest is not that of the binary form")
		}
		if len(b) > 0 {
			if err := got.UnmarshalBinary(b[:len(b)-1]); err == nil && len(m) == len(got) {
				t.Fatal("a form without its end is the same tree")
			}
		}
	})
}

func TestManifest_bareDigestKnowsNoDirectoryThatHoldsSomething(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := anyManifest.Draw(t, "tree")
		if got, want := m.BareDigest(), bare(m).Digest(); got != want {
			t.Fatalf("%v: %s, without its directories %s", m, got, want)
		}
	})
	empty := tree.Manifest{{Path: "a", Kind: tree.Dir}}
	if empty.BareDigest() == (tree.Manifest{}).Digest() {
		t.Error("an empty directory is lost")
	}
}

// bare leaves out the directories that hold something.
func bare(m tree.Manifest) tree.Manifest {
	return m.Filter(func(e tree.Entry) bool {
		return e.Kind != tree.Dir || !slices.ContainsFunc(m, func(o tree.Entry) bool { return o.Path != e.Path && tree.Under(o.Path, e.Path) })
	})
}

// What is read from a disk may be anything.
func FuzzManifest_UnmarshalBinary(f *testing.F) {
	f.Add(packed(f, tree.Manifest{file("a/b", "1"), file("a/c", "2"), {Path: "l", Kind: tree.Link, Target: "a/b"}}))
	f.Add([]byte{1, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var m tree.Manifest
		if m.UnmarshalBinary(b) != nil {
			return
		}
		var again tree.Manifest
		if err := again.UnmarshalBinary(packed(t, m)); err != nil || !slices.Equal(m, again) {
			t.Fatalf("%v was read, and written and read again %v (%v)", m, again, err)
		}
	})
}

func BenchmarkManifest_Binary(b *testing.B) {
	m := large()
	text := packed(b, m)
	b.ReportAllocs()
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			if _, err := m.AppendBinary(nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var back tree.Manifest
			if err := back.UnmarshalBinary(text); err != nil {
				b.Fatal(err)
			}
		}
	})
}
