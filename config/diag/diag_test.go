package diag_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/config/diag"
)

func TestText_isTheStandardForm(t *testing.T) {
	t.Parallel()
	d := diag.Diagnostic{
		Pos: diag.Pos{File: "slug.yaml", Line: 14, Column: 13}, Path: "files[1].mode", Message: "must be a string, not the number 755",
		Snippet: "      mode: 755", Hint: `quote it: "0755"`,
	}
	want := `slug.yaml:14:13: files[1].mode: must be a string, not the number 755
    14 |       mode: 755
       |             ^
hint: quote it: "0755"
`
	if diff := cmp.Diff(want, d.Text()); diff != "" {
		t.Error(diff)
	}
}

func TestText_putsTheCaretUnderTheColumn(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, snippet, at string
	}{
		{"tab", "a:\tb", "b"},
		{"characters, not bytes", "é: ü", "ü"},
		{"escaped character before", "a: \x1bz", "z"},
		{"long line, in the middle", strings.Repeat("x", 300) + "Z" + strings.Repeat("y", 300), "Z"},
		{"long line, at the end", strings.Repeat("x", 300) + "Z", "Z"},
		{"long line, at the start", "Z" + strings.Repeat("x", 300), "Z"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			before, _, _ := strings.Cut(tc.snippet, tc.at)
			column := len([]rune(before)) + 1
			text := diag.Diagnostic{Pos: diag.Pos{File: "f", Line: 1, Column: column}, Message: "m", Snippet: tc.snippet}.Text()
			lines := strings.Split(text, "\n")
			caret := len([]rune(lines[2])) - 1
			if got := string([]rune(lines[1])[caret]); got != tc.at {
				t.Errorf("the caret is under %q:\n%s", got, text)
			}
			if n := len([]rune(lines[1])); n > 120 {
				t.Errorf("a line of %d characters:\n%s", n, text)
			}
		})
	}
}

func TestText_escapesWhatATerminalWouldObey(t *testing.T) {
	t.Parallel()
	d := diag.Diagnostic{Pos: diag.Pos{File: "f\x1b]0;x\a", Line: 1, Column: 1}, Path: "a\u202eb", Message: "m\x1b[31m\n\x9b", Snippet: "s\x1b[2J\u009b", Hint: "h\r\x00"}
	got := d.Text()
	for _, r := range got {
		if r != '\n' && (r < 0x20 || r >= 0x7f) {
			t.Errorf("%U in %q", r, got)
		}
	}
	if strings.Count(got, "\n") != 4 {
		t.Errorf("want four lines: %q", got)
	}
}

func TestText_leavesOutWhatIsNotKnown(t *testing.T) {
	t.Parallel()
	if got := (diag.Diagnostic{Message: "m", Snippet: "s"}).Text(); got != "m\n" {
		t.Errorf("%q", got)
	}
	if got := (diag.Diagnostic{Pos: diag.Pos{File: "f", Line: 3}, Message: "m"}).Text(); got != "f:3: m\n" {
		t.Errorf("%q", got)
	}
}

func TestNearest_forgivesAsMuchAsTheWordIsLong(t *testing.T) {
	t.Parallel()
	known := []string{"sha256", "strip", "into", "only", "build_only", "url"}
	for word, want := range map[string]string{
		"sha-256": "sha256", "SHA256": "sha256", "buildOnly": "build_only", "Build-Only": "build_only", "ulr": "url", "stripe": "strip",
		"checksum": "", "x": "", "": "", "language": "",
	} {
		got, ok := diag.Nearest(word, known)
		if got != want && ok || ok != (want != "") {
			t.Errorf("%s: %q, %v; want %q", word, got, ok, want)
		}
	}
}

func TestList_sortsAndDropsRepeats(t *testing.T) {
	t.Parallel()
	at := func(line, column int, message string) diag.Diagnostic {
		return diag.Diagnostic{Pos: diag.Pos{File: "f", Line: line, Column: column}, Message: message}
	}
	l := diag.List{at(2, 1, "c"), at(1, 5, "b"), at(2, 1, "c"), at(1, 2, "a")}
	l.Sort()
	if diff := cmp.Diff(diag.List{at(1, 2, "a"), at(1, 5, "b"), at(2, 1, "c")}, l); diff != "" {
		t.Error(diff)
	}
	if l[:0].Err() != nil || l.Err() == nil {
		t.Error("an empty list is no error, another is")
	}
}
