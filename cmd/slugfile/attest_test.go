package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slugfile/slugfile/pipeline/pipetest"
)

// keys writes an ed25519 key pair as openssl does, and returns the names of both files and what
// must never be shown of them.
func keys(t testing.TB, dir string, seed byte) (private, public string, secrets []string) {
	t.Helper()
	raw := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	der, err := x509.MarshalPKCS8PrivateKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := x509.MarshalPKIXPublicKey(raw.Public())
	if err != nil {
		t.Fatal(err)
	}
	private, public = filepath.Join(dir, "key.pem"), filepath.Join(dir, "key.pub")
	write(t, private, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	write(t, public, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub})))
	return private, public, []string{base64.StdEncoding.EncodeToString(der)[20:40], base64.StdEncoding.EncodeToString(raw.Seed())[:20], string(raw.Seed())}
}

// attestedApp is an app with a runtime, npm packages and files of its own, in a git checkout.
func attestedApp(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	archive := pipetest.TarGz(t, map[string]string{"node-1.2.3/bin/node*": "#!/bin/sh\n"})
	write(t, filepath.Join(dir, "node-1.2.3.tgz"), string(archive))
	write(t, filepath.Join(dir, "slug.yaml"), `app: example
stack: heroku-24
vars: {greeting: hello}
runtimes:
  node: {path: node-1.2.3.tgz, strip: 1}
process_types:
  web: node/bin/node web.js
`)
	write(t, filepath.Join(dir, "slug.lock"), "")
	write(t, filepath.Join(dir, "web.js"), "serve()\n")
	write(t, filepath.Join(dir, "node_modules/.package-lock.json"), `{"lockfileVersion":3,"packages":{"node_modules/a":{"version":"1.0.0","license":"MIT"}}}`)
	write(t, filepath.Join(dir, "node_modules/a/index.js"), "a\n")
	if err := os.Remove(filepath.Join(dir, "slug.lock")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestBuild_attestsWhatItMade builds cold and warm, in a clean and in a changed checkout, and
// has verify look at what was written.
func TestBuild_attestsWhatItMade(t *testing.T) {
	t.Parallel()
	w, dir, out := newWorld(t), attestedApp(t), t.TempDir()
	w.ok(t, dir, "lock")
	commit(t, dir, "first")
	private, public, secrets := keys(t, t.TempDir(), 9)
	args := []string{"build", "-v", "-o", filepath.Join(out, "slug.tgz"), "--sbom", filepath.Join(out, "sbom.json"),
		"--provenance", filepath.Join(out, "provenance.json"), "--sign-key", private, "--var", "greeting=canary-value"}
	r := w.run(t, dir, args...)
	if r.Code != 0 {
		t.Fatalf("exit code %d\n%s", r.Code, r.Err)
	}
	for _, want := range []string{"sbom.json  1 runtime, 1 npm package, ", "provenance.json  made of commit ", "signed by SHA256:"} {
		if !strings.Contains(r.Out, want) {
			t.Errorf("it does not say %q:\n%s", want, r.Out)
		}
	}
	verify := func(more ...string) result {
		return w.run(t, out, append([]string{"verify", "slug.tgz", "--provenance", "provenance.json", "--key", public, "--sbom", "sbom.json"}, more...)...)
	}
	if v := verify(); v.Code != 0 || !strings.HasPrefix(v.Out, "Verified ") || strings.Contains(v.Out, "changes to it") {
		t.Errorf("exit code %d\n%s%s", v.Code, v.Out, v.Err)
	}
	read := func() (all []string) {
		for _, f := range []string{"slug.tgz", "sbom.json", "provenance.json"} {
			b, err := os.ReadFile(filepath.Join(out, f))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, string(b))
		}
		return all
	}
	cold := read()
	w.ok(t, dir, args...)
	warm := read()
	other := newWorld(t)
	other.ok(t, dir, args...)
	for i, again := range [][]string{warm, read()} {
		for f := range cold {
			if again[f] != cold[f] {
				t.Errorf("build %d of the same gives other bytes in document %d", i+2, f)
			}
		}
	}

	// A file that is no part of the app changes nothing; one of the app does.
	write(t, filepath.Join(dir, ".slugignore"), "")
	commit(t, dir, "second")
	write(t, filepath.Join(dir, "out", "sbom.json"), "")
	w.ok(t, dir, "build", "-q", "--sbom", filepath.Join(dir, "out", "sbom.json"), "--provenance", filepath.Join(out, "provenance.json"), "--sign-key", private, "-o", filepath.Join(out, "slug.tgz"))
	if v := w.run(t, out, "verify", "slug.tgz", "--provenance", "provenance.json", "--key", public, "--json"); v.Code != 0 || strings.Contains(v.Out, "dirty") {
		t.Errorf("exit code %d\n%s%s", v.Code, v.Out, v.Err)
	}
	write(t, filepath.Join(dir, "web.js"), "serve(more)\n")
	r = w.run(t, dir, append(args, "--json")...)
	var last struct {
		Type string `json:"type"`
		SBOM struct {
			SHA256  string `json:"sha256"`
			Gems    *int   `json:"gems"`
			Runtime int    `json:"runtimes"`
		} `json:"sbom"`
		Provenance struct {
			KeyID, Commit string
			Dirty         bool
		} `json:"provenance"`
	}
	lines := strings.Split(strings.TrimSpace(r.Out), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.Type != "built" || !last.Provenance.Dirty || last.SBOM.Runtime != 1 || last.SBOM.Gems == nil {
		t.Errorf("%v: %s", err, lines[len(lines)-1])
	}
	v := verify("--json")
	var doc struct {
		Verified   bool
		Provenance struct{ Dirty bool }
	}
	if err := json.Unmarshal([]byte(v.Out), &doc); err != nil || !doc.Verified || !doc.Provenance.Dirty {
		t.Errorf("%v: exit code %d\n%s%s", err, v.Code, v.Out, v.Err)
	}

	payload := read()[2]
	var e struct{ Payload string }
	if err := json.Unmarshal([]byte(payload), &e); err != nil {
		t.Fatal(err)
	}
	statement, err := base64.StdEncoding.DecodeString(e.Payload)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(statement), `"greeting"`) || strings.Contains(string(statement), "canary-value") {
		t.Errorf("the names of variables are told, their values are not:\n%s", statement)
	}
	for where, text := range map[string]string{"output": r.Out + r.Err + v.Out + v.Err, "documents": strings.Join(read()[1:], "") + string(statement)} {
		for _, s := range secrets {
			if strings.Contains(text, s) {
				t.Errorf("%s shows the key", where)
			}
		}
	}
}

// TestVerify_failsClosed spoils each of the files, or leaves it out.
func TestVerify_failsClosed(t *testing.T) {
	t.Parallel()
	w, dir, good := newWorld(t), attestedApp(t), t.TempDir()
	w.ok(t, dir, "lock")
	private, _, _ := keys(t, good, 9)
	_, foreign, _ := keys(t, t.TempDir(), 10)
	w.ok(t, dir, "build", "-q", "-o", filepath.Join(good, "slug.tgz"), "--sbom", filepath.Join(good, "sbom.json"),
		"--provenance", filepath.Join(good, "provenance.json"), "--sign-key", private)
	w.ok(t, dir, "build", "-q", "--provenance", filepath.Join(good, "alone.json"), "--sign-key", private)
	w.ok(t, dir, "build", "-q", "--provenance", filepath.Join(good, "bare.json"))
	all := []string{"slug.tgz", "--provenance", "provenance.json", "--key", "key.pub", "--sbom", "sbom.json"}
	instead := func(name, other string) []string {
		out := append([]string{}, all...)
		for i := range out {
			if out[i] == name {
				out[i] = other
			}
		}
		return out
	}
	for _, tt := range []struct {
		name string
		args []string
		// file is spoilt by change; nil removes it.
		file   string
		change func([]byte) []byte
		code   int
		want   string
	}{
		{name: "all is well", args: all, want: "Verified"},
		{name: "nothing to verify with", args: all[:1], code: exitUsage, want: "nothing to verify"},
		{name: "no key", args: all[:3], code: exitUsage, want: "give the public key with --key"},
		{name: "no provenance", args: []string{"slug.tgz", "--key", "key.pub", "--sbom", "sbom.json"}, code: exitUsage, want: "--provenance too"},
		{name: "slug is missing", args: all, file: "slug.tgz", code: exitFailed, want: "slug.tgz"},
		{name: "slug is empty", args: all, file: "slug.tgz", change: empty, code: exitMismatch, want: "expected sha256"},
		{name: "slug has another byte", args: all, file: "slug.tgz", change: flip, code: exitMismatch, want: "expected sha256"},
		{name: "slug has a byte more", args: all, file: "slug.tgz", change: more, code: exitMismatch, want: "expected sha256"},
		{name: "slug is a directory", args: instead("slug.tgz", "."), code: exitFailed, want: "not a regular file"},
		{name: "provenance is missing", args: all, file: "provenance.json", code: exitFailed, want: "provenance.json"},
		{name: "provenance is empty", args: all, file: "provenance.json", change: empty, code: exitFailed, want: "empty"},
		{name: "provenance has something behind it", args: all, file: "provenance.json", change: more, code: exitFailed, want: "behind it"},
		{name: "provenance is not signed", args: instead("provenance.json", "bare.json"), code: exitFailed, want: "not signed"},
		{name: "provenance is the bill", args: instead("provenance.json", "sbom.json"), code: exitFailed, want: "no envelope"},
		{name: "signature has another byte", args: all, file: "provenance.json", change: func(b []byte) []byte {
			i := bytes.Index(b, []byte(`"sig":"`)) + 10
			b[i] = map[bool]byte{true: 'B', false: 'A'}[b[i] == 'A']
			return b
		}, code: exitMismatch, want: "signature does not fit"},
		{name: "key is missing", args: all, file: "key.pub", code: exitFailed, want: "--key"},
		{name: "key is empty", args: all, file: "key.pub", change: empty, code: exitFailed, want: "no ed25519 public key"},
		{name: "key is private", args: instead("key.pub", "key.pem"), code: exitFailed, want: "private key"},
		{name: "key is another", args: instead("key.pub", foreign), code: exitFailed, want: "it is signed by key"},
		{name: "bill is missing", args: all, file: "sbom.json", code: exitFailed, want: "sbom.json"},
		{name: "bill is empty", args: all, file: "sbom.json", change: empty, code: exitMismatch, want: "bill of materials"},
		{name: "bill has another byte", args: all, file: "sbom.json", change: flip, code: exitMismatch, want: "bill of materials of the signed provenance"},
		{name: "bill is not known to the provenance", args: instead("provenance.json", "alone.json"), code: exitFailed, want: "vouches for no bill"},
		{name: "bill alone", args: []string{"slug.tgz", "--sbom", "sbom.json"}, want: "no signature was checked"},
		{name: "bill alone of another slug", args: []string{"slug.tgz", "--sbom", "sbom.json"}, file: "slug.tgz", change: flip, code: exitMismatch},
		{name: "bill alone is empty", args: []string{"slug.tgz", "--sbom", "sbom.json"}, file: "sbom.json", change: empty, code: exitFailed, want: "empty"},
		{name: "bill alone lacks a file", args: []string{"slug.tgz", "--sbom", "sbom.json"}, file: "sbom.json", change: func(b []byte) []byte {
			return bytes.ReplaceAll(b, []byte("web.js"), []byte("bew.js"))
		}, code: exitMismatch, want: "web.js"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			at := t.TempDir()
			for _, f := range []string{"slug.tgz", "provenance.json", "alone.json", "bare.json", "sbom.json", "key.pub", "key.pem"} {
				b, err := os.ReadFile(filepath.Join(good, f))
				if err != nil {
					t.Fatal(err)
				}
				if f == tt.file && tt.change == nil {
					continue
				}
				if f == tt.file {
					b = tt.change(b)
				}
				write(t, filepath.Join(at, f), string(b))
			}
			r := w.run(t, at, append([]string{"verify"}, tt.args...)...)
			if r.Code != tt.code || !strings.Contains(r.Out+r.Err, tt.want) || tt.code != 0 && strings.Contains(r.Out, "Verified") {
				t.Errorf("exit code %d, want %d with %q\n%s%s", r.Code, tt.code, tt.want, r.Out, r.Err)
			}
		})
	}
}

func empty([]byte) []byte { return nil }

func more(b []byte) []byte { return append(b, 'x') }

// flip changes a byte in the middle.
func flip(b []byte) []byte {
	b[len(b)/2] ^= 1
	return b
}

func TestBuild_refusesKeysBeforeAnyWork(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), attestedApp(t)
	write(t, filepath.Join(dir, "not-a-key"), "canary-text\n")
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--sign-key", "not-a-key"}, exitUsage, "nothing to sign"},
		{[]string{"--sign-key", "not-a-key", "--provenance", "p.json"}, exitFailed, "no ed25519 private key"},
		{[]string{"--sign-key", "none", "--provenance", "p.json"}, exitFailed, "none: no such file"},
		{[]string{"--sbom", "x.json", "--provenance", "./x.json"}, exitUsage, "name one file"},
		{[]string{"--sbom", "nowhere/x.json"}, exitUsage, "does not exist"},
	} {
		r := w.run(t, dir, append([]string{"build"}, tt.args...)...)
		if r.Code != tt.code || !strings.Contains(r.Err, tt.want) || strings.Contains(r.Err, "canary") {
			t.Errorf("%v: exit code %d, want %d with %q\n%s", tt.args, r.Code, tt.code, tt.want, r.Err)
		}
	}
	if _, err := os.Stat(filepath.Join(w.Env["XDG_CACHE_HOME"], name)); err == nil {
		t.Error("the cache was opened all the same")
	}
}
