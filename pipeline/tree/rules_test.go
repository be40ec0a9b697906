package tree_test

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/slugfile/slugfile/config/diag"
	"github.com/slugfile/slugfile/pipeline/tree"
)

func TestDenied_findsFortySecretFiles(t *testing.T) {
	t.Parallel()
	key := "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\n"
	token := "//registry.example.com/:_authToken=abc\n"
	secrets := map[string]string{
		".git/config": "", ".git/objects/ab/cdef": "", "vendor/lib/.git/HEAD": "", ".git": "gitdir: ../.git/worktrees/x\n",
		".hg/store/data": "", ".svn/wc.db": "", ".slugfile/journal": "",
		".ssh/config": "", ".ssh/known_hosts": "", "home/.ssh/id_ed25519.pub": "",
		".aws/credentials": "", "deploy/.aws/config": "",
		".env": "", "web/.env": "", ".env.local": "", ".env.production": "", "api/.env.test": "", ".env.example.local": "",
		".netrc": "", "home/.netrc": "", ".pypirc": "", "py/.pypirc": "",
		".npmrc": token, "web/.npmrc": "_auth = dXNlcjpwYXNz\n",
		"id_rsa": "", "keys/id_rsa": "", "id_dsa": "", "id_ecdsa": "", "id_ecdsa_sk": "", "id_ed25519": "", "id_ed25519_sk": "",
		"server.pem": key, "certs/tls.pem": strings.ReplaceAll(key, "RSA ", ""), "certs/EC.PEM": strings.ReplaceAll(key, "RSA", "EC"),
		"bundle.pem":          "-----BEGIN CERTIFICATE-----\nMIID\n-----END CERTIFICATE-----\n" + key,
		".docker/config.json": "", "ci/.docker/config.json": "",
		"terraform.tfstate": "", "infra/prod.tfstate": "", "infra/terraform.tfstate.backup": "",
		"kubeconfig": "", "deploy/kubeconfig": "",
	}
	if len(secrets) < 40 {
		t.Fatalf("only %d secret files", len(secrets))
	}
	for name, content := range secrets {
		rule, ok := tree.Denied(name, func() ([]byte, error) { return []byte(content), nil })
		if !ok || !strings.HasPrefix(rule, "deny list: ") {
			t.Errorf("%s passes (rule %q)", name, rule)
		}
	}
}

func TestDenied_letsCleanFilesPass(t *testing.T) {
	t.Parallel()
	clean := map[string]string{
		".env.example": "", "web/.env.example": "", ".environment": "", "env": "", ".envrc.example": "",
		".gitignore": "", ".gitattributes": "", ".github/workflows/ci.yml": "", "git/x": "", "x.git": "",
		".npmrc": "save-exact=true\n", "id_rsa.pub": "", "id_ed25519.pub": "", "id_card.js": "", "id_generator.rb": "", "id_": "",
		"ca.pem": "-----BEGIN CERTIFICATE-----\nMIID\n-----END CERTIFICATE-----\n", "pem.js": "",
		"config.json": "", "docker/config.json": "", ".docker/Dockerfile": "", "my.docker/config.json": "",
		"main.tf": "", "tfstate.go": "", "kubeconfig.go": "", "kubeconfig/doc.go": "", "netrc": "", "aws/s3.py": "", "ssh/client.go": "",
		".slugignore": "", "slug.yaml": "",
	}
	for i := range 500 {
		clean[fmt.Sprintf("lib/module%d/index.js", i)] = ""
	}
	for name, content := range clean {
		if rule, ok := tree.Denied(name, func() ([]byte, error) { return []byte(content), nil }); ok {
			t.Errorf("%s is withheld: %s", name, rule)
		}
	}
}

func TestDenied_isClosedWhenItCannotLook(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a.pem", ".npmrc"} {
		if _, ok := tree.Denied(name, nil); !ok {
			t.Errorf("%s passes without a look", name)
		}
		if _, ok := tree.Denied(name, func() ([]byte, error) { return nil, errors.New("no") }); !ok {
			t.Errorf("%s passes after a failed look", name)
		}
	}
	if rule, ok := tree.Denied("web.js", func() ([]byte, error) { panic("read for its name") }); ok {
		t.Errorf("web.js: %s", rule)
	}
}

func TestDenied_asksDirectoriesByTheirOwnRules(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		".git/": true, "a/.ssh/": true, "a/.ssh/b/": true,
		"kubeconfig/": false, ".env/": false, "id_rsa/": false, "src/": false,
	} {
		if _, ok := tree.Denied(name, nil); ok != want {
			t.Errorf("%s: denied is %v", name, ok)
		}
	}
}

func TestIgnore_isHerokusFormat(t *testing.T) {
	t.Parallel()
	ig, faults := tree.ParseIgnore(".slugignore", []byte("# docs\n\n*.psd\r\n/test\nspec/fixtures\ntmp/\ndocs/**/*.md # drafts\n  padded  \n\\!bang\nimg?.{png,gif}\na\\*b\n#*#\n"))
	if len(faults) != 0 {
		t.Fatal(faults)
	}
	for _, c := range []struct {
		path string
		dir  bool
		rule string
	}{
		{"x.psd", false, ".slugignore:3: *.psd"},
		{"deep/down/x.psd", false, ".slugignore:3: *.psd"},
		{"x.psd/inside", false, ".slugignore:3: *.psd"},
		{".psd", false, ".slugignore:3: *.psd"},
		{"test", true, ".slugignore:4: /test"},
		{"test/unit/a.rb", false, ".slugignore:4: /test"},
		{"lib/test", true, ""},
		{"testing", false, ""},
		{"spec/fixtures", true, ".slugignore:5: spec/fixtures"},
		{"spec/fixtures/a/b", false, ".slugignore:5: spec/fixtures"},
		{"x/spec/fixtures", true, ""},
		{"spec", true, ""},
		{"tmp", true, ".slugignore:6: tmp/"},
		{"tmp/cache", false, ".slugignore:6: tmp/"},
		{"tmp", false, ""},
		{"lib/tmp/x", false, ""}, // a final slash is a slash: it anchors
		{"docs/a.md", false, ".slugignore:7: docs/**/*.md"},
		{"docs/a/b/c.md", false, ".slugignore:7: docs/**/*.md"},
		{"a.md", false, ""},
		{"x/padded", false, ".slugignore:8: padded"},
		{"!bang", false, `.slugignore:9: \!bang`},
		{"a/img1.gif", false, ".slugignore:10: img?.{png,gif}"},
		{"img12.gif", false, ""},
		{"a*b", false, `.slugignore:11: a\*b`},
		{"aXb", false, ""},
		{"#x#", false, ""},
	} {
		rule, ok := ig.Match(c.path, c.dir)
		if rule != c.rule || ok != (c.rule != "") {
			t.Errorf("%s (directory: %v): %q, %v; want %q", c.path, c.dir, rule, ok, c.rule)
		}
	}
}

func TestParseIgnore_tellsEveryFaultAtItsPlace(t *testing.T) {
	t.Parallel()
	_, faults := tree.ParseIgnore(".slugignore", []byte("*.log\n  !keep.log\na[\n/\n../up\n{a,b\n"))
	type fault struct {
		Pos     diag.Pos
		Message string
		Hint    bool
	}
	var got []fault
	for _, f := range faults {
		got = append(got, fault{f.Pos, f.Message, f.Hint != ""})
	}
	at := func(line, column int) diag.Pos { return diag.Pos{File: ".slugignore", Line: line, Column: column} }
	want := []fault{
		{at(2, 3), `pattern "!keep.log": there is no negation in .slugignore`, true},
		{at(3, 1), `pattern "a[": a bracket, a brace or a backslash is not closed`, true},
		{at(4, 1), `pattern "/" leaves nothing of the app`, true},
		{at(5, 1), `pattern "../up" leaves the app's directory`, true},
		{at(6, 1), `pattern "{a,b": a bracket, a brace or a backslash is not closed`, true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

// reference is what the format says, as directly as it can be written: a path is ignored
// when it, or a directory above it, matches.
func reference(pattern, p string, isDir bool) bool {
	for at := p; at != "."; at, isDir = path.Dir(at), true {
		glob := pattern
		if strings.HasSuffix(glob, "/") {
			if !isDir {
				continue
			}
		}
		subject := at
		if !strings.Contains(pattern, "/") {
			subject = path.Base(at)
		}
		if ok, err := path.Match(strings.Trim(glob, "/"), subject); err == nil && ok {
			return true
		}
	}
	return false
}

func TestIgnore_agreesWithAReference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`/?[ab*?.]{1,4}(/[ab*?]{1,3}){0,2}/?`).Draw(t, "pattern")
		if strings.Contains(pattern, "**") || path.Clean("/"+pattern) != "/"+strings.Trim(pattern, "/") {
			t.Skip("not in the reference's language")
		}
		p := rapid.StringMatching(`[ab.]{0,2}[ab](/[ab]{1,3}){0,3}`).Draw(t, "path")
		if path.Clean(p) != p {
			t.Skip("no path of a manifest")
		}
		isDir := rapid.Bool().Draw(t, "directory")
		ig, faults := tree.ParseIgnore("f", []byte(pattern))
		if len(faults) > 0 {
			t.Fatalf("%q: %v", pattern, faults)
		}
		if _, got := ig.Match(p, isDir); got != reference(pattern, p, isDir) {
			t.Fatalf("pattern %q, path %q, directory %v: %v", pattern, p, isDir, got)
		}
	})
}

func FuzzParseIgnore(f *testing.F) {
	f.Add([]byte("*.log\n!x\n/a/b/ # c\n{a,[b\n"), "a/b/c")
	f.Fuzz(func(t *testing.T, text []byte, p string) {
		ig, faults := tree.ParseIgnore(".slugignore", text)
		for _, d := range faults {
			if !d.Pos.IsValid() || d.Message == "" || d.Hint == "" {
				t.Errorf("%q: incomplete diagnostic %+v", text, d)
			}
		}
		rule, ok := ig.Match(p, false)
		if ok != (rule != "") {
			t.Errorf("%q, %q: rule %q, %v", text, p, rule, ok)
		}
	})
}

func TestSelect_takesFilesDirectoriesAndGlobs(t *testing.T) {
	t.Parallel()
	var m tree.Manifest
	for _, p := range []string{"a.js", "b[1].js", "bin/node", "bin/npm", "lib/a/x.js", "lib/a/y.rb", "lib/b.js", "library/c.js"} {
		m = append(m, file(p, p))
	}
	for _, c := range []struct {
		patterns []string
		want     string
	}{
		{[]string{"bin/node"}, "bin/node"},
		{[]string{"lib"}, "lib/a/x.js lib/a/y.rb lib/b.js"},
		{[]string{"./lib/"}, "lib/a/x.js lib/a/y.rb lib/b.js"},
		{[]string{"*.js"}, "a.js b[1].js"},
		{[]string{"**/*.js"}, "a.js b[1].js lib/a/x.js lib/b.js library/c.js"},
		{[]string{"lib/*"}, "lib/a/x.js lib/a/y.rb lib/b.js"},
		{[]string{"b[1].js"}, "b[1].js"},
		{[]string{"lib/b.js", "bin/node", "lib/b.js"}, "bin/node lib/b.js"},
		{[]string{"."}, "a.js b[1].js bin/node bin/npm lib/a/x.js lib/a/y.rb lib/b.js library/c.js"},
		{[]string{"nothing", "li", "*.py"}, ""},
		{nil, ""},
	} {
		var got []string
		for _, e := range tree.Select(m, c.patterns) {
			got = append(got, e.Path)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%q: %v, want %s", c.patterns, got, c.want)
		}
	}
}

func TestValidGlob_refusesWhatNeverMatches(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "*.js", "**/x", "[a-z]", "{a,b}", `\*`} {
		if err := tree.ValidGlob(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "[a", "{a,b", `a\`} {
		if err := tree.ValidGlob(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
		if tree.Glob(bad, "a") {
			t.Errorf("%q matches", bad)
		}
	}
}
