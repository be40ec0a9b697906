package local_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform/local"
)

// load is what clients do to an app, and what they saw.
type load struct {
	address string
	done    chan struct{}
	running sync.WaitGroup

	gets, posts, streams, uploads, spanned atomic.Int64
	slowest                                atomic.Int64
	newest                                 atomic.Int64 // the highest release that answered anybody
	failures                               chan string
}

// version reads the release out of an answer, and holds it to be no older than the last one
// that this client saw.
func (l *load) version(text string, last *int64) error {
	var v int64
	if _, err := fmt.Sscanf(text, "v%d ", &v); err != nil {
		return fmt.Errorf("no version in %.80q", text)
	}
	if v < *last {
		return fmt.Errorf("v%d answered after v%d", v, *last)
	}
	*last = v
	for {
		newest := l.newest.Load()
		if v <= newest || l.newest.CompareAndSwap(newest, v) {
			return nil
		}
	}
}

func (l *load) exchange(c *http.Client, method, path string, body io.Reader) (string, error) {
	begun := time.Now()
	req, err := http.NewRequest(method, l.address+path, body)
	if err != nil {
		return "", err
	}
	res, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	// Streams and slow uploads take as long as they are told to.
	took, quick := int64(time.Since(begun)), strings.HasPrefix(path, "who?") || req.ContentLength > 0
	for slowest := l.slowest.Load(); quick && took > slowest && !l.slowest.CompareAndSwap(slowest, took); {
		slowest = l.slowest.Load()
	}
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, text)
	}
	return string(text), err
}

// client runs one kind of request on a connection of its own until the load ends.
func (l *load) client(what string, once func(c *http.Client, last *int64) error) {
	l.running.Go(func() {
		c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
		defer c.CloseIdleConnections()
		var last int64
		for {
			select {
			case <-l.done:
				return
			default:
			}
			if err := once(c, &last); err != nil {
				select {
				case l.failures <- what + ": " + err.Error():
				default:
				}
			}
		}
	})
}

// connection sends small requests one after the other: every other one has a body.
func (l *load) connection(seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	l.client("connection", func(c *http.Client, last *int64) error {
		nonce := fmt.Sprint(r.Uint64())
		text, err := l.exchange(c, "GET", "who?"+nonce, nil)
		if err == nil && !strings.HasSuffix(text, " "+nonce) {
			err = fmt.Errorf("the answer to another request: %.80q", text)
		}
		if err == nil {
			err = l.version(text, last)
		}
		if err != nil {
			return fmt.Errorf("GET: %w", err)
		}
		l.gets.Add(1)
		body := bytes.Repeat([]byte(nonce), 1+r.IntN(2000))
		if text, err = l.exchange(c, "POST", "sum", bytes.NewReader(body)); err == nil {
			err = l.version(text, last)
		}
		if err == nil && !strings.HasSuffix(text, fmt.Sprintf(" %d %x", len(body), sum(body))) {
			err = fmt.Errorf("the sum of other bytes: %.120q", text)
		}
		if err != nil {
			return fmt.Errorf("POST: %w", err)
		}
		l.posts.Add(1)
		return nil
	})
}

// stream reads answers that take long, so that switches happen meanwhile.
func (l *load) stream(lines int, every time.Duration) {
	l.client("stream", func(c *http.Client, last *int64) error {
		text, err := l.exchange(c, "GET", fmt.Sprintf("count?n=%d&every=%v", lines, every), nil)
		if err != nil {
			return err
		}
		if err := l.version(text, last); err != nil {
			return err
		}
		var want strings.Builder
		for i := range lines {
			fmt.Fprintf(&want, "v%d %d\n", *last, i)
		}
		if text != want.String() {
			return fmt.Errorf("got %d bytes of %d: …%q", len(text), want.Len(), text[max(0, len(text)-60):])
		}
		l.streams.Add(1)
		if l.newest.Load() > *last {
			l.spanned.Add(1)
		}
		return nil
	})
}

// upload sends a body slowly, in chunks.
func (l *load) upload(pieces int, every time.Duration) {
	l.client("upload", func(c *http.Client, last *int64) error {
		in, out := io.Pipe()
		piece := bytes.Repeat([]byte("0123456789"), 1000)
		go func() {
			for range pieces {
				time.Sleep(every)
				if _, err := out.Write(piece); err != nil {
					return
				}
			}
			_ = out.Close()
		}()
		text, err := l.exchange(c, "POST", "sum", in)
		_ = in.Close()
		if err == nil {
			err = l.version(text, last)
		}
		if whole := bytes.Repeat(piece, pieces); err == nil && !strings.HasSuffix(text, fmt.Sprintf(" %d %x", len(whole), sum(whole))) {
			err = fmt.Errorf("the sum of other bytes: %.120q", text)
		}
		if err == nil {
			l.uploads.Add(1)
			if l.newest.Load() > *last {
				l.spanned.Add(1)
			}
		}
		return err
	})
}

// TestSwitch_failsNoRequestUnderLoad releases again and again while clients ask. Each release is
// of two web dynos; none of the clients may see an error, a wrong byte, or an older release after
// a newer one. SLUGFILE_FAULTS=gate is the full size: 20 releases, 50 connections.
func TestSwitch_failsNoRequestUnderLoad(t *testing.T) {
	t.Parallel()
	releases, connections := 4, 10
	if set := os.Getenv("SLUGFILE_FAULTS"); set == "gate" || set == "long" {
		releases, connections = 20, 50
	}
	p := open(t, t.TempDir(), local.Options{DrainTime: 2 * time.Minute, RateLimit: -1})
	app := createApp(t, p, "example")
	call(t, p, "PATCH", "/apps/example/features/runtime-dyno-metadata", `{"enabled":true}`, 200)
	types := map[string]string{"web": "bin/web"}
	slugs := []string{release(t, p, "example", types, web(t)).Slug.ID, upload(t, p, "example", types, pack(t, web(t), sh("another", "file"))).ID}
	call(t, p, "PATCH", "/apps/example/formation/web", `{"quantity":2}`, 200)
	awaitWeb(t, p, "example")

	l := &load{address: *app.WebURL, done: make(chan struct{}), failures: make(chan string, 100)}
	for i := range connections {
		l.connection(uint64(i))
	}
	for range 2 {
		l.stream(40, 50*time.Millisecond)
		l.upload(40, 50*time.Millisecond)
	}
	eventually(t, "the first answers", func() bool { return l.gets.Load() > int64(connections) })
	begun := time.Now()
	for i := range releases {
		switch i % 5 {
		case 1:
			call(t, p, "PATCH", "/apps/example/config-vars", map[string]string{"MESSAGE": fmt.Sprint(i)}, 200)
		case 3:
			call(t, p, "DELETE", "/apps/example/dynos", nil, 202) // a restart on top
			fallthrough
		default:
			call(t, p, "POST", "/apps/example/releases", map[string]string{"slug": slugs[i%2]}, 201)
		}
		awaitWeb(t, p, "example")
		if _, body := fetch(t, *app.WebURL+"who?x"); !strings.HasPrefix(body, fmt.Sprintf("v%d ", 4+i)) {
			t.Errorf("after the switch to v%d the app answers %q", 4+i, body)
		}
	}
	took := time.Since(begun)
	eventually(t, "an answer that spans a switch", func() bool { return l.spanned.Load() > 0 })
	close(l.done)
	l.running.Wait()
	close(l.failures)
	for f := range l.failures {
		t.Errorf("a request failed: %s", f)
	}
	log := strings.Join(p.Logs("example"), "\n")
	for _, bad := range []string{"at=error", "code=H", "Error R12"} {
		if i := strings.Index(log, bad); i >= 0 {
			t.Errorf("the log tells of %s: %s", bad, log[max(0, i-60):min(len(log), i+300)])
		}
	}
	requests := l.gets.Load() + l.posts.Load() + l.streams.Load() + l.uploads.Load()
	t.Logf("%d releases in %v under %d connections: %d requests (%d with a body), %d long answers and %d slow uploads, %d of them across a switch; the slowest request took %v",
		releases, took.Round(time.Millisecond), connections, requests, l.posts.Load()+l.uploads.Load(), l.streams.Load(), l.uploads.Load(), l.spanned.Load(), time.Duration(l.slowest.Load()).Round(time.Millisecond))
}

func TestSwitch_letsAProgramFinishWhatTakesLongerThanTheDrain(t *testing.T) {
	t.Parallel()
	p, address := serve(t, local.Options{DrainTime: 100 * time.Millisecond, StopGrace: time.Minute}, map[string]string{"PATIENT": "1"})
	begun := make(chan struct{})
	type answer struct {
		text string
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		res, err := client.Get(address + "count?n=30&every=100ms")
		close(begun)
		if err != nil {
			answered <- answer{"", err}
			return
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		answered <- answer{string(text), err}
	}()
	<-begun
	call(t, p, "PATCH", "/apps/example/config-vars", map[string]string{"MESSAGE": "new"}, 200)
	eventually(t, "SIGTERM", func() bool { return strings.Contains(strings.Join(p.Logs("example"), "\n"), "app[web.1]: finishing") })
	if _, body := fetch(t, address); !strings.Contains(body, "message=new\n") {
		t.Errorf("meanwhile the app answers %q", body)
	}
	got := <-answered
	if got.err != nil || strings.Count(got.text, "\n") != 30 {
		t.Errorf("the long answer is %q, %v", got.text, got.err)
	}
	eventually(t, "its end", func() bool {
		return strings.Contains(strings.Join(p.Logs("example"), "\n"), "Process exited with status 0")
	})
}

func TestSwitch_keepsTheOldDynosWhenTheReleasePhaseFails(t *testing.T) {
	t.Parallel()
	p, address := serve(t, local.Options{}, map[string]string{"MESSAGE": "old"})
	before, _ := call(t, p, "GET", "/apps/example/dynos", nil, 200)
	r := release(t, p, "example", map[string]string{"web": "bin/web", "release": "exit 1"}, web(t))
	eventually(t, "the failure", func() bool { return getRelease(t, p, "example", r.ID).Status == "failed" })
	if status, body := fetch(t, address); status != 200 || !strings.Contains(body, "message=old\n") {
		t.Errorf("the app answers %d %q", status, body)
	}
	if after, _ := call(t, p, "GET", "/apps/example/dynos", nil, 200); !bytes.Equal(before, after) {
		t.Errorf("the dynos were touched: %s, now %s", before, after)
	}
	if n := strings.Count(strings.Join(p.Logs("example"), "\n"), "heroku[web.1]: Starting process"); n != 1 {
		t.Errorf("web.1 was started %d times", n)
	}
}
