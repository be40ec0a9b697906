package dyno_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/platform/dyno"
	"github.com/slugfile/slugfile/pipeline/sandbox"
)

func TestMain(m *testing.M) {
	if code, handled := sandbox.Main(os.Args); handled {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// slug writes an archive of text files.
func slug(t *testing.T, files map[string]string) *os.File {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "./app/", Mode: 0o755, Format: tar.FormatGNU}); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "./app/" + name, Mode: 0o755, Size: int64(len(text)), Format: tar.FormatGNU}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "slug.tgz")
	if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// output collects lines.
type output struct {
	mu    sync.Mutex
	lines []string
}

func (o *output) add(line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines, line)
}

func (o *output) list() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.lines...)
}

// boot starts a dyno in a scratch directory of the test's own.
func boot(t *testing.T, s dyno.Spec) (*dyno.Dyno, *output) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("dynos run on Linux only")
	}
	out := &output{}
	s.Out = out.add
	if s.Scratch == "" {
		s.Scratch = t.TempDir()
	}
	if s.Name == "" {
		s.Name = "run.1"
	}
	d, err := dyno.Boot(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return d, out
}

func wait(t *testing.T, d *dyno.Dyno) int {
	t.Helper()
	select {
	case <-d.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the dyno does not end")
	}
	code, err := d.Exit()
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func needNamespaces(t *testing.T) {
	t.Helper()
	if err := dyno.Plain(); err != nil {
		t.Skipf("no namespaces here: %v", err)
	}
}

func TestBoot_startsAsHerokuDoes(t *testing.T) {
	t.Parallel()
	needNamespaces(t)
	scratch := t.TempDir()
	d, out := boot(t, dyno.Spec{
		Slug: slug(t, map[string]string{
			".profile.d/20-b.sh": "export SEEN=$SEEN:b\n", ".profile.d/10-a.sh": "export SEEN=$SEEN:a\n", ".profile": "export SEEN=$SEEN:profile PATH=$HOME/bin:$PATH\n",
			"bin/show": "#!/bin/sh\necho tool\n",
		}),
		Scratch: scratch,
		Config:  map[string]string{"SEEN": "config", "WORD": "a b"},
		Command: `show; pwd; echo "$HOME|$DYNO|$SEEN|$WORD|${PORT-none}"; env | cut -d= -f1 | sort | tr '\n' ' '; echo; id -u; touch /app/made /tmp/made; touch /usr/made 2>/dev/null || echo read-only`,
		UID:     4711,
	})
	if code := wait(t, d); code != 0 {
		t.Errorf("exit code %d", code)
	}
	want := []string{
		"tool", "/app", "/app|run.1|config:a:b:profile|a b|none",
		"DYNO HOME PATH PWD SEEN SHLVL WORD _ ", "4711", "read-only",
	}
	if diff := cmp.Diff(want, out.list()); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	entries, err := os.ReadDir(scratch)
	if err != nil || len(entries) != 0 {
		t.Errorf("the dyno left %v, %v", entries, err)
	}
}

func TestBoot_sharesNothingBetweenTwoDynos(t *testing.T) {
	t.Parallel()
	needNamespaces(t)
	f := slug(t, map[string]string{"file": "1"})
	for range 2 {
		d, out := boot(t, dyno.Spec{Slug: f, Command: "ls /app /tmp; touch /app/left /tmp/left"})
		wait(t, d)
		if diff := cmp.Diff([]string{"/app:", "file", "", "/tmp:"}, out.list()); diff != "" {
			t.Errorf("output (-want +got):\n%s", diff)
		}
	}
}

func TestBoot_runsPlainlyInTheUnpackedDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("content\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, out := boot(t, dyno.Spec{Dir: dir, Plain: true, Name: "web.1", Port: 5001, Command: `cat file; echo "$HOME $PORT"`})
	wait(t, d)
	if diff := cmp.Diff([]string{"content", dir + " 5001"}, out.list()); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	if _, err := os.Stat(filepath.Join(dir, "file")); err != nil {
		t.Errorf("a directory of the caller's is kept: %v", err)
	}
}

func TestExit_isThatOfTheProcess(t *testing.T) {
	t.Parallel()
	for command, want := range map[string]int{"exit 3": 3, "true": 0, "kill -KILL $$": 137, "no-such-program": 127} {
		d, _ := boot(t, dyno.Spec{Slug: slug(t, map[string]string{"f": ""}), Command: command})
		if code := wait(t, d); code != want {
			t.Errorf("%s: exit code %d, want %d", command, code, want)
		}
	}
}

func TestStop_asksEveryProcessAndThenKills(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{true, false} {
		if !plain && dyno.Plain() != nil {
			continue
		}
		polite, out := boot(t, dyno.Spec{Slug: slug(t, map[string]string{"f": ""}), Plain: plain,
			Command: `(trap 'echo child; exit 0' TERM; echo one; while :; do sleep 0.05; done) & trap 'wait; echo parent; exit 5' TERM; echo two; while :; do sleep 0.05; done`})
		for deadline := time.Now().Add(10 * time.Second); len(out.list()) < 2 && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		if polite.Stop(t.Context(), 10*time.Second) {
			t.Errorf("plain %t: SIGKILL was needed: %q", plain, out.list())
		}
		if code := wait(t, polite); code != 5 {
			t.Errorf("plain %t: exit code %d, want 5", plain, code)
		}
		// bash tells of its killed sleeps in between.
		if lines := out.list(); !slices.Contains(lines, "child") || !slices.Contains(lines, "parent") {
			t.Errorf("plain %t: output is %q", plain, lines)
		}

		deaf, out := boot(t, dyno.Spec{Slug: slug(t, map[string]string{"f": ""}), Plain: plain, Command: `trap '' TERM; echo deaf; while :; do sleep 0.05; done`})
		for deadline := time.Now().Add(10 * time.Second); len(out.list()) < 1 && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		if !deaf.Stop(t.Context(), 100*time.Millisecond) {
			t.Errorf("plain %t: a deaf dyno ended by itself", plain)
		}
		if code := wait(t, deaf); code != 137 {
			t.Errorf("plain %t: exit code %d, want 137", plain, code)
		}
	}
}

func TestAwaitPort_endsWithTheProcess(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	d, _ := boot(t, dyno.Spec{Slug: slug(t, map[string]string{"f": ""}), Name: "web.1", Port: port, Command: "exit 9"})
	var exit *dyno.ExitError
	if err := d.AwaitPort(t.Context()); !errors.As(err, &exit) || exit.Code != 9 {
		t.Errorf("AwaitPort: %v", err)
	}
	slow, _ := boot(t, dyno.Spec{Slug: slug(t, map[string]string{"f": ""}), Name: "web.1", Port: port, Command: "sleep 60"})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := slow.AwaitPort(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("AwaitPort: %v", err)
	}
	slow.Stop(t.Context(), 0)
}

func TestBoot_diesWithItsContext(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("dynos run on Linux only")
	}
	ctx, cancel := context.WithCancel(t.Context())
	scratch := t.TempDir()
	d, err := dyno.Boot(ctx, dyno.Spec{Slug: slug(t, map[string]string{"f": ""}), Scratch: scratch, Name: "run.1", Command: "sleep 60 & sleep 60"})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case <-d.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the dyno outlives its context")
	}
}

func TestBoot_leavesNothingWhenTheSlugIsBad(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("dynos run on Linux only")
	}
	f, err := os.CreateTemp(t.TempDir(), "bad")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("this is no archive"); err != nil {
		t.Fatal(err)
	}
	scratch := t.TempDir()
	if _, err := dyno.Boot(t.Context(), dyno.Spec{Slug: f, Scratch: scratch, Name: "web.1", Command: "true"}); err == nil || !strings.HasPrefix(err.Error(), "boot dyno web.1: unpack slug: ") {
		t.Errorf("Boot: %v", err)
	}
	if entries, err := os.ReadDir(scratch); err != nil || len(entries) != 0 {
		t.Errorf("left %v, %v", entries, err)
	}
}

func TestOutput_splitsLongLines(t *testing.T) {
	t.Parallel()
	d, out := boot(t, dyno.Spec{Slug: slug(t, map[string]string{"f": ""}), Command: `head -c 25000 /dev/zero | tr '\0' x; echo; printf 'no end'`})
	wait(t, d)
	var sizes []int
	for _, l := range out.list() {
		sizes = append(sizes, len(l))
	}
	if diff := cmp.Diff([]int{10_000, 10_000, 5_000, 6}, sizes); diff != "" {
		t.Errorf("line sizes (-want +got):\n%s", diff)
	}
}

func TestBoot_namesTheUserOfTheDyno(t *testing.T) {
	t.Parallel()
	needNamespaces(t)
	if info, err := os.Lstat("/etc/passwd"); err != nil || !info.Mode().IsRegular() {
		t.Skip("this machine has no /etc/passwd")
	}
	d, out := boot(t, dyno.Spec{Slug: slug(t, map[string]string{"f": ""}), UID: 4711, Command: `id -un; id -gn; head -1 /etc/passwd; cd ~dyno; pwd; (echo >> /etc/passwd) 2>/dev/null || echo read-only`})
	wait(t, d)
	want := []string{"dyno", "dyno", "dyno:x:4711:4711::/app:/bin/bash", "/app", "read-only"}
	if got := out.list(); !slices.Equal(got, want) {
		t.Errorf("output is %q", got)
	}
}

func TestLoopbackOnly_tellsWhatARouterCannotReach(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("the kernel's list of listeners is Linux's")
	}
	for address, want := range map[string]bool{"127.0.0.1:0": true, "0.0.0.0:0": false, "[::]:0": false, "[::1]:0": true} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			if strings.HasPrefix(address, "[") {
				continue // a machine without IPv6
			}
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		if got := dyno.LoopbackOnly(port); got != want {
			t.Errorf("a listener on %s is on loopback only: %t (%v)", address, got, dyno.Listeners(port))
		}
		_ = l.Close()
	}
}

func TestOutput_splitsNoCharacter(t *testing.T) {
	t.Parallel()
	d, out := boot(t, dyno.Spec{Slug: slug(t, map[string]string{"f": ""}), Command: `printf 'x'; for i in $(seq 5000); do printf 'é'; done; echo; printf 'b\xc3'; echo`})
	wait(t, d)
	got := out.list()
	if len(got) != 3 || len(got[0]) != 9_999 || got[1] != "é" || got[2] != "b\xc3" {
		t.Errorf("got %d lines, the first of %d bytes, then %q", len(got), len(got[0]), got[1:])
	}
}

func TestBoot_refusesASlugOverItsLimits(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("dynos run on Linux only")
	}
	f := slug(t, map[string]string{"a": strings.Repeat("x", 1000), "b": ""})
	for name, s := range map[string]dyno.Spec{
		"unpack slug: entry \"./app/a\"": {MaxBytes: 999},
		"unpack slug: ":                  {MaxEntries: 2},
	} {
		scratch := t.TempDir()
		s.Slug, s.Scratch, s.Name, s.Command = f, scratch, "web.1", "true"
		if _, err := dyno.Boot(t.Context(), s); err == nil || !strings.HasPrefix(err.Error(), "boot dyno web.1: "+name) {
			t.Errorf("Boot: %v, want %s", err, name)
		}
		if entries, err := os.ReadDir(scratch); err != nil || len(entries) != 0 {
			t.Errorf("left %v, %v", entries, err)
		}
	}
}

// What a command writes may be anything, such as an archive.
func TestBoot_handsStreamsThroughByteForByte(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("dynos run on Linux only")
	}
	for _, plain := range []bool{false, true} {
		in := []byte("a\x00\r\nb\xff without an end")
		var stdout, stderr bytes.Buffer
		d, err := dyno.Boot(t.Context(), dyno.Spec{
			Slug: slug(t, nil), Scratch: t.TempDir(), Name: "run.1", Command: "cat; printf 'x\\0' >&2; exit 7", Plain: plain,
			Stdin: bytes.NewReader(in), Stdout: &stdout, Stderr: &stderr, Out: func(line string) { t.Errorf("a line too: %q", line) },
		})
		if err != nil {
			t.Fatal(err)
		}
		code, err := d.Exit()
		if code != 7 || err != nil || !bytes.Equal(stdout.Bytes(), in) || stderr.String() != "x\x00" {
			t.Errorf("plain %v: code %d, %v, output %q, errors %q", plain, code, err, stdout.Bytes(), stderr.String())
		}
	}
}

// A shell with job control needs a terminal of its own, on which Ctrl-C reaches what it runs.
func TestBoot_givesATerminalToTheProcess(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("dynos run on Linux only")
	}
	for _, plain := range []bool{false, true} {
		master, slave, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		d, err := dyno.Boot(t.Context(), dyno.Spec{
			Slug: slug(t, nil), Scratch: t.TempDir(), Name: "run.1", Plain: plain,
			Command: "trap 'echo caught; exit 3' INT; test -t 1 && : </dev/tty && echo ready; while :; do sleep 0.05; done",
			Stdin:   slave, Stdout: slave, Stderr: slave, Terminal: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		_ = slave.Close() // the process has its own
		var screen []byte
		for b, pressed := make([]byte, 100), false; ; {
			n, err := master.Read(b)
			screen = append(screen, b[:n]...)
			if !pressed && bytes.Contains(screen, []byte("ready")) {
				pressed = true
				if _, err := master.Write([]byte{3}); err != nil {
					t.Fatal(err)
				}
			}
			if err != nil {
				break // Linux answers EIO when the other side is closed
			}
		}
		_ = master.Close()
		if code, err := d.Exit(); code != 3 || err != nil || !bytes.Contains(screen, []byte("caught")) {
			t.Errorf("plain %v: code %d, %v, screen %q", plain, code, err, screen)
		}
	}
}

func TestBoot_isGivenUpWhileItUnpacks(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("dynos run on Linux only")
	}
	abandon, scratch := make(chan struct{}), t.TempDir()
	close(abandon)
	s := dyno.Spec{Slug: slug(t, map[string]string{"big": strings.Repeat("x", 64<<20)}), Scratch: scratch, Name: "web.1", Command: "true", Abandon: abandon}
	if _, err := dyno.Boot(t.Context(), s); !errors.Is(err, dyno.ErrAbandoned) {
		t.Errorf("Boot: %v", err)
	}
	if entries, err := os.ReadDir(scratch); err != nil || len(entries) != 0 {
		t.Errorf("left %v, %v", entries, err)
	}
}
