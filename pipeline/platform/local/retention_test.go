package local_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/local"
)

// names lists a folder of the data directory.
func names(t *testing.T, dir, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, folder))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestRetention_removesTheBytesOfWhatExpired(t *testing.T) {
	t.Parallel()
	needDynos(t)
	dir := t.TempDir()
	o := local.Options{KeepReleases: 2}
	p := open(t, dir, o)
	createApp(t, p, "example")
	var slugs []string
	for i := range 4 {
		r := release(t, p, "example", map[string]string{"worker": "sleep 60", "release": "true"}, sh("n", fmt.Sprint(i)))
		eventually(t, "the release phase", func() bool { return getRelease(t, p, "example", r.ID).Current })
		slugs = append(slugs, r.Slug.ID)
	}
	// v7 has the slug of v3 again, so that it outlives its first release.
	call(t, p, "POST", "/apps/example/releases", `{"release":"3"}`, 201)
	eventually(t, "the release phase", func() bool { return getRelease(t, p, "example", "7").Current })
	unused := upload(t, p, "example", map[string]string{"worker": "x"}, pack(t, sh("n", "unused")))
	if n := len(names(t, dir, "blobs")); n != 5 {
		t.Errorf("%d blobs before anything is old", n)
	}

	call(t, p, "POST", "/_clock", `{"advance":"23h"}`, 200)
	call(t, p, "GET", "/apps/example/slugs/"+unused.ID, nil, 200)
	call(t, p, "POST", "/_clock", `{"advance":"2h"}`, 200)
	call(t, p, "GET", "/apps/example/slugs/"+unused.ID, nil, 404)
	call(t, p, "GET", "/apps/example/slugs/"+slugs[1], nil, 200)
	call(t, p, "POST", "/_clock", `{"advance":"720h"}`, 200)

	check := func(when string) {
		t.Helper()
		for version, want := range map[int]string{1: "succeeded", 3: "expired", 4: "expired", 5: "expired", 6: "succeeded", 7: "succeeded"} {
			if r := getRelease(t, p, "example", fmt.Sprint(version)); r.Status != want || r.EligibleForRollback != (want == "succeeded" && version > 2) || want == "expired" && r.OutputStreamURL != nil {
				t.Errorf("%s v%d is %s, eligible %t, output %v; want %s", when, version, r.Status, r.EligibleForRollback, r.OutputStreamURL, want)
			}
		}
		for i, want := range []int{200, 404, 404, 200} {
			call(t, p, "GET", "/apps/example/slugs/"+slugs[i], nil, want)
		}
		call(t, p, "POST", "/apps/example/releases", `{"release":"4"}`, 422)
		call(t, p, "POST", "/apps/example/releases", `{"slug":"`+slugs[1]+`"}`, 404)
		if blobs, outputs := names(t, dir, "blobs"), names(t, dir, "outputs"); len(blobs) != 2 || len(outputs) != 2 {
			t.Errorf("%s %d blobs and %d outputs are left", when, len(blobs), len(outputs))
		}
	}
	check("after a month")
	stop(t, p)
	// What a kill between a transaction and the removal of its files would leave.
	for _, left := range []string{"blobs/.new-123", "blobs/0123456789abcdef0123456789abcdef", "outputs/0123.log"} {
		if err := os.WriteFile(filepath.Join(dir, left), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p = open(t, dir, o)
	check("after a restart")
	text, _ := call(t, p, "GET", "/_clock", nil, 200)
	if !strings.Contains(string(text), `"offset":"745h0m0s"`) {
		t.Errorf("after a restart the clock is %s", text)
	}
}

// What came after the live release failed, so that it is the oldest of all, and runs.
func TestRetention_leavesTheLiveReleaseAlone(t *testing.T) {
	t.Parallel()
	needDynos(t)
	p := open(t, t.TempDir(), local.Options{KeepReleases: 1})
	createApp(t, p, "example")
	live := release(t, p, "example", map[string]string{"worker": "sleep 60"})
	failing := upload(t, p, "example", map[string]string{"worker": "sleep 60", "release": "false"}, pack(t, sh("n", "failing")))
	for range 3 {
		text, h := call(t, p, "POST", "/apps/example/releases", map[string]string{"slug": failing.ID}, 201)
		r := into[platform.Release](t, text, h)
		eventually(t, "the release phase", func() bool { return getRelease(t, p, "example", r.ID).Status == platform.Failed })
	}
	call(t, p, "POST", "/_clock", `{"advance":"744h"}`, 200)
	if r := getRelease(t, p, "example", live.ID); !r.Current || r.Status != platform.Succeeded || !r.EligibleForRollback {
		t.Errorf("the live release is %+v", r)
	}
	if r := getRelease(t, p, "example", "5"); r.Status != platform.Expired {
		t.Errorf("an old failed release is %s", r.Status)
	}
	call(t, p, "GET", "/apps/example/slugs/"+live.Slug.ID, nil, 200)
	call(t, p, "PATCH", "/apps/example/config-vars", `{"A":"1"}`, 200) // releases the slug that runs
}

func TestRetention_looksByItself(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var later atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	p := open(t, dir, local.Options{RetainEvery: 20 * time.Millisecond, Clock: clock})
	createApp(t, p, "example")
	upload(t, p, "example", map[string]string{"worker": "x"}, pack(t))
	later.Store(int64(25 * time.Hour))
	eventually(t, "the unreleased slug to go", func() bool { return len(names(t, dir, "blobs")) == 0 })
}

func TestClock_isForWhoHasTheToken(t *testing.T) {
	t.Parallel()
	p := open(t, t.TempDir(), local.Options{})
	call(t, p, "GET", "/_clock", nil, 401, "Authorization", "")
	call(t, p, "POST", "/_clock", `{"advance":"1h"}`, 401, "Authorization", "")
	call(t, p, "POST", "/_clock", `{"advance":"soon"}`, 422)
	call(t, p, "POST", "/_clock", `{}`, 422)
	call(t, p, "POST", "/_clock", `{"advance":"1h","set":"2030-01-31T12:00:00Z"}`, 422)
	call(t, p, "PUT", "/_clock", nil, 404)
	text, _ := call(t, p, "POST", "/_clock", `{"set":"2030-01-31T12:00:00Z"}`, 200)
	if !strings.Contains(string(text), `"now":"2030-01-31T12:00:0`) {
		t.Errorf("the clock that was set is %s", text)
	}
	if app := createApp(t, p, "example"); app.CreatedAt.Year() != 2030 {
		t.Errorf("an app is made at %s", app.CreatedAt)
	}
	call(t, p, "DELETE", "/_clock", nil, 200)
	if text, _ := call(t, p, "GET", "/_clock", nil, 200); !strings.Contains(string(text), `"offset":"0s"`) {
		t.Errorf("the clock that was put back is %s", text)
	}
}

// A blob is taken from under a dyno that is about to unpack it, again and again.
func TestBlobs_areReplacedWhileDynosBoot(t *testing.T) {
	t.Parallel()
	needDynos(t)
	p := open(t, t.TempDir(), local.Options{})
	createApp(t, p, "example")
	archive := pack(t)
	slug := upload(t, p, "example", map[string]string{"worker": "sleep 60"}, archive)
	call(t, p, "POST", "/apps/example/releases", map[string]string{"slug": slug.ID}, 201)
	for range 20 {
		text, h := call(t, p, "POST", "/apps/example/dynos", `{"command":"true"}`, 201)
		d := into[platform.Dyno](t, text, h)
		if res := put(t, slug.Blob.URL, archive); res.status != http.StatusOK {
			t.Fatalf("PUT answers %d %s", res.status, res.body)
		}
		eventually(t, d.Name+" to end", func() bool {
			return strings.Contains(strings.Join(p.Logs("example"), "\n"), "heroku["+d.Name+"]: Process exited with status ")
		})
	}
	if log := strings.Join(p.Logs("example"), "\n"); strings.Contains(log, "no such file") || strings.Contains(log, "Process exited with status 1") {
		t.Errorf("a dyno missed its slug:\n%s", log)
	}
	if res := put(t, slug.Blob.URL, pack(t, sh("other", "bytes"))); res.status != http.StatusForbidden {
		t.Errorf("other bytes for a released slug are answered %d %s", res.status, res.body)
	}
}
