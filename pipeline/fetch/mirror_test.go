package fetch_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slugfile/slugfile/pipeline/fetch"
	"github.com/slugfile/slugfile/pipeline/pipetest"
)

func TestParseMirror_takesTwoPrefixes(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]fetch.Mirror{
		"https://nodejs.org/dist=http://127.0.0.1:8080/node": {From: "https://nodejs.org/dist", To: "http://127.0.0.1:8080/node"},
		"https://NodeJS.org/=https://mirror.example/":        {From: "https://nodejs.org", To: "https://mirror.example"},
		"https://h/a=b=file:///srv/mirror/":                  {From: "https://h/a=b", To: "file:///srv/mirror"},
	} {
		got, err := fetch.ParseMirror(in)
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v", in, got, err)
		}
	}
	for in, want := range map[string]string{
		"":                            "there is no",
		"https://nodejs.org":          "there is no",
		"http://nodejs.org=https://h": "must be https",
		"nodejs.org=https://h":        "must be an https://",
		"https://h=https://u:p@h":     "user or password",
		"https://h?x=https://h":       "query",
		"https://h=file://other/x":    `names the host "other"`,
		"https://h=file:x":            "absolute path",
		"https://h=file:///a/../b":    `".."`,
		"https://=https://h":          "no host",
		"https://h=https://x?y":       "query",
		"https://h\x00=https://h":     "no address",
	} {
		if _, err := fetch.ParseMirror(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", in, err, want)
		}
	}
}

func TestParseMirror_showsNoCredential(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"https://a/=https://user:canary@b/", "https://a/=https://user:x/canary@b/", "https://user:canary@a/=https://b/",
		"https://user:canary@a/", "https://a/=http://b/?key=canary",
	} {
		if _, err := fetch.ParseMirror(s); err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "mirror \"https://") {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestRun_longestMirrorPrefixWins(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1000)
	other := pipetest.Mirror(t, map[string][]byte{"/n/node.tar.gz": b.archive})
	b.stage.Mirrors = []fetch.Mirror{
		mirror(t, host+"="+b.server.URL),
		mirror(t, host+"/dist="+other.URL+"/n/"),
		mirror(t, host+"/di="+b.server.URL+"/wrong"),
	}
	r := b.runtime()
	r.URL = strings.Replace(r.URL, "runtimes.example", "Runtimes.Example", 1)
	b.mustRun(t, r)
	if n := len(b.server.Requests()); n > 0 {
		t.Errorf("%d requests went to the shorter prefix", n)
	}
}

func TestRun_prefixEndsAtASlash(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1000)
	r := b.runtime()
	r.URL = "https://runtimes.example.evil.invalid" + path
	b.stage.Options.Backoff.Tries = 1
	if _, err := b.run(t, r); err == nil {
		t.Error("the mirror answered for another host")
	}
	if n := len(b.server.Requests()); n > 0 {
		t.Errorf("%d requests", n)
	}
}

func TestRun_readsFilesAndFileMirrors(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1000)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a+b c.tgz"), b.archive, 0o600); err != nil {
		t.Fatal(err)
	}
	base := (&url.URL{Scheme: "file", Path: filepath.ToSlash(dir)}).String()
	b.stage.Mirrors = []fetch.Mirror{mirror(t, host+"/dist="+base)}
	r := b.runtime()
	r.URL = host + "/dist/a%2Bb%20c.tgz"
	b.mustRun(t, r)
	r.Name, r.URL = "direct", base+"/a+b%20c.tgz"
	b.mustRun(t, r)

	for address, want := range map[string]string{
		host + "/dist/absent":            "no such file",
		host + "/dist/../../etc/passwd":  `".."`,
		host + "/dist/%2e%2e/etc/passwd": `".."`,
		base:                             "no regular file",
		"file://elsewhere/x":             `names the host "elsewhere"`,
	} {
		r.URL = address
		if _, err := b.run(t, r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", address, err, want)
		}
	}
}
