package transport_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/slugfile/slugfile/pipeline/transport"
)

const token = "HRKU-0a1b2c3d+/ 4e5f"

func TestRedactor_findsEveryFormOfAValue(t *testing.T) {
	t.Parallel()
	r := transport.NewRedactor(token, "", "abc", "q\"uote\\d\n")
	quoted, err := json.Marshal("q\"uote\\d\n")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"itself":      "Authorization: Bearer " + token + "\n",
		"twice":       token + token,
		"query":       "?key=" + url.QueryEscape(token),
		"path":        "/" + url.PathEscape(token) + "/",
		"json":        string(quoted),
		"base64":      base64.StdEncoding.EncodeToString([]byte(token)),
		"basic":       base64.StdEncoding.EncodeToString([]byte(":" + token)),
		"basic a":     base64.StdEncoding.EncodeToString([]byte("a:" + token)),
		"basic login": base64.StdEncoding.EncodeToString([]byte("you@example.com:" + token)),
		"base64url":   base64.RawURLEncoding.EncodeToString([]byte("ab" + token)),
	} {
		got := r.String("before " + text + " after")
		if !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") || !strings.Contains(got, "***") {
			t.Errorf("%s: %q", name, got)
		}
		for _, part := range []string{token, "HRKU-0a1b2c3d", base64.RawStdEncoding.EncodeToString([]byte(token))[4:12], "uote"} {
			if strings.Contains(got, part) {
				t.Errorf("%s: %q still holds %q", name, got, part)
			}
		}
	}
	if in := "abc stays, as does HRKU-0a1b2c3"; r.String(in) != in {
		t.Errorf("%q was changed to %q", in, r.String(in))
	}
}

func TestRedactor_findsTheLinesOfAKey(t *testing.T) {
	t.Parallel()
	r := transport.NewRedactor("-----BEGIN KEY-----\nMIIEowIBAAKCAQEA1\r\nx==\n-----END KEY-----\n")
	if got := r.String("line 2: MIIEowIBAAKCAQEA1\r\n"); got != "line 2: ***\r\n" {
		t.Errorf("%q", got)
	}
	if got := r.String("x=="); got != "x==" {
		t.Errorf("%q: a short line is hidden everywhere", got)
	}
}

func TestRedactWriter_findsAValueSplitAnywhere(t *testing.T) {
	t.Parallel()
	text := "one " + token + " two HRKU-not three " + token + token[:6]
	want := transport.NewRedactor(token).String(text)
	for i := range len(text) {
		for _, j := range []int{i, i + 1, i + 3, len(text)} {
			j = min(j, len(text))
			var out bytes.Buffer
			w := transport.NewRedactor(token).Writer(&out)
			for _, part := range []string{text[:i], text[i:j], text[j:]} {
				if n, err := io.WriteString(w, part); n != len(part) || err != nil {
					t.Fatalf("Write: %d, %v", n, err)
				}
			}
			if strings.Contains(out.String(), token) {
				t.Fatalf("split at %d and %d: shown before the end", i, j)
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			if out.String() != want {
				t.Fatalf("split at %d and %d: %q, want %q", i, j, out.String(), want)
			}
		}
	}
}

func TestRedactWriter_holdsNothingBackOfOrdinaryLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := transport.NewRedactor(token).Writer(&out)
	for _, line := range []string{"hello\n", "HRKU\n", "[y/N] "} {
		out.Reset()
		if _, err := io.WriteString(w, line); err != nil || out.String() != line {
			t.Errorf("wrote %q, %v; want %q at once", out.String(), err, line)
		}
	}
}

func TestRedactor_takesValuesWhileItIsUsed(t *testing.T) {
	t.Parallel()
	r := transport.NewRedactor()
	w := r.Writer(io.Discard)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				_, _ = io.WriteString(w, "some text "+token)
				r.Add(token)
			}
		})
	}
	wg.Wait()
	if got := r.String(token); got != "***" {
		t.Errorf("%q", got)
	}
}

func FuzzRedactor(f *testing.F) {
	f.Add("secret-value", "text with secret-value", 7)
	f.Add("aaaa", "aaaaaaaab", 3)
	f.Add("abab", "abababab ab", 5)
	f.Fuzz(func(t *testing.T, secret, text string, at int) {
		if len(secret) < 4 || strings.Contains(secret, "*") || len(secret) > 64 {
			return
		}
		whole := transport.NewRedactor(secret).String(text)
		if strings.Contains(whole, secret) {
			t.Errorf("%q still holds %q", whole, secret)
		}
		at = max(0, min(at, len(text)))
		var out bytes.Buffer
		w := transport.NewRedactor(secret).Writer(&out)
		for _, part := range []string{text[:at], text[at:]} {
			if _, err := io.WriteString(w, part); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if out.String() != whole {
			t.Errorf("in two writes %q, in one %q", out.String(), whole)
		}
	})
}
