package yamlnode_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/config/yamlnode"
)

func faults(t *testing.T, text string) string {
	t.Helper()
	_, list := yamlnode.Parse("f", []byte(text))
	return list.Error()
}

func TestParse_namesTheRightLineOfASyntaxError(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, text, want string }{
		{"second colon on line 1", "app: a: b\nstack: x\n", `f:1:7: ": " cannot stand here`},
		{"bad indent", "a:\n  b: 1\n  c: 2\n d: 3\n", "f:4:2: the indentation does not fit the lines above"},
		{"unclosed bracket", "a: 1\nb: [1, 2\nc: 3\nd: 4\n", `f:2:4: this "[" is never closed with "]", or a comma is missing`},
		{"unclosed brace", "a: 1\nb: {x: 1\nc: 3\n", `f:2:4: this "{" is never closed with "}", or a comma is missing`},
		{"unclosed quote", "a: \"x\nb: 1\nc: 2\n", "f:1:4: this quote is never closed"},
		{"unclosed single quote on line 2", "z: 1\na: 'x\nb: 1\n", "f:2:4: this quote is never closed"},
		{"unknown anchor", "a: 1\nb: 2\nc: *nobody\n", "f:3:4: no anchor &nobody stands above this alias"},
		{"tab indent", "a:\n\tb: 1\n", "f:2:1: a tab cannot indent YAML"},
		{"tab after spaces", "a:\n  b: 1\n  \tc: 1\nd: 1\n", "f:3:3: a tab cannot indent YAML"},
		{"at sign", "a: 1\nb: @x\n", `f:2:4: a text cannot begin with "@"`},
		{"text after quote", "a: 1\nb: \"x\" y\nc: 1\n", "f:2:8: nothing can follow a closing quote"},
		{"unknown escape", "a: 1\nb: \"\\d\"\nc: 1\n", "f:2:5: unknown escape in double quotes"},
		{"key without colon", "a: 1\nbcd\ne: 1\n", `f:2:1: this line has no ": " and is no part of a value`},
		{"item in a mapping", "a: 1\n- b\n", "f:2:1: the indentation does not fit the lines above"},
		{"child of a scalar", "a: 1\nb: x\n  c: 1\nd: 2\n", "f:3:3: a key cannot stand here"},
		{"too many brackets", "a: [1]]\nb: 1\n", `f:1:7: this "]" closes nothing`},
		{"CRLF", "a: 1\r\nb: [1\r\nc: 2\r\n", `f:2:4: this "[" is never closed with "]", or a comma is missing`},
		{"BOM", "\ufeffa: b: c\n", `f:1:5: ": " cannot stand here`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, faults(t, tc.text)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParse_refusesBytesThatAreNotYAMLWithTheirPlace(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, text, want string }{
		{"NUL", "a: 1\nbé: x\x00y\n", "f:2:6: a NUL byte cannot stand in YAML"},
		{"bad UTF-8", "a: é\nb: é\xff\n", "f:2:5: the byte 0xff is not UTF-8"},
		{"escape", "a: \x1b[31m\n", "f:1:4: the control character U+001B cannot stand in YAML"},
		{"UTF-16", "\xff\xfea\x00", "f:1:1: the file is UTF-16, not UTF-8"},
		{"after CRLF", "a: 1\r\n\x01", "f:2:1: the control character U+0001 cannot stand in YAML"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, faults(t, tc.text)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParse_refusesWhatWouldHurtOrSurprise(t *testing.T) {
	t.Parallel()
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 9; i++ {
		fmt.Fprintf(&bomb, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	for _, tc := range []struct{ name, text, want string }{
		{"empty", "", "f:1:1: the file is empty"},
		{"comments only", "# nothing\n\n# here\n", "f:1:1: the file is empty"},
		{"start of a document only", "---\n", "f:1:1: the file is empty"},
		{"too large", "a: " + strings.Repeat("x", yamlnode.MaxBytes), "f:1:1: the file is larger than 1 MiB (1048579 bytes)"},
		{"two documents", "a: 1\n---\nb: 1\n", "f:2:1: a second document begins here: one document a file"},
		{"duplicate key", "a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", `f:5:3: b.c: the key "c" stands twice: first at 3:3`},
		{"duplicate key in quotes", "a: 1\n\"a\": 2\n", `f:2:1: a: the key "a" stands twice: first at 1:1`},
		{"merge key", "a: &a {x: 1}\nb:\n  <<: *a\n", `f:3:3: b: the merge key "<<" is not read here`},
		{"tag", "a: !!binary aGk=\nb: !foo x\n", "f:1:4: a: the tag !!binary is not read here\nf:2:4: b: the tag !foo is not read here"},
		{"key that is a list", "? [a]\n: b\n", "f:1:3: a key must be a plain text"},
		{"key without text", ": b\n", "f:1:1: a key is missing before the colon"},
		{"self alias", "a: &a\n  - 1\n  - *a\n", "f:3:5: a[1]: the alias *a stands inside the value that it names"},
		{"alias bomb", bomb.String(), "f:4:38: the file has more than 10000 values, aliases followed"},
		{"many values", "a: [" + strings.Repeat("1,", 10_000) + "]\n", "f:1:19999: the file has more than 10000 values, aliases followed"},
		{"a quote that 4,000 lines do not close", "z: 1\na: \"x\n" + strings.Repeat("b: c\n", 4_000), "f:2:4: this quote is never closed"},
		{"4,900 open brackets", strings.Repeat("[\n", 4_900), "f:1:1: a value is missing, or a bracket is never closed"},
		{"deep nesting", strings.Repeat("[", 20_000), "f:1:1: values are nested more than 10000 deep"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			if diff := cmp.Diff(tc.want, faults(t, tc.text)); diff != "" {
				t.Error(diff)
			}
			// On an idle machine it is under half a second; the bound finds what has no end, also
			// under the race detector on a busy one.
			if d := time.Since(start); d > time.Minute {
				t.Errorf("took %v", d)
			}
		})
	}
}

func TestParse_reportsWeakFaultsTogetherAndKeepsTheTree(t *testing.T) {
	t.Parallel()
	root, list := yamlnode.Parse("f", []byte("a: 1\na: 2\nb: !t 3\n"))
	if len(list) != 2 {
		t.Errorf("want 2 faults, got:\n%v", list)
	}
	if _, v := yamlnode.Find(root, "b"); v == nil || v.Value != "3" {
		t.Errorf("b is lost: %v", v)
	}
	if _, v := yamlnode.Find(root, "a"); v == nil || v.Value != "1" {
		t.Errorf("the first a must count: %v", v)
	}
}

func TestParse_putsCopiesInThePlaceOfAliases(t *testing.T) {
	t.Parallel()
	root, list := yamlnode.Parse("f", []byte("a: &x {k: v}\nb: *x\n"))
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
	places := yamlnode.Index(root)
	got := places["b.k"].Value
	if got.Kind != yamlnode.ScalarNode || got.Value != "v" || got.Line != 2 || got.Column != 4 {
		t.Errorf("b.k = %+v, want v at the alias, 2:4", got)
	}
	if got == places["a.k"].Value {
		t.Error("the alias shares the node of its anchor")
	}
}

func TestParse_acceptsBOMAndCRLF(t *testing.T) {
	t.Parallel()
	root, list := yamlnode.Parse("f", []byte("\ufeffa: é\r\nbé: x\r\n"))
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
	if k, v := yamlnode.Find(root, "bé"); k == nil || k.Line != 2 || v.Column != 5 {
		t.Errorf("key %v, value %v: want line 2, and column 5 in characters", k, v)
	}
	if k, _ := yamlnode.Find(root, "a"); k == nil || k.Column != 1 {
		t.Errorf("the BOM must not count as a column: %v", k)
	}
}

func TestValues_arePlain(t *testing.T) {
	t.Parallel()
	root, list := yamlnode.Parse("f", []byte("i: 12\nh: 0x10\nf: 1.50\nt: 2024-01-02\ns: '1'\nb: true\nno: no\nn:\nl: [1, x]\nbig: 123456789012345678901234567890\n"))
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
	got, list := yamlnode.Values("f", root)
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"i": json.Number("12"), "h": json.Number("16"), "f": json.Number("1.5"), "t": "2024-01-02", "s": "1", "b": true, "no": "no", "n": nil,
		"l": []any{json.Number("1"), "x"}, "big": json.Number("1.2345678901234568e+29"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestValues_refuseInfinity(t *testing.T) {
	t.Parallel()
	root, _ := yamlnode.Parse("f", []byte("a:\n  - .inf\n  - .NaN\n"))
	_, list := yamlnode.Values("f", root)
	want := "f:2:5: a[0]: .inf is not a number that can be used here\nf:3:5: a[1]: .NaN is not a number that can be used here"
	if diff := cmp.Diff(want, list.Error()); diff != "" {
		t.Error(diff)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"a: b\n", "a: &a [*a]", "a: [1\nb: 2", "? [a]\n: b", "\ufeffa: |\n  x\n", "a: 'x\n\n", "--- a\n--- b\n", "<<: {a: 1}\n", "a:\n\t- b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		root, list := yamlnode.Parse("f", []byte(text))
		if root == nil && len(list) == 0 {
			t.Fatal("neither a root nor a fault")
		}
		lines := yamlnode.Lines([]byte(text))
		for _, d := range list {
			if d.Pos.Line < 1 || d.Pos.Line > len(lines) || d.Pos.Column < 1 {
				t.Errorf("the place of %v is outside of the text", d)
			}
		}
		if root == nil {
			return
		}
		for path, p := range yamlnode.Index(root) {
			if p.Value.Line < 1 || p.Value.Line > len(lines) {
				t.Errorf("%s: line %d of %d", path, p.Value.Line, len(lines))
			}
		}
		_, _ = yamlnode.Values("f", root)
	})
}
