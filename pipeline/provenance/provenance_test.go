package provenance_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/provenance"
)

var (
	slug  = digest.Of([]byte("slug"))
	other = digest.Of([]byte("other"))
)

func input() provenance.Input {
	return provenance.Input{
		Name: "slug.tgz", Slug: slug, App: "example", Stack: "heroku-24", Vars: []string{"greeting"},
		File: digest.Of([]byte("file")), Lock: digest.Of([]byte("lock")),
		PlanKey: digest.Of([]byte("plan")), Source: digest.Of([]byte("source")), Epoch: 946684800,
		Commit: strings.Repeat("1a", 20), Dirty: true, Version: "v1.2.3", BOM: digest.Of([]byte("bom")),
		Runtimes: []provenance.Runtime{
			{Name: "node", URL: "https://nodejs.org/dist/v22.11.0/node-v22.11.0-linux-x64.tar.xz", Digest: digest.Of([]byte("node"))},
			{Name: "go", Digest: digest.Of([]byte("go")), BuildOnly: true},
		},
	}
}

// pair makes a key of a seed, and the texts of both halves as openssl writes them.
func pair(t testing.TB, seed byte) (*provenance.PrivateKey, provenance.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	raw := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	private, err := x509.MarshalPKCS8PrivateKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	key, err := provenance.ParsePrivateKey(pemOf("PRIVATE KEY", private))
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(raw.Public())
	if err != nil {
		t.Fatal(err)
	}
	pub, err := provenance.ParsePublicKey(pemOf("PUBLIC KEY", public))
	if err != nil {
		t.Fatal(err)
	}
	return key, pub, raw
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func seal(t testing.TB, in provenance.Input, key *provenance.PrivateKey) []byte {
	t.Helper()
	doc, err := provenance.Seal(provenance.New(in), key)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestStatement_isWhatTheSpecificationsDescribe decodes it with the types that the in-toto project
// generates from its own definitions. They refuse unknown fields, and have checks of their own.
func TestStatement_isWhatTheSpecificationsDescribe(t *testing.T) {
	t.Parallel()
	bare := input()
	bare.App, bare.Vars, bare.Commit, bare.Lock, bare.BOM, bare.Runtimes = "", nil, "", digest.Digest{}, digest.Digest{}, nil
	for _, in := range []provenance.Input{input(), bare} {
		text, err := provenance.New(in).Text()
		if err != nil {
			t.Fatal(err)
		}
		var s intoto.Statement
		if err := protojson.Unmarshal(text, &s); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if err := s.Validate(); err != nil {
			t.Error(err)
		}
		predicate, err := protojson.Marshal(s.GetPredicate())
		if err != nil {
			t.Fatal(err)
		}
		var p slsa.Provenance
		if err := protojson.Unmarshal(predicate, &p); err != nil {
			t.Fatalf("%v\n%s", err, predicate)
		}
		if err := p.Validate(); err != nil {
			t.Error(err)
		}
		for _, d := range p.GetBuildDefinition().GetResolvedDependencies() {
			if err := d.Validate(); err != nil {
				t.Errorf("%v: %v", d, err)
			}
		}
		if got := s.GetSubject()[0].GetDigest()["sha256"]; got != slug.String() {
			t.Errorf("it is about %s", got)
		}
		if strings.Contains(string(text), "startedOn") || strings.Contains(string(text), "invocationId") {
			t.Errorf("it tells when it was made:\n%s", text)
		}
	}
}

func TestSeal_givesTheSameBytesAgain(t *testing.T) {
	t.Parallel()
	key, _, _ := pair(t, 1)
	if a, b := seal(t, input(), key), seal(t, input(), key); !bytes.Equal(a, b) {
		t.Errorf("%s\n%s", a, b)
	}
}

func TestOpen_returnsWhatWasSealed(t *testing.T) {
	t.Parallel()
	key, pub, _ := pair(t, 1)
	s, err := provenance.Open(seal(t, input(), key), pub)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.About(slug); err != nil {
		t.Error(err)
	}
	if sha, dirty := s.Commit(); sha != input().Commit || !dirty {
		t.Errorf("commit %s, dirty %t", sha, dirty)
	}
	if s.BOM() != input().BOM {
		t.Errorf("bill of materials %s", s.BOM())
	}
	var mismatch *digest.MismatchError
	if err := s.About(other); !errors.As(err, &mismatch) {
		t.Errorf("about another slug: %v", err)
	}
}

// TestSeal_isVerifiedByOpenSSL rebuilds what is signed from the specification, and has another
// program check it.
func TestSeal_isVerifiedByOpenSSL(t *testing.T) {
	t.Parallel()
	pipetest.NeedTools(t, "openssl")
	key, _, raw := pair(t, 1)
	var e struct {
		PayloadType, Payload string
		Signatures           []struct{ KeyID, Sig string }
	}
	if err := json.Unmarshal(seal(t, input(), key), &e); err != nil {
		t.Fatal(err)
	}
	payload, err := base64.StdEncoding.DecodeString(e.Payload)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := base64.StdEncoding.DecodeString(e.Signatures[0].Sig)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(raw.Public())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, b := range map[string][]byte{
		"pub": pemOf("PUBLIC KEY", public), "sig": sig,
		"signed": fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(e.PayloadType), e.PayloadType, len(payload), payload),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "pub", "-rawin", "-in", "signed", "-sigfile", "sig")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// enveloped is DSSE's document, to be spoilt.
type enveloped struct {
	PayloadType string   `json:"payloadType"`
	Payload     string   `json:"payload"`
	Signatures  []signed `json:"signatures"`
}

type signed struct {
	KeyID string `json:"keyid,omitempty"`
	Sig   string `json:"sig"`
}

// sealRaw signs any payload of any type, as somebody with the key could.
func sealRaw(t testing.TB, raw ed25519.PrivateKey, id, payloadType string, payload []byte) []byte {
	t.Helper()
	sig := ed25519.Sign(raw, fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload))
	doc, err := json.Marshal(enveloped{payloadType, base64.StdEncoding.EncodeToString(payload), []signed{{id, base64.StdEncoding.EncodeToString(sig)}}})
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestOpen_failsClosed: whatever is missing, empty, unknown or wrong is an error, and bytes that
// do not fit their signature are told apart.
func TestOpen_failsClosed(t *testing.T) {
	t.Parallel()
	key, pub, raw := pair(t, 1)
	foreign, _, _ := pair(t, 2)
	good := seal(t, input(), key)
	spoil := func(change func(*enveloped)) []byte {
		var e enveloped
		if err := json.Unmarshal(good, &e); err != nil {
			t.Fatal(err)
		}
		change(&e)
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	statement := func(change func(*provenance.Statement)) []byte {
		s := provenance.New(input())
		change(&s)
		b, err := s.Text()
		if err != nil {
			t.Fatal(err)
		}
		return sealRaw(t, raw, pub.ID(), provenance.PayloadType, b)
	}
	bare, err := provenance.New(input()).Text()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		doc  []byte
		want string
		// mismatch says that the bytes do not fit the signature.
		mismatch bool
	}{
		{name: "nothing", doc: nil, want: "empty"},
		{name: "blanks", doc: []byte(" \n"), want: "empty"},
		{name: "null", doc: []byte("null"), want: "type"},
		{name: "an object", doc: []byte("{}"), want: "type"},
		{name: "a list", doc: []byte("[]"), want: "no envelope"},
		{name: "half", doc: good[:len(good)/2], want: "no envelope"},
		{name: "too large", doc: append(bytes.Clone(good), bytes.Repeat([]byte(" "), provenance.MaxSize)...), want: "more than"},
		{name: "not signed", doc: bare, want: "not signed"},
		{name: "another behind it", doc: append(bytes.Clone(good), good...), want: "behind it"},
		{name: "text behind it", doc: append(bytes.Clone(good), 'x'), want: "behind it"},
		{name: "unknown field", doc: bytes.Replace(good, []byte(`{"payloadType"`), []byte(`{"x":1,"payloadType"`), 1), want: "unknown field"},
		{name: "other payload type", doc: spoil(func(e *enveloped) { e.PayloadType = "text/plain" }), want: `"text/plain"`},
		{name: "no payload", doc: spoil(func(e *enveloped) { e.Payload = "" }), want: "no payload"},
		{name: "payload is no base64", doc: spoil(func(e *enveloped) { e.Payload = "***" }), want: "base64"},
		{name: "no signature", doc: spoil(func(e *enveloped) { e.Signatures = nil }), want: "no signature"},
		{name: "empty list of signatures", doc: spoil(func(e *enveloped) { e.Signatures = []signed{} }), want: "no signature"},
		{name: "empty signature", doc: spoil(func(e *enveloped) { e.Signatures[0].Sig = "" }), want: "does not fit", mismatch: true},
		{name: "short signature", doc: spoil(func(e *enveloped) { e.Signatures[0].Sig = e.Signatures[0].Sig[:44] }), want: "does not fit", mismatch: true},
		{name: "other bit in the signature", doc: spoil(func(e *enveloped) {
			b, _ := base64.StdEncoding.DecodeString(e.Signatures[0].Sig)
			b[5] ^= 1
			e.Signatures[0].Sig = base64.StdEncoding.EncodeToString(b)
		}), want: "does not fit", mismatch: true},
		{name: "other bit in the payload", doc: spoil(func(e *enveloped) {
			b, _ := base64.StdEncoding.DecodeString(e.Payload)
			b[100] ^= 1
			e.Payload = base64.StdEncoding.EncodeToString(b)
		}), want: "does not fit", mismatch: true},
		{name: "unknown key", doc: seal(t, input(), foreign), want: "not by " + pub.ID()},
		{name: "unknown key under our name", doc: spoil(func(e *enveloped) {
			var f enveloped
			if err := json.Unmarshal(seal(t, input(), foreign), &f); err != nil {
				t.Fatal(err)
			}
			e.Signatures[0].Sig = f.Signatures[0].Sig
		}), want: "does not fit", mismatch: true},
		{name: "unknown key without a name", doc: spoil(func(e *enveloped) {
			var f enveloped
			if err := json.Unmarshal(seal(t, input(), foreign), &f); err != nil {
				t.Fatal(err)
			}
			e.Signatures = []signed{{"", f.Signatures[0].Sig}}
		}), want: "does not fit", mismatch: true},
		{name: "signed, and no statement", doc: sealRaw(t, raw, pub.ID(), provenance.PayloadType, []byte("hello")), want: "no statement"},
		{name: "signed for something else", doc: sealRaw(t, raw, pub.ID(), "text/plain", bare), want: `"text/plain"`},
		{name: "signed, and something behind it", doc: sealRaw(t, raw, pub.ID(), provenance.PayloadType, append(bytes.Clone(bare), '{')), want: "no statement"},
		{name: "signed and empty", doc: sealRaw(t, raw, pub.ID(), provenance.PayloadType, []byte("{}")), want: "type"},
		{name: "other statement type", doc: statement(func(s *provenance.Statement) { s.Type = "https://in-toto.io/Statement/v0.1" }), want: "statement has the type"},
		{name: "other predicate type", doc: statement(func(s *provenance.Statement) { s.PredicateType = "https://slsa.dev/provenance/v0.2" }), want: "predicate has the type"},
		{name: "other build type", doc: statement(func(s *provenance.Statement) { s.Predicate.BuildDefinition.BuildType = "x" }), want: "build has the type"},
		{name: "other builder", doc: statement(func(s *provenance.Statement) { s.Predicate.RunDetails.Builder.ID = "x" }), want: "builder"},
		{name: "no subject", doc: statement(func(s *provenance.Statement) { s.Subject = nil }), want: "about nothing"},
		{name: "no dependencies", doc: statement(func(s *provenance.Statement) { s.Predicate.BuildDefinition.ResolvedDependencies = nil }), want: "made of"},
	} {
		_, err := provenance.Open(tt.doc, pub)
		var signature *provenance.SignatureError
		switch {
		case err == nil:
			t.Errorf("%s: accepted", tt.name)
		case !strings.Contains(err.Error(), tt.want):
			t.Errorf("%s: %v; want %q", tt.name, err, tt.want)
		case errors.As(err, &signature) != tt.mismatch:
			t.Errorf("%s: %T", tt.name, err)
		}
	}
	if _, err := provenance.Open(good, pub); err != nil {
		t.Errorf("the whole one: %v", err)
	}
	if _, err := provenance.Open(spoil(func(e *enveloped) {
		e.Signatures = append([]signed{{"SHA256:someone", "AAAA"}}, e.Signatures...)
		e.Signatures[1].KeyID = ""
	}), pub); err != nil {
		t.Errorf("beside another signature, and without a name: %v", err)
	}
}

func TestStatement_withoutDigestIsAboutNothing(t *testing.T) {
	t.Parallel()
	for _, d := range []map[string]string{nil, {"sha512": "ab"}, {"sha256": ""}, {"sha256": "abc"}, {"sha256": strings.Repeat("0", 64)}} {
		s := provenance.Statement{Subject: []provenance.Resource{{Name: "x", Digest: d}}}
		if err := s.About(digest.Digest{}); err == nil {
			t.Errorf("%v: accepted", d)
		}
	}
	if err := (provenance.Statement{}).About(slug); err == nil {
		t.Error("no subject: accepted")
	}
}

func TestPrivateKey_isNeverPrinted(t *testing.T) {
	t.Parallel()
	key, pub, raw := pair(t, 7)
	text, err := json.Marshal(map[string]any{"key": key})
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{fmt.Sprint(key), fmt.Sprintf("%v %+v %#v %s %q %x", key, key, key, key, key, key), string(text)} {
		for _, secret := range []string{fmt.Sprintf("%x", raw.Seed()), base64.StdEncoding.EncodeToString(raw.Seed()), "7 7 7", "7, 7, 7"} {
			if strings.Contains(form, secret) {
				t.Errorf("%s shows the key", form)
			}
		}
	}
	if !strings.Contains(fmt.Sprint(key), pub.ID()) {
		t.Errorf("%v does not name its public half", key)
	}
}

// openSSH writes a key in OpenSSH's format, as openssh/PROTOCOL.key describes it.
func openSSH(raw ed25519.PrivateKey, cipher string, change func(secret []byte) []byte) []byte {
	field := func(b, s []byte) []byte { return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...) }
	pub := raw.Public().(ed25519.PublicKey)
	wire := field(field(nil, []byte("ssh-ed25519")), pub)
	secret := []byte{1, 2, 3, 4, 1, 2, 3, 4}
	secret = field(field(field(field(secret, []byte("ssh-ed25519")), pub), raw), []byte("ann@example.com"))
	if change != nil {
		secret = change(secret)
	}
	b := []byte("openssh-key-v1\x00")
	kdf := "none"
	if cipher != "none" {
		kdf = "bcrypt"
	}
	b = field(field(field(b, []byte(cipher)), []byte(kdf)), nil)
	b = field(binary.BigEndian.AppendUint32(b, 1), wire)
	return pemOf("OPENSSH PRIVATE KEY", field(b, secret))
}

func TestKeys_ofOpenSSHAndOpenSSLAreOne(t *testing.T) {
	t.Parallel()
	want, pub, raw := pair(t, 3)
	got, err := provenance.ParsePrivateKey(openSSH(raw, "none", nil))
	if err != nil || got.Public().ID() != want.Public().ID() {
		t.Fatalf("%v, %v", got, err)
	}
	line := "# mine\nssh-ed25519 " + base64.StdEncoding.EncodeToString(
		append([]byte("\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"), raw.Public().(ed25519.PublicKey)...)) + " ann@example.com\n"
	sshPub, err := provenance.ParsePublicKey([]byte(line))
	if err != nil || sshPub.ID() != pub.ID() {
		t.Fatalf("%v, %v", sshPub, err)
	}
	if _, err := provenance.Open(seal(t, input(), got), pub); err != nil {
		t.Error(err)
	}
}

// TestKeys_areThoseThatSSHKeygenMakes also compares the id with what it calls the fingerprint.
func TestKeys_areThoseThatSSHKeygenMakes(t *testing.T) {
	t.Parallel()
	pipetest.NeedTools(t, "ssh-keygen")
	dir := t.TempDir()
	file := filepath.Join(dir, "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	private, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	key, err := provenance.ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := provenance.ParsePublicKey(public)
	if err != nil || pub.ID() != key.Public().ID() {
		t.Fatalf("%v, %v", pub, err)
	}
	out, err := exec.Command("ssh-keygen", "-l", "-f", file+".pub").CombinedOutput()
	if err != nil || !strings.Contains(string(out), pub.ID()) {
		t.Errorf("%s: %v: %s", pub.ID(), err, out)
	}
}

func TestKeys_ofOtherKindsAreRefusedWithoutShowingThem(t *testing.T) {
	t.Parallel()
	_, _, raw := pair(t, 5)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	good := pemOf("PRIVATE KEY", pkcs8)
	for _, tt := range []struct {
		name, want string
		text       []byte
	}{
		{"empty", "no ed25519", nil},
		{"text", "no ed25519", []byte("hello")},
		{"of another algorithm", "no ed25519", pemOf("RSA PRIVATE KEY", pkcs8)},
		{"garbage", "no ed25519", pemOf("PRIVATE KEY", []byte("secret-canary"))},
		{"with a passphrase", "passphrase", pemOf("ENCRYPTED PRIVATE KEY", pkcs8)},
		{"of OpenSSH with a passphrase", "passphrase", openSSH(raw, "aes256-ctr", nil)},
		{"two", "behind", append(bytes.Clone(good), good...)},
		{"of OpenSSH, cut short", "no ed25519", pemOf("OPENSSH PRIVATE KEY", []byte("openssh-key-v1\x00\x00\x00\x00\x04none"))},
		{"of OpenSSH, not a pair", "no ed25519", openSSH(raw, "none", func(b []byte) []byte { b[4+4+4+11+4+32+4] ^= 1; return b })},
		{"of OpenSSH, of another public key", "no ed25519", openSSH(raw, "none", func(b []byte) []byte { b[4+4+4+11+4] ^= 1; return b })},
		{"of OpenSSH, with other check numbers", "no ed25519", openSSH(raw, "none", func(b []byte) []byte { b[0] ^= 1; return b })},
	} {
		key, err := provenance.ParsePrivateKey(tt.text)
		if err == nil || key != nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("private key %s: %v, %v", tt.name, key, err)
		}
	}
	line := "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBPJs6ZM2mjx3ZoVQMLGKJKzCOq3bgYqRjtVHNyhXfVc x\n"
	for _, tt := range []struct{ name, want, text string }{
		{"empty", "no ed25519", ""},
		{"private", "private key", string(good)},
		{"two lines", "several", line + line},
		{"rsa", "no ed25519", "ssh-rsa AAAA x\n"},
		{"cut", "no ed25519", line[:40] + "\n"},
		{"garbage", "no ed25519", string(pemOf("PUBLIC KEY", []byte("x")))},
		{"certificate", "no ed25519", string(pemOf("CERTIFICATE", []byte("x")))},
	} {
		if _, err := provenance.ParsePublicKey([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("public key %s: %v", tt.name, err)
		}
	}
}

// FuzzOpen feeds documents and keys that no program made.
func FuzzOpen(f *testing.F) {
	key, pub, raw := pair(f, 1)
	good := seal(f, input(), key)
	f.Add(good)
	f.Add(openSSH(raw, "none", nil))
	f.Add([]byte(`{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"keyid":"","sig":""}]}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		s, err := provenance.Open(doc, pub)
		if err == nil && s.About(slug) != nil {
			t.Errorf("accepted: %q", doc)
		}
		if k, err := provenance.ParsePrivateKey(doc); err == nil && k.Public().ID() == "" {
			t.Error("a key without an id")
		}
		_, _ = provenance.ParsePublicKey(doc)
	})
}
