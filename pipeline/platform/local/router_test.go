package local_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform/local"
)

// serve opens a platform whose app runs the test program, up and with its config.
func serve(t *testing.T, o local.Options, config map[string]string) (p *local.Platform, address string) {
	t.Helper()
	p = open(t, t.TempDir(), o)
	app := createApp(t, p, "example")
	if len(config) > 0 {
		call(t, p, "PATCH", "/apps/example/config-vars", config, 200)
	}
	release(t, p, "example", map[string]string{"web": "bin/web"}, web(t))
	awaitWeb(t, p, "example")
	return p, *app.WebURL
}

// askApp is one request to an app.
func askApp(t *testing.T, method, address string, body io.Reader, header ...string) (reply, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, string(text)}, err
}

// dial connects to a URL's server, until the test ends.
func dial(t *testing.T, address string) (conn net.Conn, host string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	if conn, err = net.DialTimeout("tcp", u.Host, patience); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn, u.Host
}

// upgrade has a connection to the test program that is not HTTP any more: it echoes lines.
func upgrade(t *testing.T, address string) *bufio.ReadWriter {
	t.Helper()
	conn, host := dial(t, address)
	fmt.Fprintf(conn, "GET /upgrade HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", host)
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("status %s", res.Status)
	}
	return bufio.NewReadWriter(r, bufio.NewWriter(conn))
}

// routed waits for the router's line about a path.
func routed(t *testing.T, p *local.Platform, path string) string {
	t.Helper()
	var found string
	eventually(t, "the router's line about "+path, func() bool {
		for _, l := range p.Logs("example") {
			if strings.Contains(l, " heroku[router]: ") && strings.Contains(l, fmt.Sprintf(" path=%q ", path)) {
				found = l
			}
		}
		return found != ""
	})
	return found
}

func TestRouter_tellsTheDynoWhatTheClientSent(t *testing.T) {
	t.Parallel()
	p, address := serve(t, local.Options{}, nil)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	id := "client-chose/this+id="
	got, err := askApp(t, "GET", address+"headers?a=1;b=2&c=%zz", nil, "X-Request-Id", id, "X-Forwarded-For", "192.0.2.7", "X-Forwarded-For", "192.0.2.8",
		"X-Forwarded-Proto", "https", "X-Forwarded-Host", "www.example.com", "Via", "1.0 before")
	if err != nil || got.status != 200 {
		t.Fatal(got, err)
	}
	var said struct {
		Header http.Header
		URI    string
	}
	if err := json.Unmarshal([]byte(got.body), &said); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"X-Forwarded-For": "192.0.2.7, 192.0.2.8, 127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Port": u.Port(),
		"X-Forwarded-Host": "www.example.com", "X-Request-Id": id, "Via": "1.0 before,1.1 slugfile-router",
	} {
		if have := strings.Join(said.Header[name], ","); have != want {
			t.Errorf("%s is %q, want %q", name, have, want)
		}
	}
	if ms := said.Header.Get("X-Request-Start"); len(ms) != 13 {
		t.Errorf("X-Request-Start is %q, want milliseconds", ms)
	}
	if said.URI != "/headers?a=1;b=2&c=%zz" {
		t.Errorf("the dyno saw %s", said.URI)
	}
	if got.header.Get("Via") != "1.1 slugfile-router" {
		t.Errorf("the answer came via %q", got.header.Get("Via"))
	}
	line := routed(t, p, "/headers?a=1;b=2&c=%zz")
	for _, want := range []string{"at=info method=GET ", "host=" + u.Host, "request_id=" + id, `fwd="192.0.2.7, 192.0.2.8, 127.0.0.1"`, " dyno=web.1 connect=", "status=200 ", fmt.Sprintf("bytes=%d protocol=http", len(got.body))} {
		if !strings.Contains(line, want) {
			t.Errorf("the log lacks %q: %s", want, line)
		}
	}
	for _, bad := range []string{"short", strings.Repeat("x", 201), "with blanks in it, 20 characters"} {
		got, err := askApp(t, "GET", address+"headers", nil, "X-Request-Id", bad)
		if err != nil || strings.Contains(got.body, bad) {
			t.Errorf("the id %q of a client was kept: %v", bad, err)
		}
	}
}

func TestRouter_streamsBothWays(t *testing.T) {
	t.Parallel()
	_, address := serve(t, local.Options{}, nil)
	in, out := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address+"talk", in)
	if err != nil {
		t.Fatal(err)
	}
	type answer struct {
		res *http.Response
		err error
	}
	answered := make(chan answer, 1)
	go func() {
		res, err := client.Do(req) //nolint:bodyclose // whoever receives it closes it
		answered <- answer{res, err}
	}()
	fmt.Fprint(out, "one\n")
	a := <-answered // the answer begins before the request ends
	if a.err != nil {
		t.Fatal(a.err)
	}
	defer a.res.Body.Close()
	lines := bufio.NewReader(a.res.Body)
	for _, word := range []string{"one\n", "two\n"} {
		if word != "one\n" {
			fmt.Fprint(out, word)
		}
		if line, err := lines.ReadString('\n'); err != nil || line != "got "+word {
			t.Errorf("got %q, %v", line, err)
		}
	}
	out.Close()
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
		t.Errorf("then %q, %v", rest, err)
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
	// A reader of unknown length is sent in chunks.
	if got, err := askApp(t, "POST", address+"sum", io.MultiReader(bytes.NewReader(big))); err != nil || got.body != fmt.Sprintf(" %d %x", len(big), sum(big)) {
		t.Errorf("a chunked upload answers %v, %v", got, err)
	}
}

func TestRouter_letsTheDynoDecideWhetherToTakeABody(t *testing.T) {
	t.Parallel()
	_, address := serve(t, local.Options{}, nil)
	own := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Minute}}
	for path, want := range map[string]struct {
		status    int
		continued bool
	}{"sum": {200, true}, "no": {413, false}} {
		continued := false
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { continued = true }})
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, address+path, strings.NewReader("a body"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Expect", "100-continue")
		res, err := own.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want.status || continued != want.continued {
			t.Errorf("%s answers %s, continue %t", path, res.Status, continued)
		}
	}
}

func TestRouter_saysWithHerokusCodesWhatWentWrong(t *testing.T) {
	t.Parallel()
	p, address := serve(t, local.Options{RequestTimeout: 2 * time.Second, IdleTimeout: 3 * time.Second}, nil)
	for _, c := range []struct{ path, code, desc, status string }{
		{"/drop", "H13", "Connection closed without response", "503"},
		{"/junk", "H17", "Poorly formatted HTTP response", "503"},
		{"/sleep?for=60s", "H12", "Request timeout", "503"},
		{"/half", "H18", "Server Request Interrupted", "200"},
		{"/count?n=2&every=60s", "H15", "Idle connection", "200"},
	} {
		got, err := askApp(t, "GET", strings.TrimSuffix(address, "/")+c.path, nil)
		if c.status == "503" {
			if err != nil || got.status != 503 || got.header.Get("X-Heroku-Error") != c.code || !strings.HasPrefix(got.body, c.desc+" ("+c.code+")\n") {
				t.Errorf("%s answers %v, %v", c.path, got, err)
			}
		} else if err == nil {
			t.Errorf("%s breaks off, and the client sees a whole answer: %v", c.path, got)
		}
		line := routed(t, p, c.path)
		if !strings.Contains(line, fmt.Sprintf("at=error code=%s desc=%q method=GET", c.code, c.desc)) || !strings.Contains(line, " dyno=web.1 ") || !strings.Contains(line, " status="+c.status+" ") {
			t.Errorf("%s is logged as %s", c.path, line)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"count?n=1000&every=10ms", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	_ = res.Body.Close()
	if line := routed(t, p, "/count?n=1000&every=10ms"); !strings.Contains(line, `at=info code=H27 desc="Client Request Interrupted"`) || !strings.Contains(line, " status=499 ") {
		t.Errorf("a client that went is logged as %s", line)
	}

	// A client that promises a body and sends no more of it.
	conn, host := dial(t, address)
	fmt.Fprintf(conn, "POST /sum?slow HTTP/1.1\r\nHost: %s\r\nContent-Length: 100\r\n\r\nno more", host)
	if line := routed(t, p, "/sum?slow"); !strings.Contains(line, `at=error code=H28 desc="Client Connection Idle"`) || !strings.Contains(line, " status=499 ") {
		t.Errorf("a client that stalls is logged as %s", line)
	}

	call(t, p, "PATCH", "/apps/example", `{"maintenance":true}`, 200)
	if got, err := askApp(t, "GET", address+"x", nil); err != nil || got.status != 503 || got.header.Get("X-Heroku-Error") != "H80" {
		t.Errorf("in maintenance: %v, %v", got, err)
	}
	if line := routed(t, p, "/x"); !strings.Contains(line, `at=error code=H80 desc="Maintenance mode"`) || !strings.HasSuffix(line, " dyno= connect= service= status=503 bytes= protocol=http") {
		t.Errorf("maintenance is logged as %s", line)
	}
}

func TestRouter_letsRequestsWaitForAnAppThatBoots(t *testing.T) {
	t.Parallel()
	p := open(t, t.TempDir(), local.Options{})
	app := createApp(t, p, "example")
	call(t, p, "PATCH", "/apps/example/config-vars", map[string]string{"BOOT_DELAY": "1s"}, 200)
	release(t, p, "example", map[string]string{"web": "bin/web"}, web(t))
	// At once, in the moment in which there is no dyno yet, and while it boots.
	for range 3 {
		if status, body := fetch(t, *app.WebURL); status != 200 {
			t.Fatalf("a booting app answers %d %s", status, body)
		}
	}
	call(t, p, "PATCH", "/apps/example/formation/web", `{"quantity":0}`, 200)
	eventually(t, "H14", func() bool {
		status, body := fetch(t, *app.WebURL)
		return status == 503 && strings.Contains(body, "(H14)")
	})
}

func TestRouter_takesAnotherDynoWhenOneRefuses(t *testing.T) {
	t.Parallel()
	p, address := serve(t, local.Options{}, nil)
	call(t, p, "PATCH", "/apps/example/formation/web", `{"quantity":2}`, 200)
	eventually(t, "both dynos", func() bool { return strings.Count(strings.Join(p.Logs("example"), "\n"), "from starting to up") == 2 })
	// The second dyno closes its port and stays, which no platform can see.
	eventually(t, "the second dyno to close its port", func() bool {
		got, err := askApp(t, "POST", address+"deaf?web.2", strings.NewReader("body"))
		return err == nil && got.body == "deaf"
	})
	for i := range 20 {
		got, err := askApp(t, "POST", fmt.Sprintf("%swho?%d", address, i), strings.NewReader("body"))
		if err != nil || got.status != 200 || got.body != fmt.Sprintf(" web.1 %d", i) {
			t.Fatalf("request %d: %v, %v", i, got, err)
		}
	}
}

func TestRouter_takesTheDynosInTurn(t *testing.T) {
	t.Parallel()
	p, address := serve(t, local.Options{}, nil)
	call(t, p, "PATCH", "/apps/example/formation/web", `{"quantity":3}`, 200)
	eventually(t, "three dynos", func() bool { return strings.Count(strings.Join(p.Logs("example"), "\n"), "from starting to up") == 3 })
	answered := map[string]int{}
	for range 30 {
		got, err := askApp(t, "GET", address+"who", nil)
		if err != nil || got.status != 200 {
			t.Fatal(got, err)
		}
		answered[strings.Fields(got.body)[0]]++
	}
	if answered["web.1"] != 10 || answered["web.2"] != 10 || answered["web.3"] != 10 {
		t.Errorf("answers came from %v", answered)
	}
	call(t, p, "PATCH", "/apps/example/formation/web", `{"quantity":1}`, 200)
	stopped := func() string {
		var names []string
		for _, l := range p.Logs("example") {
			if _, rest, ok := strings.Cut(l, " heroku["); ok && strings.HasSuffix(l, "State changed from up to down") {
				names = append(names, rest[:5])
			}
		}
		slices.Sort(names)
		return strings.Join(names, " ")
	}
	eventually(t, "the end of the highest numbers", func() bool { return stopped() == "web.2 web.3" })
}

func TestRouter_doesNotWaitForAWebSocketWhenItsDynoStops(t *testing.T) {
	t.Parallel()
	p, address := serve(t, local.Options{}, nil)
	r := upgrade(t, address)
	begun := time.Now()
	call(t, p, "DELETE", "/apps/example/dynos", nil, 202)
	if rest, err := io.ReadAll(r); len(rest) > 0 {
		t.Errorf("the connection said %q, %v", rest, err)
	}
	if took := time.Since(begun); took > 25*time.Second {
		t.Errorf("the dyno stopped only after %v", took)
	}
	if line := routed(t, p, "/upgrade"); !strings.Contains(line, "status=101") {
		t.Errorf("it is logged as %s", line)
	}
}

func TestDyno_isWarnedAboutWhenItListensOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	const warning = "Warning: the process listens on 127.0.0.1:"
	p, _ := serve(t, local.Options{}, nil)
	if log := strings.Join(p.Logs("example"), "\n"); strings.Contains(log, warning) {
		t.Errorf("a process that listens on all interfaces is warned about:\n%s", log)
	}
	p, _ = serve(t, local.Options{}, map[string]string{"BIND": "127.0.0.1"})
	if log := strings.Join(p.Logs("example"), "\n"); strings.Count(log, warning) != 1 || !strings.Contains(log, "heroku[web.1]: "+warning) {
		t.Errorf("the log has no warning, or more than one:\n%s", log)
	}
}

func TestDyno_isToldAboutItselfWhenTheAppWantsIt(t *testing.T) {
	t.Parallel()
	needDynos(t)
	p := open(t, t.TempDir(), local.Options{})
	app := createApp(t, p, "example")
	archive := pack(t)
	text, h := call(t, p, "POST", "/apps/example/slugs", map[string]any{
		"process_types": map[string]string{"worker": `env | grep ^HEROKU_ | sort; echo done; sleep 100`}, "checksum": checksum(archive), "commit": "0123456789abcdef",
	}, 201)
	var slug struct {
		ID   string
		Blob struct{ URL string }
	}
	if err := json.Unmarshal(text, &slug); err != nil {
		t.Fatal(err, h)
	}
	put(t, slug.Blob.URL, archive)
	call(t, p, "POST", "/apps/example/releases", map[string]string{"slug": slug.ID}, 201)
	output := func(quantity int) []string {
		call(t, p, "PATCH", "/apps/example/formation/worker", map[string]int{"quantity": quantity}, 200)
		var lines []string
		mark := fmt.Sprintf("app[worker.%d]: ", quantity)
		eventually(t, "the worker's output", func() bool {
			lines = nil
			for _, l := range p.Logs("example") {
				if _, line, ok := strings.Cut(l, mark); ok {
					lines = append(lines, line)
				}
			}
			return slices.Contains(lines, "done")
		})
		return lines
	}
	if lines := output(1); len(lines) != 1 {
		t.Errorf("without the feature the dyno has %q", lines)
	}
	call(t, p, "PATCH", "/apps/example/features/runtime-dyno-metadata", `{"enabled":true}`, 200)
	lines := output(2)
	for _, want := range []string{
		"HEROKU_APP_ID=" + app.ID, "HEROKU_APP_NAME=example", "HEROKU_APP_DEFAULT_DOMAIN_NAME=" + strings.Trim(strings.TrimPrefix(*app.WebURL, "http:"), "/"),
		"HEROKU_RELEASE_VERSION=v3", "HEROKU_SLUG_COMMIT=0123456789abcdef", "HEROKU_SLUG_DESCRIPTION=Deploy 0123456",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("the dyno lacks %s: %q", want, lines)
		}
	}
	joined := strings.Join(lines, "\n")
	if len(lines) != 9 || !strings.Contains(joined, "HEROKU_DYNO_ID=") || !strings.Contains(joined, "HEROKU_RELEASE_CREATED_AT=20") {
		t.Errorf("the dyno has %q", lines)
	}
}

func TestDyno_restartsLaterWithEveryCrash(t *testing.T) {
	t.Parallel()
	needDynos(t)
	var mu sync.Mutex
	var starts []time.Time
	p := open(t, t.TempDir(), local.Options{RestartDelay: 200 * time.Millisecond, Log: func(_, line string) {
		if strings.Contains(line, "heroku[worker.1]: Starting process") {
			mu.Lock()
			starts = append(starts, time.Now())
			mu.Unlock()
		}
	}})
	createApp(t, p, "example")
	release(t, p, "example", map[string]string{"worker": "exit 1"})
	call(t, p, "PATCH", "/apps/example/formation/worker", `{"quantity":1}`, 200)
	eventually(t, "four starts", func() bool { mu.Lock(); defer mu.Unlock(); return len(starts) >= 4 })
	mu.Lock()
	defer mu.Unlock()
	for i, least := range []time.Duration{200, 400, 800} {
		if wait := starts[i+1].Sub(starts[i]); wait < least*time.Millisecond {
			t.Errorf("restart %d came after %v, want at least %v", i+1, wait, least*time.Millisecond)
		}
	}
}

func TestDyno_isKilledWhenItDoesNotEnd(t *testing.T) {
	t.Parallel()
	needDynos(t)
	p := open(t, t.TempDir(), local.Options{StopGrace: time.Second})
	createApp(t, p, "example")
	release(t, p, "example", map[string]string{"worker": `trap '' TERM; echo deaf; while :; do sleep 0.1; done`})
	call(t, p, "PATCH", "/apps/example/formation/worker", `{"quantity":1}`, 200)
	eventually(t, "its start", func() bool { return strings.Contains(strings.Join(p.Logs("example"), "\n"), "app[worker.1]: deaf") })
	call(t, p, "PATCH", "/apps/example/formation/worker", `{"quantity":0}`, 200)
	eventually(t, "its end", func() bool {
		return strings.Contains(strings.Join(p.Logs("example"), "\n"), "State changed from up to down")
	})
	log := strings.Join(p.Logs("example"), "\n")
	at := 0
	for _, want := range []string{
		"heroku[worker.1]: Stopping all processes with SIGTERM",
		"heroku[worker.1]: Error R12 (Exit timeout) -> At least one process failed to exit within 1 seconds of SIGTERM",
		"heroku[worker.1]: Stopping remaining processes with SIGKILL",
		"heroku[worker.1]: Process exited with status 137",
	} {
		i := strings.Index(log[at:], want)
		if i < 0 {
			t.Fatalf("log lacks, in this order, %q:\n%s", want, log)
		}
		at += i
	}
}
