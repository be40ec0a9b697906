package secret_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/slugfile/slugfile/pipeline/secret"
)

const (
	alnum  = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	hex    = "0123456789abcdef"
)

// dice makes texts as issuers of tokens do, the same in each run. No token stands in this file.
type dice struct{ *rand.Rand }

func newDice(seed uint64) dice { return dice{rand.New(rand.NewPCG(seed, 2))} }

func (d dice) some(n int, of string) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = of[d.IntN(len(of))]
	}
	return string(b)
}

// key is a private key in PEM, whatever its first line says.
func (d dice) key(kind string) string {
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed([]byte(d.some(32, alnum))))
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func quoted(v string) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// credentials are one text of each kind that is found, with the kind.
func credentials() [][2]string {
	d := newDice(1)
	some, key := d.some, d.key
	private := "PRIVATE" + " KEY"
	inJSON := quoted(key(private))
	return [][2]string{
		{"a private key", key(private)},
		{"a private key", key("RSA " + private)},
		{"a private key", key("EC " + private)},
		{"a private key", key("OPENSSH " + private)},
		{"a private key", key("ENCRYPTED " + private)},
		{"a private key", strings.ReplaceAll(key(private), "\n", "\r\n")},
		{"a private key", strings.ReplaceAll(key("PGP "+private+" BLOCK"), " BLOCK-----\n", " BLOCK-----\nVersion: GnuPG v2\n\n")},
		{"a private key", strings.Replace(key("RSA "+private), "-----\n", "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES-EDE3-CBC,"+some(16, hex)+"\n\n", 1)},
		{"a private key", "{\"type\": \"service_account\", \"private_key\": " + inJSON + "}"},
		{"a private key", "key = " + strings.ReplaceAll(inJSON, `\n`, "\\n\" +\n\t\"")},
		{"a private key", "  key: |\n" + strings.ReplaceAll("    "+key(private), "\n", "\n    ")},
		{"a private key", "PuTTY-User-Key-File-3" + ": ssh-ed25519\nEncryption: none\nPublic-Lines: 2\n" + some(64, alnum) + "\nPrivate-Lines: 1\n" + some(48, alnum)},
		{"a private key", "AGE-SECRET" + "-KEY-1" + some(58, base32)},
		{"a Heroku API key", "HRKU" + "-" + some(8, hex) + "-" + some(4, hex) + "-" + some(4, hex) + "-" + some(4, hex) + "-" + some(12, hex)},
		{"a Heroku API key", "HRKU" + "-AA" + some(58, alnum+"-_")},
		{"an AWS access key id", "AKIA" + some(16, base32)},
		{"an AWS access key id", "ASIA" + some(16, base32)},
		{"a GitHub token", "ghp_" + some(36, alnum)},
		{"a GitHub token", "gho_" + some(36, alnum)},
		{"a GitHub token", "ghu_" + some(36, alnum)},
		{"a GitHub token", "ghs_" + some(36, alnum)},
		{"a GitHub token", "ghr_" + some(76, alnum)},
		{"a GitHub token", "github_pat_" + some(22, alnum) + "_" + some(59, alnum)},
		{"a GitLab token", "glpat-" + some(20, alnum)},
		{"a Slack token", "xoxb-" + some(12, hex[:10]) + "-" + some(12, hex[:10]) + "-" + some(24, alnum)},
		{"a Slack token", "xoxp-" + some(12, hex[:10]) + "-" + some(12, hex[:10]) + "-" + some(32, hex)},
		{"a Slack webhook", "https://hooks.slack.com/services/T" + some(8, base32) + "/B" + some(8, base32) + "/" + some(24, alnum)},
		{"a Stripe key", "sk_live_" + some(24, alnum)},
		{"a Stripe key", "rk_live_" + some(99, alnum)},
		{"an npm token", "npm_" + some(36, alnum)},
		{"a PyPI token", "pypi-AgEIcHlwaS5vcmc" + some(120, alnum+"-_")},
		{"a RubyGems key", "rubygems_" + some(48, hex)},
		{"a Docker token", "dckr_pat_" + some(27, alnum)},
		{"a DigitalOcean token", "dop_v1_" + some(64, hex)},
		{"a SendGrid key", "SG." + some(22, alnum) + "." + some(43, alnum)},
		{"a Shopify token", "shpat_" + some(32, hex)},
		{"an Anthropic key", "sk-ant-api03-" + some(93, alnum) + "AA"},
		{"an OpenAI key", "sk-proj-" + some(120, alnum)},
	}
}

func TestFind_tellsKindAndLineAndNothingElse(t *testing.T) {
	t.Parallel()
	for _, c := range credentials() {
		for i, form := range []string{"%s", "one\ntwo\n%s\nfour\n", "const token = \"%s\";", "TOKEN=%s\n", "https://user:%s@example.com/", "\x00\xff%s\x00"} {
			if i > 2 && strings.Contains(c[1], "\n") {
				continue
			}
			text := fmt.Sprintf(form, c[1])
			hit, found := secret.Find([]byte(text))
			// A key may stand further down in what was put around it.
			before, _, _ := strings.Cut(text, c[1])
			lines := strings.Count(before, "\n") + 1
			if !found || hit.Kind != c[0] || hit.Line < lines || hit.Line > lines+1 {
				t.Errorf("%s in %q: %+v, %t", c[0], text, hit, found)
			}
			if shown := fmt.Sprintf("%+v", hit); len(shown) > 80 || strings.Contains(shown, c[1][len(c[1])/2:]) {
				t.Errorf("it shows too much: %s", shown)
			}
		}
	}
}

func TestFind_countsTheOthersAndTellsTheFirst(t *testing.T) {
	t.Parallel()
	some := newDice(2).some
	text := "a\n" + "SG." + some(22, alnum) + "." + some(43, alnum) + "\nghp_" + some(36, alnum) + "\nAKIA" + some(16, base32) + "\n"
	hit, found := secret.Find([]byte(text))
	if want := (secret.Hit{Line: 2, Kind: "a SendGrid key", More: 2}); !found || hit != want {
		t.Errorf("%+v, want %+v", hit, want)
	}
}

// TestFind_passesOverWhatOnlyLooksLikeOne: what stands in documents and in programs that deal
// with credentials.
func TestFind_passesOverWhatOnlyLooksLikeOne(t *testing.T) {
	t.Parallel()
	some := newDice(3).some
	private := "PRIVATE" + " KEY"
	token := some(36, alnum)
	for _, text := range []string{
		"", "g", "ghp", "----", "-----BEGIN ", "SG.",
		"if strings.HasPrefix(line, \"-----BEGIN " + private + "-----\") {",
		"-----BEGIN " + private + "-----\n...\n-----END " + private + "-----\n",
		"-----BEGIN " + private + "-----\nMII" + strings.Repeat("x", 60) + "\n",
		"-----BEGIN RSA " + private + "-----\n[your key here, which may be quite long]\n",
		"-----BEGIN CERTIFICATE-----\n" + base64.StdEncoding.EncodeToString([]byte(some(48, alnum))) + "\n",
		"-----BEGIN PUBLIC KEY-----\n" + base64.StdEncoding.EncodeToString([]byte(some(48, alnum))) + "\n",
		"-----BEGIN RSA TESTING KEY-----\n" + base64.StdEncoding.EncodeToString([]byte(some(48, alnum))) + "\n",
		"AKIAIOSFODNN7" + "EXAMPLE", "AKIA" + strings.Repeat("X", 16), "AKIA" + some(15, base32), "AKIA" + some(17, base32), "XAKIA" + some(16, base32), "AKIA" + some(16, "abcdefgh"),
		"ghp_" + strings.Repeat("x", 36), "ghp_" + token[:35], "ghp_" + alnum[:36], "my_ghp_" + token, "ghp_" + token[:20] + "-" + token[:16],
		"HRKU-canary", "HRKU" + "-00000000-0000-0000-0000-000000000000", "HRKU" + "-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
		"npm_config_registry=https://example.com", "npm_lifecycle_event", "sk_test_" + some(24, alnum), "sk_live_...", "pk_live_" + some(24, alnum),
		"https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
		"xoxb-your-token", "glpat-" + strings.Repeat("-", 20), "SG." + some(22, alnum) + "." + some(44, alnum), "pypi-AgEIcHlwaS5vcmc",
		"$2b$12$" + some(53, alnum), "sha512-" + some(86, alnum) + "==", "rubygems_version", "dop_v1_", "dapi" + some(32, hex),
	} {
		if hit, found := secret.Find([]byte(text)); found {
			t.Errorf("%q is taken for %s", text, hit.Kind)
		}
	}
}

func FuzzFind(f *testing.F) {
	for _, c := range credentials() {
		f.Add([]byte(c[1]))
		f.Add([]byte(c[1][:len(c[1])/2]))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		hit, found := secret.Find(text)
		if found != (hit.Kind != "") || found && (hit.Line < 1 || hit.Line > 1+strings.Count(string(text), "\n")) {
			t.Errorf("%+v, %t", hit, found)
		}
	})
}

func BenchmarkFind(b *testing.B) {
	var text strings.Builder
	r := rand.New(rand.NewPCG(3, 4))
	for text.Len() < 1<<20 {
		for range 1 + r.IntN(9) {
			text.WriteByte("etaoinshrdlucmfwypvbgkqjxz_-.(){}"[r.IntN(33)])
		}
		text.WriteByte(' ')
	}
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		secret.Find([]byte(text.String()))
	}
}
