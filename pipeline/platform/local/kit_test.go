package local_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/local"
	"github.com/slugfile/slugfile/pipeline/sandbox"
)

func TestMain(m *testing.M) {
	if code, handled := sandbox.Main(os.Args); handled {
		os.Exit(code)
	}
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(serveChild(dir))
	}
	code := m.Run()
	if webDir != "" {
		_ = os.RemoveAll(webDir)
	}
	os.Exit(code)
}

// open starts a platform on a directory; what o leaves out is made quick.
func open(t *testing.T, dir string, o local.Options) *local.Platform {
	t.Helper()
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.StopGrace == 0 {
		o.StopGrace = 5 * time.Second
	}
	p, err := local.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, p) })
	return p
}

func stop(t *testing.T, p *local.Platform) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

// call is one request to the API with the platform's token. A status other than want fails.
func call(t *testing.T, p *local.Platform, method, path string, body any, want int, header ...string) ([]byte, http.Header) {
	t.Helper()
	var r io.Reader
	if body != nil {
		text, isText := body.(string)
		if !isText {
			b, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			text = string(b)
		}
		r = strings.NewReader(text)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, p.URL()+path, r)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.Token().Reveal())
	req.Header.Set("Accept", "application/vnd.heroku+json; version=3")
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != want {
		t.Fatalf("%s %s: status %d, want %d: %s", method, path, res.StatusCode, want, text)
	}
	return text, res.Header
}

var client = &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}

// into decodes an answer.
func into[T any](t *testing.T, text []byte, _ http.Header) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

func createApp(t *testing.T, p *local.Platform, name string) platform.App {
	t.Helper()
	text, h := call(t, p, "POST", "/apps", map[string]string{"name": name}, 201)
	return into[platform.App](t, text, h)
}

// member is one file of a test slug.
type member struct {
	name string
	body []byte
	mode int64
}

func sh(name, text string) member { return member{name, []byte(text), 0o755} }

// pack makes a slug.
func pack(t *testing.T, members ...member) []byte {
	t.Helper()
	var buf bytes.Buffer
	z, _ := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	w := tar.NewWriter(z)
	write := func(h *tar.Header, body []byte) {
		h.Format = tar.FormatGNU
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	write(&tar.Header{Typeflag: tar.TypeDir, Name: "./app/", Mode: 0o755}, nil)
	members = append(members, member{"README", []byte("a test slug\n"), 0o644})
	dirs := map[string]bool{}
	for _, m := range members {
		if d := filepath.Dir(m.name); d != "." && !dirs[d] {
			dirs[d] = true
			write(&tar.Header{Typeflag: tar.TypeDir, Name: "./app/" + d + "/", Mode: 0o755}, nil)
		}
		write(&tar.Header{Typeflag: tar.TypeReg, Name: "./app/" + m.name, Mode: m.mode, Size: int64(len(m.body))}, m.body)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func checksum(b []byte) string {
	sum := sha256.Sum256(b)
	return "SHA256:" + hex.EncodeToString(sum[:])
}

// put uploads to a blob URL and answers the response.
func put(t *testing.T, url string, body []byte, header ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, bytes.NewReader(body))
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
	return read(t, res)
}

// reply is a whole answer.
type reply struct {
	status int
	header http.Header
	body   string
}

func read(t *testing.T, res *http.Response) reply {
	t.Helper()
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, string(text)}
}

// upload creates a slug with its blob.
func upload(t *testing.T, p *local.Platform, app string, types map[string]string, archive []byte) platform.Slug {
	t.Helper()
	text, h := call(t, p, "POST", "/apps/"+app+"/slugs", map[string]any{"process_types": types, "checksum": checksum(archive)}, 201)
	slug := into[platform.Slug](t, text, h)
	if res := put(t, slug.Blob.URL, archive); res.status != 200 {
		t.Fatalf("PUT blob: %d %s", res.status, res.body)
	}
	return slug
}

// release uploads and releases.
func release(t *testing.T, p *local.Platform, app string, types map[string]string, members ...member) platform.Release {
	t.Helper()
	slug := upload(t, p, app, types, pack(t, members...))
	text, h := call(t, p, "POST", "/apps/"+app+"/releases", map[string]string{"slug": slug.ID}, 201)
	return into[platform.Release](t, text, h)
}

// web is a small server, compiled once: it answers with its environment and its directory.
func web(t *testing.T) member {
	t.Helper()
	needDynos(t)
	buildWeb.Do(func() {
		webDir, webErr = os.MkdirTemp("", "web-")
		if webErr != nil {
			return
		}
		if webErr = os.WriteFile(filepath.Join(webDir, "web.go"), []byte(webSource), 0o600); webErr != nil {
			return
		}
		cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", "web", "web.go")
		cmd.Dir = webDir
		var out []byte
		if out, webErr = cmd.CombinedOutput(); webErr != nil {
			webErr = &buildError{webErr, string(out)}
			return
		}
		webProgram, webErr = os.ReadFile(filepath.Join(webDir, "web"))
	})
	if webErr != nil {
		t.Fatal(webErr)
	}
	return member{"bin/web", webProgram, 0o755}
}

type buildError struct {
	error
	output string
}

func (e *buildError) Error() string { return e.error.Error() + "\n" + e.output }

var (
	buildWeb   sync.Once
	webProgram []byte
	webDir     string
	webErr     error
)

// needDynos skips where slugs cannot run.
func needDynos(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("dynos run on Linux only")
	}
}

func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// eventually waits for something that a dyno does in its own time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}

func awaitWeb(t *testing.T, p *local.Platform, app string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := p.AwaitWeb(ctx, app); err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(p.Logs(app), "\n"))
	}
}

func getApp(t *testing.T, p *local.Platform, app string) platform.App {
	t.Helper()
	text, h := call(t, p, "GET", "/apps/"+app, nil, 200)
	return into[platform.App](t, text, h)
}

func getRelease(t *testing.T, p *local.Platform, app, release string) platform.Release {
	t.Helper()
	text, h := call(t, p, "GET", "/apps/"+app+"/releases/"+release, nil, 200)
	return into[platform.Release](t, text, h)
}

func sum(b []byte) []byte {
	s := sha256.Sum256(b)
	return s[:]
}
