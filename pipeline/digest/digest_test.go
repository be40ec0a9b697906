package digest_test

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/slugfile/slugfile/pipeline/digest"
)

const helloHex = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

func TestParse_acceptsPlainAndPrefixedHex(t *testing.T) {
	t.Parallel()
	for _, s := range []string{helloHex, "sha256:" + helloHex, "SHA256:" + strings.ToUpper(helloHex)} {
		d, err := digest.Parse(s)
		if err != nil || d != digest.Of([]byte("hello")) {
			t.Errorf("Parse(%q) = %v, %v", s, d, err)
		}
	}
}

func TestParse_saysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"":                       "must be 64 hex digits, got 0",
		helloHex[1:]:             "must be 64 hex digits, got 63",
		"md5:" + helloHex:        `unknown algorithm "md5"`,
		strings.Repeat("xy", 32): "not hex",
	} {
		if _, err := digest.Parse(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q): got %v, want an error with %q", s, err, want)
		}
	}
}

func TestDigest_survivesJSON(t *testing.T) {
	t.Parallel()
	type doc struct {
		D digest.Digest `json:"d"`
		Z digest.Digest `json:"z,omitzero"`
	}
	in := doc{D: digest.Of([]byte("hello"))}
	b, err := json.Marshal(in)
	if err != nil || string(b) != `{"d":"`+helloHex+`"}` {
		t.Fatalf("Marshal = %s, %v", b, err)
	}
	var out doc
	if err := json.Unmarshal(b, &out); err != nil || out != in {
		t.Errorf("Unmarshal = %v, %v", out, err)
	}
}

func TestNewReader_passesTheRightBytes(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{-1, 5} {
		r := digest.NewReader(iotest.OneByteReader(strings.NewReader("hello")), "greeting", digest.Of([]byte("hello")), size)
		if b, err := io.ReadAll(r); err != nil || string(b) != "hello" {
			t.Errorf("size %d: %q, %v", size, b, err)
		}
	}
}

func TestNewReader_failsInsteadOfEndingOnWrongBytes(t *testing.T) {
	t.Parallel()
	hello := digest.Of([]byte("hello"))
	for _, c := range []struct {
		bytes string
		size  int64
		want  string
	}{
		{"hellO", 5, "greeting: expected sha256 " + helloHex},
		{"hellO", -1, "greeting: expected sha256 " + helloHex},
		{"hell", 5, "greeting: expected 5 bytes, got 4"},
		{"hello!", 5, "greeting: expected 5 bytes, got 6 or more"},
	} {
		_, err := io.ReadAll(digest.NewReader(strings.NewReader(c.bytes), "greeting", hello, c.size))
		var m *digest.MismatchError
		if !errors.As(err, &m) || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.bytes, err, c.want)
		}
	}
}
