package view

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// anyText is what a server, a file name, a line of a diff or slug.yaml may say: escape sequences
// of all kinds, characters that turn the direction of writing, wide ones, bytes that are no
// text, markup, mentions, and ordinary words.
var anyText = rapid.Custom(func(t *rapid.T) string {
	pieces := rapid.SliceOfN(rapid.SampledFrom([]string{
		"", "a", "web.js", "node_modules/", "/", " ", "  ", "\n", "\r", "\t", "\x00", "\x07", "\x7f", "\x1b", "\x1b[2J", "\x1b[31mred\x1b[0m", "\x1b]0;owned\x07",
		"\x1b]8;;http://evil.example\x1b\\", "\x1bP1$r\x1b\\", "\u0085", "\u009b2J", "\u009d0;x\u009c", "\u202e", "\u2066", "\u2069", "\u200f", "\u200b", "\ufeff", "\u2028", "\U000e0041",
		"\xff", "\xc3", "日本語", "🚀", "e\u0301", "a-word-that-is-longer-than-half-of-a-line-of-eighty-columns-is-wide", "|", "\\|", "`", "``", "```\n", "~~~", "<b>", "</details>", "<!--",
		"@octocat", "@org/team", "ops@example.com", "[x](http://evil.example)", "![x](http://evil.example)", "https://evil.example", "www.evil.example", "#1", "GH-1", "org/repo#1", "*x*", "_x_", "&lt;", "- ", "1. ", "# ", "> ", "+", "-", "~", "\\",
	}), 0, 12).Draw(t, "pieces")
	return strings.Join(pieces, "")
})

// anyPlan has something, or nothing, in every field.
var anyPlan = rapid.Custom(func(t *rapid.T) plan.Plan {
	var p plan.Plan
	fill(t, reflect.ValueOf(&p).Elem())
	p.Work = plan.Work{} // no part of the document
	return p
})

// fill puts a random value into every field that v has.
func fill(t *rapid.T, v reflect.Value) {
	switch x := v.Addr().Interface().(type) {
	case *plan.Work:
		return
	case *plan.Action:
		*x = rapid.OneOf(
			rapid.SampledFrom([]plan.Action{plan.Add, plan.Remove, plan.Change, plan.Keep, plan.Unknown}),
			rapid.Map(anyText, func(s string) plan.Action { return plan.Action(s) }),
		).Draw(t, "action")
		return
	case *digest.Digest:
		if rapid.Bool().Draw(t, "known") {
			*x = digest.Of([]byte{rapid.Byte().Draw(t, "digest")})
		}
		return
	case *tree.Entry:
		*x = tree.Entry{
			Path: "x" + anyText.Draw(t, "path"), Kind: rapid.SampledFrom([]tree.Kind{tree.File, tree.Dir, tree.Link}).Draw(t, "kind"),
			Size: rapid.Int64Range(0, 1<<40).Draw(t, "size"), Exec: rapid.Bool().Draw(t, "exec"), Target: anyText.Draw(t, "target"),
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "set") {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem())
		}
	case reflect.Slice:
		n := rapid.IntRange(0, 3).Draw(t, "len")
		if v.Type() == reflect.TypeFor[[]plan.FileChange]() && rapid.Bool().Draw(t, "many") {
			n = rapid.IntRange(15, 40).Draw(t, "files")
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(t, v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range rapid.IntRange(0, 2).Draw(t, "len") {
			value := reflect.New(v.Type().Elem()).Elem()
			fill(t, value)
			v.SetMapIndex(reflect.ValueOf(anyText.Draw(t, "key")), value)
		}
	case reflect.String:
		if name := rapid.SampledFrom([]string{"", plan.DriftRelease, plan.DriftRollback, plan.DriftStack, plan.DriftConfig, plan.Runs, plan.Open}).Draw(t, "word"); name != "" {
			v.SetString(name)
			return
		}
		v.SetString(anyText.Draw(t, "text"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.Int64Range(-1, 1<<40).Draw(t, "int"))
	default:
		t.Fatalf("no random %s", v.Type())
	}
}

func draw(t interface{ Fatal(...any) }, p plan.Plan, o PlanOptions) string {
	var b bytes.Buffer
	if err := Plan(&b, p, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPlan_letsNoForeignTextControlTheTerminal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := anyPlan.Draw(t, "plan")
		o := PlanOptions{Verbose: rapid.Bool().Draw(t, "verbose"), Style: NewStyle(rapid.Bool().Draw(t, "colour"))}
		text := draw(t, p, o)
		if o.Style.colour {
			text = withoutColours(text)
		}
		whole := false // in what is wrapped with its addresses whole, a long word may have a line
		for _, l := range strings.Split(text, "\n") {
			for _, r := range l {
				if unicode.In(r, unicode.Cc, unicode.Bidi_Control) || hostile(r) {
					t.Fatalf("%U in %q", r, l)
				}
			}
			first, rest, _ := strings.Cut(l, " ")
			starts := first == "hint:" || first == "warning:" || first == "problem:"
			whole = starts || whole && strings.HasPrefix(l, "    ")
			if width(l) > 80 && (!whole || strings.Contains(strings.TrimSpace(rest), " ")) {
				t.Fatalf("%d columns: %q", width(l), l)
			}
		}
	})
}

// asDocument writes a plan as plan --json does, and reads it.
func asDocument(t interface{ Fatal(...any) }, p plan.Plan) plan.Plan {
	var b bytes.Buffer
	if err := WriteDocument(&b, p); err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(&b)
	d.DisallowUnknownFields()
	var read plan.Plan
	if err := d.Decode(&read); err != nil {
		t.Fatal(err)
	}
	return read
}

func TestPlan_drawsNothingThatIsNotInTheDocument(t *testing.T) {
	t.Parallel()
	for name, p := range plans() {
		for _, o := range []PlanOptions{{}, {Verbose: true}} {
			if d := cmp.Diff(draw(t, p, o), draw(t, asDocument(t, p), o)); d != "" {
				t.Errorf("%s (-plan +document):\n%s", name, d)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		p := anyPlan.Draw(t, "plan")
		read := asDocument(t, p)
		o := PlanOptions{Verbose: rapid.Bool().Draw(t, "verbose")}
		if d := cmp.Diff(draw(t, p, o), draw(t, read, o)); d != "" {
			t.Fatalf("(-plan +document):\n%s", d)
		}
	})
}

func TestPlan_isWholeInItsDocument(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		// Once through JSON, bytes that are not text and empty lists are as they stay.
		p := asDocument(t, anyPlan.Draw(t, "plan"))
		if d := cmp.Diff(p, asDocument(t, p)); d != "" {
			t.Fatalf("(-before +after):\n%s", d)
		}
	})
}
