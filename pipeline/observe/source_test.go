package observe_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/disk"
	"github.com/slugfile/slugfile/pipeline/observe"
	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// checkout is a directory under test and the environment that git gets.
type checkout struct {
	t   *testing.T
	dir string
	env map[string]string
}

func directory(t *testing.T) *checkout {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &checkout{t, dir, map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": t.TempDir(), "GIT_CONFIG_NOSYSTEM": "1",
		"GIT_CONFIG_COUNT": "2",
		"GIT_CONFIG_KEY_0": "init.defaultBranch", "GIT_CONFIG_VALUE_0": "main",
		"GIT_CONFIG_KEY_1": "protocol.file.allow", "GIT_CONFIG_VALUE_1": "always",
	}}
}

func repository(t *testing.T) *checkout {
	t.Helper()
	pipetest.NeedTools(t, "git")
	c := directory(t)
	c.git("init", "-q")
	return c
}

func (c *checkout) git(args ...string) string {
	c.t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
	cmd.Dir = c.dir
	for k, v := range c.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// write makes files whose content is their name; one with a final * is executable.
func (c *checkout) write(names ...string) {
	c.t.Helper()
	for _, n := range names {
		mode := os.FileMode(0o644)
		if strings.HasSuffix(n, "*") {
			n, mode = strings.TrimSuffix(n, "*"), 0o755
		}
		c.put(n, n, mode)
	}
}

func (c *checkout) put(name, content string, mode os.FileMode) {
	c.t.Helper()
	at := filepath.Join(c.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(at, []byte(content), mode); err != nil {
		c.t.Fatal(err)
	}
}

func (c *checkout) source(o observe.SourceOptions) ([]string, []tree.Withheld, plan.Git) {
	c.t.Helper()
	o.Env = c.env
	src, withheld, git, faults, err := observe.Source(context.Background(), c.dir, o)
	if err != nil || len(faults) > 0 {
		c.t.Fatal(err, faults)
	}
	return shown(src), withheld, git
}

func shown(src artifact.Source) []string {
	out := []string{}
	for _, e := range src.Tree {
		s := e.Path
		switch {
		case e.Kind == tree.Dir:
			s += "/"
		case e.Exec:
			s += "*"
		}
		out = append(out, s)
	}
	return out
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: -want +got\n%s", what, diff)
	}
}

func TestSource_isWhatGitNamesWithTheContentOnDisk(t *testing.T) {
	t.Parallel()
	c := repository(t)
	c.put(".gitignore", "*.log\n/build/\n", 0o644)
	c.write("web.js", "run*", "gone.js", "lib/a b.js", "lib/ü.js", "slug.yaml", "third_party/x.tgz")
	c.git("add", ".")
	c.git("commit", "-qm", "first")
	c.write("untracked.js", "x.log", "build/out", "tool*", "node_modules/m/i.js", "slug.tgz")
	c.put("web.js", "changed", 0o644)
	if err := os.Remove(filepath.Join(c.dir, "gone.js")); err != nil {
		t.Fatal(err)
	}
	got, withheld, git := c.source(observe.SourceOptions{
		Outputs: []string{"node_modules/", "dist"}, Exclude: []string{"slug.yaml", "slug.tgz", "./third_party/x.tgz"},
	})
	same(t, "source", got, []string{".gitignore", "lib/a b.js", "lib/ü.js", "run*", "tool*", "untracked.js", "web.js"})
	same(t, "withheld", len(withheld), 0)
	same(t, "git", git, plan.Git{SHA: c.git("rev-parse", "HEAD"), Branch: "main"})
}

func TestSource_takesTheExecutableBitFromTheIndex(t *testing.T) {
	t.Parallel()
	c := repository(t)
	c.write("a", "b*", "c*")
	c.git("add", "a", "b")
	c.git("update-index", "--chmod=+x", "a")
	c.git("update-index", "--chmod=-x", "b")
	got, _, _ := c.source(observe.SourceOptions{})
	same(t, "source", got, []string{"a*", "b", "c*"})
}

func TestSource_ofADirectoryBelowTheRepositoryHoldsThatAlone(t *testing.T) {
	t.Parallel()
	c := repository(t)
	c.write("top.js", "app/web.js", "app/sub/x")
	c.git("add", "top.js", "app/web.js")
	c.git("commit", "-qm", "first")
	want := c.git("rev-parse", "HEAD")
	c.dir = filepath.Join(c.dir, "app")
	got, _, git := c.source(observe.SourceOptions{})
	same(t, "source", got, []string{"sub/x", "web.js"})
	same(t, "commit", git.SHA, want)
}

func TestSource_withoutGitIsEveryFile(t *testing.T) {
	t.Parallel()
	c := directory(t)
	c.write("web.js", "bin/run*", "x.log")
	if err := os.Mkdir(filepath.Join(c.dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	c.env["PATH"] = "" // git is not even looked for
	got, _, git := c.source(observe.SourceOptions{})
	same(t, "source", got, []string{"bin/run*", "web.js", "x.log"})
	same(t, "git", git, plan.Git{})
}

// A clone and an unpacked release of the same files make the same slug, and the same keys.
func TestSource_ofACheckoutAndOfAPlainDirectoryAreEqual(t *testing.T) {
	t.Parallel()
	var trees []tree.Manifest
	for _, git := range []bool{false, true} {
		c := directory(t)
		if git {
			c = repository(t)
		}
		c.write("web.js", "bin/run*", "vendor/tool.tgz", "keys/id_rsa", "deep/er/x")
		if err := os.MkdirAll(filepath.Join(c.dir, "empty", "er"), 0o755); err != nil {
			t.Fatal(err)
		}
		if git {
			c.git("add", ".")
		}
		src, _, _, faults, err := observe.Source(t.Context(), c.dir, observe.SourceOptions{Env: c.env, Exclude: []string{"vendor/tool.tgz"}})
		if err != nil || len(faults) > 0 {
			t.Fatal(err, faults)
		}
		trees = append(trees, src.Tree)
	}
	same(t, "source", trees[0], trees[1])
}

func TestSource_leavesOutWhatAKilledRunLeft(t *testing.T) {
	t.Parallel()
	for name, where := range map[string]func(*testing.T) *checkout{"a directory": directory, "a git checkout": repository} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := where(t)
			c.write("web.js")
			var got []string
			// A kill in the middle of a write leaves what stands there in the middle of one.
			err := disk.Replace(filepath.Join(c.dir, "slug.lock"), 0o600, func(io.Writer) error {
				got, _, _ = c.source(observe.SourceOptions{})
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			same(t, "source", got, []string{"web.js"})
		})
	}
}

func TestSource_withholdsSecretsAndWhatSlugignoreNames(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]*checkout{"git": repository(t), "no git": directory(t)} {
		c.put(".slugignore", "# tests\n*.psd\n/docs\n", 0o644)
		c.write(".env", ".env.example", "config/.env", ".ssh/id_rsa", "web.js", "art/logo.psd", "docs/a", "lib/docs/b")
		c.put("key.pem", "-----BEGIN PRIVATE KEY-----\n", 0o600)
		c.put("cert.pem", "-----BEGIN CERTIFICATE-----\n", 0o644)
		got, withheld, _ := c.source(observe.SourceOptions{IncludeSecrets: []string{"config/.env"}})
		got = slices.DeleteFunc(got, func(s string) bool { return strings.HasSuffix(s, "/") })
		same(t, name, got, []string{".env.example", ".slugignore", "cert.pem", "config/.env", "lib/docs/b", "web.js"})
		same(t, name, withheld, []tree.Withheld{
			{Path: ".env", Rule: "deny list: .env"},
			{Path: ".ssh", Rule: "deny list: .ssh/"},
			{Path: "art/logo.psd", Rule: ".slugignore:2: *.psd"},
			{Path: "docs", Rule: ".slugignore:3: /docs"},
			{Path: "key.pem", Rule: "deny list: *.pem with a private key"},
		})
	}
}

func TestSource_goesIntoSubmodulesThatAreCheckedOut(t *testing.T) {
	t.Parallel()
	lib := repository(t)
	lib.write("lib.js", "run*")
	lib.git("add", ".")
	lib.git("commit", "-qm", "lib")
	c := repository(t)
	c.write("web.js")
	c.git("submodule", "--quiet", "add", lib.dir, "vendor/lib")
	c.git("submodule", "--quiet", "add", lib.dir, "vendor/absent")
	c.git("submodule", "--quiet", "deinit", "-f", "vendor/absent")
	c.write("vendor/lib/new.js", "nested/x")
	nested := &checkout{t, filepath.Join(c.dir, "nested"), c.env}
	nested.git("init", "-q")
	got, withheld, _ := c.source(observe.SourceOptions{})
	same(t, "source", got, []string{".gitmodules", "vendor/lib/lib.js", "vendor/lib/new.js", "vendor/lib/run*", "web.js"})
	same(t, "withheld", withheld, []tree.Withheld{
		{Path: "nested", Rule: "another git repository"},
		{Path: "vendor/absent", Rule: "submodule: not checked out"},
	})
}

func TestGit_readsTheCommitAsGitDoes(t *testing.T) {
	t.Parallel()
	c := repository(t)
	head := func(what string) {
		t.Helper()
		got, err := observe.Git(context.Background(), c.dir, c.env)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		branch := c.git("rev-parse", "--abbrev-ref", "HEAD")
		if branch == "HEAD" {
			branch = ""
		}
		same(t, what, got, plan.Git{SHA: c.git("rev-parse", "HEAD"), Branch: branch})
	}
	if got, err := observe.Git(context.Background(), c.dir, c.env); err != nil || got != (plan.Git{Branch: "main"}) {
		t.Errorf("before the first commit: %+v, %v", got, err)
	}
	c.write("a")
	c.git("add", "a")
	c.git("commit", "-qm", "first")
	head("loose ref")
	c.git("pack-refs", "--all")
	head("packed ref")
	c.git("checkout", "-qb", "feature/x")
	head("branch with a slash")
	linked := filepath.Join(t.TempDir(), "linked")
	c.git("worktree", "add", "-q", linked, "main")
	main := c.dir
	c.dir = linked
	head("linked worktree")
	c.dir = main
	c.git("checkout", "-q", "--detach")
	head("detached")
}

func TestSource_neverRunsWhatTheRepositoryConfigures(t *testing.T) {
	t.Parallel()
	c := repository(t)
	c.write("web.js")
	c.git("add", ".")
	trap := filepath.Join(c.dir, "ran")
	c.put("trap.sh", "#!/bin/sh\ntouch '"+trap+"'\n", 0o755)
	c.git("config", "core.fsmonitor", filepath.Join(c.dir, "trap.sh"))
	c.put("git", "#!/bin/sh\ntouch '"+trap+"'\n", 0o755)
	c.env["PATH"] = ".:" + ":" + c.env["PATH"]
	got, _, _ := c.source(observe.SourceOptions{})
	same(t, "source", got, []string{"git*", "trap.sh*", "web.js"})
	if _, err := os.Stat(trap); err == nil {
		t.Error("the repository's own program ran")
	}
}

func TestSource_saysThatGitIsMissing(t *testing.T) {
	t.Parallel()
	c := repository(t)
	_, _, _, _, err := observe.Source(context.Background(), c.dir, observe.SourceOptions{Env: map[string]string{"PATH": "/nonexistent"}})
	if err == nil || !strings.Contains(err.Error(), "is a git checkout: there is no program git on PATH") {
		t.Errorf("got %v", err)
	}
}
