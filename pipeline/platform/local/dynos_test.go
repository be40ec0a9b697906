package local_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/local"
)

func TestRelease_bootsTheWebProcessBehindTheAppsOwnAddress(t *testing.T) {
	t.Parallel()
	p := open(t, t.TempDir(), local.Options{})
	app := createApp(t, p, "example")
	if r := release(t, p, "example", map[string]string{"web": "bin/web"}, web(t)); r.Version != 3 || !r.Current || r.Status != platform.Succeeded {
		t.Errorf("first release of a slug is v%d, current %t, %s; want v3, true, succeeded", r.Version, r.Current, r.Status)
	}
	awaitWeb(t, p, "example")
	if p.WebURL("example") != *app.WebURL {
		t.Errorf("WebURL is %s, the API says %s", p.WebURL("example"), *app.WebURL)
	}
	status, body := fetch(t, *app.WebURL)
	if status != 200 || !strings.HasPrefix(body, "hello, world\n") {
		t.Errorf("web answers %d %q", status, body)
	}
	_, body = fetch(t, *app.WebURL+"x?y=z")
	if u, _ := url.Parse(*app.WebURL); !strings.Contains(body, "host="+u.Host+"\n") {
		t.Errorf("the dyno did not get the client's Host: %q", body)
	}
	text, _ := call(t, p, "GET", "/", nil, 200, "Host", "example.localhost", "Authorization", "")
	if !strings.HasPrefix(string(text), "hello, world") {
		t.Errorf("example.localhost answers %q", text)
	}
	dynos, h := call(t, p, "GET", "/apps/example/dynos", nil, 200)
	if list := into[[]platform.Dyno](t, dynos, h); len(list) != 1 || list[0].Name != "web.1" || list[0].State != "up" || list[0].Release.Version != 3 {
		t.Errorf("dynos are %s", dynos)
	}
	log := strings.Join(p.Logs("example"), "\n")
	for _, want := range []string{"app[web.1]: listening on", "heroku[web.1]: State changed from starting to up", "heroku[router]: at=info method=GET path=\"/x?y=z\"", "app[api]: Release v3 created"} {
		if !strings.Contains(log, want) {
			t.Errorf("log lacks %q:\n%s", want, log)
		}
	}
}

func TestRouter_passesUpgradedConnections(t *testing.T) {
	t.Parallel()
	_, address := serve(t, local.Options{}, nil)
	conn := upgrade(t, address)
	fmt.Fprint(conn, "one\n")
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	if line, err := conn.ReadString('\n'); err != nil || line != "echo one\n" {
		t.Errorf("got %q, %v", line, err)
	}
}

func TestRelease_givesTheDynoItsEnvironment(t *testing.T) {
	t.Parallel()
	needDynos(t)
	p := open(t, t.TempDir(), local.Options{})
	createApp(t, p, "example")
	call(t, p, "PATCH", "/apps/example/config-vars", map[string]string{"GREETING": "hi"}, 200)
	r := release(t, p, "example", map[string]string{"worker": "./env"}, sh("env", "#!/bin/sh\nenv | sort\npwd\necho done\nsleep 60\n"),
		sh(".profile.d/b.sh", "export ORDER=$ORDER-b\n"), sh(".profile.d/a.sh", "export ORDER=a\n"), sh(".profile", "export ORDER=$ORDER-profile-$GREETING\n"))
	if r.Version != 4 {
		t.Errorf("release after a config change is v%d, want v4", r.Version)
	}
	call(t, p, "PATCH", "/apps/example/formation/worker", map[string]int{"quantity": 1}, 200)
	eventually(t, "the worker's output", func() bool { return strings.Contains(strings.Join(p.Logs("example"), "\n"), "app[worker.1]: done") })
	log := strings.Join(p.Logs("example"), "\n")
	for _, want := range []string{"DYNO=worker.1", "GREETING=hi", "ORDER=a-b-profile-hi"} {
		if !strings.Contains(log, "app[worker.1]: "+want+"\n") {
			t.Errorf("the worker lacks %s:\n%s", want, log)
		}
	}
	if strings.Contains(log, "app[worker.1]: PORT=") {
		t.Error("a worker got a PORT")
	}
}

func TestAwaitWeb_noticesACrashAtOnce(t *testing.T) {
	t.Parallel()
	needDynos(t)
	p := open(t, t.TempDir(), local.Options{})
	app := createApp(t, p, "example")
	release(t, p, "example", map[string]string{"web": "./boom"}, sh("boom", "#!/bin/sh\necho cannot find my library >&2\nexit 12\n"))
	start := time.Now()
	err := p.AwaitWeb(t.Context(), "example")
	var boot *local.BootError
	if !errors.As(err, &boot) {
		t.Fatalf("AwaitWeb: %v", err)
	}
	if boot.Exit != 12 || boot.Code != "H10" || boot.Release != 3 || strings.Join(boot.Lines, "\n") != "cannot find my library" {
		t.Errorf("AwaitWeb says %+v", boot)
	}
	if d := time.Since(start); d > 15*time.Second {
		t.Errorf("it took %v to notice", d)
	}
	status, body := fetch(t, *app.WebURL)
	if status != 503 || !strings.Contains(body, "H10") {
		t.Errorf("web answers %d %q", status, body)
	}
}

func TestAwaitWeb_endsWithTheBootTimeout(t *testing.T) {
	t.Parallel()
	needDynos(t)
	p := open(t, t.TempDir(), local.Options{BootTimeout: 300 * time.Millisecond, RestartDelay: time.Minute})
	app := createApp(t, p, "example")
	release(t, p, "example", map[string]string{"web": "sleep 60"})
	status, body := fetch(t, *app.WebURL)
	if status != 503 {
		t.Errorf("a booting app answers %d %q", status, body)
	}
	err := p.AwaitWeb(t.Context(), "example")
	var boot *local.BootError
	if !errors.As(err, &boot) || boot.Code != "R10" {
		t.Fatalf("AwaitWeb: %v", err)
	}
	if log := strings.Join(p.Logs("example"), "\n"); !strings.Contains(log, "Error R10 (Boot timeout)") {
		t.Errorf("log lacks R10:\n%s", log)
	}
}

func TestAwaitWeb_saysThatThereIsNoWeb(t *testing.T) {
	t.Parallel()
	p := open(t, t.TempDir(), local.Options{})
	app := createApp(t, p, "example")
	if err := p.AwaitWeb(t.Context(), "example"); !errors.Is(err, local.ErrNoWeb) {
		t.Errorf("AwaitWeb: %v", err)
	}
	if err := p.AwaitWeb(t.Context(), "nowhere"); !errors.Is(err, platform.ErrNotFound) {
		t.Errorf("AwaitWeb of no app: %v", err)
	}
	if status, body := fetch(t, *app.WebURL); status != 503 || !strings.Contains(body, "H14") {
		t.Errorf("web answers %d %q", status, body)
	}
}

func TestReleasePhase_decidesWhetherTheReleaseGoesLive(t *testing.T) {
	t.Parallel()
	needDynos(t)
	p := open(t, t.TempDir(), local.Options{})
	createApp(t, p, "example")
	good := release(t, p, "example", map[string]string{"web": "bin/web", "release": "sleep 0.3; echo migrating; echo migrated"}, web(t))
	if good.Status != platform.Pending || good.Current || good.OutputStreamURL == nil {
		t.Fatalf("release with a phase is %+v", good)
	}
	if strings.Contains(*good.OutputStreamURL, p.Token().Reveal()) {
		t.Error("the stream's address holds the token")
	}
	status := 404
	var body string
	eventually(t, "the phase's output", func() bool {
		status, body = fetch(t, *good.OutputStreamURL)
		return status != 404
	})
	if status != 200 || body != "migrating\nmigrated\n" {
		t.Errorf("stream is %d %q", status, body)
	}
	if r := getRelease(t, p, "example", "3"); r.Status != platform.Succeeded || !r.Current {
		t.Errorf("after a good phase v3 is %s, current %t", r.Status, r.Current)
	}
	awaitWeb(t, p, "example")

	bad := release(t, p, "example", map[string]string{"web": "bin/web", "release": "echo no table; exit 3"}, web(t))
	eventually(t, "the failure", func() bool { return getRelease(t, p, "example", bad.ID).Status == platform.Failed })
	if r := getRelease(t, p, "example", "v4"); r.Current {
		t.Error("a failed release is current")
	}
	if r := getRelease(t, p, "example", "v3"); !r.Current {
		t.Error("the release before the failed one is not current any more")
	}
	if _, body := fetch(t, *bad.OutputStreamURL); body != "no table\n" {
		t.Errorf("stream of the failed phase is %q", body)
	}
	awaitWeb(t, p, "example")
}

func TestRelease_switchesWithoutAFailedRequest(t *testing.T) {
	t.Parallel()
	p := open(t, t.TempDir(), local.Options{})
	app := createApp(t, p, "example")
	release(t, p, "example", map[string]string{"web": "bin/web"}, web(t))
	awaitWeb(t, p, "example")
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan string, 1)
	go func() {
		defer close(failed)
		for ctx.Err() == nil {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, *app.WebURL, nil)
			if err != nil {
				failed <- err.Error()
				return
			}
			res, err := client.Do(req)
			if err != nil {
				if ctx.Err() == nil {
					failed <- err.Error()
				}
				return
			}
			text, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != http.StatusOK {
				failed <- fmt.Sprintf("%s %s", res.Status, text)
				return
			}
		}
	}()
	for i := range 3 {
		call(t, p, "PATCH", "/apps/example/config-vars", map[string]string{"MESSAGE": fmt.Sprint("m", i)}, 200)
		awaitWeb(t, p, "example")
	}
	eventually(t, "the last config", func() bool {
		_, body := fetch(t, *app.WebURL)
		return strings.Contains(body, "message=m2\n")
	})
	cancel()
	for reason := range failed {
		t.Errorf("a request failed during the switch: %s\n%s", reason, strings.Join(p.Logs("example"), "\n"))
	}
}

func TestFormation_scalesAndRestarts(t *testing.T) {
	t.Parallel()
	needDynos(t)
	p := open(t, t.TempDir(), local.Options{})
	createApp(t, p, "example")
	release(t, p, "example", map[string]string{"worker": "sleep 100", "clock": "sleep 100"})
	text, h := call(t, p, "GET", "/apps/example/formation", nil, 200)
	list := into[[]platform.Formation](t, text, h)
	if len(list) != 2 || list[0].Type != "clock" || list[0].Quantity != 0 || list[1].Command != "sleep 100" {
		t.Fatalf("formation of a first slug is %s", text)
	}
	names := func() string {
		text, h := call(t, p, "GET", "/apps/example/dynos", nil, 200)
		var up []string
		for _, d := range into[[]platform.Dyno](t, text, h) {
			up = append(up, d.Name+"="+d.State)
		}
		return strings.Join(up, " ")
	}
	// The three ways of the heroku command and of heroku-go to say how many.
	call(t, p, "PATCH", "/apps/example/formation", `{"updates":[{"type":"worker","quantity":"2","size":"standard-2x"},{"type":"clock","quantity":1}]}`, 200)
	eventually(t, "three dynos", func() bool { return names() == "clock.1=up worker.1=up worker.2=up" })
	text, h = call(t, p, "PATCH", "/apps/example/formation", `{"updates":[{"type":"worker","quantity":"-1"}]}`, 200)
	if list := into[[]platform.Formation](t, text, h); len(list) != 1 || list[0].Quantity != 1 || list[0].Size != "Standard-2X" {
		t.Errorf("scaled formation is %s", text)
	}
	eventually(t, "two dynos", func() bool { return names() == "clock.1=up worker.1=up" })

	before, h := call(t, p, "GET", "/apps/example/dynos/worker.1", nil, 200)
	old := into[platform.Dyno](t, before, h)
	text, _ = call(t, p, "DELETE", "/apps/example/dynos/worker.1", nil, 202)
	if strings.TrimSpace(string(text)) != "{}" {
		t.Errorf("restart answers %s", text)
	}
	eventually(t, "another worker.1", func() bool {
		list, h := call(t, p, "GET", "/apps/example/dynos", nil, 200)
		for _, d := range into[[]platform.Dyno](t, list, h) {
			if d.Name == "worker.1" && d.ID != old.ID && d.State == "up" {
				return true
			}
		}
		return false
	})
	call(t, p, "PATCH", "/apps/example/formation", `{"updates":[{"type":"nothing","quantity":1}]}`, 404)
	call(t, p, "PATCH", "/apps/example/formation/worker", `{"quantity":"many"}`, 422)
}

func TestDynos_runDetachedOneOffs(t *testing.T) {
	t.Parallel()
	needDynos(t)
	p := open(t, t.TempDir(), local.Options{})
	createApp(t, p, "example")
	call(t, p, "POST", "/apps/example/dynos", `{"command":"true"}`, 422)
	release(t, p, "example", map[string]string{"worker": "sleep 100"})
	text, h := call(t, p, "POST", "/apps/example/dynos", `{"attach":false,"command":"echo $WORD","env":{"WORD":"spoken"}}`, 201)
	d := into[platform.Dyno](t, text, h)
	if d.Type != "run" || !strings.HasPrefix(d.Name, "run.") {
		t.Errorf("one-off dyno is %s", text)
	}
	eventually(t, "its output", func() bool {
		return strings.Contains(strings.Join(p.Logs("example"), "\n"), "app["+d.Name+"]: spoken")
	})
	call(t, p, "POST", "/apps/example/dynos", `{"attach":true,"command":"bash"}`, 422)
}

func TestOpen_bringsAppsAndDynosBackAfterAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := open(t, dir, local.Options{})
	app := createApp(t, p, "example")
	release(t, p, "example", map[string]string{"web": "bin/web"}, web(t))
	call(t, p, "PATCH", "/apps/example/config-vars", map[string]string{"MESSAGE": "kept"}, 200)
	awaitWeb(t, p, "example")
	token := p.Token().Reveal()
	stop(t, p)
	if _, err := client.Get(*app.WebURL); err == nil { //nolint:bodyclose // there is no answer
		t.Error("the app answers after Close")
	}

	q := open(t, dir, local.Options{})
	if q.Token().Reveal() != token {
		t.Error("the token changed")
	}
	awaitWeb(t, q, "example")
	if status, body := fetch(t, *app.WebURL); status != 200 || !strings.Contains(body, "message=kept\n") {
		t.Errorf("after reopening web answers %d %q", status, body)
	}
	if r := getRelease(t, q, "example", "4"); !r.Current {
		t.Errorf("after reopening v4 is %+v", r)
	}
	if got := getApp(t, q, "example"); got.ID != app.ID || *got.WebURL != *app.WebURL {
		t.Errorf("after reopening the app is %+v", got)
	}
}

func TestLogSessions_streamTheLog(t *testing.T) {
	t.Parallel()
	needDynos(t)
	p := open(t, t.TempDir(), local.Options{})
	createApp(t, p, "example")
	release(t, p, "example", map[string]string{"worker": "echo first; sleep 100"})
	text, _ := call(t, p, "POST", "/apps/example/log-sessions", `{"lines":100,"tail":true,"dyno":"worker.1"}`, 201)
	var s struct {
		URL string `json:"logplex_url"`
	}
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	call(t, p, "PATCH", "/apps/example/formation/worker", `{"quantity":1}`, 200)
	lines := bufio.NewScanner(res.Body)
	var id, data string
	for !strings.HasSuffix(data, "app[worker.1]: first") && lines.Scan() {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "id: "):
			id = line
		case strings.HasPrefix(line, "data: "):
			data = line
		}
	}
	if id == "" || !strings.HasSuffix(data, "app[worker.1]: first") {
		t.Errorf("stream ended after %q %q: %v", id, data, lines.Err())
	}
}

func TestReleasePhase_saysInItsStreamWhyItCouldNotRun(t *testing.T) {
	t.Parallel()
	needDynos(t)
	p := open(t, t.TempDir(), local.Options{PhaseTimeout: 300 * time.Millisecond})
	createApp(t, p, "example")
	r := release(t, p, "example", map[string]string{"web": "./web", "release": "sleep 60"})
	eventually(t, "the end of the phase", func() bool {
		return getRelease(t, p, "example", r.ID).Status == platform.Failed
	})
	_, text := fetch(t, *r.OutputStreamURL)
	if !strings.Contains(text, "Error: the release phase took longer than 300ms") {
		t.Errorf("the stream has %q", text)
	}
}

func TestDyno_bootsFromASlugWithoutFiles(t *testing.T) {
	t.Parallel()
	needDynos(t)
	p := open(t, t.TempDir(), local.Options{})
	createApp(t, p, "example")
	var empty bytes.Buffer
	z := gzip.NewWriter(&empty)
	w := tar.NewWriter(z)
	err := errors.Join(w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "./app/", Mode: 0o755}), w.Close(), z.Close())
	if err != nil {
		t.Fatal(err)
	}
	slug := upload(t, p, "example", map[string]string{"web": "echo alone; exit 3"}, empty.Bytes())
	call(t, p, "POST", "/apps/example/releases", map[string]string{"slug": slug.ID}, 201)
	var boot *local.BootError
	if err := p.AwaitWeb(t.Context(), "example"); !errors.As(err, &boot) || boot.Exit != 3 || strings.Join(boot.Lines, "\n") != "alone" {
		t.Errorf("AwaitWeb: %v", err)
	}
}
