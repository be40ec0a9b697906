package view

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sebdah/goldie/v2"
	"pgregory.net/rapid"

	"github.com/slugfile/slugfile/pipeline/plan"
)

func markdown(t interface{ Fatal(...any) }, p plan.Plan, o PlanOptions) string {
	var b bytes.Buffer
	if err := PlanMarkdown(&b, p, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPlanMarkdown_isDrawnFromTheDocument(t *testing.T) {
	t.Parallel()
	for name, p := range plans() {
		text := markdown(t, p, PlanOptions{})
		if d := cmp.Diff(text, markdown(t, asDocument(t, p), PlanOptions{})); d != "" {
			t.Errorf("%s (-plan +document):\n%s", name, d)
		}
		if err := onlyOurs(text); err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
		goldie.New(t).Assert(t, "plan-"+name+"-markdown", []byte(text))
	}
}

func TestPlanMarkdown_isOneLineWhenNothingChanges(t *testing.T) {
	t.Parallel()
	p := plans()["none"]
	p.Withheld = nil
	if got, want := markdown(t, p, PlanOptions{}), "`example` on `heroku-24`, now v12, released 2 h ago: **No changes. slug.yaml matches release v12.**\n"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestPlanMarkdown_letsNoForeignTextBeMarkup(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := anyPlan.Draw(t, "plan")
		text := markdown(t, p, PlanOptions{Verbose: rapid.Bool().Draw(t, "verbose")})
		if err := onlyOurs(text); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	})
}

func TestPlanMarkdown_staysBelowTheLimitOfAComment(t *testing.T) {
	t.Parallel()
	p := plans()["usual"]
	for i := range 3000 {
		path := fmt.Sprintf("lib/part%04d/a file with | and <b>.js", i)
		f := plan.FileChange{Action: plan.Change, Path: path, Before: file(path, 10), After: file(path, 20)}
		if i%3 == 0 {
			f.Diff = "@@ -1 +1 @@\n" + strings.Repeat("+a line of a diff\n", 200)
		}
		p.Files = append(p.Files, f)
		p.Warnings = append(p.Warnings, plan.Warning{Message: strings.Repeat("@warning ", 40)})
	}
	for _, o := range []PlanOptions{{}, {Verbose: true}} {
		for _, p := range []plan.Plan{p, {Changed: true, Files: p.Files, FilesKnown: true}} {
			text := markdown(t, p, o)
			if len(text) > commentLimit {
				t.Errorf("%d bytes", len(text))
			}
			if !strings.Contains(text, "Left out, since a comment has an end: ") {
				t.Errorf("nothing is said of what is left out: %s", text[len(text)-300:])
			}
			if err := onlyOurs(text); err != nil {
				t.Error(err)
			}
		}
	}
}

// onlyOurs reads Markdown as GitHub does, as far as what this package writes goes, and reports
// markup that it did not write.
func onlyOurs(text string) error {
	if !strings.HasSuffix(text, "\n") {
		return fmt.Errorf("no line end at the end")
	}
	open, marks := 0, ""
	for i, l := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		bad := func(what string) error { return fmt.Errorf("line %d: %s: %q", i+1, what, l) }
		if strings.IndexFunc(l, hostile) >= 0 {
			return bad("a control character")
		}
		if marks != "" {
			run := strings.TrimLeft(l, " ")
			if strings.Trim(run, "`") == "" && len(run) >= len(marks) && len(l)-len(run) <= 3 {
				if l != marks {
					return bad("closes the fence")
				}
				marks = ""
			}
			continue
		}
		if rest := strings.TrimLeft(l, "`"); rest == "diff" && len(l)-len(rest) >= 3 {
			marks = l[:len(l)-len(rest)]
			continue
		}
		switch l {
		case "<details>":
			open++
			continue
		case "</details>":
			open--
			continue
		case "| | part | what | how |", "| --- | --- | --- | --- |", "| at the top | unpacked | |", "| --- | ---: | ---: |", "":
			continue
		}
		if rest, ok := strings.CutPrefix(l, "<summary>"); ok {
			l = strings.TrimSuffix(rest, "</summary>")
		} else if !startsAsOurs(l) {
			return bad("another kind of line")
		}
		if strings.HasPrefix(l, "| ") {
			if n := strings.Count(strings.ReplaceAll(l, `\|`, ""), "|"); strings.Contains(l, `\\|`) || n != 5 && n != 4 {
				return bad(fmt.Sprintf("%d bars", n))
			}
			l = strings.ReplaceAll(strings.ReplaceAll(l, `\|`, "x"), "|", "")
		}
		outside, ok := withoutCode(l)
		if !ok {
			return bad("a backtick that is in no code")
		}
		outside = strings.TrimPrefix(strings.ReplaceAll(outside, "**", ""), "> ")
		for _, s := range []string{"<", ">", "@", "[", "]", "*", "_", "~", "!", "|", "\\", "$", "://", "www.", "WWW."} {
			if strings.Contains(outside, s) {
				return bad("has " + s + " outside of code")
			}
		}
		for i, r := range strings.TrimPrefix(outside, "###") {
			// An entity is "&#" and digits.
			if r == '#' && (i == 0 || strings.TrimPrefix(outside, "###")[i-1] != '&') {
				return bad("has # outside of code")
			}
		}
	}
	if open != 0 || marks != "" {
		return fmt.Errorf("%d details and the fence %q are open at the end", open, marks)
	}
	return nil
}

func startsAsOurs(l string) bool {
	for _, prefix := range []string{"### Plan for ", "**Plan: ", "**No changes. ", "> **", "> Hint: ", "| `", "| files at the top |", "| ", "- `", "- : ", "- and elsewhere: ", "- more is known after ", "Left out, ", "`", "the slug"} {
		if strings.HasPrefix(l, prefix) {
			return true
		}
	}
	return false
}

// withoutCode takes the code spans out of a line: a run of backticks, up to the next of the same
// length. It reports whether every backtick is part of one.
func withoutCode(l string) (outside string, ok bool) {
	for {
		at := strings.IndexByte(l, '`')
		if at < 0 {
			return outside + l, true
		}
		outside += l[:at]
		l = l[at:]
		n := len(l) - len(strings.TrimLeft(l, "`"))
		end := -1
		for i := n; i < len(l); {
			run := len(l[i:]) - len(strings.TrimLeft(l[i:], "`"))
			if run == n {
				end = i
				break
			}
			i += max(run, 1)
		}
		if end < 0 {
			return outside, false
		}
		outside += " "
		l = l[end+n:]
	}
}

func TestProse_keepsWordsReadable(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"inputs changed: src/a.js and 2 more":    "inputs changed: src/a.js and 2 more",
		"released by ops@example.com":            "released by ops&#64;&#8203;example.com",
		"see https://example.com/x or www.a.b":   "see https&#58;//example.com/x or www&#46;a.b",
		"a|b `c` <d> [e](f) *g* h_i #7 GH-7 ~j~": "a&#124;b &#96;c&#96; &lt;d&gt; &#91;e&#93;(f) &#42;g&#42; h&#95;i &#35;&#8203;7 GH-&#8203;7 &#126;j&#126;",
		"&lt;":                                   "&amp;lt;",
		"line\nend\x1b[2J":                       "line&#92;nend&#92;x1b&#91;2J",
	} {
		if got := prose(in); got != want {
			t.Errorf("%q:\ngot  %s\nwant %s", in, got, want)
		}
	}
}

func TestCode_isClosedByNothingInIt(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"web.js": "`web.js`", "": "", "a`b": "``a`b``", "``": "``` `` ```", "`a": "`` `a ``", "@octocat": "`@octocat`",
	} {
		if got := code(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
	if got := code(" a "); got != "`  a  `" {
		t.Errorf("a name between blanks: %s", got)
	}
	for in, want := range map[string]string{"a | b || c": "`a \\| b \\|\\| c`", `a \| b`: "a &#92;&#124; b"} {
		if got := cell(in); got != want {
			t.Errorf("cell %q: got %s, want %s", in, got, want)
		}
	}
}
