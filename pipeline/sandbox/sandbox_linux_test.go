package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestMain also is the owner that TestProcess_diesWithItsOwner kills.
func TestMain(m *testing.M) {
	if code, ok := Main(os.Args); ok {
		os.Exit(code)
	}
	if app := os.Getenv("SANDBOX_TEST_OWNER"); app != "" {
		p, err := Start(context.Background(), Spec{
			Argv:  []string{"/bin/sh", "-c", forkAway},
			Env:   []string{"PATH=" + searchPath, "MARK=" + os.Getenv("SANDBOX_TEST_MARK")},
			App:   app,
			Plain: os.Getenv("SANDBOX_TEST_PLAIN") != "",
		}, nil, os.Stdout, os.Stderr)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		code, _ := p.Wait()
		os.Exit(code)
	}
	os.Exit(m.Run())
}

const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// forkAway leaves a process of its own session behind, as a daemon does, then waits.
const forkAway = `(setsid sleep 1000 >/dev/null 2>&1 &) ; echo ready; sleep 1000`

// bothModes runs a test in namespaces, where they work, and plainly.
func bothModes(t *testing.T, test func(t *testing.T, plain bool)) {
	t.Run("namespaces", func(t *testing.T) {
		t.Parallel()
		needNamespaces(t)
		test(t, false)
	})
	t.Run("plain", func(t *testing.T) {
		t.Parallel()
		test(t, true)
	})
}

func needNamespaces(t *testing.T) {
	t.Helper()
	err := Supported()
	if err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	t.Skip(err)
}

type result struct {
	code        int
	out, errOut string
}

// run runs a shell script to its end.
func run(t *testing.T, s Spec, script string) result {
	t.Helper()
	s.Argv = []string{"/bin/sh", "-c", script}
	if s.App == "" {
		s.App = t.TempDir()
	}
	if s.Env == nil {
		s.Env = []string{"PATH=" + searchPath}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out, errOut bytes.Buffer
	p, err := Start(ctx, s, nil, &out, &errOut)
	if err != nil {
		t.Fatal(err)
	}
	code, err := p.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return result{code, out.String(), errOut.String()}
}

func TestStart_showsTheAppDirectoryAtApp(t *testing.T) {
	t.Parallel()
	needNamespaces(t)
	app := t.TempDir()
	if err := os.WriteFile(filepath.Join(app, "in"), []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	got := run(t, Spec{App: app}, "pwd; cat in; mkdir d && echo made > d/out")
	if want := (result{0, "/app\nhello", ""}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if b, err := os.ReadFile(filepath.Join(app, "d/out")); err != nil || string(b) != "made\n" {
		t.Errorf("d/out holds %q, %v", b, err)
	}
	got = run(t, Spec{App: app, Dir: "/app/d"}, "pwd; cat out")
	if want := (result{0, "/app/d\nmade\n", ""}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestStart_plainRunsInTheAppDirectoryItself(t *testing.T) {
	t.Parallel()
	app, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(app, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{"": app, "/app": app, "/app/d": app + "/d", app + "/d": app + "/d"} {
		if got := run(t, Spec{App: app, Dir: dir, Plain: true}, "pwd"); got.out != want+"\n" {
			t.Errorf("Dir %q: got %+v", dir, got)
		}
	}
}

func TestStart_handsOverExactlyItsEnvironment(t *testing.T) {
	t.Setenv("HEROKU_API_KEY", "canary")
	for _, plain := range []bool{false, true} {
		if !plain {
			needNamespaces(t)
		}
		env := []string{"B=2", "A=1 \xff", "EMPTY="}
		var out bytes.Buffer
		p, err := Start(context.Background(), Spec{Argv: []string{"/usr/bin/env", "-0"}, Env: env, App: t.TempDir(), Plain: plain}, nil, &out, &out)
		if err != nil {
			t.Fatal(err)
		}
		if code, err := p.Wait(); code != 0 || err != nil {
			t.Fatal(code, err)
		}
		if got := strings.Split(strings.TrimSuffix(out.String(), "\x00"), "\x00"); !slices.Equal(got, env) {
			t.Errorf("plain %v: got %q", plain, got)
		}
		out.Reset()
		if p, err = Start(context.Background(), Spec{Argv: []string{"/usr/bin/env"}, App: t.TempDir(), Plain: plain}, nil, &out, &out); err != nil {
			t.Fatal(err)
		}
		if code, err := p.Wait(); code != 0 || err != nil || out.Len() != 0 {
			t.Errorf("plain %v: an empty environment came out as %q, %d, %v", plain, out.String(), code, err)
		}
	}
}

func TestStart_hidesTheOwnersEnvironment(t *testing.T) {
	t.Parallel()
	needNamespaces(t)
	// The supervisor and whatever else can be seen: none of them may show what the owner knows.
	got := run(t, Spec{}, `cat /proc/[0-9]*/environ 2>/dev/null | tr '\0' '\n' | grep -v '^PATH=\|^PWD=\|^_=\|^SHLVL='; echo; cat /proc/1/environ`)
	if strings.TrimSpace(got.out) != "" {
		t.Errorf("seen: %q", got.out)
	}
	if !strings.Contains(got.errOut, "ermission denied") {
		t.Errorf("the first process can be looked into: %q", got.errOut)
	}
}

func TestStart_readOnlyRootLetsNothingBeWrittenOutside(t *testing.T) {
	t.Parallel()
	needNamespaces(t)
	got := run(t, Spec{ReadOnlyRoot: true}, `
		for d in / /usr /etc /var /root /home /opt /run /sys /proc/sys/kernel; do
			test -d $d || continue
			if (echo x > $d/slugfile-canary) 2>/dev/null; then echo "$d can be written"; rm -f $d/slugfile-canary; fi
		done
		if (echo canary > /proc/sys/kernel/domainname) 2>/dev/null; then echo "sysctl can be written"; fi
		if mount -o remount,rw / 2>/dev/null || mount -o remount,bind,rw /usr 2>/dev/null; then echo "/ can be remounted"; fi
		unshare -r mount -o remount,bind,rw / 2>/dev/null && echo "/ can be remounted from a namespace"
		for f in /app/x /tmp/x /var/tmp/y /dev/null /dev/shm/x; do echo x > $f || echo "$f cannot be written"; done
		true`)
	if want := (result{0, "", ""}); got != want {
		t.Errorf("got %+v", got)
	}
}

// Capabilities are gone, but the files and devices of root still belong to whoever is root.
func TestStart_hasNoDeviceThatReachesTheMachine(t *testing.T) {
	t.Parallel()
	needNamespaces(t)
	got := run(t, Spec{ReadOnlyRoot: true}, `
		ls -A /dev | tr '\n' ' '; echo
		find /dev -type b; find /sys /proc/sys -writable -type f 2>/dev/null | head -3
		echo x > /dev/slugfile-canary 2>/dev/null
		echo x > /dev/null && head -c 3 /dev/urandom | wc -c && test -c /dev/ptmx && echo whole`)
	if want := "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero \n3\nwhole\n"; got.out != want {
		t.Errorf("got %+v, want %q", got, want)
	}
	if _, err := os.Lstat("/dev/slugfile-canary"); err == nil {
		t.Error("the machine's /dev was written to")
		_ = os.Remove("/dev/slugfile-canary")
	}
}

func TestStart_hasAPrivateTmp(t *testing.T) {
	t.Parallel()
	needNamespaces(t)
	outside, err := os.CreateTemp("/tmp", "slugfile-outside")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(outside.Name())
	_ = outside.Close()
	got := run(t, Spec{}, `ls -A /tmp; echo x > /tmp/mine; ls -A /tmp /var/tmp | sort -u | grep -v :`)
	if want := (result{0, "\nmine\n", ""}); got.out != "\nmine\n" && got.out != "mine\n" || got.code != want.code {
		t.Errorf("got %+v", got)
	}
	if _, err := os.Stat("/tmp/mine"); err == nil {
		t.Error("the file is outside too")
	}
	tmp := t.TempDir()
	run(t, Spec{Tmp: tmp}, `echo x > /tmp/mine`)
	if _, err := os.Stat(filepath.Join(tmp, "mine")); err != nil {
		t.Errorf("the given directory is not /tmp: %v", err)
	}
}

func TestStart_runsAsAnOrdinaryUserWithoutCapabilities(t *testing.T) {
	t.Parallel()
	needNamespaces(t)
	for uid, want := range map[int]string{0: "1000", 4321: "4321"} {
		got := run(t, Spec{UID: uid}, `id -u; id -g; grep -c '^Cap\(Inh\|Prm\|Eff\|Amb\):.0000000000000000$' /proc/self/status; grep NoNewPrivs /proc/self/status; umask`)
		if got.out != want+"\n"+want+"\n4\nNoNewPrivs:\t1\n0022\n" {
			t.Errorf("UID %d: got %+v", uid, got)
		}
	}
}

func TestStart_showsItsOwnProcessesOnly(t *testing.T) {
	t.Parallel()
	needNamespaces(t)
	got := run(t, Spec{}, `ls /proc | grep -c '^[0-9]*$'`)
	// The supervisor, the shell, and the commands of the pipe.
	if n, err := strconv.Atoi(strings.TrimSpace(got.out)); err != nil || n < 2 || n > 5 {
		t.Errorf("got %+v", got)
	}
}

func TestStart_mountsWhatItIsTold(t *testing.T) {
	t.Parallel()
	needNamespaces(t)
	app, src, file := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "passwd")
	for name, text := range map[string]string{filepath.Join(src, "bin"): "runtime", file: "dyno:x:1000:1000::/app:/bin/bash\n"} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(src, link); err != nil {
		t.Fatal(err)
	}
	s := Spec{App: app, ReadOnlyRoot: true, Mounts: []Mount{
		{Source: link, Target: "/app/vendor/node", ReadOnly: true},
		{Source: src, Target: "/home-of-test"},
		{Source: src, Target: "/deep-of-test/a/b", ReadOnly: true},
		{Source: src, Target: "/deep-of-test/c"},
		{Source: src, Target: "/tmp/x/y"},
		{Source: file, Target: "/etc/passwd", ReadOnly: true},
		{Source: file, Target: "/app/passwd"},
	}}
	got := run(t, s, `
		cat /app/vendor/node/bin /home-of-test/bin /deep-of-test/a/b/bin /tmp/x/y/bin; echo
		cmp /etc/passwd /app/passwd; id -un
		(echo x > /app/vendor/node/new) 2>/dev/null && echo "/app/vendor/node can be written"
		(echo x > /deep-of-test/a/b/new) 2>/dev/null && echo "/deep-of-test/a/b can be written"
		(echo x > /etc/passwd) 2>/dev/null && echo "/etc/passwd can be written"
		echo x > /home-of-test/new && echo x > /app/vendor/kept`)
	if want := (result{0, "runtimeruntimeruntimeruntime\ndyno\n", ""}); got != want {
		t.Errorf("got %+v", got)
	}
	if _, err := os.Stat(filepath.Join(src, "new")); err != nil {
		t.Error("a writable mount was not written through")
	}
	left := []string{}
	_ = filepath.WalkDir(app, func(p string, _ fs.DirEntry, _ error) error {
		left = append(left, strings.TrimPrefix(p, app))
		return nil
	})
	if diff := cmp.Diff([]string{"", "/vendor", "/vendor/kept"}, left); diff != "" {
		t.Error("mount points that were made and are not needed stay:\n" + diff)
	}
}

func TestStart_refusesWhatItCannotDo(t *testing.T) {
	t.Parallel()
	needNamespaces(t)
	app := t.TempDir()
	if err := os.Symlink("/etc", filepath.Join(app, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(app, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	ok := []string{"/bin/true"}
	for name, c := range map[string]struct {
		s    Spec
		want string
	}{
		"no command":          {Spec{App: app}, "no command"},
		"relative app":        {Spec{Argv: ok, App: "app"}, "must be absolute"},
		"app missing":         {Spec{Argv: ok, App: app + "/none"}, "no such file"},
		"app a file":          {Spec{Argv: ok, App: app + "/file"}, "not a directory"},
		"app the root":        {Spec{Argv: ok, App: "/"}, "not a directory that can be shown"},
		"relative command":    {Spec{Argv: []string{"./x"}, App: app}, "not an absolute path"},
		"command missing":     {Spec{Argv: []string{"/none"}, App: app}, "run /none: no such file"},
		"command not in PATH": {Spec{Argv: []string{"slugfile-none"}, App: app, Env: []string{"PATH=" + searchPath}}, "not found in PATH"},
		"not executable":      {Spec{Argv: []string{"/app/file"}, App: app}, "run /app/file: permission denied"},
		"directory missing":   {Spec{Argv: ok, App: app, Dir: "/app/none"}, "working directory"},
		"through a link":      {Spec{Argv: ok, App: app, Mounts: []Mount{{Source: "/usr", Target: "/app/link/x"}}}, "symbolic link"},
		"onto a link":         {Spec{Argv: ok, App: app, Mounts: []Mount{{Source: "/usr", Target: "/app/link"}}}, "symbolic link"},
		"onto a file":         {Spec{Argv: ok, App: app, Mounts: []Mount{{Source: "/usr", Target: "/app/file"}}}, "in the way"},
		"unclean target":      {Spec{Argv: ok, App: app, Mounts: []Mount{{Source: "/usr", Target: "/app/../x"}}}, "not a clean absolute path"},
		"no mount point":      {Spec{Argv: ok, App: app, Mounts: []Mount{{Source: "/usr", Target: "/usr/slugfile-none"}}}, "no such file"},
		"source missing":      {Spec{Argv: ok, App: app, Mounts: []Mount{{Source: app + "/none", Target: "/app/x"}}}, "no such file"},
		"mounts when plain":   {Spec{Argv: ok, App: app, Plain: true, Mounts: []Mount{{Source: "/usr", Target: "/app/x"}}}, "without namespaces"},
	} {
		_, err := Start(context.Background(), c.s, nil, nil, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	entries, err := os.ReadDir(app)
	if err != nil || len(entries) != 2 {
		t.Errorf("left in the app directory: %v, %v", entries, err)
	}
	if _, err := os.Stat("/usr/slugfile-none"); err == nil {
		t.Error("a mount point was made on the machine")
	}
	_, err = Start(context.Background(), Spec{Argv: []string{"/none"}, App: app}, nil, nil, nil)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the reason is lost: %v", err)
	}
}

func TestStart_looksUpCommandsInAbsoluteDirectoriesOnly(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, plain bool) {
		app := t.TempDir()
		if err := os.WriteFile(filepath.Join(app, "tool"), []byte("#!/bin/sh\necho wrong\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, list := range []string{".", "", ":.", "./:"} {
			_, err := Start(context.Background(), Spec{Argv: []string{"tool"}, Env: []string{"PATH=" + list}, App: app, Plain: plain}, nil, nil, nil)
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("PATH %q: got %v", list, err)
			}
		}
	})
}

func TestWait_tellsTheExitCode(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, plain bool) {
		for script, want := range map[string]int{
			"exit 0":                     0,
			"exit 7":                     7,
			"exit 255":                   255,
			"kill -TERM $$":              128 + 15,
			"kill -KILL $$":              128 + 9,
			"kill -SEGV $$":              128 + 11,
			"sleep 1000 & exit 3":        3,
			"(exec sleep 0.01) & exit 4": 4,
		} {
			if got := run(t, Spec{Plain: plain}, script); got.code != want {
				t.Errorf("%s: got %+v", script, got)
			}
		}
	})
}

func TestStart_closesStdinAtItsEnd(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, plain bool) {
		big := strings.Repeat("0123456789abcdef", 1<<16)
		for name, in := range map[string]io.Reader{"empty": nil, "reader": strings.NewReader(big)} {
			var out bytes.Buffer
			p, err := Start(context.Background(), Spec{Argv: []string{"/bin/cat"}, App: t.TempDir(), Plain: plain}, in, &out, &out)
			if err != nil {
				t.Fatal(err)
			}
			if code, err := p.Wait(); code != 0 || err != nil {
				t.Errorf("%s: %d, %v", name, code, err)
			}
			if want := map[string]int{"empty": 0, "reader": len(big)}[name]; out.Len() != want {
				t.Errorf("%s: %d bytes came back of %d", name, out.Len(), want)
			}
		}
		// A reader that never ends does not hold the process back.
		r, w := io.Pipe()
		defer w.Close()
		p, err := Start(context.Background(), Spec{Argv: []string{"/bin/true"}, App: t.TempDir(), Plain: plain}, r, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if code, err := p.Wait(); code != 0 || err != nil {
			t.Errorf("endless: %d, %v", code, err)
		}
	})
}

func TestStart_handsOnBigOutputs(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, plain bool) {
		got := run(t, Spec{Plain: plain}, `head -c 5000000 /dev/zero; head -c 3000000 /dev/zero >&2`)
		if len(got.out) != 5_000_000 || len(got.errOut) != 3_000_000 || got.code != 0 {
			t.Errorf("got %d and %d bytes, code %d", len(got.out), len(got.errOut), got.code)
		}
	})
}

func TestStart_reapsOrphans(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, plain bool) {
		// Each inner shell leaves a child to the supervisor, which ends soon after.
		got := run(t, Spec{Plain: plain}, `
			supervisor=$(sed 's/.*) . //; s/ .*//' /proc/$$/stat)
			for i in 1 2 3 4 5; do (sh -c 'sleep 0.05 & exit 0'); done
			for i in $(seq 200); do
				left=$(cat /proc/[0-9]*/stat 2>/dev/null | sed 's/.*) //' | grep -c "^[A-Z] $supervisor ")
				[ "$left" = 1 ] && exit 0
				sleep 0.02
			done
			echo "$left left"; exit 1`)
		if got.code != 0 {
			t.Errorf("got %+v", got)
		}
	})
}

// startAway starts forkAway, waits until it runs, and returns a mark that its processes carry
// in their environment.
func startAway(ctx context.Context, t *testing.T, plain bool) (*Process, string) {
	t.Helper()
	mark := "slugfile-test-" + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	r, w := io.Pipe()
	p, err := Start(ctx, Spec{
		Argv: []string{"/bin/sh", "-c", forkAway}, Env: []string{"PATH=" + searchPath, "MARK=" + mark}, App: t.TempDir(), Plain: plain,
	}, nil, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	line := make([]byte, 6)
	if _, err := io.ReadFull(r, line); err != nil || string(line) != "ready\n" {
		t.Fatalf("said %q, %v", line, err)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	return p, mark
}

// marked counts the living processes that carry a mark.
func marked(mark string) int {
	n := 0
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil && bytes.Contains(b, []byte("MARK="+mark)) {
			n++
		}
	}
	return n
}

// waitMarked waits until at least low and at most high processes carry the mark.
func waitMarked(t *testing.T, mark string, low, high int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		n := marked(mark)
		if n >= low && n <= high {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d processes with the mark, want %d to %d", n, low, high)
		}
	}
}

func TestKill_endsWhatForkedAway(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, plain bool) {
		p, mark := startAway(context.Background(), t, plain)
		waitMarked(t, mark, 2, 100) // what forks away takes its time
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		if code, err := p.Wait(); code != 137 || err != nil {
			t.Errorf("Wait = %d, %v", code, err)
		}
		if n := marked(mark); n != 0 {
			t.Errorf("%d processes live on", n)
		}
		if err := p.Kill(); err != nil {
			t.Errorf("second Kill: %v", err)
		}
		if err := p.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("Signal after the end: %v", err)
		}
	})
}

func TestStart_endOfContextEndsWhatForkedAway(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, plain bool) {
		ctx, cancel := context.WithCancel(context.Background())
		p, mark := startAway(ctx, t, plain)
		cancel()
		if code, err := p.Wait(); code != 137 || err != nil {
			t.Errorf("Wait = %d, %v", code, err)
		}
		if n := marked(mark); n != 0 {
			t.Errorf("%d processes live on", n)
		}
		if _, err := Start(ctx, Spec{Argv: []string{"/bin/true"}, App: t.TempDir(), Plain: plain}, nil, nil, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("Start with a context that ended: %v", err)
		}
	})
}

func TestProcess_endOfTheCommandEndsWhatForkedAway(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, plain bool) {
		mark := "slugfile-left-" + strconv.FormatInt(time.Now().UnixNano(), 36)
		got := run(t, Spec{Plain: plain, Env: []string{"PATH=" + searchPath, "MARK=" + mark}}, `(setsid sleep 1000 &); exit 5`)
		if n := marked(mark); got.code != 5 || n != 0 {
			t.Errorf("got %+v, and %d processes live on", got, n)
		}
	})
}

func TestProcess_diesWithItsOwner(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, plain bool) {
		mark := "slugfile-owner-" + strconv.FormatInt(time.Now().UnixNano(), 36)
		owner := exec.Command("/proc/self/exe")
		owner.Env = []string{"SANDBOX_TEST_OWNER=" + t.TempDir(), "SANDBOX_TEST_MARK=" + mark}
		if plain {
			owner.Env = append(owner.Env, "SANDBOX_TEST_PLAIN=1")
		}
		out, err := owner.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := owner.Start(); err != nil {
			t.Fatal(err)
		}
		line := make([]byte, 6)
		if _, err := io.ReadFull(out, line); err != nil {
			t.Fatal(err)
		}
		waitMarked(t, mark, 2, 100) // what forks away takes its time
		if err := owner.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = owner.Wait() // killed
		waitMarked(t, mark, 0, 0)
	})
}

func TestSignal_reachesEveryProcess(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, plain bool) {
		var out bytes.Buffer
		r, w := io.Pipe()
		app := t.TempDir()
		p, err := Start(context.Background(), Spec{
			Argv: []string{"/bin/sh", "-c", `
				trap 'echo child >> seen; wait; exit 9' TERM
				setsid sh -c 'trap "echo grandchild >> seen; exit 0" TERM; echo ready; while :; do sleep 0.01; done' &
				wait; wait`},
			Env: []string{"PATH=" + searchPath}, App: app, Plain: plain,
		}, nil, w, &out)
		if err != nil {
			t.Fatal(err)
		}
		line := make([]byte, 6)
		if _, err := io.ReadFull(r, line); err != nil {
			t.Fatal(err)
		}
		if err := p.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code, err := p.Wait(); code != 9 || err != nil {
			t.Errorf("Wait = %d, %v, %s", code, err, out.String())
		}
		seen, err := os.ReadFile(filepath.Join(app, "seen"))
		if lines := strings.Fields(string(seen)); err != nil || len(lines) != 2 {
			t.Errorf("reached %q, %v", lines, err)
		}
		if err := p.Signal(0); err == nil {
			t.Error("signal 0 was sent")
		}
	})
}

func TestStart_leavesNoMountBehind(t *testing.T) {
	t.Parallel()
	needNamespaces(t)
	app := t.TempDir()
	for range 3 {
		run(t, Spec{App: app, ReadOnlyRoot: true, Mounts: []Mount{{Source: "/usr", Target: "/app/usr", ReadOnly: true}}}, "true")
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), app) {
		t.Errorf("mounts left:\n%s", b)
	}
}

// TestSandbox_asAnOrdinaryUser repeats the tests as somebody who is not root.
func TestSandbox_asAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("not root: the other tests show it")
	}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("no setpriv")
	}
	dir, err := os.MkdirTemp("/tmp", "sandbox")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(dir, "sandbox.test")
	if err := os.WriteFile(exe, b, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", exe, "-test.run=^Test(Start|Wait|Kill|Signal|Process)_", "-test.v")
	cmd.Env = []string{"TMPDIR=" + dir, "PATH=" + searchPath, "CI=" + os.Getenv("CI")}
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if bytes.Contains(out, []byte("--- SKIP")) {
		if os.Getenv("CI") == "true" {
			t.Errorf("skipped:\n%s", out)
		}
		t.Skipf("an ordinary user cannot make namespaces here:\n%s", out)
	}
}
