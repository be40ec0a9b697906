package heroku

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseNetrc_readsWhatToolsWrite(t *testing.T) {
	t.Parallel()
	e := func(m, l, p string) netrcEntry { return netrcEntry{m, l, p} }
	for name, c := range map[string]struct {
		text string
		want []netrcEntry
		err  string
	}{
		"empty":            {"", nil, ""},
		"the CLI's":        {"machine api.heroku.com\n  login you@example.com\n  password tok\nmachine git.heroku.com\n  login you\n  password tok2\n", []netrcEntry{e("api.heroku.com", "you@example.com", "tok"), e("git.heroku.com", "you", "tok2")}, ""},
		"one line":         {"machine a login b password c account d machine e password f", []netrcEntry{e("a", "b", "c"), e("e", "", "f")}, ""},
		"CRLF":             {"machine a\r\n\tlogin b\r\n\tpassword c\r\n", []netrcEntry{e("a", "b", "c")}, ""},
		"comments":         {"# machine no password no\nmachine a # login x\n  password c\n#end", []netrcEntry{e("a", "", "c")}, ""},
		"hash in password": {"machine a password #c#", []netrcEntry{e("a", "", "#c#")}, ""},
		"quotes":           {`machine "a b" login "" password "c \"d\\ #e"`, []netrcEntry{e("a b", "", `c "d\ #e`)}, ""},
		"macro":            {"machine a password b\nmacdef init\n machine evil password x\ncd /\n\nmachine c password d\n", []netrcEntry{e("a", "", "b"), e("c", "", "d")}, ""},
		"macro to the end": {"macdef init\nmachine evil password x", nil, ""},
		"default ends it":  {"machine a password b\ndefault login x password y\nmachine c password d", []netrcEntry{e("a", "", "b")}, ""},
		"stray keyword":    {"machine a password b\nfoo canary\n", []netrcEntry{e("a", "", "b")}, "line 2: a keyword"},
		"no value":         {"machine a\npassword", []netrcEntry{e("a", "", "")}, "line 2: password has no value"},
		"open quote":       {"machine a\npassword \"canary\n", []netrcEntry{e("a", "", "")}, "line 2: a quote"},
		"password first":   {"password canary machine a password b", []netrcEntry{e("a", "", "b")}, ""},
	} {
		got, err := parseNetrc(c.text)
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(netrcEntry{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if (err == nil) != (c.err == "") || err != nil && (!strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "canary")) {
			t.Errorf("%s: error %v, want %q", name, err, c.err)
		}
	}
}

func TestFindNetrc_prefersHostWithPortThenTheFirst(t *testing.T) {
	t.Parallel()
	entries, err := parseNetrc("machine h password 1 machine H:80 password 2 machine h:80 password 3 machine h password 4")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ with, host, want string }{{"h:80", "h", "2"}, {"h:81", "h", "1"}, {"x:80", "x", ""}, {"", "", ""}} {
		if got, _ := findNetrc(entries, c.with, c.host); got.password != c.want {
			t.Errorf("%s, %s: %q, want %q", c.with, c.host, got.password, c.want)
		}
	}
}

func FuzzParseNetrc(f *testing.F) {
	for _, s := range []string{"machine a login b password c", "macdef x\n\n", "\"", "default", "machine \"a\\", "# x", "machine a\n#b\npassword d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		entries, err := parseNetrc(text)
		if len(entries) > strings.Count(text, "machine") {
			t.Errorf("%d machines in %q", len(entries), text)
		}
		if lines := strings.Count(text, "\n") + 1; err != nil {
			var n int
			if _, scanErr := fmt.Sscanf(err.Error(), "line %d:", &n); scanErr != nil || n < 1 || n > lines {
				t.Errorf("%q: %v names no line of %d", text, err, lines)
			}
		}
	})
}
