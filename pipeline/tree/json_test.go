package tree_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/tree"
)

func TestManifest_isNotChangedByJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.Map(rapid.OneOf(
			rapid.SliceOfN(rapid.Byte(), 1, 20),
			rapid.Map(rapid.StringMatching(`[a-z"\\<>&é\x{fffd}\x{2028}]{1,8}`), func(s string) []byte { return []byte(s) }),
		), func(b []byte) string { return string(b) })
		var m tree.Manifest
		for range rapid.IntRange(0, 4).Draw(t, "entries") {
			e := tree.Entry{Path: name.Draw(t, "path"), Kind: rapid.SampledFrom([]tree.Kind{tree.File, tree.Dir, tree.Link}).Draw(t, "kind")}
			switch e.Kind {
			case tree.File:
				e.Exec, e.Size, e.Digest = rapid.Bool().Draw(t, "exec"), rapid.Int64Min(0).Draw(t, "size"), digest.Of([]byte(e.Path))
			case tree.Link:
				e.Target = name.Draw(t, "target")
			}
			m = append(m, e)
		}
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var got tree.Manifest
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if diff := cmp.Diff(m, got); diff != "" {
			t.Fatalf("read back from %s (-want +got):\n%s", b, diff)
		}
		if m == nil {
			b = []byte("[]")
		}
		if want, err := json.Marshal(libraryForm(m)); err != nil || string(want) != string(b) {
			t.Fatalf("%s: encoding/json writes %s (%v)", b, want, err)
		}
	})
}

type libraryEntry struct {
	Path        string         `json:"path,omitempty"`
	PathBytes   []byte         `json:"path_bytes,omitempty"`
	Kind        tree.Kind      `json:"kind"`
	Exec        bool           `json:"exec,omitempty"`
	Size        int64          `json:"size,omitempty"`
	Digest      *digest.Digest `json:"digest,omitempty"`
	Target      string         `json:"target,omitempty"`
	TargetBytes []byte         `json:"target_bytes,omitempty"`
}

// libraryForm is the form as the library writes it.
func libraryForm(m tree.Manifest) []libraryEntry {
	out := []libraryEntry{}
	for _, e := range m {
		r := libraryEntry{Path: e.Path, Kind: e.Kind, Exec: e.Exec, Size: e.Size, Target: e.Target}
		if !utf8.ValidString(e.Path) {
			r.Path, r.PathBytes = "", []byte(e.Path)
		}
		if !utf8.ValidString(e.Target) {
			r.Target, r.TargetBytes = "", []byte(e.Target)
		}
		if !e.Digest.IsZero() {
			r.Digest = &e.Digest
		}
		out = append(out, r)
	}
	return out
}

func TestEntry_hasThisJSONForm(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]tree.Entry{
		`{"path":"a/b","kind":"dir"}`: {Path: "a/b", Kind: tree.Dir},
		`{"path":"web.js","kind":"file","exec":true,"size":2,"digest":"` + digest.Of([]byte("hi")).String() + `"}`: {
			Path: "web.js", Kind: tree.File, Exec: true, Size: 2, Digest: digest.Of([]byte("hi")),
		},
		`{"path":"\"é\u003c\n","kind":"link","target":"b"}`:         {Path: "\"é<\n", Kind: tree.Link, Target: "b"},
		`{"path_bytes":"/w==","kind":"link","target_bytes":"YYA="}`: {Path: "\xff", Kind: tree.Link, Target: "a\x80"},
	} {
		if got, err := json.Marshal(e); err != nil || string(got) != want {
			t.Errorf("%+v: %s, %v; want %s", e, got, err, want)
		}
	}
}

func TestManifest_namesThatAreNotUTF8HaveTheirOwnDigest(t *testing.T) {
	t.Parallel()
	seen := map[digest.Digest]string{}
	for _, name := range []string{"\xff", "\xfe", "\ufffd", "/w==", "\xff\xff", "�\xff"} {
		for _, e := range []tree.Entry{{Path: name, Kind: tree.Dir}, {Path: "a", Kind: tree.Link, Target: name}} {
			d := tree.Manifest{e}.Digest()
			if other, twice := seen[d]; twice {
				t.Errorf("%#v has the digest of %s", e, other)
			}
			seen[d] = fmt.Sprintf("%#v", e)
		}
	}
}

func TestEntry_refusesAnotherDocument(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{}`, `{"path":"a"}`, `{"kind":"file"}`, `{"path":"a","kind":"fifo"}`, `{"entry":{"path":"a","kind":"file"}}`, `{"path_bytes":"?","kind":"dir"}`, `3`} {
		var e tree.Entry
		if err := json.Unmarshal([]byte(text), &e); err == nil {
			t.Errorf("%s is read as %+v", text, e)
		}
	}
}

// However a manifest is written, it is read as its entries are.
func FuzzManifest_readsAsItsEntries(f *testing.F) {
	sum := digest.Of(nil).String()
	for _, text := range []string{
		`[]`, `null`, `[{"path":"a","kind":"dir"}]`, ` [ { "path" : "a" , "kind" : "dir" } ] `,
		`[{"path":"a","kind":"file","exec":true,"size":12,"digest":"` + sum + `"},{"path":"b","kind":"link","target":"a"}]`,
		`[{"path":"a","kind":"file","size":012}]`, `[{"path":"a","kind":"file","size":+1}]`, `[{"path":"a","kind":"file","digest":"` + sum[2:] + `"}]`,
		`[{"path":"a","kind":"file","digest":""}]`, `[{"path":"a","kind":"file","digest":"sha256:` + sum + `"}]`,
		`[{"path":"a","kind":"file","exec":false}]`, `[{"path":"a","kind":"file","exec":true,"path":"b"}]`, `[{"path":"\u00e9","kind":"dir"}]`,
		"[{\"path\":\"\xff\",\"kind\":\"dir\"}]", `[{"path_bytes":"/w==","kind":"dir"}]`, `[{"path":"","kind":"dir"}]`, `[{"path":"a","kind":"dir"},]`, `[{"path":"a","kind":"dir"}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var got tree.Manifest
		var want []tree.Entry
		gotErr, wantErr := json.Unmarshal(text, &got), json.Unmarshal(text, &want)
		if (gotErr == nil) != (wantErr == nil) {
			t.Fatalf("%s: manifest %v, entries %v", text, gotErr, wantErr)
		}
		if gotErr == nil && !cmp.Equal([]tree.Entry(got), want) {
			t.Fatalf("%s (-entries +manifest):\n%s", text, cmp.Diff(want, []tree.Entry(got)))
		}
	})
}

// large is the tree of a large app: 40,000 files of ordinary names.
func large() tree.Manifest {
	var m tree.Manifest
	for i := range 40_000 {
		m = append(m, file(fmt.Sprintf("node_modules/package-%04d/lib/module-%02d.js", i/40, i%40), fmt.Sprint(i)))
	}
	return m
}

func BenchmarkManifest_Digest(b *testing.B) {
	m := large()
	for b.Loop() {
		m.Digest()
	}
}

func BenchmarkManifest_JSON(b *testing.B) {
	m := large()
	for b.Loop() {
		text, err := json.Marshal(m)
		if err != nil {
			b.Fatal(err)
		}
		var back tree.Manifest
		if err := json.Unmarshal(text, &back); err != nil {
			b.Fatal(err)
		}
	}
}
