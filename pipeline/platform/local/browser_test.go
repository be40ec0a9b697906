package local_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is for a browser on a busy machine. Nothing is waited for that long when it works.
const patience = 2 * time.Minute

// browser is a headless Chromium, driven through its DevTools protocol over a pair of pipes:
// messages in JSON, each with a NUL behind it.
type browser struct {
	t     *testing.T
	write *os.File

	mu      sync.Mutex
	next    int
	waiting map[int]chan devtools
	events  []devtools
	gone    error
}

type devtools struct {
	ID     int             `json:"id,omitempty"`
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
	SessionID string `json:"sessionId,omitempty"`
}

// startBrowser starts one that speaks to nobody but this machine, and ends it with the test.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("chromium is needed")
		}
		t.Skip("there is no chromium on this machine")
	}
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{
		"--headless", "--remote-debugging-pipe", "--user-data-dir=" + t.TempDir(), "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--no-proxy-server", "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
	}
	if runtime.GOOS == "linux" {
		args = append(args, "--no-sandbox") // it has none for root, and reads our own page only
	}
	cmd := exec.Command(path, append(args, "about:blank")...)
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // file descriptors 3 and 4
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = theirIn.Close(), theirOut.Close()
	b := &browser{t: t, write: ourOut, waiting: map[int]chan devtools{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.listen(ourIn)
	}()
	t.Cleanup(func() {
		_, _ = b.try("", "Browser.close", nil)
		ended := make(chan struct{})
		go func() {
			_ = cmd.Wait() // it was told to end, and how it does is all the same
			close(ended)
		}()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		_, _ = ourOut.Close(), ourIn.Close()
		<-done
		if t.Failed() {
			t.Logf("chromium said:\n%s", said.String())
		}
	})
	return b
}

// listen hands answers to those who wait for them.
func (b *browser) listen(from *os.File) {
	r := bufio.NewReaderSize(from, 1<<20)
	for {
		text, err := r.ReadBytes(0)
		var m devtools
		if err == nil {
			err = json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &m)
		}
		b.mu.Lock()
		switch c := b.waiting[m.ID]; {
		case err != nil:
			b.gone = fmt.Errorf("chromium has gone: %w", err)
			for _, c := range b.waiting {
				close(c)
			}
			b.mu.Unlock()
			return
		case c != nil:
			delete(b.waiting, m.ID)
			c <- m
		case m.Method != "":
			b.events = append(b.events, m)
		}
		b.mu.Unlock()
	}
}

func (b *browser) try(session, method string, params any) (json.RawMessage, error) {
	raw, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	if params == nil {
		raw = []byte("{}")
	}
	b.mu.Lock()
	if b.gone != nil {
		b.mu.Unlock()
		return nil, b.gone
	}
	b.next++
	id, c := b.next, make(chan devtools, 1)
	b.waiting[id] = c
	text, err := json.Marshal(devtools{ID: id, Method: method, Params: raw, SessionID: session})
	if err == nil {
		_, err = b.write.Write(append(text, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case m, ok := <-c:
		switch {
		case !ok:
			return nil, fmt.Errorf("%s: chromium has gone", method)
		case m.Error != nil:
			return nil, fmt.Errorf("%s: %s", method, m.Error.Message)
		}
		return m.Result, nil
	case <-time.After(patience):
		return nil, fmt.Errorf("%s: no answer", method)
	}
}

// tab is one page of the browser.
type tab struct {
	*browser
	t       *testing.T
	session string
}

// size of a screen in CSS pixels; a phone has a touch screen and two dots to a pixel.
type screen struct {
	width, height int
	phone         bool
}

var (
	desktop = screen{1400, 900, false}
	phone   = screen{380, 800, true}
)

// tab opens an empty page.
func (b *browser) tab(t *testing.T, s screen, scheme string) *tab {
	t.Helper()
	var made struct {
		TargetID string `json:"targetId"`
	}
	decode(t, b.must(t, "", "Target.createTarget", map[string]any{"url": "about:blank"}), &made)
	var attached struct {
		SessionID string `json:"sessionId"`
	}
	decode(t, b.must(t, "", "Target.attachToTarget", map[string]any{"targetId": made.TargetID, "flatten": true}), &attached)
	p := &tab{browser: b, t: t, session: attached.SessionID}
	dots := 1
	if s.phone {
		dots = 2
	}
	p.do("Page.enable", nil)
	p.do("Runtime.enable", nil)
	p.do("Log.enable", nil)
	p.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": s.width, "height": s.height, "deviceScaleFactor": dots, "mobile": s.phone})
	p.do("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}})
	return p
}

func (b *browser) must(t *testing.T, session, method string, params any) json.RawMessage {
	t.Helper()
	result, err := b.try(session, method, params)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func (p *tab) do(method string, params any) json.RawMessage {
	p.t.Helper()
	return p.must(p.t, p.session, method, params)
}

func decode(t *testing.T, text json.RawMessage, into any) {
	t.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}

// open goes to an address and waits until the page is there.
func (p *tab) open(address string) {
	p.t.Helper()
	var gone struct {
		ErrorText string `json:"errorText"`
	}
	decode(p.t, p.do("Page.navigate", map[string]any{"url": address}), &gone)
	if gone.ErrorText != "" {
		p.t.Fatalf("open %s: %s", address, gone.ErrorText)
	}
	p.until("the page has loaded", `document.readyState === "complete" && location.href !== "about:blank"`)
}

// eval is the value of an expression, as text.
func (p *tab) eval(expression string) string {
	p.t.Helper()
	var r struct {
		Result struct {
			Value any `json:"value"`
		} `json:"result"`
		ExceptionDetails *struct {
			Exception struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
	}
	decode(p.t, p.do("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}), &r)
	if r.ExceptionDetails != nil {
		p.t.Fatalf("%s: %s", expression, r.ExceptionDetails.Exception.Description)
	}
	return fmt.Sprint(r.Result.Value)
}

// until waits for the page to make a condition true.
func (p *tab) until(what, condition string) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if p.eval(condition) == "true" {
			return
		}
	}
	p.t.Fatalf("waited in vain until %s; the page:\n%s", what, p.eval("document.body.innerText"))
}

// screenshot is what the screen shows. With SLUGFILE_SCREENSHOTS=DIR it is the whole page, and kept
// there.
func (p *tab) screenshot(name string) image.Image {
	p.t.Helper()
	var shot struct {
		Data []byte `json:"data"`
	}
	dir := os.Getenv("SLUGFILE_SCREENSHOTS")
	decode(p.t, p.do("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": dir != ""}), &shot)
	if dir != "" {
		if err := os.WriteFile(dir+"/"+name+".png", shot.Data, 0o644); err != nil {
			p.t.Fatal(err)
		}
	}
	m, err := png.Decode(bytes.NewReader(shot.Data))
	if err != nil {
		p.t.Fatal(err)
	}
	return m
}

// complaints are what the browser has logged: errors of the script, and what the policy of the
// page has stopped.
func (b *browser) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []string
	for _, e := range b.events {
		if e.Method == "Runtime.exceptionThrown" || e.Method == "Log.entryAdded" && strings.Contains(string(e.Params), `"level":"error"`) {
			list = append(list, string(e.Params))
		}
	}
	return list
}
