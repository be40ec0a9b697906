package platformtest

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/slugfile/slugfile/pipeline/platform"
)

var generatedName = regexp.MustCompile(`^[a-z][a-z0-9-]{1,28}[a-z0-9]$`)

func apiApps(t *testing.T, w *wire) {
	made := decode[platform.App](t, w.call(t, "POST", "/apps", `{"name":"example","region":"eu","stack":"heroku-26","feature_flags":["runtime-dyno-metadata"]}`, 201))
	if made.Name != "example" || made.Region.Name != "eu" || made.Stack.Name != "heroku-26" || made.BuildStack.Name != "heroku-26" || made.Team != nil || made.SlugSize != nil {
		t.Errorf("the app is %+v", made)
	}
	for _, body := range []string{`{}`, ``, `{"name":null}`, `{"stack":"` + made.Stack.ID + `","region":"` + made.Region.ID + `"}`} {
		a := decode[platform.App](t, w.call(t, "POST", "/apps", body, 201))
		if !generatedName.MatchString(a.Name) || a.Name == made.Name {
			t.Errorf("POST /apps %s makes the app %q", body, a.Name)
		}
		w.call(t, "DELETE", "/apps/"+a.ID, nil, 200)
	}
	got := decode[platform.App](t, w.call(t, "PATCH", "/apps/example", `{"name":"renamed"}`, 200))
	if got.ID != made.ID || got.Name != "renamed" || !strings.Contains(got.GitURL, "/renamed.git") {
		t.Errorf("the renamed app is %+v", got)
	}
	w.call(t, "GET", "/apps/example", nil, 404)
	if a := get[platform.App](t, w, "/apps/"+made.ID); a.Name != "renamed" {
		t.Errorf("by its id the renamed app is %q", a.Name)
	}
	if r := get[[]platform.Release](t, w, "/apps/renamed/releases"); len(r) != 2 || r[0].App.Name != "renamed" {
		t.Errorf("the renamed app has the releases %+v", r)
	}
	w.app(t, "example") // the old name is free
	w.call(t, "PATCH", "/apps/renamed", `{"name":"example"}`, 422)
	w.call(t, "PATCH", "/apps/renamed", `{"name":"renamed"}`, 200)

	if a := decode[platform.App](t, w.call(t, "PATCH", "/apps/renamed", `{"maintenance":true}`, 200)); !a.Maintenance || a.Name != "renamed" {
		t.Errorf("in maintenance the app is %+v", a)
	}
	// An app that was never deployed moves at once; one that was, with the next slug of that stack.
	if a := decode[platform.App](t, w.call(t, "PATCH", "/apps/renamed", `{"build_stack":"heroku-24"}`, 200)); a.BuildStack.Name != "heroku-24" || a.Stack.Name != "heroku-24" {
		t.Errorf("before a deploy the stacks are %s and %s", a.BuildStack.Name, a.Stack.Name)
	}
	w.release(t, "renamed", procs, "1")
	if a := decode[platform.App](t, w.call(t, "PATCH", "/apps/renamed", `{"build_stack":"heroku-26"}`, 200)); a.BuildStack.Name != "heroku-26" || a.Stack.Name != "heroku-24" || a.SlugSize == nil {
		t.Errorf("after a deploy the stacks are %s and %s", a.BuildStack.Name, a.Stack.Name)
	}
	w.call(t, "DELETE", "/apps/"+made.ID, nil, 200)
	for _, ident := range []string{made.ID, "renamed"} {
		w.call(t, "GET", "/apps/"+ident, nil, 404)
		w.call(t, "DELETE", "/apps/"+ident, nil, 404)
	}
	if a := w.app(t, "renamed"); a.ID == made.ID {
		t.Error("a new app has the id of a deleted one")
	}
	if r := get[[]platform.Release](t, w, "/apps/renamed/releases"); len(r) != 2 {
		t.Errorf("a new app of an old name has %d releases", len(r))
	}
}

func apiIdents(t *testing.T, w *wire) {
	a := w.app(t, "example")
	r := w.release(t, "example", procs, "1")
	f := get[platform.Formation](t, w, "/apps/example/formation/worker")
	for _, app := range []string{a.ID, a.Name} {
		for _, path := range []string{
			"", "/releases", "/releases/" + r.ID, "/releases/3", "/releases/v3", "/releases/3/config-vars", "/slugs/" + r.Slug.ID, "/config-vars",
			"/formation", "/formation/worker", "/formation/" + f.ID, "/dynos", "/available-stacks", "/available-dyno-sizes", "/features",
			"/addons", "/addon-attachments", "/collaborators", "/domains", "/log-drains", "/buildpack-installations",
			"/sni-endpoints", "/webhooks", "/builds",
		} {
			w.call(t, "GET", "/apps/"+app+path, nil, 200)
		}
	}
	for _, path := range []string{"/stacks/" + a.Stack.ID, "/stacks/" + a.Stack.Name, "/regions/" + a.Region.ID, "/regions/us", "/dyno-sizes/" + f.DynoSize.ID, "/dyno-sizes/basic"} {
		w.call(t, "GET", path, nil, 200)
	}
}

func apiDomains(t *testing.T, w *wire) {
	a := w.app(t, "example")
	type domain struct{ ID, Hostname, Kind string }
	list := get[[]domain](t, w, "/apps/example/domains")
	if len(list) != 1 || list[0].Kind != "heroku" || a.WebURL == nil || !strings.Contains(*a.WebURL, "://"+list[0].Hostname+"/") {
		t.Fatalf("the domains are %+v", list)
	}
	for _, ident := range []string{list[0].ID, list[0].Hostname} {
		if d := get[domain](t, w, "/apps/"+a.ID+"/domains/"+ident); d != list[0] {
			t.Errorf("as %s the domain is %+v", ident, d)
		}
	}
	w.call(t, "GET", "/apps/example/domains/www.example.com", nil, 404)
	other := w.app(t, "other")
	if d := get[[]domain](t, w, "/apps/other/domains"); len(d) != 1 || d[0].ID == list[0].ID || !strings.Contains(*other.WebURL, d[0].Hostname) {
		t.Errorf("the other app's domains are %+v", d)
	}
}

func apiTeams(t *testing.T, w *wire) {
	w.app(t, "mine")
	a := decode[platform.App](t, w.call(t, "POST", "/teams/apps", `{"name":"ours","team":"crew","region":"us","stack":"heroku-24"}`, 201))
	if a.Team == nil || a.Team.Name != "crew" || a.Organization == nil || a.Owner.ID != a.Team.ID {
		t.Errorf("the team's app is %+v", a)
	}
	if b := decode[platform.App](t, w.call(t, "POST", "/teams/apps", `{"name":"own","team":"crew","personal":true}`, 201)); b.Team != nil {
		t.Errorf("a personal app is of the team %s", b.Team.Name)
	}
	names := func(path string) string {
		t.Helper()
		var list []string
		for _, a := range get[[]platform.App](t, w, path) {
			list = append(list, a.Name)
		}
		return strings.Join(list, " ")
	}
	for path, want := range map[string]string{
		"/apps": "mine ours own", "/users/~/apps": "mine own", "/teams/crew/apps": "ours", "/teams/" + a.Team.ID + "/apps": "ours",
	} {
		if got := names(path); got != want {
			t.Errorf("GET %s: %q, want %q", path, got, want)
		}
	}
	if teams := get[[]platform.Ref](t, w, "/teams"); len(teams) != 1 || teams[0].Name != "crew" {
		t.Errorf("the teams are %+v", teams)
	}
	w.call(t, "GET", "/teams/crew", nil, 200)
	w.call(t, "POST", "/teams", `{"name":"other"}`, 201)
	w.call(t, "POST", "/teams", `{"name":"other"}`, 422)
	w.call(t, "PATCH", "/teams/apps/mine", `{"owner":"other"}`, 200)
	w.call(t, "PATCH", "/teams/apps/ours", `{"owner":"`+get[platform.Owner](t, w, "/account").Email+`"}`, 200)
	w.call(t, "PATCH", "/teams/apps/mine", `{"locked":true}`, 200)
	if got := names("/users/~/apps"); got != "ours own" {
		t.Errorf("after the transfers the user has %q", got)
	}
	if !get[struct{ Locked bool }](t, w, "/teams/apps/mine").Locked {
		t.Error("the app is not locked")
	}
}

func apiFacts(t *testing.T, w *wire) {
	for _, path := range []string{
		"/stacks", "/regions", "/dyno-sizes", "/account", "/users/~", "/account/rate-limits", "/account/features",
		"/account/keys", "/addons", "/addon-attachments", "/addon-services", "/oauth/authorizations", "/oauth/clients",
		"/spaces", "/teams", "/pipelines", "/pipeline-couplings", "/users/~/pipeline-couplings",
	} {
		w.call(t, http.MethodGet, path, nil, 200)
	}
	stacks := get[[]platform.Stack](t, w, "/stacks")
	defaults := 0
	for _, s := range stacks {
		if s.Default {
			defaults++
			if a := w.app(t, "example"); a.Stack.Name != s.Name {
				t.Errorf("a new app has the stack %s, the default is %s", a.Stack.Name, s.Name)
			}
		}
	}
	if defaults != 1 {
		t.Errorf("%d stacks are the default", defaults)
	}
	if a := get[platform.Owner](t, w, "/users/"+get[platform.Owner](t, w, "/account").Email); !strings.Contains(a.Email, "@") {
		t.Errorf("the account is %+v", a)
	}
	if r := w.call(t, http.MethodHead, "/apps/example", nil, 200); len(r.body) != 0 {
		t.Errorf("HEAD answers %d bytes", len(r.body))
	}
}

func apiFeatures(t *testing.T, w *wire) {
	type feature struct {
		ID, Name string
		Enabled  bool
	}
	w.app(t, "example")
	is := func(want bool) feature {
		t.Helper()
		list := get[[]feature](t, w, "/apps/example/features")
		i := slices.IndexFunc(list, func(f feature) bool { return f.Name == "runtime-dyno-metadata" })
		if i < 0 || list[i].Enabled != want {
			t.Fatalf("the features are %+v", list)
		}
		return list[i]
	}
	id := is(false).ID
	w.call(t, "PATCH", "/apps/example/features/runtime-dyno-metadata", `{"enabled":true}`, 200)
	if f := get[feature](t, w, "/apps/example/features/"+id); !f.Enabled {
		t.Errorf("by its id the feature is %+v", f)
	}
	is(true)
	w.call(t, "PATCH", "/apps/example/features/"+id, `{"enabled":false}`, 200)
	is(false)
	// Where `heroku labs:enable` looks before it looks at the app.
	w.call(t, "GET", "/account/features/runtime-dyno-metadata", nil, 404)
}
