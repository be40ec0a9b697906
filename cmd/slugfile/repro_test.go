//go:build linux

package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/pipetest"
	slugformat "github.com/slugfile/slugfile/pipeline/slug"
)

// circumstances are all that must not show in a slug.
type circumstances struct {
	user        string // root or nobody
	umask       string
	zone, lang  string
	procs       string
	later       bool // files are a year newer
	reversed    bool // files were made in another order
	git         int  // 0 is a plain directory; else so many commits
	deep        bool // a longer path
	home        string
	warm, again bool // the cache holds the runtimes and outputs; all is built for the second time
	writable    bool // files have other modes, but for the executable bit
	extra       bool // variables that tools listen to
}

func (c circumstances) String() string {
	return fmt.Sprintf("user=%s,umask=%s,TZ=%s,LANG=%s,GOMAXPROCS=%s,later=%t,reversed=%t,git=%d,deep=%t,HOME=%s,warm=%t,again=%t,modes=%t,extra=%t",
		c.user, c.umask, c.zone, c.lang, c.procs, c.later, c.reversed, c.git, c.deep, c.home, c.warm, c.again, c.writable, c.extra)
}

// draw chooses circumstances at random.
func draw(r *rand.Rand) circumstances {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	yes := func() bool { return r.IntN(2) == 0 }
	return circumstances{
		user: pick("root", "nobody"), umask: pick("022", "077", "002", "000"),
		zone: pick("UTC", "Asia/Kathmandu", "America/St_Johns", ""), lang: pick("C", "de_DE.UTF-8", "tr_TR.UTF-8", "C.UTF-8"),
		procs: pick("1", "2", "4"), later: yes(), reversed: yes(), git: r.IntN(3), deep: yes(), home: pick("h", "a home with blanks"),
		warm: yes(), again: yes(), writable: yes(), extra: yes(),
	}
}

// reproFiles is a source tree with something of everything; a name with a star is executable.
func reproFiles() map[string]string {
	files := map[string]string{
		"slug.yaml": `app: same
stack: heroku-24
runtimes:
  tool: {path: vendor/tool.tar.gz, strip: 1, sha256: TOOL}
  more: {path: vendor/more.tar.gz, sha256: MORE, only: ["bin/**"]}
build:
  - name: first
    run: |
      mkdir -p out/deep
      tool a b > out/said
      sort src/*.txt > out/sorted
      echo "$TZ $LANG $HOME $PWD $SOURCE_DATE_EPOCH $(umask) $(id -u)" > out/seen
      install -m 755 src/a.txt out/deep/run
      ln -s ../said out/deep/link
    outputs: [out]
    inputs: [src]
  - name: second
    run: |
      ls -R . | LC_ALL=C sort > "$TMPDIR/listing"
      mv "$TMPDIR/listing" .
      cat out/said >> listing
    outputs: [listing]
    env: {GREETING: hello}
files:
  - {from: ., into: ., exclude: ["notes/**"]}
  - {from: out, into: made}
  - {from: listing, into: made/}
  - into: bin/start
    mode: "0755"
    content: |
      #!/bin/sh
      exec tool/bin/tool
process_types: {web: bin/start}
`,
		".slugignore": "*.log\n",
		"noise.log":   "ignored",
		"notes/todo":  "excluded",
		"run.sh*":     "#!/bin/sh\necho hello\n",
	}
	for i := range 40 {
		files[fmt.Sprintf("src/d%d/f%d.txt", i%7, i)] = strings.Repeat(fmt.Sprintln(i), 200)
	}
	files["src/a.txt"], files["src/b.txt"], files["src/Ä ö.txt"] = "b\na\n", "ä\nz\n", "x\n"
	return files
}

// TestRepro_slugsDependOnTheirInputsAlone builds one tree under many circumstances: one digest.
// On a mismatch it shows what differs in the listings.
func TestRepro_slugsDependOnTheirInputsAlone(t *testing.T) {
	t.Parallel()
	pipetest.NeedTools(t, "git", "setpriv")
	builds := 16
	if long {
		builds = 64
	}
	rnd := random(t, 7)
	base := commonDir(t)
	program := filepath.Join(base, name)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	copyProgram(t, exe, program)

	tool := pipetest.TarGz(t, toolArchive())
	more := pipetest.TarGz(t, map[string]string{"bin/x*": "#!/bin/sh\n", "bin/y": "y", "lib/z": "z"})
	files := reproFiles()
	files["vendor/tool.tar.gz"], files["vendor/more.tar.gz"] = string(tool), string(more)
	files["slug.yaml"] = strings.NewReplacer("TOOL", fmt.Sprintf("%x", hash(tool)), "MORE", fmt.Sprintf("%x", hash(more))).Replace(files["slug.yaml"])

	// The two ends of every circumstance are always there; the rest is drawn.
	cases := []circumstances{
		{user: "root", umask: "022", zone: "UTC", lang: "C", procs: "1", home: "h"},
		{user: "nobody", umask: "077", zone: "Asia/Kathmandu", lang: "tr_TR.UTF-8", procs: "2", later: true, reversed: true, git: 2, deep: true, home: "a home with blanks", warm: true, again: true, writable: true, extra: true},
	}
	for len(cases) < builds {
		cases = append(cases, draw(rnd))
	}
	root := os.Geteuid() == 0
	if !root {
		t.Log("this is not root: all builds have one user")
	}
	type built struct {
		c    circumstances
		slug []byte
	}
	results := make(chan built, len(cases))
	numbered := make([]int, len(cases))
	for i := range numbered {
		numbered[i] = i
	}
	each(t, numbered, func(i int) string { return cases[i].String() }, func(t *testing.T, i int) {
		c := cases[i]
		if !root {
			c.user = "root" // whoever that is
		}
		results <- built{c, reproBuild(t, filepath.Join(base, fmt.Sprint(i)), program, files, c)}
	})
	close(results)
	var first *built
	for b := range results {
		if b.slug == nil {
			continue // it has failed already
		}
		if first == nil {
			first = &b
			continue
		}
		if bytes.Equal(first.slug, b.slug) {
			continue
		}
		t.Errorf("two slugs of one tree:\n  %s\n  %s", first.c, b.c)
		if d := cmp.Diff(slugListing(t, first.slug), slugListing(t, b.slug)); d != "" {
			t.Errorf("(-first +second):\n%s", d)
		} else {
			t.Error("the listings are equal: the archives differ in their headers or in how they were compressed")
		}
	}
	if first == nil {
		t.Fatal("nothing was built")
	}
	if n := len(slugListing(t, first.slug)); n < 50 {
		t.Errorf("the slug holds %d entries only", n)
	}
}

// commonDir is a directory that every user of this machine can reach.
func commonDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "repro")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// copyProgram puts the test binary, which may stand where only its user can reach it, where
// everybody can.
func copyProgram(t testing.TB, from, to string) {
	t.Helper()
	if info, err := os.Stat(from); err == nil && info.Mode()&0o005 == 0o005 && os.Link(from, to) == nil {
		return
	}
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// nobody is the user of a build that is not root's.
const nobody = 65534

// reproBuild makes the tree below dir, and builds its slug there.
func reproBuild(t *testing.T, dir, program string, files map[string]string, c circumstances) []byte {
	t.Helper()
	app := filepath.Join(dir, "app")
	if c.deep {
		app = filepath.Join(dir, strings.Repeat("a long way/", 6), "app")
	}
	home := filepath.Join(dir, c.home)
	names := make([]string, 0, len(files))
	for n := range files {
		names = append(names, n)
	}
	slices.Sort(names)
	if c.reversed {
		slices.Reverse(names)
	}
	then := time.Date(2021, 5, 6, 7, 8, 9, 10, time.UTC)
	if c.later {
		then = then.AddDate(4, 1, 1)
	}
	for _, n := range names {
		file, exec := strings.CutSuffix(n, "*")
		at := filepath.Join(app, file)
		write(t, at, files[n])
		mode := os.FileMode(0o644)
		if c.writable {
			mode = 0o660
		}
		if exec {
			mode |= 0o110
		}
		if err := os.Chmod(at, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(at, then, then); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{
		asProgram + "=1", "HOME=" + home, "PATH=" + os.Getenv("PATH"), "TZ=" + c.zone, "LANG=" + c.lang, "GOMAXPROCS=" + c.procs,
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
	}
	if c.extra {
		env = append(env, "GREETING=from outside", "LC_ALL="+c.lang, "GZIP=-1", "TAR_OPTIONS=--verbose", "TMPDIR=/nowhere")
	}
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	if c.user == "nobody" {
		chown := exec.Command("chown", "-R", fmt.Sprintf("%d:%d", nobody, nobody), dir)
		if out, err := chown.CombinedOutput(); err != nil {
			t.Fatalf("chown: %v\n%s", err, out)
		}
	}
	run := func(script string) {
		t.Helper()
		argv := []string{"bash", "-euc", "umask " + c.umask + "; cd \"$0\"; " + script, app, program}
		if c.user == "nobody" {
			argv = append([]string{"setpriv", "--reuid", fmt.Sprint(nobody), "--regid", fmt.Sprint(nobody), "--clear-groups", "--"}, argv...)
		}
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Env = env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
	}
	if c.git > 0 {
		run(`git init -q . && git add -f . && git commit -qm one`)
	}
	for range max(0, c.git-1) {
		run(`git commit -q --allow-empty -m another`)
	}
	out := filepath.Join(dir, "slug.tgz")
	if c.git == 0 && c.deep {
		out = filepath.Join(app, "out.tgz") // in the tree, and no part of it
	}
	build := fmt.Sprintf(`"$1" build -q -o '%s'`, out)
	run(build)
	cache := `"$HOME/.cache/slugfile"`
	if c.warm { // outputs and runtimes are there, the slug is not
		run("rm -rf " + cache + "/refs/slug " + cache + "/sha256; " + build)
	}
	if c.again {
		run("rm -rf " + cache + " '" + out + "'; " + build)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// slugListing is a slug as text: all that its headers say, and the digest of each content.
func slugListing(t testing.TB, b []byte) map[string]string {
	t.Helper()
	list := map[string]string{}
	n := 0
	err := slugformat.Read(bytes.NewReader(b), func(h *tar.Header, body io.Reader) error {
		content, err := io.ReadAll(body)
		if err != nil {
			return err
		}
		n++
		text := fmt.Sprintf("#%d %o %c %d %s %d:%d %s:%s %s %x", n, h.Mode, h.Typeflag, h.Size, h.ModTime.UTC().Format(time.RFC3339), h.Uid, h.Gid, h.Uname, h.Gname, h.Linkname, hash(content))
		if len(content) > 0 && len(content) < 2000 {
			text += fmt.Sprintf(" %q", content)
		}
		list[h.Name] = text
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return list
}

// slugFiles is the content of every file of a slug.
func slugFiles(t testing.TB, file string) map[string]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list := map[string]string{}
	err = slugformat.Read(f, func(h *tar.Header, body io.Reader) error {
		b, err := io.ReadAll(body)
		list[h.Name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
