//go:build linux

package main

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/platform/local"
)

// canary makes a value that is found wherever it turns up, and remembers it.
func (r *rig) canary(what string) string {
	value := "canary-" + strings.ReplaceAll(what, " ", "-") + "-" + r.platform.Token().Reveal()[:10] + "+/Q"
	r.secrets[what] = value
	return value
}

// hides looks for every secret, and for its base64, in a text.
func (r *rig) hides(t testing.TB, where, text string) {
	t.Helper()
	for what, secret := range r.secrets {
		for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret))[:16], strings.NewReplacer("+", "%2B", "/", "%2F").Replace(secret)} {
			if i := strings.Index(text, form); i >= 0 {
				t.Errorf("%s shows the %s: …%s…", where, what, text[max(0, i-200):min(len(text), i+200)])
			}
		}
	}
	if i := signature.FindStringIndex(text); i != nil {
		t.Errorf("%s shows a signed address: …%s…", where, text[max(0, i[0]-200):min(len(text), i[1]+100)])
	}
}

// searched is every regular file below dir, with what is compressed in it.
func searched(t testing.TB, dir string, visit func(path string, text []byte)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		visit(p, b)
		if z, err := gzip.NewReader(bytes.NewReader(b)); err == nil {
			if inner, err := io.ReadAll(z); err == nil {
				visit(p+" (inside)", inner)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestSecret_isNeverShownAndNeverKept runs every command, as chatty as it gets, with secrets in
// all places where users put them, and with everything going wrong on the way.
func TestSecret_isNeverShownAndNeverKept(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	out := t.TempDir()
	query := r.secrets["query"]
	r.Env["NPM_TOKEN"] = r.canary("passed")
	r.Env["DEPLOY_KEY"] = "-----BEGIN KEY-----\n" + r.canary("first line of a key") + "\n" + r.canary("second line of a key") + "\n-----END KEY-----\n"
	r.Env["AWS_SECRET_ACCESS_KEY"] = r.canary("foreign")
	r.Env["http_proxy"] = "http://user:" + r.canary("proxy password") + "@127.0.0.1:1"
	write(t, filepath.Join(r.dir, ".env"), "PASSWORD="+r.canary("withheld")+"\n")
	write(t, filepath.Join(r.dir, ".netrc"), "machine x login y password "+r.canary("netrc")+"\n")
	r.step(t, `set -x
env
echo "token $NPM_TOKEN" >&2
printf '%s' "$NPM_TOKEN" | base64
printf '%s\n' "$DEPLOY_KEY"
sed -n 3p <<< "$DEPLOY_KEY"
{ set +x; } 2> /dev/null
printf '%s' "${NPM_TOKEN:0:9}"; sleep 0.2; printf '%s\n' "${NPM_TOKEN:9}"
echo "https://user:$NPM_TOKEN@host/?q=$NPM_TOKEN"
cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr '\0' '\n' || true
`+packStep)
	replace(t, filepath.Join(r.dir, "slug.yaml"), "pass_env: [", "pass_env: [NPM_TOKEN, DEPLOY_KEY, ")

	good := readFile(t, filepath.Join(r.dir, "slug.yaml"))
	redirected := r.canary("redirect")
	type attempt struct {
		name   string
		args   []string
		code   int
		env    map[string]string
		yaml   func(string) string
		lock   string
		faults []pipetest.Fault
		meddle func(*http.Request, call) *local.Fault
	}
	fail := func(what string, f local.Fault) func(*http.Request, call) *local.Fault {
		return func(_ *http.Request, c call) *local.Fault {
			if c.What == what {
				return &f
			}
			return nil
		}
	}
	put := func(old, repl string) func(string) string {
		return func(text string) string { return strings.Replace(text, old, repl, 1) }
	}
	unpinned := put(fmt.Sprintf("    sha256: %x\n", hash(r.archive)), "")
	attempts := []attempt{
		{name: "validate", args: []string{"validate"}},
		{name: "validate effective", args: []string{"validate", "--effective"}},
		{name: "password in the url", args: []string{"validate"}, code: exitFile, yaml: put("https://dist", "https://user:"+r.canary("url password")+"@dist")},
		{name: "password in a broken url", args: []string{"validate"}, code: exitFile, yaml: put("https://dist", "https://user:"+r.secrets["url password"]+"@dist%zz")},
		{name: "passed credentials", args: []string{"validate"}, code: exitFile, yaml: put("pass_env: [NPM_TOKEN", "pass_env: [HEROKU_API_KEY")},
		{name: "password in the mirror", args: []string{"lock"}, code: exitUsage, env: map[string]string{"SLUGFILE_MIRRORS": "https://dist.example.com/=http://user:" + r.canary("mirror password") + "@127.0.0.1:1/"}},
		{name: "query in the mirror", args: []string{"apply", "-y"}, code: exitUsage, env: map[string]string{"SLUGFILE_MIRRORS": "https://dist.example.com/=http://127.0.0.1:1/?key=" + r.canary("mirror query")}},
		{name: "mirror that is none", args: []string{"build"}, code: exitUsage, env: map[string]string{"SLUGFILE_MIRRORS": "https://user:" + r.secrets["mirror password"] + "@dist.example.com/"}},
		{name: "password in the api", args: []string{"plan"}, code: exitFailed, env: map[string]string{"SLUGFILE_API": strings.Replace(r.Env["SLUGFILE_API"], "//", "//user:"+r.canary("api password")+"@", 1)}},
		{name: "query in the api", args: []string{"plan"}, code: exitFailed, env: map[string]string{"SLUGFILE_API": r.Env["SLUGFILE_API"] + "/?key=" + r.canary("api query")}},
		{name: "wrong token", args: []string{"plan"}, code: exitUnauthorized, env: map[string]string{"HEROKU_API_KEY": r.canary("wrong token")}},
		{name: "token with a line end", args: []string{"plan"}, code: -2, env: map[string]string{"HEROKU_API_KEY": r.secrets["wrong token"] + "\nX: y"}},
		{name: "lock, not found", args: []string{"lock", "--update"}, code: exitFailed, yaml: unpinned, faults: []pipetest.Fault{pipetest.Status(404)}},
		{name: "lock, elsewhere", args: []string{"lock", "--update"}, code: exitFailed, yaml: unpinned, faults: []pipetest.Fault{pipetest.Redirect(302, "http://127.0.0.1:1/x?sig="+redirected)}},
		{name: "lock, elsewhere with a password", args: []string{"lock", "--update"}, code: exitFailed, yaml: unpinned, faults: []pipetest.Fault{pipetest.Redirect(302, "https://u:"+redirected+"@127.0.0.1:1/x?sig="+redirected)}},
		{name: "build, cut", args: []string{"build", "-o", filepath.Join(out, "cut.tgz")}, faults: []pipetest.Fault{pipetest.Reset(1000), pipetest.Status(503)}},
		{name: "build, wrong bytes", args: []string{"build"}, code: exitMismatch, env: map[string]string{"XDG_CACHE_HOME": filepath.Join(r.Env["HOME"], "state", "cold")}, faults: []pipetest.Fault{pipetest.Flip(5)}},
		{name: "build, failing step", args: []string{"build"}, code: exitFailed, yaml: put("mkdir out", `echo "failed with $NPM_TOKEN"; echo "$DEPLOY_KEY"; exit 9`)},
		{name: "broken lock", args: []string{"build"}, code: exitFile, lock: "- {name: tool, url: https://u:" + r.secrets["url password"] + "@h/?k=" + query + ", sha256: 12, size: 1}\n"},
		{name: "unpinned", args: []string{"build"}, code: exitFile, yaml: unpinned},
		{name: "plan", args: []string{"plan"}, code: exitFailed},
		{name: "apply, refused slug", args: []string{"apply", "-y", "--create"}, code: exitUnauthorized, meddle: fail(postSlugs, local.Fault{Status: 403})},
		{name: "apply, reset and then refused upload", args: []string{"apply", "-y", "--create"}, code: exitFailed, meddle: func(_ *http.Request, c call) *local.Fault {
			switch c {
			case call{putBlob, 1}:
				return &local.Fault{ResetRequest: new(int64(1000))}
			case call{putBlob, 2}:
				return &local.Fault{Status: 400}
			}
			return nil
		}},
		{name: "apply, refused upload", args: []string{"apply", "-y", "--create"}, code: exitFailed, meddle: fail(putBlob, local.Fault{Expired: true})},
		{name: "apply, lost blob", args: []string{"apply", "-y", "--create"}, code: exitMismatch, meddle: fail("GET blob", local.Fault{Status: 404})},
		{name: "apply, refused release", args: []string{"apply", "-y", "--create"}, code: exitFailed, meddle: fail(postReleases, local.Fault{Status: 422})},
		{name: "apply", args: []string{"apply", "-y", "--create"}},
		{name: "apply again", args: []string{"apply", "-y"}},
		{name: "plan of nothing", args: []string{"plan"}},
		{name: "releases", args: []string{"releases"}},
		{name: "usage", args: []string{"apply", "--api", "--token", query}, code: exitUsage},
	}
	for _, a := range attempts {
		for _, json := range []bool{false, true} {
			args := slices.Clone(a.args)
			switch {
			case json && !slices.Contains([]string{"apply", "build", "plan", "releases", "validate"}, args[0]), json && a.name == "usage":
				continue
			case json:
				args = append(args, "--json")
			}
			if args[0] == "apply" && a.code != exitUsage || args[0] == "build" || args[0] == "lock" {
				args = append(args, "-vv", "--progress=plain")
			}
			r.mirror.Heal(toolPath)
			r.mirror.Fault(toolPath, a.faults...)
			if len(a.faults) > 0 && a.env == nil {
				r.dropCache(t)
			}
			r.forget(a.meddle)
			text := good
			if a.yaml != nil {
				if text = a.yaml(good); text == good {
					t.Fatalf("%s: slug.yaml is not changed", a.name)
				}
			}
			write(t, filepath.Join(r.dir, "slug.yaml"), text)
			if err := os.Remove(filepath.Join(r.dir, lockName)); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if a.lock != "" {
				write(t, filepath.Join(r.dir, lockName), a.lock)
			}
			w := &world{Env: map[string]string{}}
			for k, v := range r.Env {
				w.Env[k] = v
			}
			for k, v := range a.env {
				w.Env[k] = v
			}
			got := w.run(t, r.dir, args...)
			if a.code != -2 && got.Code != a.code || !slices.Contains(documented, got.Code) {
				t.Errorf("%s: exit code %d, want %d\n%s%s", a.name, got.Code, a.code, got.Out, got.Err)
			}
			shown := got.Out + got.Err
			if slices.Contains(args, "--effective") || a.name == "usage" {
				shown = strings.ReplaceAll(shown, query, "") // the user asks for these very words
			}
			r.hides(t, fmt.Sprintf("%s %q", a.name, args), shown)
			if args[0] == "build" && a.code == exitDone && !strings.Contains(shown, "token ***") {
				t.Errorf("%s: the step's output is not there to be looked at:\n%s", a.name, shown)
			}
		}
	}
	for _, dir := range []string{r.Env["HOME"], out} {
		searched(t, dir, func(p string, text []byte) { r.hides(t, p, string(text)) })
	}
	// The platform has its own token, and no other secret.
	delete(r.secrets, "token")
	searched(t, filepath.Join(r.platform.Dir(), "blobs"), func(p string, text []byte) { r.hides(t, p, string(text)) })
}

// TestSecret_proxyThatIsDownKeepsItsPassword: the errors of a proxy name it.
func TestSecret_proxyThatIsDownKeepsItsPassword(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.Env["SLUGFILE_MIRRORS"] = ""
	r.Env["HTTPS_PROXY"] = "http://user:" + strings.NewReplacer("+", "%2B", "/", "%2F").Replace(r.canary("proxy password")) + "@127.0.0.1:1"
	got := r.run(t, r.dir, "build", "--json", "-vv")
	if got.Code != exitFailed || !strings.Contains(got.Err, "proxy") {
		t.Errorf("exit code %d\n%s", got.Code, got.Err)
	}
	r.hides(t, "build", got.Out+got.Err)
}

// TestSecret_stepsSeeTheListedEnvironmentAlone compares the whole environment of a step.
func TestSecret_stepsSeeTheListedEnvironmentAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, name := range []string{"HEROKU_API_KEY", "HEROKU_API_TOKEN", "HEROKU_ORGANIZATION", "SLUGFILE_COLOR", "SLUGFILE_PROGRESS", "GITHUB_TOKEN", "SSH_AUTH_SOCK", "LD_PRELOAD", "BASH_ENV", "ENV", "PROMPT_COMMAND", "IFS", "CDPATH", "PERL5LIB", "NODE_OPTIONS", "GIT_DIR", "HTTPS_PROXY", "CI"} {
		if r.Env[name] == "" {
			r.Env[name] = r.canary(name)
		}
	}
	r.Env["SLUGFILE_COLOR"], r.Env["SLUGFILE_PROGRESS"], r.Env["LD_PRELOAD"], r.Env["GIT_DIR"] = "never", "plain", "", ""
	delete(r.Env, "GIT_DIR")
	r.Env["HTTPS_PROXY"] = "http://proxy.example.com:3128"
	r.step(t, "mkdir out\nenv -0 | sort -z | tr '\\0' '\\n' > out/env\n(set) > out/set")
	replace(t, filepath.Join(r.dir, "slug.yaml"), "    outputs: [out]", "    outputs: [out]\n    env: {GREETING: hello}\n    pass_env: [CI]")
	slug := filepath.Join(t.TempDir(), "slug.tgz")
	r.ok(t, r.dir, "build", "-o", slug)
	list := slugFiles(t, slug)
	want := strings.Join([]string{
		"CI=" + r.Env["CI"], "GREETING=hello", "HOME=/build-home", "HTTPS_PROXY=http://proxy.example.com:3128", "LANG=C.UTF-8",
		"PATH=/app/tool/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "PWD=/app", "SHLVL=1",
		"SOURCE_DATE_EPOCH=946684800", "TMPDIR=/tmp", "TZ=UTC", "_=/usr/bin/env", "",
	}, "\n")
	if d := cmp.Diff(want, list["./app/out/env"]); d != "" {
		t.Errorf("the environment of a step (-want +got):\n%s", d)
	}
	delete(r.secrets, "CI")
	r.hides(t, "the shell of a step", list["./app/out/set"])
}

// TestSecret_dynosSeeNoCredentials: what runs on the embedded platform knows the app's config
// and nothing of the user who deploys it.
func TestSecret_dynosSeeNoCredentials(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.Env["GITHUB_TOKEN"] = r.canary("foreign")
	r.Env["HEROKU_API_KEY"] = r.canary("token of another platform")
	delete(r.Env, "SLUGFILE_API")
	replace(t, filepath.Join(r.dir, "slug.yaml"), "process_types:", "process_types:\n  release: env; cat /proc/[0-9]*/environ | tr '\\0' '\\n'")
	got := r.run(t, r.dir, "apply", "--local", "--json", "-vv")
	if got.Code != exitDone || !strings.Contains(got.Out, "PORT=") && !strings.Contains(got.Out, "DYNO=release") {
		t.Errorf("exit code %d\n%s%s", got.Code, got.Out, got.Err)
	}
	r.hides(t, "the release phase", got.Out+got.Err)
	for _, word := range []string{"HEROKU_API", "SLUGFILE_", "XDG_"} {
		if strings.Contains(got.Out, word) {
			t.Errorf("the release phase sees %s…:\n%s", word, got.Out)
		}
	}
}
