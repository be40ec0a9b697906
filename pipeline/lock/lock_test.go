package lock_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/lock"
)

var sum = digest.Of([]byte("bytes"))

func TestBytes_areSortedAndDependOnThePinsAlone(t *testing.T) {
	t.Parallel()
	pins := []lock.Pin{
		{Name: "ruby", URL: "https://example.com/ruby-3.4.tgz", SHA256: sum, Size: 3},
		{Name: "node", URL: "https://example.com/node-v22.tar.xz", SHA256: sum, Size: 2},
		{Name: "node", URL: "https://example.com/node-v20.tar.xz", SHA256: sum, Size: 1},
	}
	want := fmt.Sprintf(`# The bytes that every runtime's URL must have. Written by slugfile lock.
- name: node
  url: https://example.com/node-v20.tar.xz
  sha256: %[1]s
  size: 1
- name: node
  url: https://example.com/node-v22.tar.xz
  sha256: %[1]s
  size: 2
- name: ruby
  url: https://example.com/ruby-3.4.tgz
  sha256: %[1]s
  size: 3
`, sum)
	for range 10 {
		rand.Shuffle(len(pins), func(i, j int) { pins[i], pins[j] = pins[j], pins[i] })
		f := &lock.File{Pins: slices.Clone(pins)}
		if d := cmp.Diff(want, string(f.Bytes())); d != "" {
			t.Fatalf("bytes (-want +got):\n%s", d)
		}
	}
}

func TestParse_readsBackWhatBytesWrote(t *testing.T) {
	t.Parallel()
	files := map[string]*lock.File{
		"empty": {Pins: []lock.Pin{}},
		"names that YAML takes for something else": {Pins: []lock.Pin{
			{Name: "1.10", URL: "https://h/1", SHA256: sum, Size: 1},
			{Name: "No", URL: "https://h/2", SHA256: sum, Size: 1},
			{Name: "null", URL: "https://h/3", SHA256: sum, Size: 1},
			{Name: "a\"b\\c\nd\u0085e\u2028f\ufeffg", URL: "https://h/4", SHA256: sum, Size: 1},
			{Name: "-", URL: "https://h/5", SHA256: sum, Size: 1},
		}},
		"odd addresses": {Pins: []lock.Pin{
			{Name: "a", URL: "file:///srv/a b.tgz", SHA256: sum, Size: 1},
			{Name: "a", URL: "https://h/x#y", SHA256: sum, Size: 1},
			{Name: "a", URL: "https://h:", SHA256: sum, Size: 1},
			{Name: "a", URL: "https://h/%2B?a=1&b=2", SHA256: sum, Size: 1 << 40},
		}},
		"digests that are numbers to YAML": {Pins: []lock.Pin{
			{Name: "a", URL: "https://h/1", SHA256: digest.MustParse(strings.Repeat("12345678", 8)), Size: 1},
			{Name: "a", URL: "https://h/2", SHA256: digest.MustParse("1e" + strings.Repeat("12345678", 7) + "123456"), Size: 1},
			{Name: "a", URL: "https://h/3", SHA256: digest.MustParse(strings.Repeat("0", 63) + "1"), Size: 1},
		}},
	}
	for name, want := range files {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := want.Bytes()
			got, faults := lock.Parse("slug.lock", text)
			if len(faults) > 0 {
				t.Fatalf("parse: %v\n%s", faults, text)
			}
			want.Sort()
			if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
				t.Errorf("read back (-want +got):\n%s\n%s", d, text)
			}
		})
	}
}

func TestParse_reportsEveryFaultInOnePass(t *testing.T) {
	t.Parallel()
	text := `- name: node
  url: https://h/a
  sha256: abc
  size: 12
- nmae: node
  url: 3
  sha256: ` + strings.Repeat("g", 64) + `
  size: twelve
- plain
- name: [x]
  url: ""
  sha256: ` + strings.Repeat("0", 64) + `
  size: 0
- name: ruby
  url: https://h/b
  sha256: ` + sum.String() + `
  size: 0x10
- name: ruby
  url: https://h/b?X-Amz-Signature=1
  sha256: sha256:` + sum.String() + `
  size: 1
`
	f, faults := lock.Parse("slug.lock", []byte(text))
	if f != nil {
		t.Error("a file with faults was returned")
	}
	want := []string{
		`slug.lock:3:11: [0].sha256: must be 64 hex digits, got 3 characters`,
		`slug.lock:5:3: [1]: name is missing`,
		`slug.lock:5:3: [1]: unknown key "nmae": the keys are name, url, sha256 and size`,
		`slug.lock:6:8: [1].url: must be a string, not 3; quote it`,
		`slug.lock:7:11: [1].sha256: must be 64 hex digits, got "` + strings.Repeat("g", 64) + `"`,
		`slug.lock:8:9: [1].size: must be a number of bytes, such as 27800000, not twelve`,
		`slug.lock:9:3: [2]: must be a mapping with name, url, sha256 and size`,
		`slug.lock:10:9: [3].name: must be a string`,
		`slug.lock:11:8: [3].url: must not be empty`,
		`slug.lock:12:11: [3].sha256: must not be all zeros`,
		`slug.lock:13:9: [3].size: must be a number of bytes, such as 27800000, not 0`,
		`slug.lock:17:9: [4].size: must be a number of bytes, such as 27800000, not 0x10`,
		`slug.lock:18:3: [5]: the same name and url stand in line 14 already`,
		`slug.lock:20:11: [5].sha256: must be 64 hex digits, got "sha256:` + sum.String() + `"`,
	}
	if d := cmp.Diff(want, strings.Split(faults.Error(), "\n")); d != "" {
		t.Errorf("faults (-want +got):\n%s", d)
	}
	for _, d := range faults {
		if d.Hint == "" || d.Snippet == "" {
			t.Errorf("%v: no hint or no snippet", d)
		}
	}
}

func TestParse_refusesWhatIsNoList(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                     "the file is empty",
		"node: x\n":            "must be a list of pins",
		"hello\n":              "must be a list of pins",
		"[]\n---\n[]\n":        "a second document",
		"- {name: a, name: b}": "name",
		"- name: 'x":           "never closed",
	} {
		f, faults := lock.Parse("slug.lock", []byte(text))
		if f != nil || !strings.Contains(faults.Error(), want) {
			t.Errorf("%q: got %v, want a fault with %q", text, faults, want)
		}
	}
}

func TestUnsigned_dropsSignaturesAndNothingElse(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://h/a%2Bb?x=1&&y=%41":                                      "https://h/a%2Bb?x=1&&y=%41",
		"https://h/a?X-Amz-Signature=s&X-Amz-Date=d":                      "https://h/a",
		"https://h/a?version=2&x-amz-signature=s&Expires=1":               "https://h/a?version=2",
		"https://b.blob.example/a?sv=1&sp=r&sig=abc&comp=list":            "https://b.blob.example/a?comp=list",
		"https://user:pass@h/a":                                           "https://h/a",
		"https://h/a?X%2DAmz%2DSignature=s":                               "https://h/a",
		"https://h/a?mode=json&include=all":                               "https://h/a?mode=json&include=all",
		"https://h/a?response-content-disposition=x&Signature=1&Policy=2": "https://h/a?response-content-disposition=x",
	} {
		if got := lock.Unsigned(in); got != want {
			t.Errorf("Unsigned(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestFind_looksPastSignatures(t *testing.T) {
	t.Parallel()
	f := &lock.File{Pins: []lock.Pin{{Name: "node", URL: "https://h/n.tgz", SHA256: sum, Size: 1}}}
	if _, ok := f.Find("node", "https://h/n.tgz?X-Amz-Signature=abc"); !ok {
		t.Error("a signed address is not found")
	}
	for _, other := range [][2]string{{"ruby", "https://h/n.tgz"}, {"node", "https://h/n.tgz?v=2"}, {"node", "https://h/m.tgz"}} {
		if _, ok := f.Find(other[0], other[1]); ok {
			t.Errorf("%v is found", other)
		}
	}
	var none *lock.File
	if _, ok := none.Find("node", "https://h/n.tgz"); ok {
		t.Error("a missing lock file has a pin")
	}
}

func FuzzParse(f *testing.F) {
	f.Add((&lock.File{Pins: []lock.Pin{{Name: "a", URL: "https://h/a", SHA256: sum, Size: 1}}}).Bytes())
	f.Add([]byte("[]"))
	f.Add([]byte("- name: a\n  url: b\n  sha256: c\n  size: 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, faults := lock.Parse("slug.lock", text)
		if (file == nil) != (len(faults) > 0) {
			t.Fatalf("file %v beside faults %v", file, faults)
		}
		if file == nil {
			return
		}
		printed := file.Bytes()
		again, faults := lock.Parse("slug.lock", printed)
		if len(faults) > 0 {
			t.Fatalf("its own text is refused: %v\n%s", faults, printed)
		}
		if string(again.Bytes()) != string(printed) {
			t.Fatalf("not stable:\n%s\n%s", printed, again.Bytes())
		}
	})
}
