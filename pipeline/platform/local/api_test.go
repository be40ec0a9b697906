package local_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/heroku"
	"github.com/slugfile/slugfile/pipeline/platform/local"
	"github.com/slugfile/slugfile/pipeline/platform/platformtest"
)

func TestPlatform_conforms(t *testing.T) {
	t.Parallel()
	platformtest.Run(t, func(t *testing.T) platformtest.World {
		needDynos(t)
		p := open(t, t.TempDir(), local.Options{})
		return platformtest.World{
			Platform: heroku.New(heroku.Options{BaseURL: p.URL(), Token: p.Token()}),
			Slug: func(t *testing.T, _ map[string]string, files map[string]string) []byte {
				var members []member
				for name, text := range files {
					members = append(members, sh(name, text))
				}
				return pack(t, members...)
			},
			Configure: func(t *testing.T, app string, vars map[string]string) {
				call(t, p, "PATCH", "/apps/"+app+"/config-vars", vars, 200)
			},
		}
	})
}

func TestAPI_conforms(t *testing.T) {
	t.Parallel()
	platformtest.RunAPI(t, func(t *testing.T, s platformtest.APISettings) platformtest.API {
		o := local.Options{RateLimit: s.RateLimit, BlobLifetime: time.Hour}
		if s.RateLimit != 0 {
			now := time.Now()
			o.Clock = func() time.Time { return now }
		}
		p := open(t, t.TempDir(), o)
		api := platformtest.API{
			URL: p.URL(), Token: p.Token().Reveal(), BlobLifetime: time.Hour,
			Slug: func(t *testing.T, files map[string]string) []byte {
				var members []member
				for name, text := range files {
					members = append(members, sh(name, text))
				}
				return pack(t, members...)
			},
			Advance: func(t *testing.T, by time.Duration) {
				call(t, p, "POST", "/_clock", map[string]string{"advance": by.String()}, 200)
			},
		}
		if runtime.GOOS != "linux" {
			api.NoDynos = "dynos run on Linux only"
		}
		return api
	})
}

// tool finds a program; without it the test skips, and under CI fails.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is needed: %v", name, err)
		}
		t.Skipf("%s is not installed", name)
	}
	return path
}

// TestArticle_deploysWithItsOwnCurlCommands runs the commands of "Creating Slugs from Scratch";
// only the address is another one.
func TestArticle_deploysWithItsOwnCurlCommands(t *testing.T) {
	t.Parallel()
	curl := tool(t, "curl")
	p := open(t, t.TempDir(), local.Options{})
	app := createApp(t, p, "example")
	home := t.TempDir()
	netrc := "machine 127.0.0.1\n  login you@example.com\n  password " + p.Token().Reveal() + "\n"
	if err := os.WriteFile(filepath.Join(home, ".netrc"), []byte(netrc), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "slug.tgz"), pack(t, web(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) []byte {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, curl, append([]string{"-sS", "--fail-with-body"}, args...)...)
		cmd.Dir, cmd.Env = home, []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("curl %q: %v\n%s", args, err, out)
		}
		return out
	}
	var slug platform.Slug
	if err := json.Unmarshal(run("-X", "POST",
		"-H", "Content-Type: application/json",
		"-H", "Accept: application/vnd.heroku+json; version=3",
		"-d", `{"process_types":{"web":"bin/web"}}`,
		"-n", p.URL()+"/apps/example/slugs"), &slug); err != nil {
		t.Fatal(err)
	}
	run("-X", "PUT", "-H", "Content-Type:", "--data-binary", "@slug.tgz", slug.Blob.URL)
	var r platform.Release
	if err := json.Unmarshal(run("-X", "POST",
		"-H", "Accept: application/vnd.heroku+json; version=3",
		"-H", "Content-Type: application/json",
		"-d", `{"slug":"`+slug.ID+`"}`,
		"-n", p.URL()+"/apps/example/releases"), &r); err != nil {
		t.Fatal(err)
	}
	if r.Version != 3 {
		t.Errorf("the article's first release is v3, this is v%d", r.Version)
	}
	awaitWeb(t, p, "example")
	if out := run(*app.WebURL); !bytes.HasPrefix(out, []byte("hello, world\n")) {
		t.Errorf("the app says %q", out)
	}
}

func TestAPI_answersToItsOwnNamesAlone(t *testing.T) {
	t.Parallel()
	p := open(t, t.TempDir(), local.Options{})
	for host, want := range map[string]int{
		"localhost:5999": 200, "[::1]:5999": 200, "127.0.0.1": 200, "LOCALHOST": 200,
		"evil.example:5999": 403, "192.0.2.1": 403, "localhost.evil.example": 403, "127.0.0.1.evil.example": 403,
	} {
		call(t, p, "GET", "/apps", nil, want, "Host", host)
	}
	blob, err := url.Parse(p.BlobURL())
	if err != nil {
		t.Fatal(err)
	}
	if api, _ := url.Parse(p.URL()); api.Hostname() == blob.Hostname() {
		t.Errorf("API and blob store share the name %s", blob.Hostname())
	}
}

func TestStart_needsLeaveToListenForOthers(t *testing.T) {
	t.Parallel()
	p, err := local.Open(t.TempDir(), local.Options{Listen: "0.0.0.0:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "other machines") {
		t.Errorf("Start: %v", err)
		stop(t, p)
	}
	q := open(t, t.TempDir(), local.Options{Listen: "0.0.0.0:0", AllowNonLoopback: true})
	call(t, q, "GET", "/apps", nil, 200)
}

func TestOpen_saysWhoHoldsTheDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := open(t, dir, local.Options{})
	_, err := local.Open(dir, local.Options{Listen: "127.0.0.1:0"})
	var held *local.HeldError
	if !errors.As(err, &held) || held.PID != os.Getpid() {
		t.Errorf("second Open: %v", err)
	}
	info, found := local.Discover(dir)
	if !found || info.API != p.URL() || info.Blob != p.BlobURL() || info.Token.Reveal() != p.Token().Reveal() || info.PID != os.Getpid() {
		t.Errorf("Discover: %+v, %t", info, found)
	}
	for _, name := range []string{"platform.json", "token", "platform.db"} {
		if stat, err := os.Stat(filepath.Join(dir, name)); err != nil || stat.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, stat, err)
		}
	}
	stop(t, p)
	if _, found := local.Discover(dir); found {
		t.Error("Discover finds a closed platform")
	}
	// A killed platform leaves the file, and nobody who answers.
	left := `{"api":"http://127.0.0.1:1","blob":"http://127.0.0.2:1","token":"x","pid":1}`
	if err := os.WriteFile(filepath.Join(dir, "platform.json"), []byte(left), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, found := local.Discover(dir); found {
		t.Error("Discover finds a killed platform")
	}
}

func TestBlobs_haveALargestSize(t *testing.T) {
	t.Parallel()
	p := open(t, t.TempDir(), local.Options{SlugLimit: 1000})
	createApp(t, p, "example")
	text, h := call(t, p, "POST", "/apps/example/slugs", `{"process_types":{"web":"x"}}`, 201)
	slug := into[platform.Slug](t, text, h)
	if r := put(t, slug.Blob.URL, make([]byte, 1001)); r.status != 400 || !strings.Contains(r.body, "<Code>EntityTooLarge</Code>") {
		t.Errorf("an archive that is too large is answered %d %s", r.status, r.body)
	}
	if r := put(t, slug.Blob.URL, make([]byte, 1000)); r.status != 200 {
		t.Errorf("the largest archive is answered %d %s", r.status, r.body)
	}
}

func TestPromotion_outlivesThePlatform(t *testing.T) {
	t.Parallel()
	needDynos(t)
	dir := t.TempDir()
	p := open(t, dir, local.Options{})
	source, target := createApp(t, p, "source"), createApp(t, p, "target")
	text, h := call(t, p, "POST", "/pipelines", `{"name":"line"}`, 201)
	line := into[platform.Ref](t, text, h)
	for _, app := range []string{"source", "target"} {
		call(t, p, "POST", "/pipeline-couplings", `{"app":"`+app+`","pipeline":"line","stage":"staging"}`, 201)
	}
	call(t, p, "PATCH", "/apps/target/config-vars", `{"WAIT":"600"}`, 200)
	release(t, p, "source", map[string]string{"worker": "sleep 60", "release": "echo begun; sleep ${WAIT:-0}"})
	eventually(t, "the release phase", func() bool { return getRelease(t, p, "source", "3").Current })
	text, h = call(t, p, "POST", "/pipeline-promotions", `{"pipeline":{"id":"`+line.ID+`"},"source":{"app":{"id":"`+source.ID+`"}},"targets":[{"app":{"id":"`+target.ID+`"}}]}`, 201)
	id := into[platform.Ref](t, text, h).ID
	if text, _ := call(t, p, "GET", "/pipeline-promotions/"+id, nil, 200); !strings.Contains(string(text), `"status":"pending"`) {
		t.Errorf("while the release phase runs the promotion is %s", text)
	}
	stop(t, p)
	p = open(t, dir, local.Options{})
	text, _ = call(t, p, "GET", "/pipeline-promotions/"+id+"/promotion-targets", nil, 200)
	if !strings.Contains(string(text), `"status":"failed"`) || strings.Contains(string(text), `"error_message":null`) {
		t.Errorf("after a restart the target is %s", text)
	}
	if text, _ := call(t, p, "GET", "/pipeline-promotions/"+id, nil, 200); !strings.Contains(string(text), `"status":"completed"`) {
		t.Errorf("after a restart the promotion is %s", text)
	}
	if r := getRelease(t, p, "target", "3"); !r.Current {
		t.Errorf("the release before the promotion is %+v", r)
	}
}

func TestBlobs_areWholeOrAbsent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := open(t, dir, local.Options{})
	createApp(t, p, "example")
	text, h := call(t, p, "POST", "/apps/example/slugs", `{"process_types":{"web":"x"}}`, 201)
	slug := into[platform.Slug](t, text, h)
	inject(t, p, `reset-request=70000 on="PUT blob" times=1`)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, slug.Blob.URL, bytes.NewReader(make([]byte, 1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	if res, err := client.Do(req); err == nil {
		res.Body.Close()
		t.Errorf("a cut upload answers %s", res.Status)
	}
	text, h = call(t, p, "GET", "/apps/example/slugs/"+slug.ID, nil, 200)
	if s := into[platform.Slug](t, text, h); s.Size != nil {
		t.Errorf("after a cut upload the slug has %d bytes", *s.Size)
	}
	eventually(t, "the part to go", func() bool {
		entries, err := os.ReadDir(filepath.Join(dir, "blobs"))
		return err == nil && len(entries) == 0
	})
	if res := put(t, slug.Blob.URL, make([]byte, 1<<20)); res.status != 200 {
		t.Errorf("the next upload answers %d %s", res.status, res.body)
	}
}

func TestFaults_hitTheNextRequestsThatMatch(t *testing.T) {
	t.Parallel()
	p := open(t, t.TempDir(), local.Options{})
	createApp(t, p, "example")
	call(t, p, "POST", "/_fault", `{}`, 401, "Authorization", "")
	call(t, p, "POST", "/_fault", `[{"on":"GET /apps/*/releases","status":503,"times":2},"status=429 retry-after=7s on=/account times=1"]`, 200)
	call(t, p, "GET", "/apps/example", nil, 200)
	call(t, p, "GET", "/apps/example/releases", nil, 503)
	call(t, p, "GET", "/apps/example/releases/1", nil, 200)
	call(t, p, "GET", "/apps/example/releases", nil, 503)
	call(t, p, "GET", "/apps/example/releases", nil, 200)
	if _, h := call(t, p, "GET", "/account", nil, 429); h.Get("Retry-After") != "7" {
		t.Errorf("Retry-After is %q", h.Get("Retry-After"))
	}
	call(t, p, "GET", "/account", nil, 200)
	call(t, p, "POST", "/_fault", `{"lost":true,"onn":"/apps"}`, 422)

	// Acts, and drops the answer.
	slug := upload(t, p, "example", map[string]string{"worker": "sleep 1"}, pack(t))
	lost := func(rule string) {
		t.Helper()
		inject(t, p, rule+` on="POST /apps/example/releases" times=1`)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL()+"/apps/example/releases", strings.NewReader(`{"slug":"`+slug.ID+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+p.Token().Reveal())
		res, err := client.Do(req)
		if err != nil {
			return
		}
		defer res.Body.Close()
		if text, err := io.ReadAll(res.Body); err == nil {
			t.Errorf("a dropped answer came: %s %s", res.Status, text)
		}
	}
	lost("lost")
	if r := getRelease(t, p, "example", "3"); r.Slug == nil || r.Slug.ID != slug.ID {
		t.Errorf("the lost release is %+v", r)
	}
	lost("late=200ms")
	call(t, p, "GET", "/apps/example/releases/4", nil, 404)
	eventually(t, "the late release", func() bool {
		text, _ := call(t, p, "GET", "/apps/example/releases", nil, 200)
		return strings.Contains(string(text), `"version":4`)
	})
	lost("reset=10")
	getRelease(t, p, "example", "5")
}

func TestOptions_faultSeesEveryRequest(t *testing.T) {
	t.Parallel()
	p := open(t, t.TempDir(), local.Options{Fault: func(r *http.Request) *local.Fault {
		if r.Method == http.MethodPut {
			return &local.Fault{Status: 500}
		}
		return nil
	}})
	createApp(t, p, "example")
	text, h := call(t, p, "POST", "/apps/example/slugs", `{"process_types":{"web":"x"}}`, 201)
	if res := put(t, into[platform.Slug](t, text, h).Blob.URL, []byte("x")); res.status != 500 {
		t.Errorf("PUT answers %d", res.status)
	}
}
