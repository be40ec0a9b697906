package observe_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/observe"
	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/tree"
)

func (c *checkout) revision(rev string) *observe.Revision {
	c.t.Helper()
	r, err := observe.OpenRevision(c.t.Context(), c.dir, rev, c.env)
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// feed hands a program its standard input.
func (c *checkout) feed(input string, args ...string) {
	c.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Stdin = c.dir, strings.NewReader(input)
	for k, v := range c.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// history is a random commit as git's fast-import reads it.
func history(r *rand.Rand) string {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	part := func() string {
		return pick("a", "b", "a.b", "a-b", "web.js", "lib", "docs", "x y", "ü", "\"q\"", "tab\there", "node_modules", ".env", ".env.example",
			"id_rsa", "key.pem", "cert.pem", ".npmrc", ".ssh", ".git-old", "out", "Z", ".gitignore", ".tmp-1")
	}
	var b strings.Builder
	b.WriteString("commit refs/heads/main\ncommitter t <t@example.com> 1700000000 +0000\ndata 1\nx\n")
	data := func(mode, name, text string) {
		fmt.Fprintf(&b, "M %s inline %s\ndata %d\n%s\n", mode, strconv.Quote(name), len(text), text)
	}
	if r.IntN(2) == 0 {
		data("100644", ".slugignore", pick("docs\n", "/lib/a\n*.pem\n", "a/\n# x\nb*\n", "lib/**\n", "[\n"))
	}
	for range r.IntN(30) {
		names := []string{part()}
		for r.IntN(2) == 0 && len(names) < 4 {
			names = append(names, part())
		}
		name := strings.Join(names, "/")
		switch r.IntN(12) {
		case 0:
			data("120000", name, pick("a", "../a", "/app/web.js", "lib/a", "nowhere"))
		case 1:
			fmt.Fprintf(&b, "M 160000 %s %s\n", strings.Repeat("1", 40), strconv.Quote(name))
		default:
			data(pick("100644", "100644", "100755"), name, pick("", "same", "-----BEGIN PRIVATE KEY-----\n", "//r/:_authToken=secret\n", "x\r\ny\n", strings.Repeat("long ", r.IntN(100))))
		}
	}
	return b.String()
}

// What is read from the object store is what a fresh clone has on disk.
func TestRevision_isWhatAFreshCloneHolds(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("this system has no files of these names")
	}
	cases := 15
	if os.Getenv("SLUGFILE_LONG") == "1" {
		cases = 1000
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SLUGFILE_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed, cases = n, 1
	}
	for i := range cases {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed+uint64(i), 0))
			c := repository(t)
			c.feed(history(r), "fast-import", "--quiet")
			c.git("config", "core.quotePath", "true")
			clone := &checkout{t, filepath.Join(t.TempDir(), "clone"), c.env}
			c.git("clone", "-q", c.dir, clone.dir)
			o := observe.SourceOptions{Env: c.env, IncludeSecrets: []string{"lib/.env", "key.pem"}, Exclude: []string{"Z", "./a/b"}, Outputs: []string{"out/", "*/a-b"}}
			if r.IntN(3) == 0 { // an app that is not at the top
				c.dir, clone.dir = filepath.Join(c.dir, "lib"), filepath.Join(clone.dir, "lib")
				if fi, err := os.Lstat(clone.dir); err != nil || !fi.IsDir() {
					return
				}
				if entries, err := os.ReadDir(clone.dir); err != nil || len(entries) == 0 {
					return // a submodule that git knows and this clone does not
				}
				if err := os.Mkdir(c.dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			want, wantWithheld, git, wantFaults, err := observe.Source(t.Context(), clone.dir, o)
			if err != nil {
				t.Fatal(err)
			}
			o.Indexes = newStore(t)
			for _, run := range []string{"cold", "warm"} {
				rev, err := observe.OpenRevision(t.Context(), c.dir, "HEAD", c.env)
				if err != nil {
					t.Fatalf("SLUGFILE_SEED=%d: %v", seed+uint64(i), err)
				}
				got, withheld, faults, err := rev.Source(t.Context(), o)
				if err != nil {
					t.Fatalf("SLUGFILE_SEED=%d: %v", seed+uint64(i), err)
				}
				same(t, run+" tree", got.Tree, want.Tree)
				same(t, run+" withheld", withheld, wantWithheld)
				same(t, run+" faults", faults, wantFaults)
				same(t, run+" digest", got.Tree.Digest(), want.Tree.Digest())
				same(t, run+" commit", rev.Commit, git.SHA)
				if t.Failed() {
					t.Fatalf("SLUGFILE_SEED=%d", seed+uint64(i))
				}
			}
		})
	}
}

func TestRevision_leavesWorkTreeAndIndexAlone(t *testing.T) {
	t.Parallel()
	c := repository(t)
	c.put("slug.yaml", "app: old\n", 0o644)
	c.put("web.js", "old", 0o644)
	c.git("add", ".")
	c.git("commit", "-qm", "first")
	c.put("slug.yaml", "app: new\n", 0o644)
	c.put("web.js", "new", 0o644)
	c.git("add", "web.js")
	c.write("untracked")
	// The mtime of a file is noted in the index by whoever refreshes it.
	before, status := c.state(), c.git("status", "--porcelain")
	r := c.revision("main")
	text, err := r.ReadFile(t.Context(), "slug.yaml")
	same(t, "slug.yaml", string(text), "app: old\n")
	if err != nil || r.Name != "main ("+r.Commit[:7]+")" {
		t.Error(r.Name, err)
	}
	if _, err := r.ReadFile(t.Context(), "slug.lock"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	src, _, _, err := r.Source(t.Context(), observe.SourceOptions{Env: c.env, Indexes: newStore(t)})
	if err != nil {
		t.Fatal(err)
	}
	if e, ok := src.Tree.Find("web.js"); !ok || e.Digest != digest.Of([]byte("old")) || len(src.Tree) != 2 {
		t.Errorf("%v", src.Tree)
	}
	same(t, "repository", c.state(), before)
	same(t, "status", c.git("status", "--porcelain"), status)
}

// state is the name, size and content of every file of the checkout.
func (c *checkout) state() map[string]digest.Digest {
	c.t.Helper()
	all := map[string]digest.Digest{}
	err := filepath.WalkDir(c.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(name)
		all[name] = digest.Of(b)
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return all
}

func TestRevision_followsLinksToFiles(t *testing.T) {
	t.Parallel()
	c := repository(t)
	c.write("conf/Procfile")
	for link, to := range map[string]string{"Procfile": "conf/Procfile", "slug.yaml": "../out.yaml", "loop": "loop", "absent": "nothing"} {
		if err := os.Symlink(to, filepath.Join(c.dir, link)); err != nil {
			t.Skip("no links here:", err)
		}
	}
	c.git("add", ".")
	c.git("commit", "-qm", "first")
	r := c.revision("HEAD")
	if b, err := r.ReadFile(t.Context(), "Procfile"); err != nil || string(b) != "conf/Procfile" {
		t.Errorf("%q, %v", b, err)
	}
	for _, name := range []string{"slug.yaml", "loop", "absent", "conf"} {
		if b, err := r.ReadFile(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

func TestRevision_hashesABlobOnce(t *testing.T) {
	t.Parallel()
	c, s := repository(t), newStore(t)
	c.write("a", "b", "c")
	c.git("add", ".")
	c.git("commit", "-qm", "first")
	list := func(rev string) tree.Manifest {
		src, _, _, err := c.revision(rev).Source(t.Context(), observe.SourceOptions{Env: c.env, Indexes: s})
		if err != nil {
			t.Fatal(err)
		}
		return src.Tree
	}
	first := list("HEAD")
	c.put("b", "changed", 0o644)
	c.git("commit", "-qam", "second")
	// Without the object of what was hashed before, nothing can be read of it.
	id := c.git("rev-parse", "HEAD~1:a")
	if err := os.Remove(filepath.Join(c.dir, ".git", "objects", id[:2], id[2:])); err != nil {
		t.Fatal(err)
	}
	second := list("HEAD")
	if d := tree.Diff(first, second); len(d) != 1 || d[0].Path != "b" || d[0].After.Digest != digest.Of([]byte("changed")) {
		t.Errorf("%+v", d)
	}
	// What is not known and not there is told.
	_, _, _, err := c.revision("HEAD").Source(t.Context(), observe.SourceOptions{Env: c.env})
	var gone *observe.RevisionError
	if !errors.As(err, &gone) || !strings.Contains(err.Error(), id) || !strings.Contains(gone.Hint(), "git fetch") {
		t.Errorf("%v", err)
	}
}

func TestOpenRevision_saysWhatIsMissing(t *testing.T) {
	t.Parallel()
	origin := repository(t)
	origin.write("top")
	origin.git("add", ".")
	origin.git("commit", "-qm", "first")
	first := origin.git("rev-parse", "HEAD")
	origin.git("branch", "feature")
	origin.write("app/web.js")
	origin.git("add", ".")
	origin.git("commit", "-qm", "second")
	shallow := &checkout{t, filepath.Join(t.TempDir(), "shallow"), origin.env}
	origin.git("clone", "-q", "--depth=1", "file://"+origin.dir, shallow.dir)
	app := &checkout{t, filepath.Join(origin.dir, "app"), origin.env}
	for _, c := range []struct {
		in             *checkout
		rev, why, hint string
	}{
		{directory(t), "main", "is not in a git checkout", "v11"},
		{origin, "nowhere", "there is no such commit", "check the name"},
		{origin, "--help", "no name of a revision", "a branch"},
		{origin, "-", "no name of a revision", "a branch"},
		{origin, "", "no name of a revision", "a branch"},
		{origin, "HEAD\nHEAD", "no name of a revision", "a branch"},
		{origin, "HEAD^{tree}", "no such commit", ""},
		{origin, "HEAD~1..HEAD", "no such commit", ""},
		{origin, "^HEAD", "no such commit", ""},
		{shallow, "HEAD~1", "no such commit", "git fetch --unshallow"},
		{shallow, "origin/feature", "no such commit", "git fetch --depth=1 origin +refs/heads/feature:refs/remotes/origin/feature"},
		{shallow, first, "no such commit", "git fetch --depth=1 origin " + first},
		{app, "feature", "there is no directory app", "has the app"},
	} {
		_, err := observe.OpenRevision(t.Context(), c.in.dir, c.rev, c.in.env)
		var e *observe.RevisionError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.why) || !strings.Contains(e.Hint(), c.hint) {
			t.Errorf("%q: %v, want %q", c.rev, err, c.why)
		} else if strings.ContainsAny(err.Error()+e.Hint(), "\n") {
			t.Errorf("%q: %q, %q", c.rev, err, e.Hint())
		}
	}
	same(t, "what was told to fetch", func() string {
		shallow.git("fetch", "-q", "--depth=1", "origin", "+refs/heads/feature:refs/remotes/origin/feature")
		return shallow.revision("origin/feature").Commit
	}(), first)
	same(t, "a commit by its id", shallow.revision(first[:12]).Name, first[:7])
}

func TestRevision_readsARepositoryOfSHA256(t *testing.T) {
	t.Parallel()
	c := directory(t)
	pipetest.NeedTools(t, "git")
	if err := exec.Command("git", "init", "-q", "--object-format=sha256", c.dir).Run(); err != nil {
		t.Skip("this git makes no such repository:", err)
	}
	c.write("a", "b*")
	c.git("add", ".")
	c.git("commit", "-qm", "first")
	s := newStore(t)
	for range 2 {
		src, _, _, err := c.revision("HEAD").Source(t.Context(), observe.SourceOptions{Env: c.env, Indexes: s})
		if err != nil {
			t.Fatal(err)
		}
		same(t, "source", shown(src), []string{"a", "b*"})
	}
}

// A clone whose server has the rest must not be asked for it, and nothing that it configures runs.
func TestRevision_fetchesNothing(t *testing.T) {
	t.Parallel()
	origin := repository(t)
	origin.git("config", "uploadpack.allowFilter", "true")
	origin.write("web.js")
	origin.git("add", ".")
	origin.git("commit", "-qm", "first")
	c := &checkout{t, filepath.Join(t.TempDir(), "partial"), origin.env}
	origin.git("clone", "-q", "--no-checkout", "--filter=blob:none", "file://"+origin.dir, c.dir)
	trap := filepath.Join(t.TempDir(), "ran")
	c.git("config", "remote.origin.uploadpack", "touch '"+trap+"'; git-upload-pack")
	_, err := c.revision("HEAD").ReadFile(t.Context(), "web.js")
	if err == nil {
		t.Error("a blob that is not there was read")
	}
	if _, err := os.Stat(trap); err == nil {
		t.Error("the repository's own command ran")
	}
}

func TestWorld_takesTheArchivesOfTheRevision(t *testing.T) {
	t.Parallel()
	c, s := repository(t), newStore(t)
	c.put("third/x.tgz", "old archive", 0o644)
	c.git("add", ".")
	c.git("commit", "-qm", "first")
	c.put("third/x.tgz", "new", 0o644)
	in := inputs(t)
	in.Source.Dir = c.dir
	in.File.Runtimes = config.Runtimes{{Name: "x", Path: "third/x.tgz"}, {Name: "y", Path: "third/absent.tgz"}, {Name: "t", Host: "git"}}
	seen := look(t, observe.Options{Inputs: in, Store: s, Revision: c.revision("HEAD"), Path: os.Getenv("PATH")})
	same(t, "archives", seen.Archives, map[string]plan.Tool{
		"x": {Path: filepath.Join(c.dir, "third", "x.tgz"), Digest: digest.Of([]byte("old archive")), Size: 11},
	})
	if len(seen.Tools) != 1 {
		t.Errorf("tools %v", seen.Tools)
	}
}
