package local_test

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/local"
)

// logSession opens a session and reads it with the headers given.
func logSession(t *testing.T, p *local.Platform, body string, header ...string) *http.Response {
	t.Helper()
	text, h := call(t, p, "POST", "/apps/example/log-sessions", body, 201)
	s := into[struct {
		URL string `json:"logplex_url"`
	}](t, text, h)
	return stream(t, s.URL, header...)
}

func stream(t *testing.T, address string, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

func TestLog_keepsItsFormWhateverAnAppWrites(t *testing.T) {
	t.Parallel()
	needDynos(t)
	p := open(t, t.TempDir(), local.Options{})
	createApp(t, p, "example")
	release(t, p, "example", map[string]string{"worker": `printf '10%%\r20%%\r\n'; printf 'a\rdata: forged\rid: 1\n'; printf 'nul\0del\177 bad\377 \033[31mred\033[0m\ttab\n'; echo done; sleep 100`})
	call(t, p, "PATCH", "/apps/example/formation/worker", `{"quantity":1}`, 200)
	eventually(t, "its output", func() bool { return strings.Contains(strings.Join(p.Logs("example"), "\n"), "app[worker.1]: done") })
	text := read(t, logSession(t, p, `{"lines":100,"source":"app","dyno":"worker.1"}`, "Accept", "text/event-stream")).body //nolint:bodyclose // read closes it
	var got []string
	for event := range strings.SplitSeq(strings.TrimSuffix(text, "\n\n"), "\n\n") {
		id, data, ok := strings.Cut(event, "\ndata: ")
		_, line, cut := strings.Cut(data, "app[worker.1]: ")
		if !ok || !cut || !strings.HasPrefix(id, "id: ") || strings.ContainsAny(event, "\r\x00") {
			t.Errorf("event is %q", event)
		}
		got = append(got, line)
	}
	if want := []string{"10%␍20%", "a␍data: forged␍id: 1", "nul␀del␡ bad\uFFFD \x1b[31mred\x1b[0m\ttab", "done"}; fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("lines are %q", got)
	}
}

func TestLog_keepsTheLast1500LinesAndNeverWaitsForAReader(t *testing.T) {
	t.Parallel()
	needDynos(t)
	p := open(t, t.TempDir(), local.Options{})
	createApp(t, p, "example")
	const lines = 60_000
	release(t, p, "example", map[string]string{"worker": fmt.Sprintf(`read x < /dev/null; for i in $(seq 50); do echo start; done; sleep 1; seq -f 'line %%.0f of many that fill the buffers of a connection which nobody reads' %d; echo done; sleep 100`, lines)})
	slow := logSession(t, p, `{"lines":10,"tail":true,"source":"app"}`) //nolint:bodyclose // stream closes it when the test ends
	call(t, p, "PATCH", "/apps/example/formation/worker", `{"quantity":1}`, 200)
	done := func() bool {
		kept := p.Logs("example")
		return strings.HasSuffix(kept[len(kept)-1], "app[worker.1]: done")
	}
	eventually(t, "the last line", done)
	kept := p.Logs("example")
	if len(kept) != 1500 || !strings.Contains(kept[0], fmt.Sprintf(" line %d of", lines-1498)) {
		t.Errorf("%d lines are kept, from %s", len(kept), kept[0])
	}
	reader := bufio.NewScanner(slow.Body)
	missed := false
	for reader.Scan() && !strings.HasSuffix(reader.Text(), "app[worker.1]: done") {
		missed = missed || strings.Contains(reader.Text(), "heroku[logplex]: Error L11 (Tail buffer overflow) -> This tail missed ")
	}
	if !missed || reader.Err() != nil {
		t.Errorf("the slow reader was told of no loss: %v", reader.Err())
	}
}

func TestLogSessions_filterAndResume(t *testing.T) {
	t.Parallel()
	needDynos(t)
	dir := t.TempDir()
	p := open(t, dir, local.Options{})
	createApp(t, p, "example")
	release(t, p, "example", map[string]string{"worker": "echo one; sleep 100", "clock": "echo tick; sleep 100"})
	call(t, p, "PATCH", "/apps/example/formation", `{"updates":[{"type":"worker","quantity":2},{"type":"clock","quantity":1}]}`, 200)
	eventually(t, "three lines", func() bool {
		log := strings.Join(p.Logs("example"), "\n")
		return strings.Count(log, "]: one") == 2 && strings.Contains(log, "]: tick")
	})
	for body, want := range map[string]int{
		`{"lines":1500,"source":"app","type":"worker"}`: 2, `{"lines":1500,"source":"app","dyno":"worker.2"}`: 1, `{"lines":1,"source":"app"}`: 1,
		`{"lines":1500,"source":"app","dyno":"clock.1"}`: 1, `{"lines":1500,"source":"app","dyno":"clock.7"}`: 0,
	} {
		if text := read(t, logSession(t, p, body)).body; strings.Count(text, "\n") != want { //nolint:bodyclose // read closes it
			t.Errorf("%s: want %d lines, got %q", body, want, text)
		}
	}
	text := read(t, logSession(t, p, `{"lines":2}`, "Accept", "text/event-stream")).body //nolint:bodyclose // read or the end of the test closes it
	first, rest, _ := strings.Cut(text, "\n\n")
	var id int64
	if _, err := fmt.Sscanf(first, "id: %d\n", &id); err != nil {
		t.Fatal(err)
	}
	if got := read(t, logSession(t, p, `{"lines":1}`, "Accept", "text/event-stream", "Last-Event-ID", fmt.Sprint(id))).body; got != rest { //nolint:bodyclose // read or the end of the test closes it
		t.Errorf("after %d come %q, want %q", id, got, rest)
	}
	stop(t, p)
	q := open(t, dir, local.Options{})
	if got := read(t, logSession(t, q, `{"lines":1}`, "Accept", "text/event-stream", "Last-Event-ID", fmt.Sprint(id))).body; !strings.HasPrefix(got, "id: ") { //nolint:bodyclose // read or the end of the test closes it
		t.Errorf("a reader who resumes after a restart of the platform gets %q", got)
	}
}

func TestStream_isTextOrEventsAndResumes(t *testing.T) {
	t.Parallel()
	needDynos(t)
	dir := t.TempDir()
	p := open(t, dir, local.Options{})
	createApp(t, p, "example")
	r := release(t, p, "example", map[string]string{"worker": "true", "release": `printf 'one\ntwo\rdata: x\n'; until [ -e /tmp/never ] || [ $SECONDS -ge 2 ]; do sleep 0.1; done; echo three`})
	if status, _ := fetch(t, *r.OutputStreamURL); status != 404 && status != 200 {
		t.Errorf("before it begins the stream is %d", status)
	}
	eventually(t, "its beginning", func() bool { status, _ := fetchHead(t, *r.OutputStreamURL); return status == 200 })
	live := read(t, stream(t, *r.OutputStreamURL, "Accept", "text/event-stream", "Last-Event-Id", "4")) //nolint:bodyclose // read or the end of the test closes it
	if want := "id: 16\ndata: two␍data: x\n\nid: 22\ndata: three\n\n"; live.body != want || live.header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("the events are %q, want %q", live.body, want)
	}
	eventually(t, "the end", func() bool { return getRelease(t, p, "example", r.ID).Status == platform.Succeeded })
	check := func(p *local.Platform, address string) {
		t.Helper()
		for _, c := range []struct {
			header []string
			status int
			body   string
		}{
			{nil, 200, "one\ntwo\rdata: x\nthree\n"},
			{[]string{"Range", "bytes=16-"}, 206, "three\n"},
			{[]string{"Range", "bytes=22-"}, 416, ""},
			{[]string{"Last-Event-Id", "16"}, 206, "three\n"},
			{[]string{"Accept", "text/event-stream", "Last-Event-Id", "22"}, 204, ""},
		} {
			if got := read(t, stream(t, address, c.header...)); got.status != c.status || c.status < 400 && got.body != c.body { //nolint:bodyclose // read or the end of the test closes it
				t.Errorf("%q: %d %q, want %d %q", c.header, got.status, got.body, c.status, c.body)
			}
		}
	}
	check(p, *r.OutputStreamURL)
	stop(t, p)
	q := open(t, dir, local.Options{})
	check(q, *getRelease(t, q, "example", r.ID).OutputStreamURL)
}

// fetchHead reads the status of a stream and no more.
func fetchHead(t *testing.T, address string) (int, error) {
	t.Helper()
	res := stream(t, address)
	status := res.StatusCode
	return status, res.Body.Close()
}

func TestRelease_ofAHostileSlugSaysWhyItDoesNotBoot(t *testing.T) {
	t.Parallel()
	needDynos(t)
	dir := t.TempDir()
	p := open(t, dir, local.Options{RestartDelay: time.Hour})
	createApp(t, p, "example")
	for name, bad := range map[string]member{"far out": sh("../../escaped", "x"), "beside the app": sh("../etc/passwd", "x")} {
		r := release(t, p, "example", map[string]string{"web": "true"}, bad)
		err := p.AwaitWeb(t.Context(), "example")
		if err == nil || !strings.Contains(err.Error(), "unpack slug: entry ") {
			t.Errorf("%s: AwaitWeb says %v", name, err)
		}
		log := strings.Join(p.Logs("example"), "\n")
		if !strings.Contains(log, "heroku[web.1]: Error: unpack slug: entry \"./app/../") {
			t.Errorf("%s: the log has no reason:\n%s", name, log)
		}
		text, h := call(t, p, "GET", "/apps/example/dynos", nil, 200)
		if list := into[[]platform.Dyno](t, text, h); len(list) != 1 || list[0].State != "crashed" || list[0].Release.Version != r.Version {
			t.Errorf("%s: dynos are %s", name, text)
		}
		if status, body := fetch(t, p.WebURL("example")); status != 503 || !strings.Contains(body, "(H10)") || !strings.Contains(body, "unpack slug") {
			t.Errorf("%s: the app answers %d %q", name, status, body)
		}
	}
}
