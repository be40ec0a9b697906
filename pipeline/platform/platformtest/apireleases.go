package platformtest

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/platform"
)

func apiSlugs(t *testing.T, w *wire) {
	w.app(t, "example")
	w.app(t, "other")
	types := map[string]string{"web": "bin/web", "odd-1_name": `echo "a b" 'c' $D`}
	b := w.Slug(t, map[string]string{"note": "1"})
	made := decode[platform.Slug](t, w.call(t, "POST", "/apps/example/slugs", map[string]any{
		"process_types": types, "checksum": digest.Of(b).Checksum(), "commit": "0123456789abcdef", "commit_description": "a change",
		"buildpack_provided_description": "Go", "stack": "heroku-26",
	}, 201))
	if made.Size != nil || !strings.EqualFold(made.Blob.Method, "PUT") {
		t.Errorf("a new slug is %+v", made)
	}
	if r := putBytes(t, made.Blob.URL, b); r.status != 200 {
		t.Fatalf("PUT: %d %s", r.status, r.body)
	}
	got := get[platform.Slug](t, w, "/apps/example/slugs/"+made.ID)
	if !maps.Equal(got.ProcessTypes, types) || *got.Checksum != digest.Of(b).Checksum() || *got.Commit != "0123456789abcdef" ||
		*got.CommitDescription != "a change" || *got.BuildpackProvidedDescription != "Go" || got.Stack.Name != "heroku-26" {
		t.Errorf("the slug is %+v", got)
	}
	if got.Size == nil || *got.Size != int64(len(b)) || !strings.EqualFold(got.Blob.Method, "GET") || got.Blob.URL == made.Blob.URL {
		t.Errorf("after the upload the slug is %+v", got)
	}
	w.call(t, "GET", "/apps/other/slugs/"+made.ID, nil, 404)
	w.call(t, "POST", "/apps/other/releases", map[string]string{"slug": made.ID}, 201)
	w.call(t, "GET", "/apps/other/slugs/"+made.ID, nil, 200) // seen through the release
	if a := get[platform.App](t, w, "/apps/other"); a.Stack.Name != "heroku-26" || a.SlugSize == nil || *a.SlugSize != int64(len(b)) || *a.BuildpackProvidedDescription != "Go" {
		t.Errorf("the app does not follow its slug: %+v", a)
	}
	w.call(t, "DELETE", "/apps/example", nil, 200)
	w.call(t, "GET", "/apps/other/slugs/"+made.ID, nil, 200) // another app still releases it
}

var blobCode = regexp.MustCompile(`<Code>(.*)</Code>`)

func apiBlobs(t *testing.T, w *wire) {
	w.app(t, "example")
	slug := decode[platform.Slug](t, w.call(t, "POST", "/apps/example/slugs", `{"process_types":{"web":"x"}}`, 201))
	u := slug.Blob.URL
	status := func(r reply) string {
		if code := blobCode.FindSubmatch(r.body); code != nil {
			return fmt.Sprintf("%d %s", r.status, code[1])
		}
		return strconv.Itoa(r.status)
	}
	chunked, err := http.NewRequestWithContext(t.Context(), http.MethodPut, u, struct{ *strings.Reader }{strings.NewReader("x")})
	if err != nil {
		t.Fatal(err)
	}
	res, err := wireClient.Do(chunked)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close() // the status is enough
	if res.StatusCode != http.StatusLengthRequired {
		t.Errorf("a chunked upload is answered %d, want 411", res.StatusCode)
	}
	for what, c := range map[string]struct{ got, want string }{
		"content type":    {status(putBytes(t, u, []byte("x"), "Content-Type", "application/gzip")), "403 SignatureDoesNotMatch"},
		"authorization":   {status(putBytes(t, u, []byte("x"), "Authorization", "Bearer "+w.Token)), "400 InvalidArgument"},
		"wrong signature": {status(putBytes(t, u[:len(u)-1]+"x", []byte("x"))), "403 SignatureDoesNotMatch"},
		"another blob":    {status(putBytes(t, strings.Replace(u, "/slugs/", "/slugs/0", 1), []byte("x"))), "403 SignatureDoesNotMatch"},
		"download":        {status(fetch(t, "GET", u, "")), "403 SignatureDoesNotMatch"},
		"deletion":        {status(fetch(t, "DELETE", u, "")), "403 SignatureDoesNotMatch"},
	} {
		if c.got != c.want {
			t.Errorf("%s with an address for upload: %s, want %s", what, c.got, c.want)
		}
	}
	first, second := putBytes(t, u, []byte("first"), "Expect", "100-continue"), putBytes(t, u, []byte("second"))
	if first.status != 200 || second.status != 200 || second.header.Get("ETag") != `"a9f0e61a137d86aa9db53465e0801612"` {
		t.Errorf("uploads answer %d, %d with %s", first.status, second.status, second.header.Get("ETag"))
	}
	slug = get[platform.Slug](t, w, "/apps/example/slugs/"+slug.ID)
	if r := fetch(t, "GET", slug.Blob.URL, ""); r.status != 200 || string(r.body) != "second" {
		t.Errorf("the blob is %d %q", r.status, r.body)
	}
	if r := fetch(t, "GET", slug.Blob.URL, "", "Range", "bytes=0-0"); r.status != 206 || r.header.Get("Content-Range") != "bytes 0-0/6" || string(r.body) != "s" {
		t.Errorf("a byte of it is %d, %v", r.status, r.header)
	}
	if r := fetch(t, "PUT", slug.Blob.URL, "third"); r.status != 403 {
		t.Errorf("an address for download takes an upload: %d", r.status)
	}
	w.Advance(t, w.BlobLifetime+time.Minute)
	for what, r := range map[string]reply{"upload": putBytes(t, u, []byte("late")), "download": fetch(t, "GET", slug.Blob.URL, "")} {
		if status(r) != "403 AccessDenied" || !strings.Contains(string(r.body), "Request has expired") {
			t.Errorf("a late %s is answered %s", what, r.body)
		}
	}
}

func apiReleases(t *testing.T, w *wire) {
	w.app(t, "example")
	w.call(t, "PATCH", "/apps/example/config-vars", `{"A":"1"}`, 200)
	one := w.release(t, "example", procs, "one")
	if one.Version != 4 || one.Status != platform.Succeeded || !one.Current || one.Description != "Deploy 0123456" || !one.EligibleForRollback || one.OutputStreamURL != nil {
		t.Errorf("the first release is %+v", one)
	}
	two := w.slug(t, "example", procs, "two")
	r := decode[platform.Release](t, w.call(t, "POST", "/apps/example/releases", map[string]any{"slug": two.ID, "description": "by hand"}, 201))
	if r.Description != "by hand" || r.Slug.ID != two.ID || len(r.Artifacts) != 1 || r.Artifacts[0].ID != two.ID {
		t.Errorf("the second release is %+v", r)
	}
	w.call(t, "PATCH", "/apps/example/config-vars", `{"A":"2"}`, 200) // v6, of slug two
	for _, ident := range []string{one.ID, "4", "v4"} {
		back := decode[platform.Release](t, w.call(t, "POST", "/apps/example/releases", map[string]string{"release": ident}, 201))
		if back.Description != "Rollback to v4" || back.Slug.ID != one.Slug.ID || !back.Current {
			t.Errorf("the rollback to %s is %+v", ident, back)
		}
		if a := get[map[string]string](t, w, "/apps/example/config-vars"); a["A"] != "1" {
			t.Errorf("after the rollback config vars are %v", a)
		}
	}
	current := 0
	for _, r := range get[[]platform.Release](t, w, "/apps/example/releases") {
		if r.Current {
			current = r.Version
		}
	}
	if current != 9 || get[map[string]string](t, w, "/apps/example/releases/6/config-vars")["A"] != "2" {
		t.Errorf("v%d is current", current)
	}
	if e := w.refused(t, "POST", "/apps/example/releases", `{"release":"1"}`, 422); e.ID != "invalid_params" {
		t.Errorf("a rollback to a release without a slug: %+v", e)
	}
}

func apiConfig(t *testing.T, w *wire) {
	w.app(t, "example")
	for _, body := range []string{`{"A":"1","B":"2"}`, `{"A":"1"}`, `{"Z":null}`, `{}`} { // the last three change nothing
		w.call(t, "PATCH", "/apps/example/config-vars", body, 200)
	}
	r := w.call(t, "PATCH", "/apps/example/config-vars", `{"A":null,"C":"3","_odd9":"a \"b\"\n"}`, 200)
	if got := decode[map[string]string](t, r); !maps.Equal(got, map[string]string{"B": "2", "C": "3", "_odd9": "a \"b\"\n"}) {
		t.Errorf("config vars are %v", got)
	}
	var got []string
	for _, r := range get[[]platform.Release](t, w, "/apps/example/releases") {
		got = append(got, fmt.Sprintf("v%d %s", r.Version, r.Description))
	}
	want := []string{"v1 Initial release", "v2 Enable Logplex", "v3 Set A, B config vars", "v4 Set C, _odd9, Remove A config vars"}
	if !slices.Equal(got, want) {
		t.Errorf("the releases are %q, want %q", got, want)
	}
	if vars := get[map[string]string](t, w, "/apps/example/releases/v3/config-vars"); !maps.Equal(vars, map[string]string{"A": "1", "B": "2"}) {
		t.Errorf("the config of v3 is %v", vars)
	}
}

func apiFormation(t *testing.T, w *wire) {
	w.app(t, "example")
	if list := get[[]platform.Formation](t, w, "/apps/example/formation"); len(list) != 0 {
		t.Errorf("before a slug the formation is %+v", list)
	}
	w.release(t, "example", map[string]string{"web": "sleep 60", "worker": "sleep 60"}, "1")
	now := func() string {
		t.Helper()
		var list []string
		for _, f := range get[[]platform.Formation](t, w, "/apps/example/formation") {
			list = append(list, fmt.Sprintf("%s=%d:%s", f.Type, f.Quantity, f.Size))
		}
		return strings.Join(list, " ")
	}
	if got := now(); got != "web=1:Basic worker=0:Basic" {
		t.Errorf("after the first slug the formation is %s", got)
	}
	web := get[platform.Formation](t, w, "/apps/example/formation/web")
	for _, c := range []struct {
		path, body, want string
		status           int
	}{
		// As the heroku command sends them.
		{"", `{"updates":[{"quantity":"2","size":"standard-2x","type":"web"},{"quantity":"+1","type":"worker"}]}`, "web=2:Standard-2X worker=1:Basic", 200},
		{"", `{"updates":[{"size":"basic","type":"web"}]}`, "web=2:Basic worker=1:Basic", 200},
		{"", `{"updates":[{"quantity":"-1","type":"web"},{"quantity":"-1","type":"worker"}]}`, "web=1:Basic worker=0:Basic", 200},
		// As the schema has them.
		{"", `{"updates":[{"quantity":0,"type":"web","dyno_size":{"name":"standard-1x"}}]}`, "web=0:Standard-1X worker=0:Basic", 200},
		{"", `{"updates":[{"type":"` + web.ID + `","dyno_size":{"id":"` + web.DynoSize.ID + `"}}]}`, "web=0:Basic worker=0:Basic", 200},
		{"/worker", `{"quantity":1}`, "web=0:Basic worker=1:Basic", 200},
		{"/worker", `{"dyno_size":"eco"}`, "web=0:Basic worker=1:Eco", 200},
		{"/" + web.ID, `{"quantity":"+2"}`, "web=2:Basic worker=1:Eco", 200},
		{"", `{"updates":[]}`, "web=2:Basic worker=1:Eco", 200},
		// All or nothing.
		{"", `{"updates":[{"quantity":5,"type":"web"},{"quantity":1,"type":"clock"}]}`, "web=2:Basic worker=1:Eco", 404},
		{"", `{"updates":[{"quantity":"-9","type":"web"}]}`, "web=2:Basic worker=1:Eco", 422},
		{"", `{"updates":[{"quantity":1.5,"type":"web"}]}`, "web=2:Basic worker=1:Eco", 422},
		{"", `{"updates":[{"quantity":"many","type":"web"}]}`, "web=2:Basic worker=1:Eco", 422},
		{"", `{"updates":[{"quantity":100000,"type":"web"}]}`, "web=2:Basic worker=1:Eco", 422},
		{"/web", `{"dyno_size":{"name":"huge"}}`, "web=2:Basic worker=1:Eco", 422},
		{"/clock", `{"quantity":1}`, "web=2:Basic worker=1:Eco", 404},
	} {
		w.call(t, "PATCH", "/apps/example/formation"+c.path, c.body, c.status)
		if got := now(); got != c.want {
			t.Errorf("after %s the formation is %s, want %s", c.body, got, c.want)
		}
	}
	w.release(t, "example", map[string]string{"web": "sleep 60", "clock": "sleep 60"}, "2")
	if got := now(); got != "clock=0:Basic web=2:Basic" {
		t.Errorf("a later slug has the formation %s", got)
	}
}

func apiDynos(t *testing.T, w *wire) {
	w.needDynos(t)
	w.app(t, "example")
	w.release(t, "example", map[string]string{"worker": "sleep 600"}, "1")
	w.call(t, "PATCH", "/apps/example/formation/worker", `{"quantity":2}`, 200)
	list := func() map[string]platform.Dyno {
		t.Helper()
		m := map[string]platform.Dyno{}
		for _, d := range get[[]platform.Dyno](t, w, "/apps/example/dynos") {
			m[d.Name] = d
		}
		return m
	}
	up := func(names ...string) func() bool {
		return func() bool {
			all := list()
			for _, n := range names {
				if all[n].State != "up" {
					return false
				}
			}
			return len(all) == len(names)
		}
	}
	eventually(t, "two workers", up("worker.1", "worker.2"))
	before := list()["worker.1"]
	if before.Release.Version != 3 || before.Type != "worker" || before.Size != "Basic" || before.Command != "sleep 600" {
		t.Errorf("the dyno is %+v", before)
	}
	if d := get[platform.Dyno](t, w, "/apps/example/dynos/"+before.ID); d.Name != "worker.1" {
		t.Errorf("by its id the dyno is %+v", d)
	}
	for _, c := range []struct{ method, path string }{
		{"DELETE", "/dynos"}, {"DELETE", "/dynos/worker.1"}, {"DELETE", "/formations/worker"}, {"POST", "/dynos/worker.1/actions/stop"}, {"POST", "/formations/worker/actions/stop"},
	} {
		old := list()["worker.1"].ID
		w.call(t, c.method, "/apps/example"+c.path, nil, 202)
		eventually(t, "another worker after "+c.path, func() bool { return list()["worker.1"].ID != old && up("worker.1", "worker.2")() })
	}
	w.call(t, "DELETE", "/apps/example/dynos/worker.9", nil, 404)
	w.call(t, "DELETE", "/apps/example/formations/nothing", nil, 404)
	run := decode[platform.Dyno](t, w.call(t, "POST", "/apps/example/dynos", `{"command":"sleep 600","attach":false,"env":{"X":"1"},"size":"standard-1x","force_no_tty":null,"time_to_live":600}`, 201))
	if !strings.HasPrefix(run.Name, "run.") || run.Type != "run" || run.AttachURL != nil || run.Size != "Standard-1X" {
		t.Errorf("the one-off dyno is %+v", run)
	}
	w.call(t, "DELETE", "/apps/example/dynos", nil, 202)
	eventually(t, "the workers", up("worker.1", "worker.2", run.Name)) // a restart leaves one-off dynos alone
	w.call(t, "POST", "/apps/example/dynos/"+run.Name+"/actions/stop", nil, 202)
	eventually(t, "the end of the one-off dyno", up("worker.1", "worker.2"))
	short := decode[platform.Dyno](t, w.call(t, "POST", "/apps/example/dynos", `{"command":"sleep 600","time_to_live":1,"type":"job"}`, 201))
	if !strings.HasPrefix(short.Name, "job.") {
		t.Errorf("a dyno of another type is %s", short.Name)
	}
	eventually(t, "the end of a dyno's time to live", up("worker.1", "worker.2"))
	w.call(t, "PATCH", "/apps/example/formation/worker", `{"quantity":0}`, 200)
	eventually(t, "no dyno", up())
	w.call(t, "DELETE", "/apps/example/formations/worker", nil, 202)
}

func apiRetention(t *testing.T, w *wire) {
	w.app(t, "example")
	w.app(t, "other")
	old := w.release(t, "example", procs, "old") // v3
	kept := w.release(t, "example", procs, "kept")
	w.call(t, "POST", "/apps/other/releases", map[string]string{"slug": old.Slug.ID}, 201)
	unused := w.slug(t, "example", procs, "unused")
	for i := range 20 {
		w.call(t, "PATCH", "/apps/example/config-vars", map[string]string{"N": strconv.Itoa(i)}, 200) // all of the slug of v4
	}
	status := func(version int) platform.Release {
		t.Helper()
		return get[platform.Release](t, w, "/apps/example/releases/"+strconv.Itoa(version))
	}
	w.Advance(t, 29*24*time.Hour)
	if r := status(3); r.Status != platform.Succeeded {
		t.Errorf("after 29 days v3 is %s", r.Status)
	}
	w.call(t, "GET", "/apps/example/slugs/"+unused.ID, nil, 404)
	w.Advance(t, 2*24*time.Hour)
	for version, want := range map[int]string{3: platform.Expired, 4: platform.Expired, 5: platform.Succeeded, 24: platform.Succeeded} {
		if r := status(version); r.Status != want || r.EligibleForRollback != (want == platform.Succeeded) {
			t.Errorf("after 31 days v%d is %s, eligible %t; want %s", version, r.Status, r.EligibleForRollback, want)
		}
	}
	if r := status(24); !r.Current || r.Slug.ID != kept.Slug.ID {
		t.Errorf("the live release is %+v", r)
	}
	w.call(t, "GET", "/apps/example/slugs/"+kept.Slug.ID, nil, 200) // a later release keeps it
	w.call(t, "GET", "/apps/other/slugs/"+old.Slug.ID, nil, 200)    // the other app's only release does
	w.call(t, "POST", "/apps/example/releases", `{"release":"3"}`, 422)
	w.call(t, "POST", "/apps/example/releases", map[string]string{"slug": kept.Slug.ID}, 201)
	w.Advance(t, -31*24*time.Hour)
	if r := status(3); r.Status != platform.Expired {
		t.Errorf("a clock that was put back brings v3 back: %s", r.Status)
	}
}

func apiLogs(t *testing.T, w *wire) {
	w.app(t, "example")
	w.call(t, "PATCH", "/apps/example/config-vars", `{"A":"1"}`, 200)
	s := decode[struct {
		LogplexURL string `json:"logplex_url"`
	}](t, w.call(t, "POST", "/apps/example/log-sessions", `{"lines":100,"tail":false}`, 201))
	// The address is the credential.
	if r := fetch(t, "GET", s.LogplexURL, ""); r.status != 200 || !strings.Contains(string(r.body), " app[api]: Release v3 created by user ") {
		t.Errorf("the log is %d %q", r.status, r.body)
	}
}
