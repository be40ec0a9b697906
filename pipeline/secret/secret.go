// Package secret finds credentials in the content of files: private keys, and tokens whose form
// their issuers chose so that they can be found.
//
// It is for what looks at a source tree before it becomes a slug. It says where something stands
// and what kind it is, never what it says; it opens no file. It knows forms, not meanings: a
// password in plain words is not found, and neither is a key that was encrypted or encoded again.
package secret

import (
	"bytes"
	"encoding/binary"
)

// Version moves when Find gives other answers, so that what was remembered is looked at again.
const Version = 1

// MaxSize is the size of the largest file that is worth a look, in bytes: texts with keys in them
// are small, and data is large.
const MaxSize = 1 << 20

// Hit is a place that holds what looks like a credential.
type Hit struct {
	// Path is of the file, as its tree has it.
	Path string `json:"path"`
	// Line counts from 1.
	Line int `json:"line"`
	// Kind says what it is, with its article: "a private key", "an AWS access key id".
	Kind string `json:"kind"`
	// More is how many further ones the file holds.
	More int `json:"more,omitempty"`
}

// rule is the form of one kind of credential.
type rule struct {
	kind string
	// at is four bytes that nothing else has as often, and skip how many stand before them.
	at   string
	skip int
	// match reports whether a credential begins at the beginning of b.
	match func(b []byte) bool
	// joined says that letters and digits may stand right before it.
	joined bool
}

var rules = []rule{
	{kind: "a private key", at: "-BEG", skip: 4, match: privateKey, joined: true},
	{kind: "a private key", at: "PuTT", match: putty, joined: true},
	{kind: "a private key", at: "AGE-", match: token("AGE-SECRET-KEY-1", upper|digits, 58, 58)},
	{kind: "a Heroku API key", at: "HRKU", match: token("HRKU-", letters|digits|dashes, 36, 80)},
	{kind: "an AWS access key id", at: "AKIA", match: token("AKIA", upper|base32, 16, 16)},
	{kind: "an AWS access key id", at: "ASIA", match: token("ASIA", upper|base32, 16, 16)},
	{kind: "a GitHub token", at: "ghp_", match: token("ghp_", letters|digits, 36, 255)},
	{kind: "a GitHub token", at: "gho_", match: token("gho_", letters|digits, 36, 255)},
	{kind: "a GitHub token", at: "ghu_", match: token("ghu_", letters|digits, 36, 255)},
	{kind: "a GitHub token", at: "ghs_", match: token("ghs_", letters|digits, 36, 255)},
	{kind: "a GitHub token", at: "ghr_", match: token("ghr_", letters|digits, 36, 255)},
	{kind: "a GitHub token", at: "b_pa", skip: 5, match: token("github_pat_", letters|digits|underscore, 60, 255)},
	{kind: "a GitLab token", at: "glpa", match: token("glpat-", letters|digits|dashes, 20, 300)},
	{kind: "a Slack token", at: "xoxb", match: token("xoxb-", letters|digits|dashes, 40, 120)},
	{kind: "a Slack token", at: "xoxp", match: token("xoxp-", letters|digits|dashes, 40, 120)},
	{kind: "a Slack webhook", at: "s.sl", skip: 4, match: slackHook, joined: true},
	{kind: "a Stripe key", at: "_liv", skip: 2, match: token("sk_live_", letters|digits, 24, 128)},
	{kind: "a Stripe key", at: "_liv", skip: 2, match: token("rk_live_", letters|digits, 24, 128)},
	{kind: "an npm token", at: "npm_", match: token("npm_", letters|digits, 36, 36)},
	{kind: "a PyPI token", at: "pypi", match: token("pypi-AgEIcHlwaS5vcmc", letters|digits|dashes, 50, 300)},
	{kind: "a RubyGems key", at: "ems_", skip: 5, match: token("rubygems_", hex, 48, 48)},
	{kind: "a Docker token", at: "dckr", match: token("dckr_pat_", letters|digits|dashes, 27, 64)},
	{kind: "a DigitalOcean token", at: "p_v1", skip: 2, match: token("dop_v1_", hex, 64, 64)},
	{kind: "a SendGrid key", at: "SG.", match: sendGrid},
	{kind: "a Shopify token", at: "hpat", skip: 1, match: token("shpat_", hex, 32, 32)},
	{kind: "an Anthropic key", at: "k-an", skip: 1, match: token("sk-ant-", letters|digits|dashes, 80, 160)},
	{kind: "an OpenAI key", at: "sk-p", match: token("sk-proj-", letters|digits|dashes, 80, 220)},
}

// The characters that a token may have.
type class uint8

const (
	upper class = 1 << iota
	lower
	digits
	base32 // the digits that base32 has
	underscore
	dash
	hex // lower case

	letters = upper | lower
	dashes  = underscore | dash
)

func (c class) has(b byte) bool {
	switch {
	case b >= 'A' && b <= 'Z':
		return c&upper != 0
	case b >= 'a' && b <= 'z':
		return c&lower != 0 || c&hex != 0 && b <= 'f'
	case b >= '0' && b <= '9':
		return c&(digits|hex) != 0 || c&base32 != 0 && b >= '2' && b <= '7'
	case b == '_':
		return c&underscore != 0
	case b == '-':
		return c&dash != 0
	}
	return false
}

// token matches a prefix, then at least least and at most most characters of a class, after which
// no further one comes, and which look as if chance had chosen them.
func token(prefix string, c class, least, most int) func([]byte) bool {
	return func(b []byte) bool {
		b, ok := bytes.CutPrefix(b, []byte(prefix))
		if !ok {
			return false
		}
		n := run(b, c)
		return n >= least && n <= most && (n == len(b) || !word(b[n])) && random(b[:n])
	}
}

// run is how many bytes of a class b begins with.
func run(b []byte, c class) int {
	n := 0
	for n < len(b) && c.has(b[n]) {
		n++
	}
	return n
}

func word(b byte) bool { return (letters | digits | underscore).has(b) }

// random sorts out what stands in documents in place of a token: EXAMPLE, xxxx, 0000, abcdefgh.
func random(b []byte) bool {
	if bytes.Contains(bytes.ToUpper(b), []byte("EXAMPLE")) {
		return false
	}
	var seen [256]bool
	distinct, same, rising := 0, 1, 1
	for i, c := range b {
		if !seen[c] {
			seen[c] = true
			distinct++
		}
		if i == 0 {
			continue
		}
		same, rising = same+1, rising+1
		if c != b[i-1] {
			same = 1
		}
		if c != b[i-1]+1 {
			rising = 1
		}
		if same >= 6 || rising >= 6 {
			return false
		}
	}
	return distinct >= 7
}

// privateKey matches the first line of a PEM file with a private key, and the beginning of the
// key behind it, which may stand in a string of JSON or of a program. The line alone stands in
// every program that reads keys.
func privateKey(b []byte) bool {
	b, ok := bytes.CutPrefix(b, []byte("-----BEGIN "))
	line, _, more := bytes.Cut(b[:min(len(b), 64)], []byte("-----"))
	if !ok || !more || bytes.ContainsAny(line, "\r\n") {
		return false
	}
	kind, ok := bytes.CutSuffix(line, []byte("PRIVATE KEY"))
	if !ok {
		if kind, ok = bytes.CutSuffix(line, []byte("PRIVATE KEY BLOCK")); !ok {
			return false
		}
	}
	if len(kind) > 0 && run(kind, upper|digits) != len(kind)-1 {
		return false // RSA, EC, DSA, OPENSSH, ENCRYPTED, PGP: one word, and a blank
	}
	rest := b[len(line)+len("-----"):]
	// Headers of old PEM and of PGP stand before the key: "Proc-Type: 4,ENCRYPTED".
	const longestHead = 600
	rest = rest[:min(len(rest), longestHead)]
	for len(rest) > 0 {
		rest = lineEnd(rest)
		n := 0
		for n < len(rest) && ((letters | digits).has(rest[n]) || rest[n] == '+' || rest[n] == '/' || rest[n] == '=') {
			n++
		}
		if n >= 32 {
			return random(rest[:n])
		}
		head, after, found := bytes.Cut(rest, []byte("\n"))
		if !found {
			if head, after, found = bytes.Cut(rest, []byte(`\n`)); !found {
				return false
			}
		}
		if len(bytes.TrimSpace(head)) > 0 && !bytes.Contains(head, []byte(": ")) {
			return false
		}
		rest = after
	}
	return false
}

// lineEnd drops line ends and what stands around them in strings of programs.
func lineEnd(b []byte) []byte {
	for len(b) > 0 {
		switch {
		case bytes.IndexByte([]byte(" \t\r\n\"'+,"), b[0]) >= 0:
			b = b[1:]
		case len(b) > 1 && b[0] == '\\' && (b[1] == 'n' || b[1] == 'r' || b[1] == '\n'):
			b = b[2:]
		default:
			return b
		}
	}
	return b
}

// putty matches PuTTY's own format, which says whether it is encrypted further down.
func putty(b []byte) bool {
	b, ok := bytes.CutPrefix(b, []byte("PuTTY-User-Key-File-"))
	return ok && len(b) > 2 && digits.has(b[0]) && b[1] == ':' && bytes.Contains(b[:min(len(b), 4096)], []byte("\nPrivate-Lines: "))
}

// slackHook matches the address at which a channel takes messages from whoever knows it.
func slackHook(b []byte) bool {
	b, ok := bytes.CutPrefix(b, []byte("hooks.slack.com/services/T"))
	if !ok {
		return false
	}
	for _, least := range []int{8, 9, 20} {
		n := run(b, letters|digits)
		if n < least {
			return false
		}
		if least == 20 {
			return random(b[:n])
		}
		if b = b[n:]; len(b) == 0 || b[0] != '/' {
			return false
		}
		b = b[1:]
	}
	return false
}

// sendGrid matches SG., 22 characters, a dot, 43 characters.
func sendGrid(b []byte) bool {
	b, ok := bytes.CutPrefix(b, []byte("SG."))
	if !ok || run(b, letters|digits|dashes) != 22 || len(b) < 23 || b[22] != '.' {
		return false
	}
	n := run(b[23:], letters|digits|dashes)
	return n == 43 && random(b[23:23+n])
}

// table says for the hash of four bytes which rules may begin there.
var table, short = func() (t [1 << 12][]uint8, short []int) {
	for i, r := range rules {
		if len(r.at) < 4 {
			short = append(short, i)
			continue
		}
		h := hash(binary.LittleEndian.Uint32([]byte(r.at)))
		t[h] = append(t[h], uint8(i))
	}
	return t, short
}()

// filled has a byte for each entry of table, so that nearly all of a file is passed over in a
// few kilobytes of memory.
var filled = func() (f [1 << 12]bool) {
	for h := range table {
		f[h] = table[h] != nil
	}
	return f
}()

func hash(v uint32) uint32 { return v * 2654435761 >> 20 }

// Find returns the first credential in a text, and how many more there are; false when there is
// none. Path is left to the caller.
func Find(text []byte) (Hit, bool) {
	var hit Hit
	first, found := 0, 0
	note := func(i, at int) {
		r := &rules[i]
		begin := at - r.skip
		if begin < 0 || !r.joined && begin > 0 && word(text[begin-1]) || !r.match(text[begin:]) {
			return
		}
		found++
		if found == 1 || begin < first {
			first, hit.Kind = begin, r.kind
		}
	}
	var last uint32 // the last four bytes
	for i, b := range text {
		last = last>>8 | uint32(b)<<24
		h := hash(last)
		if !filled[h] {
			continue
		}
		for _, n := range table[h] {
			if at := i - 3; at >= 0 && string(text[at:i+1]) == rules[n].at {
				note(int(n), at)
			}
		}
	}
	for _, n := range short {
		key := []byte(rules[n].at)
		for at := 0; ; {
			i := bytes.Index(text[at:], key)
			if i < 0 {
				break
			}
			note(n, at+i)
			at += i + len(key)
		}
	}
	if found == 0 {
		return hit, false
	}
	hit.Line, hit.More = 1+bytes.Count(text[:first], []byte("\n")), found-1
	return hit, true
}
