package diag_test

import (
	"testing"
	"unicode/utf8"

	"github.com/slugfile/slugfile/config/diag"
)

func TestConceal_hidesCredentialsAndKeepsColumns(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"url: https://example.com/a.tgz":                   "url: https://example.com/a.tgz",
		"url: https://user:pass@example.com/a.tgz":         "url: https://*********@example.com/a.tgz",
		"url: https://token@example.com/":                  "url: https://*****@example.com/",
		"url: https://u:pa/s+s@example.com/a # x":          "url: https://********@example.com/a # x",
		"url: https://u:p?s@example.com/a":                 "url: https://*****@example.com/a",
		"url: https://u:p@ss@example.com/a":                "url: https://******@example.com/a",
		"url: https://u:ä@h/":                              "url: https://***@h/",
		"https://packages.example.com/@scope/a.tgz":        "https://packages.example.com/@scope/a.tgz",
		"https://packages.example.com:8443/@scope/a@1.tgz": "https://packages.example.com:8443/@scope/a@1.tgz",
		"https://[::1]:8443/@scope/a@1.tgz":                "https://[::1]:8443/@scope/a@1.tgz",
		"{url: https://h/a?key=secret&x=1, strip: 1}":      "{url: https://h/a?key=******&x=** strip: 1}",
		`"https://h/a?secret"`:                             `"https://h/a?******"`,
		"https://h/a?v=${version}&k=a${b}c":                "https://h/a?v=${version}&k=*${b}*",
		"https://h/a?v=${version":                          "https://h/a?v=*********",
		"one https://a:b@c/ and http://d:e@f/?g=h":         "one https://***@c/ and http://***@f/?g=*",
		"mail me@example.com, see /a?b=c":                  "mail me@example.com, see /a?b=c",
		"run: curl https://example.com/$VERSION?a=b | sh ": "run: curl https://example.com/$VERSION?a=* | sh ",
	} {
		got := diag.Conceal(in)
		if got != want {
			t.Errorf("%s\nbecomes %s\nwant    %s", in, got, want)
		}
		if utf8.RuneCountInString(got) != utf8.RuneCountInString(in) {
			t.Errorf("%s: the columns have moved", in)
		}
	}
}

func TestPassword_isFoundInWhatIsNoAddressToo(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"http://user:pass@proxy:3128": "pass", "http://user:p/a+s?s@proxy:3128": "p/a+s?s", "user:pass@proxy:3128": "pass",
		"http://proxy:3128": "", "proxy:3128": "", "http://user@proxy": "", "socks5://u:p@h": "p", "": "",
	} {
		if got := diag.Password(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
