package platformtest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform"
)

func apiCredentials(t *testing.T, w *wire) {
	basic := func(user, password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	for _, c := range []struct {
		header string
		want   int
	}{
		{"Bearer " + w.Token, 200},
		{"bearer " + w.Token, 200},
		{basic("", w.Token), 200}, // the Terraform provider's and curl's `-u :TOKEN`
		{basic("you@example.com", w.Token), 200},
		{"", 401},
		{"Bearer ", 401},
		{"Bearer " + w.Token[1:], 401},
		{"Bearer " + w.Token + "0", 401},
		{basic(w.Token, ""), 401},
		{w.Token, 401},
	} {
		r := fetch(t, http.MethodGet, w.URL+"/account", "", "Authorization", c.header)
		if r.status != c.want {
			t.Errorf("Authorization %q: status %d, want %d", strings.ReplaceAll(c.header, w.Token, "TOKEN"), r.status, c.want)
		}
		w.check(t, http.MethodGet, "/account", r)
		if c.want == 401 && decode[refusal](t, r).ID != "unauthorized" {
			t.Errorf("the refusal is %s", r.body)
		}
		if cors := r.header.Get("Access-Control-Allow-Origin"); cors != "" {
			t.Errorf("other sites' pages may read the answer: %q", cors)
		}
	}
}

func apiAccept(t *testing.T, w *wire) {
	for accept, want := range map[string]int{
		"application/vnd.heroku+json; version=3":            200,
		"application/vnd.heroku+json;version=3":             200,
		"application/vnd.heroku+json; version=3.sdk":        200,
		"application/vnd.heroku+json; version=3.filters":    200,
		"application/vnd.heroku+json; version=3.pipelines":  200,
		"application/vnd.heroku+json; version=3.run-inside": 200,
		"*/*":              200,
		"application/json": 200,
		"text/html, application/vnd.heroku+json; version=3; q=0.5": 200,
		"":                                       200,
		"application/vnd.heroku+json; version=2": 406,
		"application/vnd.heroku+json; version=30": 406,
	} {
		if r := w.call(t, http.MethodGet, "/account", nil, want, "Accept", accept); want == 406 && decode[refusal](t, r).ID != "not_acceptable" {
			t.Errorf("Accept %q: %s", accept, r.body)
		}
	}
}

func apiBodies(t *testing.T, w *wire) {
	w.app(t, "example")
	patch := func(body string, want int, header ...string) {
		t.Helper()
		r := w.call(t, http.MethodPatch, "/apps/example", body, want, header...)
		if e := decode[refusal](t, r); want == 400 && e.ID != "bad_request" {
			t.Errorf("%.40q: %s", body, r.body)
		}
	}
	patch(`{"maintenance":true}`, 200, "Content-Type", "application/json; charset=utf-8")
	patch(`{"maintenance":true}`, 200, "Content-Type", "application/vnd.api+json")
	patch(" \n{\"maintenance\":false}\n", 200)
	patch(`{"maintenance":null}`, 200)
	patch(`null`, 200)
	patch(``, 200)
	patch(`{"maintenance":true}`, 400, "Content-Type", "text/plain")
	patch(`maintenance=true`, 400, "Content-Type", "application/x-www-form-urlencoded")
	patch(`{"maintenance":`, 400)
	patch(`{"maintenance":true} {}`, 400)
	patch(`[{"maintenance":true}]`, 400)
	patch(`"maintenance"`, 400)
	patch(strings.Repeat("[", 100_000), 400)
	patch(`{"name":"`+strings.Repeat("x", 2<<20)+`"}`, 400)
	if e := w.refused(t, http.MethodPatch, "/apps/example", `{"maintenance":"yes"}`, 422); e.ID != "invalid_params" || !strings.Contains(e.Message, "maintenance") {
		t.Errorf("a value of the wrong type is refused with %+v", e)
	}
	if get[platform.App](t, w, "/apps/example").Maintenance {
		t.Error("a body that was refused changed the app")
	}
}

func apiRequestID(t *testing.T, w *wire) {
	seen := map[string]bool{}
	ids := strings.Repeat("01234567-89ab-4cde-8f01-23456789abcd,", 7<<10/37)
	for _, sent := range []string{"", "mine", "a,b , c", ids} {
		for range 3 {
			id := w.call(t, http.MethodGet, "/account", nil, 200, "Request-Id", sent).header.Get("Request-Id")
			if seen[id] || id == sent {
				t.Errorf("the request %.40q has the id %q, which is not its own", sent, id)
			}
			seen[id] = true
		}
	}
}

func apiConditional(t *testing.T, w *wire) {
	w.app(t, "example")
	tag := w.call(t, http.MethodGet, "/apps/example", nil, 200).header.Get("ETag")
	if len(tag) < 3 || !strings.HasSuffix(tag, `"`) {
		t.Fatalf("the ETag is %q", tag)
	}
	for given, want := range map[string]int{
		tag:                        304,
		`"other", ` + tag:          304,
		`"other" ,W/` + tag + `,"`: 304,
		"*":                        304,
		`"other"`:                  200,
		`W/"other", "more"`:        200,
		strings.Trim(tag, `"`):     200,
	} {
		r := w.call(t, http.MethodGet, "/apps/example", nil, want, "If-None-Match", given)
		if want == 304 && (len(r.body) != 0 || r.header.Get("ETag") != tag) {
			t.Errorf("If-None-Match %s: ETag %s, %d bytes of body", given, r.header.Get("ETag"), len(r.body))
		}
	}
	w.call(t, http.MethodPatch, "/apps/example", `{"maintenance":true}`, 200, "If-None-Match", tag)
	if w.call(t, http.MethodGet, "/apps/example", nil, 200, "If-None-Match", tag).header.Get("ETag") == tag {
		t.Error("another app has the same ETag")
	}
}

func apiUnknown(t *testing.T, w *wire) {
	w.app(t, "example")
	for _, c := range []struct{ method, path string }{
		{"GET", "/"}, {"GET", "/nothing/of/the/sort"}, {"GET", "/apps/"}, {"GET", "//apps"}, {"GET", "/apps/../account"},
		{"PUT", "/apps"}, {"DELETE", "/apps"}, {"POST", "/apps/example"}, {"PUT", "/apps/example"}, {"PATCH", "/account/rate-limits"},
		{"GET", "/apps/example/slugs"}, {"DELETE", "/apps/example/slugs/1"}, {"PATCH", "/apps/example/releases/1"}, {"POST", "/stacks"},
	} {
		r := fetch(t, c.method, w.URL+c.path, "", "Authorization", "Bearer "+w.Token, "Accept", "application/json")
		if c.path == "/" && r.status == 200 {
			continue // a platform may show people something at its root
		}
		w.check(t, c.method, c.path, r)
		if e := decode[refusal](t, r); r.status != 404 || e.ID != "not_found" || !strings.Contains(e.Message, "endpoint") {
			t.Errorf("%s %s: %d %s", c.method, c.path, r.status, r.body)
		}
	}
	const absent = "01234567-89ab-4cde-8f01-23456789abcd"
	for path, resource := range map[string]string{
		"/apps/nowhere": "app", "/apps/" + absent: "app", "/apps/nowhere/releases": "app", "/apps/nowhere/formation": "app", "/apps/nowhere/dynos": "app",
		"/apps/nowhere/config-vars": "app", "/apps/nowhere/addons": "app", "/apps/nowhere/pipeline-couplings": "app", "/teams/apps/nowhere": "app",
		"/apps/example/slugs/" + absent: "slug", "/apps/example/releases/99": "release", "/apps/example/releases/" + absent: "release",
		"/apps/example/releases/v0": "release", "/apps/example/releases/-1": "release", "/apps/example/releases/99/config-vars": "release",
		"/apps/example/formation/web": "formation", "/apps/example/dynos/web.1": "dyno", "/apps/example/features/nothing": "feature",
		"/apps/example/pipeline-couplings": "pipeline_coupling", "/pipelines/nothing": "pipeline", "/pipeline-couplings/" + absent: "pipeline_coupling",
		"/pipeline-promotions/" + absent: "pipeline_promotion", "/stacks/cedar-14": "stack", "/dyno-sizes/huge": "dyno_size", "/regions/moon": "region",
		"/teams/nobody": "team", "/teams/nobody/apps": "team", "/users/you@example.com/apps": "account", "/spaces/private": "space",
	} {
		if e := w.refused(t, http.MethodGet, path, nil, 404); e.ID != "not_found" || e.Resource != resource {
			t.Errorf("GET %s: %+v, want the resource %s", path, e, resource)
		}
	}
	if e := w.refused(t, http.MethodGet, "/apps/nowhere", nil, 404); e.Message != "Couldn't find that app." {
		t.Errorf("an absent app is told as %q", e.Message)
	}
}

func apiRefusals(t *testing.T, w *wire) {
	w.app(t, "example")
	unsent := decode[platform.Slug](t, w.call(t, "POST", "/apps/example/slugs", `{"process_types":{"web":"x"}}`, 201)).ID
	long := strings.Repeat("w", 129)
	for _, c := range []struct {
		method, path, body string
		status             int
		id                 string
	}{
		{"POST", "/apps", `{"name":"example"}`, 422, "invalid_params"},
		{"POST", "/apps", `{"name":"Example"}`, 422, "invalid_params"},
		{"POST", "/apps", `{"name":"ex"}`, 422, "invalid_params"},
		{"POST", "/apps", `{"name":"1st"}`, 422, "invalid_params"},
		{"POST", "/apps", `{"name":"ends-"}`, 422, "invalid_params"},
		{"POST", "/apps", `{"name":"` + long + `"}`, 422, "invalid_params"},
		{"POST", "/apps", `{"name":"other","stack":"cedar-14"}`, 422, "invalid_params"},
		{"POST", "/apps", `{"name":"other","region":"moon"}`, 422, "invalid_params"},
		{"POST", "/apps", `{"name":"other","feature_flags":["nothing"]}`, 422, "invalid_params"},
		{"POST", "/apps", `{"nick":"other"}`, 422, "invalid_params"},
		{"POST", "/apps", `{"name":7}`, 422, "invalid_params"},
		{"POST", "/apps", `{"name":`, 400, "bad_request"},
		{"PATCH", "/apps/example", `{"name":"Example"}`, 422, "invalid_params"},
		{"PATCH", "/apps/example", `{"build_stack":"cedar"}`, 422, "invalid_params"},
		{"PATCH", "/apps/example", `{"stack":"heroku-24"}`, 422, "invalid_params"},
		{"POST", "/apps/example/slugs", `{}`, 422, "invalid_params"},
		{"POST", "/apps/example/slugs", `{"process_types":{"a/b":"x"}}`, 422, "invalid_params"},
		{"POST", "/apps/example/slugs", `{"process_types":{"..":"x"}}`, 422, "invalid_params"},
		{"POST", "/apps/example/slugs", `{"process_types":{"wéb":"x"}}`, 422, "invalid_params"},
		{"POST", "/apps/example/slugs", `{"process_types":{"w\nb":"x"}}`, 422, "invalid_params"},
		{"POST", "/apps/example/slugs", `{"process_types":{"w\u001bb":"x"}}`, 422, "invalid_params"},
		{"POST", "/apps/example/slugs", `{"process_types":{"` + long + `":"x"}}`, 422, "invalid_params"},
		{"POST", "/apps/example/slugs", `{"process_types":{"web":7}}`, 422, "invalid_params"},
		{"POST", "/apps/example/slugs", `{"process_types":{"web":"x"},"stack":"cedar"}`, 422, "invalid_params"},
		{"POST", "/apps/example/slugs", `{"process_types":{"web":"x"},"size":7}`, 422, "invalid_params"},
		{"POST", "/apps/example/slugs", `{"process_types":{"web":"x"},"checksum":"MD5:0"}`, 422, "invalid_params"},
		{"POST", "/apps/example/slugs", `{"process_types":{"web":"x"},"checksum":"SHA256:12"}`, 422, "invalid_params"},
		{"POST", "/apps/example/releases", `{}`, 422, "invalid_params"},
		{"POST", "/apps/example/releases", `{"slug":"` + unsent + `"}`, 422, "invalid_params"},
		{"POST", "/apps/example/releases", `{"slug":"nothing"}`, 404, "not_found"},
		{"POST", "/apps/example/releases", `{"slug":"` + unsent + `","release":"1"}`, 422, "invalid_params"},
		{"POST", "/apps/example/releases", `{"release":"1"}`, 422, "invalid_params"},
		{"POST", "/apps/example/releases", `{"release":"99"}`, 404, "not_found"},
		{"POST", "/apps/example/releases", `{"oci_image":"x"}`, 422, "invalid_params"},
		{"PATCH", "/apps/example/config-vars", `{"A B":"1"}`, 422, "invalid_params"},
		{"PATCH", "/apps/example/config-vars", `{"":"1"}`, 422, "invalid_params"},
		{"PATCH", "/apps/example/config-vars", `{"HEROKU_X":"1"}`, 422, "invalid_params"},
		{"PATCH", "/apps/example/config-vars", `{"__X":"1"}`, 422, "invalid_params"},
		{"PATCH", "/apps/example/config-vars", `{"A":1}`, 422, "invalid_params"},
		{"PATCH", "/apps/example/config-vars", `{"A":"\u0000"}`, 422, "invalid_params"},
		{"PATCH", "/apps/example/config-vars", `{"A":"` + strings.Repeat("x", 40_000) + `"}`, 422, "invalid_params"},
		{"PATCH", "/apps/example/formation", `{"updates":[{"type":"web","quantity":1}]}`, 404, "not_found"},
		{"PATCH", "/apps/example/formation", `{"updates":[{"quantity":1}]}`, 422, "invalid_params"},
		{"PATCH", "/apps/example/formation", `{"updates":[{"type":"web","count":1}]}`, 422, "invalid_params"},
		{"POST", "/apps/example/dynos", `{}`, 422, "invalid_params"},
		{"POST", "/apps/example/dynos", `{"command":"true"}`, 422, "invalid_params"},
		{"POST", "/apps/example/dynos", `{"command":"true","attach":true}`, 422, "invalid_params"},
		{"POST", "/apps/example/dynos", `{"command":"true","time_to_live":86401}`, 422, "invalid_params"},
		{"POST", "/apps/example/dynos", `{"command":"true","size":"huge"}`, 422, "invalid_params"},
		{"PATCH", "/apps/example/features/runtime-dyno-metadata", `{}`, 422, "invalid_params"},
		{"POST", "/teams/apps", `{"name":"other","space":"private"}`, 404, "not_found"},
		{"POST", "/teams/apps", `{"name":"other","internal_routing":true}`, 422, "invalid_params"},
		{"POST", "/pipelines", `{"name":"X"}`, 422, "invalid_params"},
		{"POST", "/pipelines", `{"name":"line","generation":{"name":"fir"}}`, 422, "invalid_params"},
		{"POST", "/pipelines", `{"name":"line","owner":{"id":"nobody","type":"team"}}`, 404, "not_found"},
		{"POST", "/pipeline-couplings", `{"app":"example","pipeline":"nothing","stage":"staging"}`, 404, "not_found"},
		{"POST", "/pipeline-couplings", `{"app":"example","pipeline":"nothing","stage":"elsewhere"}`, 422, "invalid_params"},
		{"POST", "/pipeline-promotions", `{}`, 422, "invalid_params"},
	} {
		if e := w.refused(t, c.method, c.path, c.body, c.status); e.ID != c.id {
			t.Errorf("%s %s %.60s: %+v, want %s", c.method, c.path, c.body, e, c.id)
		}
	}
	if got := len(get[[]platform.Release](t, w, "/apps/example/releases")); got != 2 {
		t.Errorf("calls that were refused made releases: there are %d", got)
	}
	if got := len(get[[]platform.App](t, w, "/apps")); got != 1 {
		t.Errorf("calls that were refused made apps: there are %d", got)
	}
}

func apiRateLimit(t *testing.T, w *wire) {
	remaining := func() int {
		t.Helper()
		return get[struct{ Remaining int }](t, w, "/account/rate-limits").Remaining
	}
	for i := range 3 {
		r := w.call(t, "GET", "/apps", nil, 200)
		if got, want := r.header.Get("RateLimit-Remaining"), strconv.Itoa(4-i); got != want {
			t.Errorf("after %d calls %s remain, want %s", i+1, got, want)
		}
	}
	if got := remaining(); got != 2 {
		t.Errorf("%d remain, want 2: asking costs nothing", got)
	}
	w.Advance(t, 2*time.Minute) // 150 tokens: no more than the limit come back
	if got := remaining(); got != 5 {
		t.Errorf("after a while %d remain, want 5", got)
	}
	for range 5 {
		w.call(t, "GET", "/apps", nil, 200)
	}
	r := w.call(t, "POST", "/apps", `{"name":"example"}`, 429)
	wait, err := strconv.Atoi(r.header.Get("Retry-After"))
	e := decode[refusal](t, r)
	if err != nil || wait < 1 || e.ID != "rate_limit" || e.URL == "" || e.Message != "Your account reached the API rate limit" || r.header.Get("RateLimit-Remaining") != "0" {
		t.Errorf("the refusal is %s with Retry-After %q", r.body, r.header.Get("Retry-After"))
	}
	w.Advance(t, time.Duration(wait)*time.Second)
	w.call(t, "GET", "/apps/example", nil, 404) // the refused call was not carried out
}

func apiClock(t *testing.T, w *wire) {
	before := w.app(t, "before")
	w.Advance(t, 100*24*time.Hour)
	later := w.app(t, "later")
	if d := later.CreatedAt.Sub(before.CreatedAt); d < 99*24*time.Hour {
		t.Errorf("100 days later an app is %s younger", d)
	}
	w.Advance(t, -200*24*time.Hour)
	r := w.call(t, "GET", "/apps", nil, 200)
	if n, err := strconv.Atoi(r.header.Get("RateLimit-Remaining")); err != nil || n < 0 || n > 50 {
		t.Errorf("after a jump back %q calls remain", r.header.Get("RateLimit-Remaining"))
	}
	for range 60 {
		r = fetch(t, "GET", w.URL+"/apps", "", "Authorization", "Bearer "+w.Token)
		if r.status == 429 {
			break
		}
	}
	if wait, err := strconv.Atoi(r.header.Get("Retry-After")); r.status != 429 || err != nil || wait < 1 || wait > 120 {
		t.Errorf("after a jump back: status %d, Retry-After %q", r.status, r.header.Get("Retry-After"))
	}
	w.Advance(t, 100*24*time.Hour)
	w.release(t, "later", procs, "1")
}

func apiRanges(t *testing.T, w *wire) {
	w.app(t, "example")
	for i := range 12 {
		w.call(t, "PATCH", "/apps/example/config-vars", map[string]string{"N": strconv.Itoa(i)}, 200)
	}
	list := func(header string, status int) (string, reply) {
		t.Helper()
		r := w.call(t, "GET", "/apps/example/releases", nil, status, "Range", header)
		var versions []string
		for _, one := range decode[[]platform.Release](t, r) {
			versions = append(versions, strconv.Itoa(one.Version))
		}
		return strings.Join(versions, " "), r
	}
	const all, reversed = "1 2 3 4 5 6 7 8 9 10 11 12 13 14", "14 13 12 11 10 9 8 7 6 5 4 3 2 1"
	for _, c := range []struct {
		header string
		status int
		want   string
	}{
		{"version ..; max=3, order=desc", 206, "14 13 12"}, // heroku releases, rollback
		{"version ..; order=desc,max=1", 206, "14"},        // heroku config:set
		{"version ..; max=1,order=desc", 206, "14"},        // heroku-go
		{"..; max=5", 206, "1 2 3 4 5"},                    // heroku-go without a field
		{"version ..;max=2;", 206, "1 2"},
		{"version ..; order=desc", 200, reversed}, // the heroku-slugs plugin
		{"", 200, all}, // heroku buildpacks
		{" version  ..  ; MAX=2 ; max = 4 ", 206, "1 2 3 4"},
		{"version ..", 200, all},
		{"..", 200, all},
		{"version ]12..; max=15", 200, "13 14"},
		{"version 12..13", 200, "12 13"},
		{"version [12..14[", 200, "12 13"},
		{"version ]3..; max=15, order=desc", 200, "2 1"},
		{"version 99..", 200, ""},
		{"version 9..; max=2", 206, "9 10"}, // by number, not by letter
		{"version ..; max=0, colour=blue", 206, "1"},
		{"version ..; max=-5", 206, "1"},
		{"version ..; max=99999", 200, all},
		{"version ..; max=99999999999999999999", 200, all},
	} {
		if got, _ := list(c.header, c.status); got != c.want {
			t.Errorf("Range %q gives %s, want %s", c.header, got, c.want)
		}
	}
	for _, header := range []string{"colour ..; max=3", "nonsense", "version ..; max=many", "bytes=0-1"} {
		if e := decode[refusal](t, w.call(t, "GET", "/apps/example/releases", nil, 416, "Range", header)); e.ID != "requested_range_not_satisfiable" {
			t.Errorf("Range %q: %+v", header, e)
		}
	}
	if _, r := list("id ..; max=13;", 206); r.header.Get("Next-Range") == "" || !strings.Contains(r.header.Get("Accept-Ranges"), "version") {
		t.Errorf("a list by id has the headers %v", r.header)
	}
	for _, start := range []string{"version ..; max=5, order=desc", "version ..; max=4", "id ..; max=3;", "..; max=6", "version 3..12; max=4"} {
		seen := map[string]bool{}
		pages, got := 0, []string{}
		for next := start; next != ""; pages++ {
			r := fetch(t, "GET", w.URL+"/apps/example/releases", "", "Authorization", "Bearer "+w.Token, "Range", next)
			w.check(t, "GET", "/apps/example/releases", r)
			next = r.header.Get("Next-Range")
			if want := map[bool]int{true: 206, false: 200}[next != ""]; r.status != want {
				t.Fatalf("Range %q: status %d with Next-Range %q", start, r.status, next)
			}
			for _, one := range decode[[]platform.Release](t, r) {
				if seen[one.ID] {
					t.Errorf("Range %q: v%d comes twice", start, one.Version)
				}
				seen[one.ID] = true
				got = append(got, strconv.Itoa(one.Version))
			}
		}
		want := 14
		if strings.Contains(start, "12") {
			want = 10
		}
		if len(got) != want || pages < 3 {
			t.Errorf("Range %q: %d pages hold %v", start, pages, got)
		}
	}
}

func apiTies(t *testing.T, w *wire) {
	const apps = 23
	for i := range apps {
		w.app(t, fmt.Sprintf("app-%02d", i))
	}
	w.Advance(t, time.Hour)
	w.app(t, "last-one")
	for _, path := range []string{"/apps", "/users/~/apps"} {
		for _, start := range []string{"updated_at ..; max=5", "updated_at ..; max=5, order=desc", "name ..; max=5", "id ..; max=1000;", ""} {
			seen := map[string]int{}
			for next, first := start, true; first || next != ""; first = false {
				r := fetch(t, "GET", w.URL+path, "", "Authorization", "Bearer "+w.Token, "Range", next)
				w.check(t, "GET", path, r)
				for _, a := range decode[[]platform.App](t, r) {
					seen[a.Name]++
				}
				next = r.header.Get("Next-Range")
			}
			for name, n := range seen {
				if n != 1 {
					t.Errorf("%s by %q: %s comes %d times", path, start, name, n)
				}
			}
			if len(seen) != apps+1 {
				t.Errorf("%s by %q: %d apps of %d", path, start, len(seen), apps+1)
			}
		}
	}
	last := get[platform.App](t, w, "/apps/last-one").UpdatedAt.Format(time.RFC3339)
	for header, want := range map[string]int{"updated_at " + last + "..": 1, "updated_at ]" + last + "..": 0, "updated_at .." + last: apps + 1, "updated_at .." + last + "[": apps} {
		r := w.call(t, "GET", "/apps", nil, 200, "Range", header)
		if got := len(decode[[]json.RawMessage](t, r)); got != want {
			t.Errorf("Range %q gives %d apps, want %d", header, got, want)
		}
	}
}
