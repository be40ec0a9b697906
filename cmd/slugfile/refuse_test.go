package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform"
)

// TestPlan_refusesAppsThatTakeNoSlugs asks a platform whose app is a Fir app, or archived.
func TestPlan_refusesAppsThatTakeNoSlugs(t *testing.T) {
	t.Parallel()
	archived := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, tt := range map[string]struct {
		change        func(*platform.App)
		problem, hint string
	}{
		"fir":      {func(a *platform.App) { a.Generation.Name = "fir" }, "is a Fir app: Fir runs container images and takes no slugs", "hint: "},
		"archived": {func(a *platform.App) { a.ArchivedAt = &archived }, "is archived", "hint: restore it on the platform first"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := platform.App{ID: "01234567-89ab-cdef-0123-456789abcdef", Name: "example"}
			app.Generation.Name = "cedar"
			app.Stack.Name = "heroku-24"
			tt.change(&app)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				var answer any = []any{}
				switch {
				case r.Method != http.MethodGet:
					t.Errorf("a plan sends %s %s", r.Method, r.URL.Path)
				case r.URL.Path == "/apps/example":
					answer = app
				}
				if err := json.NewEncoder(w).Encode(answer); err != nil {
					t.Error(err)
				}
			}))
			t.Cleanup(server.Close)
			w := newWorld(t)
			w.Env["HEROKU_API_KEY"] = "HRKU-canary"
			dir := t.TempDir()
			write(t, filepath.Join(dir, "slug.yaml"), "app: example\nstack: heroku-24\nprocess_types: {web: ./web}\n")
			for _, args := range [][]string{{"plan"}, {"apply", "-y"}} {
				r := w.run(t, dir, append(args, "--api", server.URL)...)
				out := strings.Join(strings.Fields(r.Out), " ") // a plan is wrapped
				if r.Code != exitFailed || !strings.Contains(out, "problem: app: example "+tt.problem) || !strings.Contains(out, tt.hint) {
					t.Errorf("%v: exit code %d\n%s%s", args, r.Code, r.Out, r.Err)
				}
				if !strings.Contains(r.Err, "this plan cannot be applied: example "+tt.problem) || strings.Contains(r.Out+r.Err, "canary") {
					t.Errorf("%v: %s", args, r.Err)
				}
			}
		})
	}
}
