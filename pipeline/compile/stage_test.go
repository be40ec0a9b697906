package compile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/sandbox"
	"github.com/slugfile/slugfile/pipeline/store"
	"github.com/slugfile/slugfile/pipeline/tree"
)

func TestMain(m *testing.M) {
	if code, ok := sandbox.Main(os.Args); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// bench is an app directory with a store, and the events of what was run there.
type bench struct {
	t     *testing.T
	stage *Stage
	dir   string

	mu     sync.Mutex
	events []event.Event
}

func newBench(t *testing.T, plain bool) *bench {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("steps run on linux only")
	}
	if err := sandbox.Supported(); err != nil && !plain {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("no namespaces here: ", err)
	}
	cache := t.TempDir()
	st, err := store.Open(filepath.Join(cache, "store"))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, dir: t.TempDir()}
	b.stage = &Stage{Store: st, Sink: event.Func(b.record), Home: filepath.Join(cache, "homes"), Plain: plain}
	return b
}

func (b *bench) record(e event.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, e)
}

// bothModes runs a test in namespaces, where they work, and plainly.
func bothModes(t *testing.T, test func(t *testing.T, b *bench)) {
	for _, plain := range []bool{false, true} {
		t.Run(map[bool]string{false: "namespaces", true: "plain"}[plain], func(t *testing.T) {
			t.Parallel()
			test(t, newBench(t, plain))
		})
	}
}

// write puts files into the app directory.
func (b *bench) write(files map[string]string) {
	b.t.Helper()
	writeFiles(b.t, b.dir, files)
}

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
}

func scan(t *testing.T, dir string) tree.Manifest {
	t.Helper()
	m, err := tree.Scan(context.Background(), dir, tree.ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// fetched makes a runtime as fetch hands it on.
func (b *bench) fetched(name string, files map[string]string) artifact.Runtime {
	b.t.Helper()
	dir := b.t.TempDir()
	writeFiles(b.t, dir, files)
	m := scan(b.t, dir)
	return artifact.Runtime{Name: name, Into: name, Dir: dir, Tree: m, Digest: m.Digest()}
}

// run runs steps; those without inputs see the whole app directory.
func (b *bench) run(steps []plan.Step, runtimes ...artifact.Runtime) (artifact.Tree, error) {
	b.t.Helper()
	return b.runCtx(context.Background(), steps, runtimes...)
}

func (b *bench) runCtx(ctx context.Context, steps []plan.Step, runtimes ...artifact.Runtime) (artifact.Tree, error) {
	b.t.Helper()
	source := artifact.Source{Dir: b.dir, Tree: scan(b.t, b.dir)}
	for i := range steps {
		if steps[i].Inputs == nil {
			steps[i].Inputs = source.Tree
		}
	}
	return b.stage.Run(ctx, plan.Compile{Source: source, Steps: steps}, runtimes)
}

// must is run for steps that succeed.
func (b *bench) must(steps []plan.Step, runtimes ...artifact.Runtime) artifact.Tree {
	b.t.Helper()
	got, err := b.run(steps, runtimes...)
	if err != nil {
		b.t.Fatal(err)
	}
	return got
}

// output is what a step of that name said, line by line.
func (b *bench) output(step string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := []string{}
	for _, e := range b.events {
		if o, ok := e.(event.Output); ok && o.Subject == step && o.Stage == event.Compile {
			lines = append(lines, o.Line)
		}
	}
	return lines
}

// tasks tells what became of the steps: "build ran", "build reused: why", "build failed".
func (b *bench) tasks() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []string
	for _, e := range b.events {
		switch e := e.(type) {
		case event.TaskFinished:
			if e.Reused {
				list = append(list, e.Subject+" reused: "+e.Why)
			} else {
				list = append(list, e.Subject+" ran")
			}
		case event.TaskFailed:
			list = append(list, e.Subject+" failed")
		}
	}
	return list
}

func (b *bench) warnings() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []string
	for _, e := range b.events {
		if w, ok := e.(event.Warning); ok {
			list = append(list, w.Message)
		}
	}
	return list
}

func (b *bench) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = nil
}

// files reads an output: path to content, "-> target" for links, "/" for directories.
func files(t *testing.T, o artifact.Output) map[string]string {
	t.Helper()
	got := map[string]string{}
	for _, e := range o.Tree {
		switch e.Kind {
		case tree.Dir:
			got[e.Path] = "/"
		case tree.Link:
			got[e.Path] = "-> " + e.Target
		default:
			b, err := os.ReadFile(filepath.Join(o.Dir, e.Path))
			if err != nil {
				t.Fatal(err)
			}
			if digest.Of(b) != e.Digest {
				t.Errorf("%s: the manifest has another digest", e.Path)
			}
			got[e.Path] = string(b)
		}
	}
	if left := scan(t, o.Dir); len(left) < len(o.Tree) {
		t.Errorf("the directory holds %d entries, the manifest %d", len(left), len(o.Tree))
	}
	return got
}

func TestRun_handsOverExactlyTheListedEnvironment(t *testing.T) {
	t.Setenv("HEROKU_API_KEY", "canary-of-the-process")
	b := newBench(t, false)
	b.stage.Env = map[string]string{
		"HEROKU_API_KEY": "canary", "SLUGFILE_MIRRORS": "canary", "HOME": "/root", "PATH": "/opt/bin:.", "LANG": "de_DE", "TERM": "xterm",
		"AWS_SECRET_ACCESS_KEY": "canary", "NPM_TOKEN": "token-value",
		"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "localhost", "SSL_CERT_FILE": "/etc/ssl/own.pem", "GIT_SSL_CAINFO": "/x",
	}
	node := b.fetched("node", map[string]string{"bin/node": "#!/bin/sh\n", "lib/x": ""})
	flat := b.fetched("flat", map[string]string{"tool": "#!/bin/sh\n"})
	flat.Into = "vendor/flat"
	tr := b.must([]plan.Step{{
		Name: "show", Run: `tr '\0' '\n' < /proc/$$/environ > out; env > exported`, Outputs: []string{"out", "exported"},
		Env: map[string]string{"NODE_ENV": "production", "TZ": "Europe/Paris"}, PassEnv: []string{"NPM_TOKEN", "ABSENT", "HEROKU_API_KEY"},
		Runtimes: []string{"flat", "node"}, Epoch: 1234567890,
	}}, node, flat)
	out := files(t, tr.Outputs[0])
	want := []string{
		"GIT_SSL_CAINFO=/x",
		"HOME=/build-home",
		"HTTPS_PROXY=http://proxy:3128",
		"LANG=C.UTF-8",
		"NODE_ENV=production",
		"NPM_TOKEN=token-value",
		"PATH=/app/vendor/flat:/app/node/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"SOURCE_DATE_EPOCH=1234567890",
		"SSL_CERT_FILE=/etc/ssl/own.pem",
		"TMPDIR=/tmp",
		"TZ=Europe/Paris",
		"no_proxy=localhost",
	}
	if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(out["out"]), "\n")); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(out["exported"], "canary") {
		t.Errorf("a credential is in the step's environment:\n%s", out["exported"])
	}
	var names []string
	for _, w := range b.warnings() {
		names = append(names, strings.Fields(w)[0])
	}
	if diff := cmp.Diff([]string{"ABSENT", "HEROKU_API_KEY"}, names); diff != "" {
		t.Errorf("warnings: %s", diff)
	}
}

// Whatever a step knows of proc: what this program was started with is not in it. A process of
// the same user stands for it here, because a program cannot change what proc shows of its own.
func TestRun_seesNoEnvironmentOfTheMachine(t *testing.T) {
	t.Parallel()
	b := newBench(t, false)
	other := exec.Command("/bin/sleep", "1000")
	other.Env = []string{"HEROKU_API_KEY=canary-of-the-machine"}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = other.Process.Kill(), other.Wait() }()
	shown := fmt.Sprintf("/proc/%d/environ", other.Process.Pid)
	if got, err := os.ReadFile(shown); err != nil || !strings.Contains(string(got), "canary-of-the-machine") {
		t.Skipf("proc shows %q, %v", got, err)
	}
	tr := b.must([]plan.Step{{Name: "look", Run: `
		cat /proc/[0-9]*/environ /proc/[0-9]*/task/*/environ ` + shown + ` >out 2>/dev/null || true
		cat /proc/1/root/etc/passwd >> out 2>/dev/null || true
		cat /proc/[0-9]*/cmdline | tr '\0' ' ' >> out`, Outputs: []string{"out"}}})
	out := files(t, tr.Outputs[0])["out"]
	if strings.Contains(out, "canary-of-the-machine") || strings.Contains(out, "sleep 1000") {
		t.Errorf("the step sees:\n%s", out)
	}
	if !strings.Contains(out, "PATH=") {
		t.Errorf("the step does not even see its own environment:\n%q", out)
	}
}

// Run by root too: its files belong to the step's user, whatever rights that user gave up.
func TestRun_writesNowhereButToItsOwnDirectories(t *testing.T) {
	t.Parallel()
	b := newBench(t, false)
	outside := t.TempDir()
	mark := fmt.Sprintf("slugfile-canary-%d", os.Getpid())
	tr := b.must([]plan.Step{{Name: "write", Run: `
		: > out
		for d in / /bin /boot /etc /home /lib /media /mnt /opt /proc/sys/kernel /root /run /sbin /srv /sys /usr /usr/local/bin /var /var/lib ` +
		outside + ` ` + b.dir + ` ` + filepath.Dir(b.stage.Home) + `; do
			if (echo x > "$d/` + mark + `") 2>/dev/null; then echo "$d" >> out; fi
		done
		for d in /app /tmp /var/tmp "$HOME" "$TMPDIR"; do
			echo x > "$d/` + mark + `" || echo "not $d" >> out
		done
		rm /app/` + mark, Outputs: []string{"out"}}})
	if out := files(t, tr.Outputs[0])["out"]; out != "" {
		t.Errorf("the step can write to:\n%s", out)
	}
	for _, dir := range []string{"/", "/etc", "/tmp", "/var/tmp", "/usr", "/dev", outside, b.dir} {
		if _, err := os.Lstat(filepath.Join(dir, mark)); err == nil {
			t.Errorf("the step wrote to %s", dir)
			_ = os.Remove(filepath.Join(dir, mark))
		}
	}
}

func TestRun_plainEnvironmentNamesTheWorkTree(t *testing.T) {
	t.Parallel()
	b := newBench(t, true)
	node := b.fetched("node", map[string]string{"bin/node": "#!/bin/sh\n"})
	where := filepath.Join(b.stage.Home, "plain")
	for range 2 { // the same path in every run
		b.forget()
		b.must([]plan.Step{{Name: "show", Run: `pwd; echo "$PATH"; echo "$TMPDIR"; test -d "$TMPDIR" && test -d "$HOME"; exit 0`, Runtimes: []string{"node"}, Epoch: time.Now().UnixNano()}}, node)
		want := []string{where + "/app", where + "/app/node/bin:" + systemPath, where + "/tmp"}
		if diff := cmp.Diff(want, b.output("show")); diff != "" {
			t.Error(diff)
		}
	}
	if _, err := os.Stat(where); err == nil {
		t.Error("the work tree is still there")
	}
}

func TestRun_seesItsInputsAndNothingElse(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, b *bench) {
		b.write(map[string]string{"package.json": "{}", "src/a": "1", "src/run": "#!/bin/sh\necho ran\n", "secret": "2"})
		inputs := scan(t, b.dir).Filter(func(e tree.Entry) bool { return e.Path != "secret" })
		b.must([]plan.Step{{Name: "list", Run: `find . | sort; src/run`, Inputs: inputs}})
		if diff := cmp.Diff([]string{".", "./package.json", "./src", "./src/a", "./src/run", "ran"}, b.output("list")); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff("1", string(read(t, filepath.Join(b.dir, "src/a")))); diff != "" {
			t.Error(diff)
		}
	})
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRun_neverChangesTheSourceOrTheRuntimes(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, b *bench) {
		b.write(map[string]string{"a": "source", "d/b": "source"})
		node := b.fetched("node", map[string]string{"bin/node": "#!/bin/sh\necho real\n", "lib/x": "lib"})
		before, beforeNode := scan(t, b.dir), scan(t, node.Dir)
		b.must([]plan.Step{{
			Name: "spoil", Runtimes: []string{"node"}, Outputs: []string{"a"},
			Run: `echo changed > a; rm -r d; (echo bad > node/bin/node) || true; (rm -rf node/lib) || true; (echo x > node/new) || true`,
		}}, node)
		if diff := cmp.Diff(before, scan(t, b.dir)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(beforeNode, scan(t, node.Dir)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRun_findsRuntimesFirstOnPATHInTheStepsOrder(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, b *bench) {
		one := b.fetched("one", map[string]string{"bin/which-one": "#!/bin/sh\necho one\n", "bin/ls": "#!/bin/sh\necho own ls\n"})
		two := b.fetched("two", map[string]string{"which-one": "#!/bin/sh\necho two\n"})
		for _, names := range [][]string{{"one", "two"}, {"two", "one"}} {
			b.forget()
			b.must([]plan.Step{{Name: "s", Run: `which-one`, Runtimes: names}}, one, two)
			if got := b.output("s"); !slices.Equal(got, names[:1]) {
				t.Errorf("%v: got %q", names, got)
			}
		}
		b.forget()
		b.must([]plan.Step{{Name: "s", Run: `ls; test ! -e two`, Runtimes: []string{"one"}}}, one, two)
		if got := b.output("s"); !slices.Equal(got, []string{"own ls"}) {
			t.Errorf("got %q", got)
		}
		if _, err := b.run([]plan.Step{{Name: "s", Run: `true`, Runtimes: []string{"three"}}}, one); err == nil || !strings.Contains(err.Error(), `"three"`) {
			t.Errorf("an unknown runtime: %v", err)
		}
	})
}

func TestRun_copiesARuntimeThatLiesInAnother(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, b *bench) {
		outer := b.fetched("outer", map[string]string{"bin/a": "#!/bin/sh\necho a\n"})
		inner := b.fetched("inner", map[string]string{"bin/b": "#!/bin/sh\necho b\n"})
		inner.Into = "outer/inner"
		b.must([]plan.Step{{Name: "s", Run: `a; b; touch out`, Outputs: []string{"out"}, Runtimes: []string{"outer", "inner"}}}, outer, inner)
		if got := b.output("s"); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("got %q", got)
		}
	})
}

func TestRun_findsToolsOfThisMachineByTheirOwnNameAlone(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, b *bench) {
		dir := t.TempDir()
		// As with python3 and npm, the file behind the name is called something else.
		writeFiles(t, dir, map[string]string{"mytool-1.2": "#!/bin/sh\necho tool \"$@\"\n", "neighbour": "#!/bin/sh\necho neighbour\n"})
		tool := artifact.Runtime{Name: "tool", Tool: filepath.Join(dir, "mytool-1.2"), Command: "mytool", Digest: digest.Of([]byte("tool"))}
		b.must([]plan.Step{{Name: "s", Run: `mytool x; ! command -v neighbour`, Runtimes: []string{"tool"}}}, tool)
		if got := b.output("s"); !slices.Equal(got, []string{"tool x"}) {
			t.Errorf("got %q", got)
		}
		if _, err := b.run([]plan.Step{{Name: "s", Run: `mytool x`}}, tool); err == nil {
			t.Error("a step that does not name the tool finds it")
		}
	})
}

func TestRun_capturesOutputsWithPlainModes(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, b *bench) {
		b.write(map[string]string{"in": "x"})
		got := b.must([]plan.Step{{
			Name: "build", Outputs: []string{"dist/", "./deep/er/file", "link", "*.whl"},
			Run: `mkdir -p dist/sub dist/empty deep/er other
				echo a > dist/a; echo b > dist/sub/run; chmod 4755 dist/sub/run; chmod 0400 dist/a; chmod 0500 dist/sub
				echo c > deep/er/file; echo no > deep/er/no; echo no > other/no; echo no > top
				ln -s ../in dist/up; ln -s /app/dist/a dist/abs; ln -s nowhere dist/dangling; ln -s dist link
				echo w > one.whl; ln dist/a dist/hard; : > "dist/$(printf 'bad\377name')"; : > 'dist/new
line'`,
		}, {
			Name: "next", Run: `cat dist/a deep/er/file one.whl; test -x dist/sub/run; test ! -e top; ls -A dist | wc -l`,
		}})
		want := map[string]string{
			"dist": "/", "dist/a": "a\n", "dist/hard": "a\n", "dist/sub": "/", "dist/sub/run": "b\n", "dist/empty": "/",
			"dist/up": "-> ../in", "dist/abs": "-> /app/dist/a", "dist/dangling": "-> nowhere", "link": "-> dist",
			"deep/er/file": "c\n", "one.whl": "w\n", "dist/bad\xffname": "", "dist/new\nline": "",
		}
		out := got.Outputs[0]
		if diff := cmp.Diff(want, files(t, out)); diff != "" {
			t.Error(diff)
		}
		for path, mode := range map[string]os.FileMode{"dist/a": 0o644, "dist/sub/run": 0o755, "dist/sub": 0o755} {
			if fi, err := os.Stat(filepath.Join(out.Dir, path)); err != nil || fi.Mode()&^os.ModeDir != mode {
				t.Errorf("%s has mode %v, %v", path, fi.Mode(), err)
			}
		}
		if e, _ := out.Tree.Find("dist/sub/run"); !e.Exec {
			t.Error("dist/sub/run is not executable")
		}
		if diff := cmp.Diff([]string{"a", "c", "w", "10"}, b.output("next")); diff != "" {
			t.Error(diff)
		}
		if len(got.Outputs[1].Tree) != 0 {
			t.Errorf("a step without outputs has %v", got.Outputs[1])
		}
	})
}

func TestRun_rewritesLinksToThePlainWorkTree(t *testing.T) {
	t.Parallel()
	b := newBench(t, true)
	got := b.must([]plan.Step{{Name: "s", Run: `mkdir d; ln -s "$PWD/d" d/self; ln -s "$PWD" d/top`, Outputs: []string{"d"}}})
	want := map[string]string{"d": "/", "d/self": "-> /app/d", "d/top": "-> /app"}
	if diff := cmp.Diff(want, files(t, got.Outputs[0])); diff != "" {
		t.Error(diff)
	}
	if target, err := os.Readlink(filepath.Join(got.Outputs[0].Dir, "d/self")); err != nil || target != "/app/d" {
		t.Errorf("on disk it is %q, %v", target, err)
	}
}

func TestRun_refusesOutputsThatCannotBeShipped(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, b *bench) {
		for script, want := range map[string]string{
			`mkdir d; ln -s /etc/passwd d/l`:     `output "d/l" links to "/etc/passwd"`,
			`mkdir d; ln -s ../../x d/l`:         `output "d/l" links to "../../x", which leaves /app`,
			`mkdir d; ln -s /app/../etc d/l`:     `output "d/l" links to "/app/../etc"`,
			`mkdir d; ln -s /application d/l`:    `output "d/l" links to "/application"`,
			`mkdir -p d/e; mkfifo d/e/pipe`:      `d/e/pipe`,
			`mkdir d; : `:                        ``,
			`ln -s .. d`:                         `output "d" links to ".."`,
			`mkfifo other; mkdir d; echo x >d/y`: ``,
		} {
			_, err := b.run([]plan.Step{{Name: "pack", Run: script, Outputs: []string{"d"}}})
			switch {
			case want == "" && err != nil:
				t.Errorf("%s: %v", script, err)
			case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `step "pack"`)):
				t.Errorf("%s: got %v, want %s", script, err, want)
			}
		}
		if _, err := b.run([]plan.Step{{Name: "pack", Run: "true", Outputs: []string{"../x"}}}); err == nil {
			t.Error("an output above /app was taken")
		}
	})
}

func TestRun_reusesOutputsWhenTheKeyIsKnown(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, b *bench) {
		b.write(map[string]string{"in": "1"})
		steps := func() []plan.Step {
			return []plan.Step{
				{Name: "one", Run: `cp in one; date +%N >> one`, Outputs: []string{"one"}},
				{Name: "two", Run: `cp one two`, Outputs: []string{"two"}, Inputs: tree.Manifest{}},
			}
		}
		first := b.must(steps())
		if diff := cmp.Diff([]string{"one ran", "two ran"}, b.tasks()); diff != "" {
			t.Error(diff)
		}
		b.forget()
		second := b.must(steps())
		if diff := cmp.Diff([]string{"one reused: inputs unchanged", "two reused: inputs unchanged"}, b.tasks()); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(first, second); diff != "" {
			t.Error(diff)
		}

		// A bit that flipped on the disk is found, and the step runs again.
		b.forget()
		writeFiles(t, second.Outputs[1].Dir, map[string]string{"two": "flipped"})
		third := b.must(steps())
		if diff := cmp.Diff([]string{"one reused: inputs unchanged", "two ran"}, b.tasks()); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(first, third); diff != "" {
			t.Error(diff)
		}
		_ = files(t, third.Outputs[1])

		b.forget()
		b.write(map[string]string{"in": "2"})
		b.must(steps())
		if diff := cmp.Diff([]string{"one ran", "two ran"}, b.tasks()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRun_runsAgainWhenAPartOfTheKeyChanges(t *testing.T) {
	t.Parallel()
	b := newBench(t, true)
	b.write(map[string]string{"in": "1"})
	node, other := b.fetched("node", map[string]string{"x": "1"}), b.fetched("node", map[string]string{"x": "2"})
	base := func() plan.Step {
		return plan.Step{Name: "s", Run: `touch out out2`, Outputs: []string{"out"}, Runtimes: []string{"node"}, Env: map[string]string{"A": "1"}, Stack: "heroku-24"}
	}
	b.must([]plan.Step{base()}, node)
	for name, c := range map[string]struct {
		change func(*plan.Step)
		rt     artifact.Runtime
		want   string
	}{
		"nothing":  {func(*plan.Step) {}, node, "s reused: inputs unchanged"},
		"timeout":  {func(s *plan.Step) { s.Timeout = config.Duration(time.Minute) }, node, "s reused: inputs unchanged"},
		"pass_env": {func(s *plan.Step) { s.PassEnv = []string{"X"} }, node, "s reused: inputs unchanged"},
		"run":      {func(s *plan.Step) { s.Run += " # other" }, node, "s ran"},
		"env":      {func(s *plan.Step) { s.Env = map[string]string{"A": "2"} }, node, "s ran"},
		"outputs":  {func(s *plan.Step) { s.Outputs = []string{"out2"} }, node, "s ran"},
		"stack":    {func(s *plan.Step) { s.Stack = "heroku-26" }, node, "s ran"},
		"runtime":  {func(*plan.Step) {}, other, "s ran"},
		"inputs":   {func(s *plan.Step) { s.Inputs = tree.Manifest{} }, node, "s ran"},
	} {
		b.forget()
		step := base()
		c.change(&step)
		b.must([]plan.Step{step}, c.rt)
		if got := b.tasks(); !slices.Equal(got, []string{c.want}) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestRun_takesTheOutputThatThePlanKnows(t *testing.T) {
	t.Parallel()
	b := newBench(t, true)
	first := b.must([]plan.Step{{Name: "s", Run: `echo x > out`, Outputs: []string{"out"}}})
	known := plan.Step{Name: "s", Run: `echo x > out`, Outputs: []string{"out"}, Decision: plan.Decision[artifact.Output]{Why: "as it was", Known: &first.Outputs[0]}}
	b.forget()
	again := b.must([]plan.Step{known})
	if diff := cmp.Diff(first, again); diff != "" {
		t.Error(diff)
	}
	if err := os.Remove(filepath.Join(first.Outputs[0].Dir, "out")); err != nil {
		t.Fatal(err)
	}
	healed := b.must([]plan.Step{known})
	if diff := cmp.Diff([]string{"s reused: as it was", "s ran"}, b.tasks()); diff != "" {
		t.Error(diff)
	}
	if got := files(t, healed.Outputs[0]); got["out"] != "x\n" {
		t.Errorf("got %q", got)
	}
	whole := artifact.Tree{Source: artifact.Source{Dir: "/known"}}
	got, err := b.stage.Run(context.Background(), plan.Compile{Decision: plan.Decision[artifact.Tree]{Known: &whole}}, nil)
	if err != nil || got.Source.Dir != "/known" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestRun_aLaterStepReplacesWhatAnEarlierOneMade(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, b *bench) {
		b.write(map[string]string{"web/index": "source", "web/file": "source"})
		got := b.must([]plan.Step{
			{Name: "one", Run: `mkdir -p web/dist; echo 1 > web/dist/a; echo 1 > web/dist/b`, Outputs: []string{"web/dist/a", "web/dist/b"}},
			{Name: "two", Run: `cat web/index web/dist/a web/dist/b; echo 2 > web/dist/c`, Outputs: []string{"web/dist/c"}},
			{Name: "three", Run: `find web -type f | sort`},
		})
		if diff := cmp.Diff([]string{"source1", "1"}, b.output("two")); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"web/dist/a", "web/dist/b", "web/dist/c", "web/file", "web/index"}, b.output("three")); diff != "" {
			t.Error(diff)
		}
		var names []string
		for _, o := range got.Outputs {
			names = append(names, o.Step)
		}
		if diff := cmp.Diff([]string{"one", "two", "three"}, names); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRun_saysWhichOutputIsMissingAndWhatIsThere(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, b *bench) {
		for output, want := range map[string]string{
			"dist":         `step "build": it did not make its output "dist", ended after TIME; there is "Dist", "disc", "empty", "readme"`,
			"disc/bundle":  `step "build": it did not make its output "disc/bundle", ended after TIME; there is "disc/bundle.js"`,
			"none/at/all":  `step "build": it did not make its output "none/at/all", ended after TIME; there is "`,
			"empty/x":      `step "build": it did not make its output "empty/x", ended after TIME; nothing stands there`,
			"disc/*.whl":   `step "build": it did not make its output "disc/*.whl", ended after TIME; there is "disc/bundle.js"`,
			"Dist/below/x": `step "build": it did not make its output "Dist/below/x", ended after TIME; there is "`,
		} {
			_, err := b.run([]plan.Step{{Name: "build", Run: `echo bundling; mkdir disc empty; touch disc/bundle.js Dist readme`, Outputs: []string{output}}})
			var stepErr *StepError
			if !errors.As(err, &stepErr) || stepErr.Elapsed <= 0 {
				t.Fatalf("%s: got %v", output, err)
			}
			text := strings.Replace(err.Error(), round(stepErr.Elapsed).String(), "TIME", 1)
			if stepErr.Missing != output || stepErr.Step != "build" || !strings.HasPrefix(text, want) || !strings.HasSuffix(text, "\nlast output:\n    bundling") {
				t.Errorf("%s: got %v", output, err)
			}
		}
		if got := b.tasks(); !slices.Contains(got, "build failed") || slices.Contains(got, "build ran") {
			t.Errorf("tasks: %q", got)
		}
	})
}

func TestRun_aFailingCommandTellsItsCodeAndLastLines(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, b *bench) {
		_, err := b.run([]plan.Step{
			{Name: "build", Run: `for i in $(seq 100); do echo "line $i"; done; echo oops >&2; exit 3`, Outputs: []string{"x"}},
			{Name: "never", Run: `true`},
		})
		var stepErr *StepError
		if !errors.As(err, &stepErr) || stepErr.Code != 3 || stepErr.Step != "build" || stepErr.Timeout != 0 {
			t.Fatalf("got %#v", err)
		}
		if n := len(stepErr.Tail); n != tailLines || stepErr.Tail[n-1] != "oops" || stepErr.Tail[0] != "line 82" {
			t.Errorf("tail: %q", stepErr.Tail)
		}
		if text := err.Error(); !strings.Contains(text, `step "build": exit code 3 after `) || !strings.HasSuffix(text, "    line 100\n    oops") {
			t.Errorf("text: %s", text)
		}
		if got := b.tasks(); !slices.Equal(got, []string{"build failed"}) {
			t.Errorf("tasks: %q", got)
		}
		if n := len(b.output("build")); n != 101 {
			t.Errorf("%d lines of output", n)
		}
	})
}

func TestRun_bashStopsAtTheFirstFault(t *testing.T) {
	t.Parallel()
	b := newBench(t, true)
	for script, want := range map[string]int{
		"false; true":         1,
		"false | true":        1,
		"echo $UNSET_OF_OURS": 1,
		"kill -9 $$":          137,
		"slugfile-no-such":    127,
		"exit 0":              0,
	} {
		_, err := b.run([]plan.Step{{Name: "s", Run: script}})
		var stepErr *StepError
		switch {
		case want == 0 && err != nil, want != 0 && !errors.As(err, &stepErr):
			t.Errorf("%s: %v", script, err)
		case want != 0 && stepErr.Code != want:
			t.Errorf("%s: code %d, want %d", script, stepErr.Code, want)
		}
	}
}

func TestRun_itsTextIsOneArgumentToBash(t *testing.T) {
	t.Parallel()
	b := newBench(t, true)
	b.must([]plan.Step{{Name: "s", Run: "echo '${vars}' \"$#\"\n# a comment\necho $'\\''"}})
	if diff := cmp.Diff([]string{"${vars} 0", "'"}, b.output("s")); diff != "" {
		t.Error(diff)
	}
}

func TestRun_standardInputIsEmpty(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, b *bench) {
		b.must([]plan.Step{{Name: "s", Run: `cat; echo end`}})
		if got := b.output("s"); !slices.Equal(got, []string{"end"}) {
			t.Errorf("got %q", got)
		}
	})
}

func TestRun_timeoutEndsEveryProcess(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, b *bench) {
		mark := fmt.Sprintf("compile-timeout-%d", time.Now().UnixNano())
		start := time.Now()
		_, err := b.run([]plan.Step{{
			Name: "slow", Timeout: config.Duration(300 * time.Millisecond), Env: map[string]string{"MARK": mark},
			Run: `(setsid sleep 1000 &); echo waiting; sleep 1000`,
		}})
		var stepErr *StepError
		if !errors.As(err, &stepErr) || stepErr.Timeout != 300*time.Millisecond || stepErr.Elapsed < 300*time.Millisecond {
			t.Fatalf("got %v", err)
		}
		if text := err.Error(); !strings.Contains(text, `step "slow": not done within its timeout of 300ms, ended after `) || !strings.Contains(text, "waiting") {
			t.Errorf("text: %s", text)
		}
		if took := time.Since(start); took > grace {
			t.Errorf("took %s: SIGTERM did not end it", took)
		}
		if n := marked(mark); n != 0 {
			t.Errorf("%d processes live on", n)
		}
	})
}

func TestRun_timeoutKillsWhatIgnoresTheSignal(t *testing.T) {
	t.Parallel()
	b := newBench(t, true)
	b.stage.Runner = Machine{Grace: 100 * time.Millisecond}
	mark := fmt.Sprintf("compile-stubborn-%d", time.Now().UnixNano())
	_, err := b.run([]plan.Step{{
		Name: "slow", Timeout: config.Duration(100 * time.Millisecond), Env: map[string]string{"MARK": mark},
		Run: `trap '' TERM; while :; do sleep 0.1 || true; done`,
	}})
	var stepErr *StepError
	if !errors.As(err, &stepErr) || stepErr.Timeout == 0 || stepErr.Code != 137 || stepErr.Elapsed < 200*time.Millisecond {
		t.Fatalf("got %v", err)
	}
	if n := marked(mark); n != 0 {
		t.Errorf("%d processes live on", n)
	}
}

// marked counts the living processes that carry a mark in their environment.
func marked(mark string) int {
	n := 0
	list, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range list {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), "MARK="+mark) {
			n++
		}
	}
	return n
}

func TestRun_cancelEndsEveryProcess(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, b *bench) {
		mark := fmt.Sprintf("compile-cancel-%d", time.Now().UnixNano())
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		b.stage.Sink = event.Func(func(e event.Event) {
			b.record(e)
			if o, ok := e.(event.Output); ok && o.Line == "ready" {
				cancel()
			}
		})
		_, err := b.runCtx(ctx, []plan.Step{{
			Name: "slow", Env: map[string]string{"MARK": mark}, Run: `trap '' TERM INT; (setsid sleep 1000 &); echo ready; sleep 1000`,
		}})
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), `step "slow"`) {
			t.Errorf("got %v", err)
		}
		if n := marked(mark); n != 0 {
			t.Errorf("%d processes live on", n)
		}
		if _, err := b.runCtx(ctx, []plan.Step{{Name: "s", Run: "true"}}); !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that ended: %v", err)
		}
	})
}

func TestRun_leavesNothingBehind(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, b *bench) {
		cache := filepath.Dir(b.stage.Home)
		for _, script := range []string{
			`mkdir -p mod/x; touch mod/x/f out; chmod -R a-w mod; touch /tmp/x "$TMPDIR/y" || true`,
			`exit 1`,
		} {
			_, _ = b.run([]plan.Step{{Name: "s", Run: script, Outputs: []string{"out"}}})
		}
		left := []string{}
		_ = filepath.WalkDir(cache, func(path string, d os.DirEntry, _ error) error {
			rel, _ := filepath.Rel(cache, path)
			if strings.HasPrefix(rel, "store/ingest/") || strings.HasPrefix(rel, "homes/plain/") || rel == "homes/plain" {
				left = append(left, rel)
			}
			return nil
		})
		if len(left) != 0 {
			t.Errorf("left: %q", left)
		}
	})
}

func TestRun_keepsHOMEForTheStepAndDirectoryOnly(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, b *bench) {
		try := func(b *bench, step string) string {
			t.Helper()
			b.forget()
			b.must([]plan.Step{{Name: step, Run: `cat ~/cache 2>/dev/null || echo empty; echo kept > ~/cache; echo "$HOME" > ~/home`, Epoch: time.Now().UnixNano()}})
			return b.output(step)[0]
		}
		if got := try(b, "one"); got != "empty" {
			t.Errorf("first: %s", got)
		}
		if got := try(b, "one"); got != "kept" {
			t.Errorf("second: %s", got)
		}
		if got := try(b, "two"); got != "empty" {
			t.Errorf("another step: %s", got)
		}
		dir := b.dir
		b.dir = t.TempDir()
		if got := try(b, "one"); got != "empty" {
			t.Errorf("another directory: %s", got)
		}
		b.dir = dir
		b.stage.Cold = true
		if got := try(b, "one"); got != "empty" {
			t.Errorf("cold: %s", got)
		}
		b.stage.Cold = false
		if got := try(b, "one"); got != "kept" {
			t.Errorf("after cold: %s", got)
		}
		b.stage.Home = ""
		if got := try(b, "one"); got != "empty" {
			t.Errorf("without a place for it: %s", got)
		}
	})
}

func TestRun_TMPDIRIsPrivateAndEmpty(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, b *bench) {
		for range 2 {
			b.forget()
			b.must([]plan.Step{{Name: "s", Run: `ls -A "$TMPDIR"; mktemp >/dev/null; touch "$TMPDIR/x"; ls "$TMPDIR" | wc -l`, Epoch: time.Now().UnixNano()}})
			if got := b.output("s"); !slices.Equal(got, []string{"2"}) {
				t.Errorf("got %q", got)
			}
		}
	})
}

func TestRun_twoAtOnceRunAStepOnce(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, b *bench) {
		var runs atomic.Int32
		b.stage.Sink = event.Func(func(e event.Event) {
			b.record(e)
			if o, ok := e.(event.Output); ok && o.Line == "running" {
				runs.Add(1)
			}
		})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, err := b.run([]plan.Step{{Name: "s", Run: `echo running; sleep 0.1; echo x > out`, Outputs: []string{"out"}}}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := runs.Load(); n != 1 {
			t.Errorf("ran %d times", n)
		}
		tasks := b.tasks()
		slices.Sort(tasks)
		want := []string{"s ran", "s reused: inputs unchanged", "s reused: inputs unchanged", "s reused: inputs unchanged"}
		if diff := cmp.Diff(want, tasks); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRun_waitingForAHomeEndsWithTheContext(t *testing.T) {
	t.Parallel()
	b := newBench(t, true)
	ready := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.stage.Sink = event.Func(func(e event.Event) {
		b.record(e)
		switch e := e.(type) {
		case event.Output:
			close(ready)
		case event.Warning:
			if strings.Contains(e.Message, "waiting") {
				cancel()
			}
		}
	})
	done := make(chan error)
	hold, release := context.WithCancel(context.Background())
	go func() {
		_, err := b.runCtx(hold, []plan.Step{{Name: "s", Run: `echo ready; sleep 1000`}})
		done <- err
	}()
	<-ready
	_, err := b.runCtx(ctx, []plan.Step{{Name: "s", Run: `echo other`}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	release()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the holder: %v", err)
	}
}

func TestRun_hidesSecretsInOutputAndErrors(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, b *bench) {
		b.stage.Env = map[string]string{"NPM_TOKEN": "s3cr3t-canary", "KEY": "first line\nsecond line", "HTTP_PROXY": "http://user:pr0xy-canary@proxy:1"}
		b.stage.Redact = func(s string) string { return strings.ReplaceAll(s, "platform-canary", "***") }
		_, err := b.run([]plan.Step{{
			Name: "leak", PassEnv: []string{"NPM_TOKEN", "KEY"},
			Run: `echo "a $NPM_TOKEN b"; printf 's3cr3t'; sleep 0.05; printf -- '-canary\n'; echo "$KEY" platform-canary; echo "$HTTP_PROXY"; printf 'no end s3cr3t-canary'; exit 1`,
		}})
		want := []string{"a *** b", "***", "*** ***", "http://user:***@proxy:1", "no end ***"}
		if diff := cmp.Diff(want, b.output("leak")); diff != "" {
			t.Error(diff)
		}
		for _, e := range b.events {
			if text := fmt.Sprintf("%+v", e); strings.Contains(text, "canary") || strings.Contains(text, "second") {
				t.Errorf("in an event: %s", text)
			}
		}
		if err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "no end ***") {
			t.Errorf("in the error: %v", err)
		}
	})
}

func TestRun_warnsOnceThatThereAreNoNamespaces(t *testing.T) {
	t.Parallel()
	b := newBench(t, true)
	b.must([]plan.Step{{Name: "a", Run: "true"}, {Name: "b", Run: "true # b"}})
	if got := b.warnings(); len(got) != 0 {
		t.Errorf("plain was asked for, and yet: %q", got)
	}
	b.stage.Plain = false
	b.stage.Runner = recorder{}
	b.must([]plan.Step{{Name: "a", Run: "true # 2"}})
	if got := b.warnings(); len(got) != 0 {
		t.Errorf("another runner has namespaces of its own, and yet: %q", got)
	}
}

// recorder is a Runner that keeps the job.
type recorder struct{ job *Job }

func (r recorder) Run(_ context.Context, j Job) error {
	if r.job != nil {
		*r.job = j
	}
	_, err := fmt.Fprintln(j.Output, "from afar")
	return err
}

func TestRun_handsAnotherRunnerAWholeJob(t *testing.T) {
	t.Parallel()
	b := newBench(t, true)
	b.stage.Plain = false
	var job Job
	b.stage.Runner = recorder{&job}
	node := b.fetched("node", map[string]string{"bin/node": "#!/bin/sh\n"})
	b.write(map[string]string{"in": "x"})
	b.must([]plan.Step{{Name: "s", Run: "make", Runtimes: []string{"node"}, Timeout: config.Duration(time.Minute)}}, node)
	if diff := cmp.Diff([]string{"-euo", "pipefail", "-c", "make"}, job.Argv[1:]); diff != "" || !filepath.IsAbs(job.Argv[0]) {
		t.Errorf("argv %q", job.Argv)
	}
	targets := map[string]bool{}
	for _, m := range job.Mounts {
		targets[m.Target] = m.ReadOnly
	}
	if diff := cmp.Diff(map[string]bool{"/app/node": true, "/build-home": false, "/build-tools": true}, targets); diff != "" {
		t.Error(diff)
	}
	if job.Timeout != time.Minute || job.Plain || !slices.Contains(job.Env, "HOME=/build-home") {
		t.Errorf("job %+v", job)
	}
	if got := b.output("s"); !slices.Equal(got, []string{"from afar"}) {
		t.Errorf("got %q", got)
	}
}

func TestRun_refusesAnInputThatChangedSinceThePlan(t *testing.T) {
	t.Parallel()
	b := newBench(t, true)
	b.write(map[string]string{"in": "1"})
	inputs := scan(t, b.dir)
	b.write(map[string]string{"in": "2"})
	_, err := b.run([]plan.Step{{Name: "s", Run: "true", Inputs: inputs}})
	var changed *tree.ChangedError
	if !errors.As(err, &changed) || !strings.Contains(err.Error(), `step "s"`) {
		t.Errorf("got %v", err)
	}
}

func TestFindBash_neverLooksInTheWorkingDirectory(t *testing.T) {
	t.Parallel()
	exe, err := findBash(".::bin:./x")
	if err != nil {
		t.Skip("no bash: ", err)
	}
	if !filepath.IsAbs(exe) {
		t.Errorf("found %q", exe)
	}
}

func TestLines_cutsWhatNeverEnds(t *testing.T) {
	t.Parallel()
	var got []string
	l := newLines(nil, nil, func(s string) { got = append(got, s) })
	for range 3 {
		if _, err := l.Write([]byte(strings.Repeat("x", longest/2+1))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Write([]byte("\r\n\nend")); err != nil {
		t.Fatal(err)
	}
	l.close()
	var sizes []int
	for _, s := range got {
		sizes = append(sizes, len(s))
	}
	if diff := cmp.Diff([]int{longest, longest/2 + 3, 0, 3}, sizes); diff != "" {
		t.Error(diff)
	}
}

func TestRun_waitsForAnotherProcessNoLongerThanLockTimeout(t *testing.T) {
	t.Parallel()
	b := newBench(t, true)
	begun := make(chan struct{})
	var once sync.Once
	b.stage.Sink = event.Func(func(e event.Event) {
		if _, ok := e.(event.Output); ok {
			once.Do(func() { close(begun) })
		}
	})
	steps := []plan.Step{{Name: "slow", Run: "echo begun; sleep 30; echo >out", Outputs: []string{"out"}}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		_, err := b.runCtx(ctx, slices.Clone(steps))
		ended <- err
	}()
	<-begun
	other := *b.stage
	other.LockTimeout = 50 * time.Millisecond
	second := &bench{t: t, stage: &other, dir: b.dir}
	_, err := second.run(slices.Clone(steps))
	var busy *BusyError
	if !errors.As(err, &busy) || busy.Step != "slow" || !strings.Contains(busy.Hint(), "--lock-timeout") {
		t.Errorf("the second process: %v", err)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("the first process was not cancelled")
	}
}
