package platform_test

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/platform"
)

// hyperSchema is the part of Heroku's published schema that is compared.
type hyperSchema struct {
	Definitions map[string]struct {
		Properties map[string]any `json:"properties"`
		Links      []struct {
			Method string `json:"method"`
			Href   string `json:"href"`
			Schema struct {
				Properties map[string]any `json:"properties"`
				Required   []string       `json:"required"`
			} `json:"schema"`
		} `json:"links"`
	} `json:"definitions"`
}

// published reads the schema out of the module that carries it.
func published(t *testing.T) hyperSchema {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/heroku/heroku-go/v6").Output()
	text, readErr := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "schema.json"))
	if err != nil || readErr != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("Heroku's schema: %v, %v", err, readErr)
		}
		t.Skipf("Heroku's schema is not in the module cache: %v, %v", err, readErr)
	}
	var s hyperSchema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// fields are the JSON names of a struct.
func fields(v any) []string {
	var names []string
	for f := range reflect.TypeOf(v).Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func keys(m map[string]any) []string {
	var names []string
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

// The schema is strict: a resource has these properties and no others.
func TestWireTypes_haveThePropertiesOfThePublishedSchema(t *testing.T) {
	t.Parallel()
	s := published(t)
	for name, v := range map[string]any{
		"app": platform.App{}, "slug": platform.Slug{}, "release": platform.Release{}, "stack": platform.Stack{},
		"formation": platform.Formation{}, "dyno": platform.Dyno{},
	} {
		if diff := cmp.Diff(keys(s.Definitions[name].Properties), fields(v)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestWireTypes_askForNothingThatThePublishedSchemaLacks(t *testing.T) {
	t.Parallel()
	s := published(t)
	for name, v := range map[string]any{"app": platform.AppCreate{}, "slug": platform.SlugCreate{}, "release": platform.ReleaseCreate{}} {
		found, known := false, map[string]bool{}
		for _, l := range s.Definitions[name].Links {
			if l.Method != http.MethodPost || len(l.Schema.Properties) == 0 {
				continue
			}
			for f := range l.Schema.Properties {
				known[f] = true
			}
			if slices.Contains(l.Schema.Required, "release") {
				continue // a rollback, which names a release in place of a slug
			}
			found = true
			for _, r := range l.Schema.Required {
				if !slices.Contains(fields(v), r) {
					t.Errorf("%s: the request lacks %q", name, r)
				}
			}
		}
		for _, f := range fields(v) {
			if !known[f] {
				t.Errorf("%s: %q is not a property of any request in the schema", name, f)
			}
		}
		if !found {
			t.Errorf("%s: no POST in the schema", name)
		}
	}
}

func TestErrors_areWhatCallersTestFor(t *testing.T) {
	t.Parallel()
	is := func(err error) (list []string) {
		for _, s := range []error{platform.ErrNotFound, platform.ErrUnauthorized, platform.ErrRateLimited, platform.ErrBlobExpired, platform.ErrAmbiguous} {
			if reflect.ValueOf(err).MethodByName("Is").Call([]reflect.Value{reflect.ValueOf(s)})[0].Bool() {
				list = append(list, s.Error())
			}
		}
		return list
	}
	for _, c := range []struct {
		err  error
		text string
		is   []string
	}{
		{&platform.Error{Op: "read app x", Status: 404, ID: "not_found", Message: "Couldn't find that app.", RequestID: "r1"}, "read app x: Couldn't find that app. (not_found) [request r1]", []string{"not found"}},
		{&platform.Error{Op: "read app x", Status: 401}, "read app x: HTTP status 401", []string{"not allowed"}},
		{&platform.Error{Op: "x", Status: 403, Message: "m"}, "x: m", []string{"not allowed"}},
		{&platform.Error{Op: "x", Status: 429, Message: "m"}, "x: m", []string{"rate limited"}},
		{&platform.Error{Op: "x", Status: 503, Message: "m"}, "x: m", nil},
		{&platform.BlobError{Op: "upload slug to h", Status: 403, Code: "AccessDenied", Message: "Request has expired", Expired: true, RequestID: "r2"}, "upload slug to h: Request has expired (AccessDenied): the upload address has expired [request r2]", []string{"the upload address has expired"}},
		{&platform.BlobError{Op: "x", Status: 403}, "x: HTTP status 403", nil},
		{&platform.BlobError{Op: "x", Status: 404}, "x: HTTP status 404", []string{"not found"}},
	} {
		if c.err.Error() != c.text {
			t.Errorf("%q, want %q", c.err, c.text)
		}
		if diff := cmp.Diff(c.is, is(c.err)); diff != "" {
			t.Errorf("%s: %s", c.err, diff)
		}
	}
}
