package observe_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/observe"
	"github.com/slugfile/slugfile/pipeline/secret"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// letters of tokens. No token stands in this file: they are put together.
const (
	alnum  = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
)

// some makes a text by chance, the same in each run.
func some(seed uint64, n int, of string) string {
	r := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = of[r.IntN(len(of))]
	}
	return string(b)
}

// pemKey is what a file with a private key looks like.
func pemKey(kind string, seed uint64) string {
	body := base64.StdEncoding.EncodeToString([]byte(some(seed, 48, alnum)))
	return "-----BEGIN " + kind + "PRIVATE" + " KEY-----\n" + body + "\n" + body + "\n-----END " + kind + "PRIVATE" + " KEY-----\n"
}

// secretFiles are files that must never be in a slug: half of them tell by their names.
func secretFiles() map[string]string {
	github := "ghp_" + some(1, 36, alnum)
	aws := "AKIA" + some(2, 16, base32)
	heroku := "HRKU" + "-AA" + some(3, 58, alnum)
	return map[string]string{
		".env": "PASSWORD=a\n", ".env.production": "PASSWORD=a\n", "api/.env.local": "x", ".netrc": "machine x", ".pypirc": "[pypi]",
		"kubeconfig": "x", ".npmrc": "//registry.example.com/:_authToken=x\n", "id_rsa": "x", "deploy/id_ed25519": "x", "id_ecdsa_sk": "x",
		"tls/server.pem": pemKey("RSA ", 4), "tls/SERVER.PEM": pemKey("", 5), "main.tfstate": "{}", "infra/old.tfstate.backup": "{}",
		".docker/config.json": "{}", ".aws/credentials": "x", ".ssh/config": "x", ".git-credentials/.ssh/known_hosts": "x",
		".slugfile/state": "x", ".svn/entries": "x",

		"tls/server.key": pemKey("EC ", 6), "deploy_key": pemKey("OPENSSH ", 7), "lib/keys.js": "module.exports = `" + pemKey("", 8) + "`;\n",
		"service-account.json": `{"private_key": "` + strings.ReplaceAll(pemKey("", 9), "\n", `\n`) + `"}`,
		"config/deploy.rb":     "set :token, '" + github + "'\n", "Dockerfile": "RUN git clone https://" + github + "@github.com/x/y\n",
		"scripts/ci.sh": "export GITHUB_TOKEN=gho_" + some(10, 36, alnum) + "\n", "notes.md": "token: github_pat_" + some(11, 22, alnum) + "_" + some(12, 59, alnum) + "\n",
		"config/aws.yml": "access_key_id: " + aws + "\n", "terraform/main.tf": "  access_key = \"" + aws + "\"\n", "src/Aws.java": "String K = \"" + aws + "\";\n",
		"app.json": `{"env": {"HEROKU_API_KEY": "` + heroku + `"}}`, "bin/release": "#!/bin/sh\nHEROKU_API_KEY=" + heroku + " heroku ps\n",
		"public/app.js": "fetch(u,{headers:{a:\"sk_live_" + some(13, 24, alnum) + "\"}})", "slack.py": "hook = 'https://hooks.slack.com/services/T" + some(14, 8, base32) + "/B" + some(15, 8, base32) + "/" + some(16, 24, alnum) + "'\n",
		"pip.conf": "index-url = https://__token__:pypi-AgEIcHlwaS5vcmc" + some(17, 120, alnum) + "@example.com/\n", ".yarnrc.yml": "npmAuthToken: npm_" + some(18, 36, alnum) + "\n",
		"mail.ini": "key=SG." + some(19, 22, alnum) + "." + some(20, 43, alnum) + "\n", "gitlab.toml": "token = \"glpat-" + some(21, 20, alnum) + "\"\n",
		"cache.bin": "\x00\x01\x02" + "xoxb-" + some(23, 12, alnum[52:]) + "-" + some(24, 12, alnum[52:]) + "-" + some(22, 24, alnum) + "\x00",
	}
}

// TestSecrets_areFoundAndCleanFilesAreNot is the figure of the rules: 40 files with secrets, of
// which all must be withheld or found, and clean ones, of which 1 % may be taken for some.
func TestSecrets_areFoundAndCleanFilesAreNot(t *testing.T) {
	t.Parallel()
	c := directory(t)
	bad := secretFiles()
	for name, text := range bad {
		c.put(name, text, 0o644)
	}
	clean := cleanFiles(t)
	for i, from := range clean {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		c.put(fmt.Sprintf("clean/%03d/%s", i, filepath.Base(from)), string(b), 0o644)
	}
	src, withheld, _, _, err := observe.Source(context.Background(), c.dir, observe.SourceOptions{Env: c.env})
	if err != nil {
		t.Fatal(err)
	}
	hits, err := observe.SourceSecrets(context.Background(), src, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, h := range hits {
		told[h.Path] = true
	}
	found := 0
	for name := range bad {
		by := told[name]
		for _, w := range withheld {
			by = by || tree.Under(name, strings.TrimSuffix(w.Path, "/"))
		}
		if !by {
			t.Errorf("%s passes", name)
			continue
		}
		found++
	}
	var wrong []string
	for path := range told {
		if strings.HasPrefix(path, "clean/") {
			wrong = append(wrong, path)
		}
	}
	for _, w := range withheld {
		if strings.HasPrefix(w.Path, "clean/") {
			wrong = append(wrong, w.Path)
		}
	}
	slices.Sort(wrong)
	if len(bad) != 40 || len(clean) != 500 || len(wrong) > 5 {
		t.Errorf("of %d clean files %d are taken for secrets: %v", len(clean), len(wrong), wrong)
	}
	t.Logf("%d of %d files with secrets found, %d of %d clean ones taken for some: %v", found, len(bad), len(wrong), len(clean), wrong)
}

// cleanFiles are 500 real files of many kinds: the Go tree's, less the keys of its tests, which
// are keys.
func cleanFiles(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	root := strings.TrimSpace(string(out))
	var all []string
	err = filepath.WalkDir(filepath.Join(root, "src"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || filepath.Ext(p) == ".pem" {
			return err
		}
		if info, err := d.Info(); err != nil || info.Size() == 0 || info.Size() > secret.MaxSize {
			return err
		}
		all = append(all, p)
		return nil
	})
	if err != nil || len(all) < 5000 {
		t.Fatalf("%d files in %s: %v", len(all), root, err)
	}
	// Every crypto package first, for there the words of keys are, then from all over.
	var list []string
	for _, p := range all {
		if strings.Contains(p, "/crypto/") && strings.Contains(p, "_test.go") && len(list) < 200 {
			list = append(list, p)
		}
	}
	for i := 0; len(list) < 500; i += len(all) / 301 {
		list = append(list, all[i%len(all)])
	}
	return list
}

// keeper is a store in memory that counts.
type keeper struct {
	docs      map[string][]byte
	gets, put int
}

func (k *keeper) GetBytes(kind, key string) ([]byte, bool, error) {
	k.gets++
	b, ok := k.docs[kind+key]
	return b, ok, nil
}

func (k *keeper) PutBytes(kind, key string, b []byte) error {
	k.put++
	k.docs[kind+key] = b
	return nil
}

// TestSourceSecrets_readsAFileOnce changes files behind the back of the tree: what is not read
// again is not noticed.
func TestSourceSecrets_readsAFileOnce(t *testing.T) {
	t.Parallel()
	c := directory(t)
	for i := range 100 {
		c.put(fmt.Sprintf("f%03d", i), fmt.Sprint("clean ", i), 0o644)
	}
	key := pemKey("", 1)
	c.put("f050", key, 0o644)
	ctx := context.Background()
	k := &keeper{docs: map[string][]byte{}}
	look := func(what string, want ...string) artifact.Source {
		t.Helper()
		src, _, _, _, err := observe.Source(ctx, c.dir, observe.SourceOptions{Env: c.env})
		if err != nil {
			t.Fatal(err)
		}
		hits, err := observe.SourceSecrets(ctx, src, nil, k)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, h := range hits {
			got = append(got, h.Path)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
		return src
	}
	src := look("first", "f050")
	if k.put != 1 {
		t.Errorf("written %d times", k.put)
	}
	for i := range 100 {
		if i != 50 {
			c.put(fmt.Sprintf("f%03d", i), key, 0o644)
		}
	}
	hits, err := observe.SourceSecrets(ctx, src, nil, k)
	if err != nil || len(hits) != 1 || hits[0].Path != "f050" || k.put != 1 {
		t.Errorf("a file was read again: %v, %v", hits, err)
	}
	for i := range 100 {
		c.put(fmt.Sprintf("f%03d", i), fmt.Sprint("clean ", 100-i), 0o644)
	}
	look("the same contents elsewhere, and one cleared")
	c.put("new", key, 0o644)
	c.put("f001", "aws AKIA"+some(2, 16, base32), 0o644)
	look("new ones", "f001", "new")
	k.docs = map[string][]byte{}
	look("nothing is known any more", "f001", "new")
	for name := range k.docs {
		k.docs[name] = []byte("of another version")
	}
	look("what is known is of another version", "f001", "new")
}

// TestSourceSecrets_doesNotRememberWhatMovedMeanwhile: a file that has other bytes than its
// digest says must be read again.
func TestSourceSecrets_doesNotRememberWhatMovedMeanwhile(t *testing.T) {
	t.Parallel()
	c := directory(t)
	for i := range 100 {
		c.put(fmt.Sprintf("f%03d", i), fmt.Sprint("clean ", i), 0o644)
	}
	ctx := context.Background()
	src, _, _, _, err := observe.Source(ctx, c.dir, observe.SourceOptions{Env: c.env})
	if err != nil {
		t.Fatal(err)
	}
	key := pemKey("", 1)
	e := &src.Tree[3]
	e.Digest, e.Size = digest.Of([]byte(key)), int64(len(key))
	k := &keeper{docs: map[string][]byte{}}
	if hits, err := observe.SourceSecrets(ctx, src, nil, k); err != nil || len(hits) > 0 || k.put != 1 {
		t.Fatalf("%v, %v, %d", hits, err, k.put)
	}
	c.put(e.Path, key, 0o644)
	if hits, err := observe.SourceSecrets(ctx, src, nil, k); err != nil || len(hits) != 1 {
		t.Errorf("%v, %v", hits, err)
	}
	if err := os.Remove(filepath.Join(c.dir, e.Path)); err != nil {
		t.Fatal(err)
	}
	if hits, err := observe.SourceSecrets(ctx, src, nil, k); err != nil || len(hits) != 0 {
		t.Errorf("a file that is gone: %v, %v", hits, err)
	}
}

func TestSourceSecrets_letsPassWhatIsNamedAndLooksIntoInlineFiles(t *testing.T) {
	t.Parallel()
	c := directory(t)
	c.put("config/public-test.key", pemKey("", 1), 0o644)
	c.put("config/other.key", pemKey("", 2), 0o644)
	src, _, _, _, err := observe.Source(context.Background(), c.dir, observe.SourceOptions{Env: c.env})
	if err != nil {
		t.Fatal(err)
	}
	files := []config.FileEntry{
		{From: ".", Into: ".", IncludeSecrets: []string{"config/public-test.key", "config"}},
		{Into: "key", Content: "#\n" + pemKey("", 3)},
	}
	hits, err := observe.SourceSecrets(context.Background(), src, files, nil)
	want := []secret.Hit{{Path: "files[1].content", Line: 2, Kind: "a private key"}, {Path: "config/other.key", Line: 1, Kind: "a private key"}}
	if err != nil || !slices.Equal(hits, want) {
		t.Errorf("%+v, %v", hits, err)
	}
}

func TestSlugSecrets_areThoseOfRuntimesAndOutputs(t *testing.T) {
	t.Parallel()
	c := directory(t)
	key := pemKey("", 1)
	c.put("out/test.key", key, 0o644)
	c.put("pack", "0123456789"+key, 0o644)
	c.put("src/own.key", key, 0o644)
	member := func(layer artifact.Layer, path, src string, at int64) artifact.Member {
		p := &artifact.Part{Dir: c.dir}
		if at > 0 {
			p = &artifact.Part{Pack: filepath.Join(c.dir, src)}
		}
		return artifact.Member{
			Entry: tree.Entry{Path: path, Kind: tree.File, Size: int64(len(key)), Digest: digest.Of([]byte(key))},
			Part:  p, Src: src, At: at, Layer: layer,
		}
	}
	members := []artifact.Member{
		{Entry: tree.Entry{Path: "node", Kind: tree.Dir}, Part: &artifact.Part{}},
		member(artifact.LayerRuntime, "node/test.key", "pack", 10),
		member(artifact.LayerOutput, "node_modules/a/test.key", "out/test.key", 0),
		member(artifact.LayerSource, "own.key", "src/own.key", 0),
	}
	hits, err := observe.SlugSecrets(context.Background(), c.dir, members, nil)
	var got []string
	for _, h := range hits {
		got = append(got, h.Path)
	}
	if err != nil || !slices.Equal(got, []string{"node/test.key", "node_modules/a/test.key"}) {
		t.Errorf("%v, %v", got, err)
	}
}
