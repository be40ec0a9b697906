package local_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	herokugo "github.com/heroku/heroku-go/v6"
	"github.com/santhosh-tekuri/jsonschema/v6"

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

// hyperSchema is Heroku's published schema from the heroku-go module, made strict.
var hyperSchema = sync.OnceValues(func() (map[string]any, error) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/heroku/heroku-go/v6").Output()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "schema.json"))
	if err != nil {
		return nil, err
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	tighten(doc)
	// An app's address here is a loopback one.
	app := doc["definitions"].(map[string]any)["app"].(map[string]any)["definitions"].(map[string]any)
	delete(app["web_url"].(map[string]any), "pattern")
	doc["$schema"] = "http://json-schema.org/draft-04/schema#"
	delete(doc, "links")
	return doc, nil
})

// tighten turns strictProperties, which no validator knows, into required and no others.
func tighten(v any) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			tighten(item)
		}
	case map[string]any:
		for _, item := range v {
			tighten(item)
		}
		delete(v, "$schema")
		delete(v, "links") // they hold schemas of requests, with pointers of their own kind
		if pattern, ok := v["pattern"].(string); ok {
			if _, err := regexp.Compile(pattern); err != nil {
				delete(v, "pattern") // of Private Spaces' names, with a look-ahead; there are none here
			}
		}
		properties, _ := v["properties"].(map[string]any)
		if v["strictProperties"] == true && len(properties) > 0 {
			var required []any
			for name := range properties {
				required = append(required, name)
			}
			v["required"], v["additionalProperties"] = required, false
		}
	}
}

// schemaOf compiles one definition.
func schemaOf(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	doc, err := hyperSchema()
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft4)
	c.AssertFormat()
	if err := c.AddResource("https://heroku.test/schema", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("https://heroku.test/schema#/definitions/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// validate holds an answer to the definition of its kind; "[]kind" is a list of it.
func validate(t *testing.T, kind string, text []byte) {
	t.Helper()
	name, isList := strings.CutPrefix(kind, "[]")
	schema := schemaOf(t, name)
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	items := []any{v}
	if isList {
		if items, _ = v.([]any); len(items) == 0 {
			t.Errorf("%s: no items in %s", kind, text)
		}
	}
	for _, item := range items {
		if err := schema.Validate(item); err != nil {
			t.Errorf("%s does not fit the published schema: %v\n%s", kind, err, text)
		}
	}
}

func TestSchema_refusesWhatLacksAFieldOrHasOneMore(t *testing.T) {
	t.Parallel()
	tool(t, "go")
	good := map[string]any{
		"id": "a3bd6e24-0000-4000-8000-000000000024", "name": "heroku-24", "state": "public", "default": true,
		"created_at": "2013-10-08T16:09:54Z", "updated_at": "2013-10-08T16:09:54Z",
	}
	schema := schemaOf(t, "stack")
	if err := schema.Validate(good); err != nil {
		t.Error(err)
	}
	more, less, other := maps.Clone(good), maps.Clone(good), maps.Clone(good)
	more["extra"] = 1
	delete(less, "state")
	other["created_at"] = "yesterday"
	for _, bad := range []map[string]any{more, less, other} {
		if schema.Validate(bad) == nil {
			t.Errorf("the schema lets %v pass", bad)
		}
	}
}

func TestAnswers_fitThePublishedSchema(t *testing.T) {
	t.Parallel()
	needDynos(t)
	tool(t, "go")
	p := open(t, t.TempDir(), local.Options{})
	check := func(kind, method, path string, body any, status int) []byte {
		t.Helper()
		text, _ := call(t, p, method, path, body, status)
		validate(t, kind, text)
		return text
	}
	check("app", "POST", "/apps", `{"name":"example","region":"eu","stack":"heroku-26"}`, 201)
	check("app", "POST", "/apps", `{}`, 201)
	check("[]app", "GET", "/apps", nil, 200)
	check("[]app", "GET", "/users/~/apps", nil, 200)
	check("[]stack", "GET", "/stacks", nil, 200)
	check("stack", "GET", "/stacks/heroku-24", nil, 200)
	check("[]stack", "GET", "/apps/example/available-stacks", nil, 200)
	check("[]dyno-size", "GET", "/dyno-sizes", nil, 200)
	check("dyno-size", "GET", "/dyno-sizes/standard-1x", nil, 200)
	check("[]app-feature", "GET", "/apps/example/features", nil, 200)
	if on := check("app-feature", "PATCH", "/apps/example/features/runtime-dyno-metadata", `{"enabled":true}`, 200); !bytes.Contains(on, []byte(`"enabled":true`)) {
		t.Errorf("the feature that was turned on is %s", on)
	}
	check("app-feature", "GET", "/apps/example/features/runtime-dyno-metadata", nil, 200)
	check("account", "GET", "/account", nil, 200)
	check("rate-limit", "GET", "/account/rate-limits", nil, 200)
	check("config-var/definitions/config_vars", "PATCH", "/apps/example/config-vars", `{"A":"1"}`, 200)
	check("slug", "POST", "/apps/example/slugs", `{"process_types":{"web":"x"},"checksum":null}`, 201)
	slug := upload(t, p, "example", map[string]string{"worker": "sleep 60", "release": "true"}, pack(t))
	check("slug", "GET", "/apps/example/slugs/"+slug.ID, nil, 200)
	check("release", "POST", "/apps/example/releases", map[string]string{"slug": slug.ID}, 201)
	eventually(t, "the release phase", func() bool { return getRelease(t, p, "example", "4").Current })
	check("[]release", "GET", "/apps/example/releases", nil, 200)
	check("release", "GET", "/apps/example/releases/4", nil, 200)
	check("config-var/definitions/config_vars", "GET", "/apps/example/releases/4/config-vars", nil, 200)
	check("[]formation", "GET", "/apps/example/formation", nil, 200)
	check("formation", "PATCH", "/apps/example/formation/worker", `{"quantity":1}`, 200)
	eventually(t, "a dyno", func() bool {
		text, h := call(t, p, "GET", "/apps/example/dynos", nil, 200)
		return len(into[[]platform.Dyno](t, text, h)) == 1
	})
	check("[]dyno", "GET", "/apps/example/dynos", nil, 200)
	check("dyno", "POST", "/apps/example/dynos", `{"command":"true"}`, 201)
	check("log-session", "POST", "/apps/example/log-sessions", `{"lines":1}`, 201)
	check("app", "PATCH", "/apps/example", `{"name":"renamed","maintenance":true,"build_stack":"heroku-24"}`, 200)
	check("app", "DELETE", "/apps/renamed", nil, 200)
}

// TestPromotion_releasesTheSourcesSlugAsTheHerokuCommandAsksForIt makes the calls of `heroku
// pipelines:promote`, in its order.
func TestPromotion_releasesTheSourcesSlugAsTheHerokuCommandAsksForIt(t *testing.T) {
	t.Parallel()
	needDynos(t)
	tool(t, "go")
	dir := t.TempDir()
	p := open(t, dir, local.Options{})
	get := func(kind, path string) []byte {
		t.Helper()
		text, _ := call(t, p, "GET", path, nil, 200)
		validate(t, kind, text)
		return text
	}
	text, h := call(t, p, "POST", "/teams/apps", `{"name":"staging","team":"crew"}`, 201)
	validate(t, "team-app", text)
	staging := into[platform.App](t, text, h)
	production := createApp(t, p, "production")
	get("[]team", "/teams")
	get("team", "/teams/crew")
	if !bytes.Contains(get("[]team-app", "/teams/crew/apps"), []byte(`"staging"`)) {
		t.Error("the team's apps lack its app")
	}
	if bytes.Contains(get("[]app", "/users/~/apps"), []byte(`"staging"`)) || !bytes.Contains(get("[]app", "/apps"), []byte(`"staging"`)) {
		t.Error("a team's app belongs to the list of all apps, and not to the user's")
	}
	call(t, p, "POST", "/teams/apps", `{"space":"private"}`, 404)

	text, h = call(t, p, "POST", "/pipelines", `{"name":"line","owner":{"id":"`+staging.Owner.ID+`","type":"team"},"generation":{"name":"cedar"}}`, 201)
	validate(t, "pipeline", text)
	line := into[platform.Ref](t, text, h)
	for app, stage := range map[string]string{"staging": "staging", "production": "production"} {
		text, _ := call(t, p, "POST", "/pipeline-couplings", `{"app":"`+app+`","pipeline":"`+line.ID+`","stage":"`+stage+`"}`, 201)
		validate(t, "pipeline-coupling", text)
	}
	release(t, p, "staging", map[string]string{"worker": "sleep 60", "release": `echo "to $DYNO"; test -z "$FAIL"`})
	eventually(t, "the release phase", func() bool { return getRelease(t, p, "staging", "3").Current })

	if !bytes.Contains(get("pipeline-coupling", "/apps/staging/pipeline-couplings"), []byte(`"name":"line"`)) {
		t.Error("the coupling does not name its pipeline")
	}
	get("[]pipeline-coupling", "/pipelines/"+line.ID+"/pipeline-couplings")
	text, _ = call(t, p, "POST", "/filters/apps", `{"in":{"id":["`+staging.ID+`","`+production.ID+`"]}}`, 200, "Range", "id ..; max=1000;")
	validate(t, "[]team-app", text)
	type target struct {
		App, Release platform.Ref
		Status       string
		Error        *string `json:"error_message"`
	}
	promote := func() (string, target) {
		t.Helper()
		text, h := call(t, p, "POST", "/pipeline-promotions", `{"pipeline":{"id":"`+line.ID+`"},"source":{"app":{"id":"`+staging.ID+`"}},"targets":[{"app":{"id":"`+production.ID+`"}}]}`, 201)
		validate(t, "pipeline-promotion", text)
		id := into[platform.Ref](t, text, h).ID
		var one target
		eventually(t, "the promotion", func() bool {
			one = into[[]target](t, get("[]pipeline-promotion-target", "/pipeline-promotions/"+id+"/promotion-targets"), nil)[0]
			return one.Status != "pending"
		})
		return id, one
	}
	_, one := promote()
	if r := getRelease(t, p, production.ID, one.Release.ID); one.Status != "succeeded" || !r.Current || !strings.HasPrefix(r.Description, "Promote staging v3 ") {
		t.Errorf("the target is %+v, its release %+v", one, r)
	}
	call(t, p, "PATCH", "/apps/production/config-vars", `{"FAIL":"1"}`, 200)
	id, one := promote()
	if one.Status != "failed" || one.Error == nil {
		t.Errorf("a promotion whose release phase fails is %+v", one)
	}
	stop(t, p)
	p = open(t, dir, local.Options{})
	if text := get("pipeline-promotion", "/pipeline-promotions/"+id); !bytes.Contains(text, []byte(`"completed"`)) {
		t.Errorf("after a restart the promotion is %s", text)
	}
	call(t, p, "DELETE", "/apps/staging", nil, 200)
	call(t, p, "GET", "/apps/production/slugs/"+getRelease(t, p, "production", "3").Slug.ID, nil, 200)
	call(t, p, "DELETE", "/pipelines/line", `{"name":"line"}`, 200)
	call(t, p, "GET", "/apps/production/pipeline-couplings", nil, 404)
}

func TestHerokuGo_deploysUnchanged(t *testing.T) {
	t.Parallel()
	p := open(t, t.TempDir(), local.Options{})
	svc := herokugo.NewService(&http.Client{Transport: &herokugo.Transport{BearerToken: p.Token().Reveal()}})
	svc.URL = p.URL()
	ctx := t.Context()
	app, err := svc.AppCreate(ctx, herokugo.AppCreateOpts{Name: new("example")})
	if err != nil {
		t.Fatal(err)
	}
	archive := pack(t, web(t))
	slug, err := svc.SlugCreate(ctx, app.ID, herokugo.SlugCreateOpts{
		ProcessTypes: map[string]string{"web": "bin/web"}, Checksum: new(checksum(archive)), Stack: new("heroku-24"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if res := put(t, slug.Blob.URL, archive); res.status != 200 {
		t.Fatalf("PUT %d %s", res.status, res.body)
	}
	r, err := svc.ReleaseCreate(ctx, app.ID, herokugo.ReleaseCreateOpts{Slug: slug.ID, Description: new("by heroku-go")})
	if err != nil {
		t.Fatal(err)
	}
	if r.Version != 3 || !r.Current {
		t.Errorf("release is v%d, current %t", r.Version, r.Current)
	}
	awaitWeb(t, p, app.ID)
	if _, err := svc.ConfigVarUpdate(ctx, "example", map[string]*string{"A": new("1")}); err != nil {
		t.Fatal(err)
	}
	list, err := svc.ReleaseList(ctx, "example", &herokugo.ListRange{Field: "version", Descending: true, Max: 2})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 || list[0].Version != 4 || list[1].Description != "by heroku-go" {
		t.Errorf("releases are %+v", list)
	}
	back, err := svc.ReleaseRollback(ctx, "example", herokugo.ReleaseRollbackOpts{Release: r.ID})
	if err != nil {
		t.Fatal(err)
	}
	if back.Version != 5 || back.Description != "Rollback to v3" || back.Slug.ID != slug.ID {
		t.Errorf("rollback is %+v", back)
	}
	if vars, err := svc.ConfigVarInfoForApp(ctx, "example"); err != nil || len(vars) != 0 {
		t.Errorf("after the rollback config vars are %v, %v", vars, err)
	}
	if f, err := svc.FormationUpdate(ctx, "example", "web", herokugo.FormationUpdateOpts{Quantity: new(0)}); err != nil || f.Quantity != 0 {
		t.Errorf("scaled to %+v, %v", f, err)
	}
	if _, err := svc.DynoRestartAll(ctx, "example"); err != nil {
		t.Errorf("restart: %v", err)
	}
	if _, err = svc.AppInfo(ctx, "nowhere"); err == nil {
		t.Fatal("an app that does not exist was found")
	}
	var refusal herokugo.Error
	if !errors.As(err, &refusal) || refusal.ID != "not_found" || refusal.StatusCode != http.StatusNotFound {
		t.Errorf("refusal is %#v", err)
	}
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

func TestReleases_listByEverySpellingOfRange(t *testing.T) {
	t.Parallel()
	p := open(t, t.TempDir(), local.Options{})
	createApp(t, p, "example")
	for i := range 12 {
		call(t, p, "PATCH", "/apps/example/config-vars", map[string]string{"N": fmt.Sprint(i)}, 200)
	}
	versions := func(header string, status int) (string, string) {
		t.Helper()
		text, h := call(t, p, "GET", "/apps/example/releases", nil, status, "Range", header)
		var got []string
		for _, r := range into[[]platform.Release](t, text, h) {
			got = append(got, fmt.Sprint(r.Version))
		}
		return strings.Join(got, " "), h.Get("Next-Range")
	}
	for _, c := range []struct {
		header string
		status int
		want   string
	}{
		{"version ..; max=3, order=desc", 206, "14 13 12"},
		{"version ..; order=desc,max=1", 206, "14"},
		{"version ..; max=1,order=desc", 206, "14"},
		{"..; max=5", 206, "1 2 3 4 5"},
		{"version ..;max=2;", 206, "1 2"},
		{"", 200, "1 2 3 4 5 6 7 8 9 10 11 12 13 14"},
		{"version ..; order=desc", 200, "14 13 12 11 10 9 8 7 6 5 4 3 2 1"},
		{"version ]12..; max=15", 200, "13 14"},
		{"version 12..13", 200, "12 13"},
		{"version ]3..; max=15, order=desc", 200, "2 1"},
		{"version ..; max=0, colour=blue", 206, "1"},
		{"version ..; max=99999", 200, "1 2 3 4 5 6 7 8 9 10 11 12 13 14"},
	} {
		if got, _ := versions(c.header, c.status); got != c.want {
			t.Errorf("Range %q gives %s, want %s", c.header, got, c.want)
		}
	}
	if text, _ := call(t, p, "GET", "/apps/example/releases", nil, 206, "Range", "id ..; max=13;"); !strings.HasPrefix(string(text), "[{") {
		t.Errorf("a trailing semicolon gives %s", text)
	}
	var all []string
	for next, status := "version ..; max=5, order=desc", 206; next != ""; {
		if len(all) == 2 {
			status = 200
		}
		var got string
		got, next = versions(next, status)
		all = append(all, got)
	}
	if diff := cmp.Diff([]string{"14 13 12 11 10", "9 8 7 6 5", "4 3 2 1"}, all); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	call(t, p, "GET", "/apps/example/releases", nil, 416, "Range", "colour ..; max=3")
	call(t, p, "GET", "/apps/example/releases", nil, 416, "Range", "nonsense")
}

func TestAPI_refusesWhatHerokuRefuses(t *testing.T) {
	t.Parallel()
	p := open(t, t.TempDir(), local.Options{})
	createApp(t, p, "example")
	never, h := call(t, p, "POST", "/apps/example/slugs", `{"process_types":{"web":"x"}}`, 201)
	unsent := into[platform.Slug](t, never, h).ID
	for _, c := range []struct {
		method, path, body string
		status             int
		id                 string
	}{
		{"POST", "/apps", `{"name":"example"}`, 422, "invalid_params"},
		{"POST", "/apps", `{"name":"Example"}`, 422, "invalid_params"},
		{"POST", "/apps", `{"name":"other","stack":"cedar-14"}`, 422, "invalid_params"},
		{"POST", "/apps", `{"name":"other","region":"moon"}`, 422, "invalid_params"},
		{"POST", "/apps", `{"nick":"other"}`, 422, "invalid_params"},
		{"POST", "/apps", `{"name":7}`, 422, "invalid_params"},
		{"POST", "/apps", `{"name":`, 400, "bad_request"},
		{"GET", "/apps/nowhere", "", 404, "not_found"},
		{"GET", "/apps/example/slugs/nothing", "", 404, "not_found"},
		{"GET", "/apps/example/releases/99", "", 404, "not_found"},
		{"GET", "/apps/example/pipeline-couplings", "", 404, "not_found"},
		{"GET", "/nothing/of/the/sort", "", 404, "not_found"},
		{"PUT", "/apps", `{}`, 404, "not_found"},
		{"POST", "/apps/example/slugs", `{}`, 422, "invalid_params"},
		{"POST", "/apps/example/slugs", `{"process_types":{"a/b":"x"}}`, 422, "invalid_params"},
		{"POST", "/apps/example/slugs", `{"process_types":{"..":"x"}}`, 422, "invalid_params"},
		{"POST", "/apps/example/slugs", `{"process_types":{"wéb":"x"}}`, 422, "invalid_params"},
		{"POST", "/apps/example/slugs", `{"process_types":{"w\nb":"x"}}`, 422, "invalid_params"},
		{"POST", "/apps/example/slugs", `{"process_types":{"` + strings.Repeat("w", 129) + `":"x"}}`, 422, "invalid_params"},
		{"POST", "/apps/example/slugs", `{"process_types":{"web":"x"},"stack":"cedar"}`, 422, "invalid_params"},
		{"POST", "/apps/example/slugs", `{"process_types":{"web":"x"},"size":7}`, 422, "invalid_params"},
		{"POST", "/apps/example/releases", `{}`, 422, "invalid_params"},
		{"POST", "/apps/example/releases", `{"slug":"` + unsent + `"}`, 422, "invalid_params"},
		{"POST", "/apps/example/releases", `{"slug":"nothing"}`, 404, "not_found"},
		{"POST", "/apps/example/releases", `{"release":"1"}`, 422, "invalid_params"},
		{"PATCH", "/apps/example/config-vars", `{"A B":"1"}`, 422, "invalid_params"},
		{"PATCH", "/apps/example/config-vars", `{"HEROKU_X":"1"}`, 422, "invalid_params"},
		{"PATCH", "/apps/example/config-vars", `{"A":1}`, 422, "invalid_params"},
		{"PATCH", "/apps/example/config-vars", `{"A":"` + strings.Repeat("x", 40_000) + `"}`, 422, "invalid_params"},
	} {
		text, h := call(t, p, c.method, c.path, c.body, c.status)
		var e struct{ ID, Message string }
		if err := json.Unmarshal(text, &e); err != nil || e.ID != c.id || e.Message == "" {
			t.Errorf("%s %s %.60s answers %s", c.method, c.path, c.body, text)
		}
		if !strings.HasPrefix(h.Get("Content-Type"), "application/json") || h.Get("Request-Id") == "" || h.Get("RateLimit-Remaining") == "" {
			t.Errorf("%s %s: headers are %v", c.method, c.path, h)
		}
	}
	if r := getRelease(t, p, "example", "2"); !r.Current {
		t.Error("a refused call changed the app")
	}
}

func TestConfig_makesAReleaseForEachChange(t *testing.T) {
	t.Parallel()
	p := open(t, t.TempDir(), local.Options{})
	createApp(t, p, "example")
	call(t, p, "PATCH", "/apps/example/config-vars", `{"A":"1","B":"2"}`, 200)
	call(t, p, "PATCH", "/apps/example/config-vars", `{"A":"1"}`, 200) // nothing changes
	text, _ := call(t, p, "PATCH", "/apps/example/config-vars", `{"A":null,"C":"3"}`, 200)
	if got := strings.TrimSpace(string(text)); got != `{"B":"2","C":"3"}` {
		t.Errorf("config vars are %s", got)
	}
	text, h := call(t, p, "GET", "/apps/example/releases", nil, 200)
	var got []string
	for _, r := range into[[]platform.Release](t, text, h) {
		got = append(got, fmt.Sprintf("v%d %s", r.Version, r.Description))
	}
	want := []string{"v1 Initial release", "v2 Enable Logplex", "v3 Set A, B config vars", "v4 Set C, Remove A config vars"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("releases (-want +got):\n%s", diff)
	}
	if text, _ := call(t, p, "GET", "/apps/example/releases/v3/config-vars", nil, 200); strings.TrimSpace(string(text)) != `{"A":"1","B":"2"}` {
		t.Errorf("config of v3 is %s", text)
	}
}

func TestAPI_letsInOnlyItsTokenAndItsOwnNames(t *testing.T) {
	t.Parallel()
	p := open(t, t.TempDir(), local.Options{})
	createApp(t, p, "example")
	try := func(host string, auth func(*http.Request)) reply {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.URL()+"/apps", nil)
		if err != nil {
			t.Fatal(err)
		}
		if host != "" {
			req.Host = host
		}
		auth(req)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return read(t, res)
	}
	token := p.Token().Reveal()
	bearer := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	for name, c := range map[string]struct {
		host string
		auth func(*http.Request)
		want int
	}{
		"bearer":                 {"", bearer, 200},
		"basic":                  {"", func(r *http.Request) { r.SetBasicAuth("you@example.com", token) }, 200},
		"basic without a user":   {"", func(r *http.Request) { r.SetBasicAuth("", token) }, 200},
		"nothing":                {"", func(*http.Request) {}, 401},
		"another token":          {"", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token[1:]) }, 401},
		"an empty bearer":        {"", func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") }, 401},
		"the token as user":      {"", func(r *http.Request) { r.SetBasicAuth(token, "") }, 401},
		"localhost":              {"localhost:5999", bearer, 200},
		"IPv6 loopback":          {"[::1]:5999", bearer, 200},
		"a foreign host":         {"evil.example:5999", bearer, 403},
		"a foreign address":      {"192.0.2.1", bearer, 403},
		"localhost as a prefix":  {"localhost.evil.example", bearer, 403},
		"a loopback name prefix": {"127.0.0.1.evil.example", bearer, 403},
	} {
		res := try(c.host, c.auth)
		if res.status != c.want {
			t.Errorf("%s: status %d, want %d", name, res.status, c.want)
		}
		if v := res.header.Get("Access-Control-Allow-Origin"); v != "" {
			t.Errorf("%s: CORS header %q", name, v)
		}
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

func TestBlobs_keepTheRulesOfSignedURLs(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now := time.Now()
	p := open(t, t.TempDir(), local.Options{SlugLimit: 1000, BlobLifetime: time.Minute, Clock: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}})
	createApp(t, p, "example")
	text, h := call(t, p, "POST", "/apps/example/slugs", `{"process_types":{"web":"x"}}`, 201)
	slug := into[platform.Slug](t, text, h)
	if slug.Size != nil || !strings.EqualFold(slug.Blob.Method, "put") {
		t.Errorf("a new slug is %s", text)
	}
	u := slug.Blob.URL
	status := func(r reply) string {
		code := regexp.MustCompile(`<Code>(.*)</Code>`).FindStringSubmatch(r.body)
		if code == nil {
			return fmt.Sprint(r.status)
		}
		return fmt.Sprint(r.status, " ", code[1])
	}
	chunked, err := http.NewRequestWithContext(t.Context(), http.MethodPut, u, struct{ *strings.Reader }{strings.NewReader("x")})
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(chunked)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{
		"chunked":         status(read(t, res)),
		"content type":    status(put(t, u, []byte("x"), "Content-Type", "application/gzip")),
		"authorization":   status(put(t, u, []byte("x"), "Authorization", "Bearer "+p.Token().Reveal())),
		"too large":       status(put(t, u, make([]byte, 1001))),
		"wrong signature": status(put(t, u[:len(u)-1]+"x", []byte("x"))),
		"other blob":      status(put(t, strings.Replace(u, "/slugs/", "/slugs/0", 1), []byte("x"))),
	}
	want := map[string]string{
		"chunked": "411 MissingContentLength", "content type": "403 SignatureDoesNotMatch", "authorization": "400 InvalidArgument",
		"too large": "400 EntityTooLarge", "wrong signature": "403 SignatureDoesNotMatch", "other blob": "403 SignatureDoesNotMatch",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
	if s, _ := fetch(t, u); s != 403 {
		t.Errorf("an upload URL lets one download: %d", s)
	}

	first := put(t, u, []byte("first"), "Expect", "100-continue")
	second := put(t, u, []byte("second"))
	if first.status != 200 || second.status != 200 || second.header.Get("ETag") != `"a9f0e61a137d86aa9db53465e0801612"` {
		t.Errorf("uploads answer %d, %d with %s", first.status, second.status, second.header.Get("ETag"))
	}
	text, h = call(t, p, "GET", "/apps/example/slugs/"+slug.ID, nil, 200)
	slug = into[platform.Slug](t, text, h)
	if slug.Size == nil || *slug.Size != 6 || slug.Blob.Method != http.MethodGet {
		t.Errorf("an uploaded slug is %s", text)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, slug.Blob.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Range", "bytes=0-0")
	part, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer part.Body.Close()
	if part.StatusCode != http.StatusPartialContent || part.Header.Get("Content-Range") != "bytes 0-0/6" || part.Header.Get("ETag") == "" {
		t.Errorf("a ranged GET answers %s, %v", part.Status, part.Header)
	}
	mu.Lock()
	now = now.Add(2 * time.Minute)
	mu.Unlock()
	late := put(t, u, []byte("late"))
	if late.status != 403 || !strings.Contains(late.body, "Request has expired") {
		t.Errorf("an expired URL answers %d %s", late.status, late.body)
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

func TestRateLimit_refusesAndComesBack(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now := time.Now()
	p := open(t, t.TempDir(), local.Options{RateLimit: 3, Clock: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}})
	for i := range 3 {
		if _, h := call(t, p, "GET", "/apps", nil, 200); h.Get("RateLimit-Remaining") != fmt.Sprint(2-i) {
			t.Errorf("after %d calls %s remain", i+1, h.Get("RateLimit-Remaining"))
		}
	}
	if _, h := call(t, p, "GET", "/apps", nil, 429); h.Get("Retry-After") == "" {
		t.Error("429 without Retry-After")
	}
	call(t, p, "GET", "/account/rate-limits", nil, 200)
	mu.Lock()
	now = now.Add(time.Second)
	mu.Unlock()
	call(t, p, "GET", "/apps", nil, 200)
}

func TestDeleteApp_leavesNothing(t *testing.T) {
	t.Parallel()
	needDynos(t)
	dir := t.TempDir()
	p := open(t, dir, local.Options{})
	app := createApp(t, p, "example")
	createApp(t, p, "other")
	r := release(t, p, "example", map[string]string{"web": "sleep 60"})
	call(t, p, "POST", "/apps/other/releases", map[string]string{"slug": r.Slug.ID}, 201)
	call(t, p, "DELETE", "/apps/"+app.ID, nil, 200)
	call(t, p, "GET", "/apps/example", nil, 404)
	call(t, p, "GET", "/apps/other/slugs/"+r.Slug.ID, nil, 200) // another app still releases it
	createApp(t, p, "example")
	if r := getRelease(t, p, "example", "2"); !r.Current {
		t.Errorf("a new app of the same name begins with %+v", r)
	}
}

func TestETag_savesABody(t *testing.T) {
	t.Parallel()
	p := open(t, t.TempDir(), local.Options{})
	createApp(t, p, "example")
	_, h := call(t, p, "GET", "/apps/example", nil, 200)
	call(t, p, "GET", "/apps/example", nil, 304, "If-None-Match", h.Get("ETag"))
}
