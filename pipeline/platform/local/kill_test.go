package local_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform/local"
)

// childDir, when set, makes the test binary a platform on that directory until it is killed.
const childDir = "SLUGFILE_TEST_PLATFORM"

// armChild arms the failpoints of a child, in a program that has any.
var armChild = func() error { return nil }

// serveChild is the whole program of a killed platform.
func serveChild(dir string) int {
	err := armChild()
	var p *local.Platform
	// A process that the killed platform was just starting has its lock until it has begun.
	for deadline := time.Now().Add(20 * time.Second); err == nil; time.Sleep(5 * time.Millisecond) {
		var held *local.HeldError
		if p, err = local.Open(dir, local.Options{Listen: "127.0.0.1:0", RateLimit: -1}); !errors.As(err, &held) || time.Now().After(deadline) {
			break
		}
		err = nil
	}
	if err == nil {
		err = p.Start(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Fprintln(os.Stdout, "ready")
	select {}
}

// childCommand is a platform in a process of its own.
func childCommand(t *testing.T, dir string, env ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(append(os.Environ(), childDir+"="+dir), env...)
	cmd.Stderr = os.Stderr
	return cmd
}

// startChild runs a platform in a process of its own.
func startChild(t *testing.T, dir string, env ...string) (local.Info, func()) {
	t.Helper()
	cmd := childCommand(t, dir, env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := sync.OnceFunc(func() {
		_ = cmd.Process.Kill() // it may be gone already
		_ = cmd.Wait()         // it was killed, and says so
	})
	t.Cleanup(kill)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the platform says %q, %v", line, err)
	}
	info, found := local.Discover(dir)
	if !found {
		t.Fatal("the platform is not found")
	}
	return info, kill
}

func TestKill_takesTheDynosAlongAndBringsThemBack(t *testing.T) {
	t.Parallel()
	program := web(t)
	dir := t.TempDir()
	p := open(t, dir, local.Options{})
	app := createApp(t, p, "example")
	release(t, p, "example", map[string]string{"web": "bin/web"}, program)
	awaitWeb(t, p, "example")
	stop(t, p)

	up := func() bool {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, *app.WebURL, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	}
	_, kill := startChild(t, dir)
	eventually(t, "the dyno of the second process", up)
	kill()
	if up() {
		t.Error("the app answers after its platform was killed")
	}
	_, _ = startChild(t, dir)
	eventually(t, "the dyno of the third process", up)
}

func TestOpen_clearsUpAfterADynoThatWritesToTheLast(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 10 {
		left := filepath.Join(dir, "dynos", "web.1", "app")
		if err := os.MkdirAll(left, 0o700); err != nil {
			t.Fatal(err)
		}
		writing, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			// Its end is that of the directory, or of a process that is being killed.
			for n := range 2000 {
				f, err := os.Create(filepath.Join(left, strconv.Itoa(n)))
				if err != nil {
					break
				}
				_ = f.Close() // nothing was written
				if n == 50 {
					close(writing)
				}
			}
		}()
		<-writing
		p, err := local.Open(dir, local.Options{})
		<-done
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if names := names(t, dir, "dynos"); len(names) > 0 {
			t.Errorf("round %d: %v is left", round, names)
		}
		stop(t, p)
	}
}
