package local_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform/local"
)

// childDir, when set, makes the test binary a platform on that directory until it is killed.
const childDir = "SLUGFILE_TEST_PLATFORM"

// serveChild is the whole program of a killed platform.
func serveChild(dir string) int {
	p, err := local.Open(dir, local.Options{Listen: "127.0.0.1:0", RateLimit: -1})
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

// startChild runs a platform in a process of its own.
func startChild(t *testing.T, dir string) (local.Info, func()) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
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

func TestKill_losesNothingThatWasAnswered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	answered, pid := 2, 0
	const rounds = 5
	for round := range rounds {
		info, kill := startChild(t, dir)
		if info.PID == pid {
			t.Fatal("Discover names the killed process")
		}
		pid = info.PID
		send := func(method, path, body string) (int, error) {
			req, err := http.NewRequestWithContext(t.Context(), method, info.API+path, strings.NewReader(body))
			if err != nil {
				return 0, err
			}
			req.Header.Set("Authorization", "Bearer "+info.Token.Reveal())
			res, err := client.Do(req)
			if err != nil {
				return 0, err
			}
			defer res.Body.Close()
			_, err = io.Copy(io.Discard, res.Body)
			return res.StatusCode, err
		}
		if round == 0 {
			if status, err := send("POST", "/apps", `{"name":"example"}`); err != nil || status != 201 {
				t.Fatalf("create: %d, %v", status, err)
			}
		}
		if status, err := send("GET", fmt.Sprintf("/apps/example/releases/%d", answered), ""); err != nil || status != 200 {
			t.Fatalf("round %d: answered release v%d: status %d, %v", round, answered, status, err)
		}
		// Killed while it writes: the moment is anybody's guess.
		timer := time.AfterFunc(time.Duration(20+30*round)*time.Millisecond, kill)
		for i := 0; ; i++ {
			status, err := send("PATCH", "/apps/example/config-vars", fmt.Sprintf(`{"N":"%d-%d"}`, round, i))
			if err != nil {
				break
			}
			if status != 200 {
				t.Fatalf("PATCH: status %d", status)
			}
			answered++
		}
		timer.Stop()
		kill()
		// A write whose answer was lost may have been carried out: find where we stand.
		p := open(t, dir, local.Options{RateLimit: -1})
		newest := answered
		for call := func() int {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("%s/apps/example/releases/%d", p.URL(), newest+1), nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+p.Token().Reveal())
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			return res.StatusCode
		}; call() == 200; {
			newest++
		}
		if newest > answered+1 {
			t.Errorf("round %d: v%d exists, only v%d was answered", round, newest, answered)
		}
		answered = newest
		if r := getRelease(t, p, "example", fmt.Sprint(answered)); !r.Current {
			t.Errorf("round %d: the newest release is not current", round)
		}
		stop(t, p)
	}
	if answered <= 2 {
		t.Error("nothing was written")
	}
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
