package view

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// hostileTexts are lines that a build or a server may send, with what a terminal may see of them.
var hostileTexts = []struct{ name, in, want string }{
	{"plain", "added 12 packages", "added 12 packages"},
	{"UTF-8", "déjà vu → 日本", "déjà vu → 日本"},
	{"window title", "a\x1b]0;owned\x07b", "ab"},
	{"hyperlink", "a\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\b", "alinkb"},
	{"clipboard", "a\x1b]52;c;ZXZpbA==\x07b", "ab"},
	{"clear screen", "a\x1b[2Jb", "ab"},
	{"cursor up", "a\x1b[10Ab", "ab"},
	{"private mode", "a\x1b[?1049hb", "ab"},
	{"key remap", "a\x1bP1$tx\x1b\\b", "ab"},
	{"reset", "a\x1bcb", "ab"},
	{"charset", "a\x1b(0b", "ab"},
	{"8-bit CSI", "a\u009b2Jb", "ab"},
	{"8-bit OSC", "a\u009d52;c;eA==\u009cb", "ab"},
	{"8-bit byte", "a\x9b2Jb", `a\x9b2Jb`},
	{"lone 8-bit control", "a\u0085b", `a\u0085b`},
	{"direction", "user\u202etxt.exe", `user\u202etxt.exe`},
	{"isolate", "a\u2066b", `a\u2066b`},
	{"tag", "a\U000e0041b", `a\U000e0041b`},
	{"unfinished OSC", "a\x1b]52;c;abc", `a\x1b]52;c;abc`},
	{"unfinished CSI", "a\x1b[12", `a\x1b[12`},
	{"escape in a string", "a\x1b]0;x\x1b[2Jb\x07", `a\x1b]0;xb\x07`},
	{"escape at the end", "a\x1b", `a\x1b`},
	{"bell and backspace", "a\x07\b\x7fb", `a\x07\x08\x7fb`},
	{"line ends", "a\r\nslugfile: done", `a\r\nslugfile: done`},
	{"tab", "a\tb", "a    b"},
	{"colour", "\x1b[31mred\x1b[0m", "red"},
	{"joiner", "👩\u200d💻", "👩\u200d💻"},
}

func TestClean_leavesNothingThatATerminalObeys(t *testing.T) {
	t.Parallel()
	for _, tt := range hostileTexts {
		if got := Clean(tt.in); got != tt.want {
			t.Errorf("%s: Clean(%q) = %q, want %q", tt.name, tt.in, got, tt.want)
		}
	}
}

func TestCleanOutput_keepsColoursOnlyWhereColourIsOn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, on, off string }{
		{"\x1b[1;31mred\x1b[0m ok", "\x1b[1;31mred\x1b[0m ok\x1b[0m", "red ok"},
		{"\x1b[38:5:1mred", "\x1b[38:5:1mred\x1b[0m", "red"},
		{"\x1b[31mred\x1b[2J", "\x1b[31mred\x1b[0m", "red"},
		{"\x1b[?31mred", "red", "red"},
		{"\x1b[>4;2mred", "red", "red"},
		{"\u009b31mred", "red", "red"},
		{" 10%\r 50%\r100%\r\n", "100%", "100%"},
		{"plain\r\n", "plain", "plain"},
	} {
		if got := cleanOutput(tt.in, NewStyle(true)); got != tt.on {
			t.Errorf("with colour: %q becomes %q, want %q", tt.in, got, tt.on)
		}
		if got := cleanOutput(tt.in, Style{}); got != tt.off {
			t.Errorf("without colour: %q becomes %q, want %q", tt.in, got, tt.off)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, tt := range hostileTexts {
		f.Add(tt.in)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Clean(s)
		if !utf8.ValidString(got) {
			t.Fatalf("Clean(%q) = %q is not UTF-8", s, got)
		}
		if i := strings.IndexFunc(got, hostile); i >= 0 {
			t.Fatalf("Clean(%q) = %q has a control character at %d", s, got, i)
		}
		if again := Clean(got); again != got {
			t.Fatalf("Clean(%q) = %q, and cleaning that again gives %q", s, got, again)
		}
		coloured := cleanOutput(s, NewStyle(true))
		if rest := withoutColours(coloured); strings.IndexFunc(rest, hostile) >= 0 {
			t.Fatalf("cleanOutput(%q) = %q keeps more than colours", s, coloured)
		}
	})
}

// withoutColours drops what only sets colours, and nothing else.
func withoutColours(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		if strings.HasPrefix(s[i:], "\x1b[") {
			end := i + 2
			for end < len(s) && strings.IndexByte("0123456789;:", s[end]) >= 0 {
				end++
			}
			if end < len(s) && s[end] == 'm' {
				i = end + 1
				continue
			}
		}
		b.WriteByte(s[i])
		i++
	}
	return b.String()
}

func TestShorten_keepsBothEndsWithinTheColumns(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   string
		n    int
		want string
	}{
		{"lib/a.js", 10, "lib/a.js"},
		{"node_modules/very/deep/path/index.js", 20, "node_modu…h/index.js"},
		{"日本語日本語日本語", 7, "日…語語"},
		{"abc", 1, "…"},
		{"abc", 0, ""},
	} {
		got := shorten(tt.in, tt.n)
		if width(got) > tt.n {
			t.Errorf("shorten(%q, %d) = %q is %d columns wide", tt.in, tt.n, got, width(got))
		}
		if tt.in != "日本語日本語日本語" && got != tt.want {
			t.Errorf("shorten(%q, %d) = %q, want %q", tt.in, tt.n, got, tt.want)
		}
	}
}

func TestWidth_countsWhatATerminalTakes(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int{
		"web.js": 6, "é": 1, "e\u0301": 1, "日本語": 6, "ﾊﾝ": 2, "ｆｕｌｌ": 8, "한글": 4, "🚀": 2, "⭐": 2, "⚡": 2, "…": 1, "→": 1, "a\u200db": 2, "\U0002000b": 2,
	} {
		if got := width(in); got != want {
			t.Errorf("%q is %d columns wide, not %d", in, got, want)
		}
	}
}
