//go:build linux

package main

import (
	"bytes"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sebdah/goldie/v2"

	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/platform/local"
)

// TestTerminal_tellsTheStory records what a user sees from the first apply to a stale plan, in
// testdata/terminal.golden, for people to read and for a change of any line to be noticed.
func TestTerminal_tellsTheStory(t *testing.T) {
	t.Parallel()
	pipetest.NeedTools(t, "git", "bash")
	w := newWorld(t)
	w.startPlatform(t)
	info, _ := local.Discover(filepath.Join(w.Env["XDG_DATA_HOME"], name, "platform"))
	w.Env["SLUGFILE_API"], w.Env["HEROKU_API_KEY"] = info.API, info.Token.Reveal()
	archive := func(version string) []byte {
		root := "node-" + version + "-linux-x64/"
		return pipetest.TarGz(t, map[string]string{
			root + "bin/node*": "#!/bin/sh\necho " + version + "\n", root + "README.md": strings.Repeat("Node "+version+"\n", 400),
		})
	}
	path := func(version string) string { return "/dist/" + version + "/node-" + version + "-linux-x64.tar.gz" }
	mirror := pipetest.Mirror(t, map[string][]byte{path("v22.10.0"): archive("v22.10.0"), path("v22.11.0"): archive("v22.11.0")})
	w.Env["SLUGFILE_MIRRORS"] = "https://nodejs.org/dist/=" + mirror.URL + "/dist/"

	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	write(t, file("slug.yaml"), `app: example
stack: heroku-24

runtimes:
  node:
    url: https://nodejs.org`+path("v22.10.0")+`
    sha256: `+fmt.Sprintf("%x", hash(archive("v22.10.0")))+`
    strip: 1

build:
  - name: dependencies
    run: mkdir node_modules && cp package.json node_modules/
    inputs: [package.json]
    outputs: [node_modules]
  - name: bundle
    run: mkdir public && cat src/*.js >public/app.js
    inputs: ["src/**"]
    outputs: [public]

process_types:
  web: node/bin/node web.js $DATABASE_URL

release:
  description: Deploy ${git.branch}
`)
	write(t, file("package.json"), `{"name": "example"}`+"\n")
	write(t, file("web.js"), "// web\nserve(8000)\nlisten()\n")
	write(t, file("src/a.js"), "let a = 1\n")
	write(t, file("src/b.js"), "let b = 2\n")
	write(t, file(".env"), "SECRET=1\n")
	write(t, file(".gitignore"), "/plan.json\n")
	commit(t, dir, "Begin")

	var story bytes.Buffer
	show := func(title string, code int, args ...string) {
		t.Helper()
		r := w.run(t, dir, args...)
		if r.Code != code {
			t.Errorf("%s: exit code %d, want %d\n%s%s", title, r.Code, code, r.Out, r.Err)
		}
		out := r.Out
		// On a terminal progress stands between the plan and the result.
		if i := strings.Index(out, "Releasing "); i >= 0 {
			out = out[:i] + "\n" + r.Err + out[i:]
		} else {
			out += r.Err
		}
		fmt.Fprintf(&story, "## %s\n\n$ slugfile %s\n%s", title, strings.Join(args, " "), out)
		if code != 0 {
			fmt.Fprintf(&story, "(exit code %d)\n", code)
		}
		story.WriteString("\n")
	}
	call := func(method, path, body string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, info.API+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "application/vnd.heroku+json; version=3")
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+info.Token.Reveal())
		c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode/100 != 2 {
			t.Fatalf("%s %s: %s", method, path, res.Status)
		}
	}

	show("The first apply", 0, "apply", "--create", "-y")
	show("No change", 0, "apply", "-y")
	replace(t, file("web.js"), "serve(8000)", "serve(9000)")
	show("One file changed", 0, "plan", "--diff")
	show("One file changed, for a pull request", 0, "plan", "--against", "HEAD", "--diff", "--format=markdown")
	replace(t, file("src/a.js"), "1", "10")
	show("An input of a step changed", 0, "plan", "--against", "HEAD")
	replace(t, file("slug.yaml"), path("v22.10.0"), path("v22.11.0"))
	replace(t, file("slug.yaml"), fmt.Sprintf("%x", hash(archive("v22.10.0"))), fmt.Sprintf("%x", hash(archive("v22.11.0"))))
	show("A runtime bumped", 0, "plan")
	replace(t, file("slug.yaml"), "process_types:\n", "process_types:\n  worker: node/bin/node web.js -w\n")
	show("A process type added, and the plan saved", 0, "plan", "--out", "plan.json")
	show("The saved plan applied", 0, "apply", "plan.json")
	show("The saved plan applied once more", 0, "apply", "plan.json")
	show("An earlier release compared", 0, "plan", "--against", "v3")

	write(t, file("lib/new.js"), "let c = 3\n")
	show("Another plan saved", 0, "plan", "--out", "plan.json")
	call("POST", "/apps/example/releases", `{"release": "3"}`)
	replace(t, file("web.js"), "listen()", "listen(1)")
	show("A stale plan refused", 3, "apply", "plan.json")
	show("Drift", 0, "plan")

	goldie.New(t, goldie.WithFixtureDir("testdata")).Assert(t, "terminal", []byte(steady(story.String())))
}

// steady gives what differs from run to run a fixed form of about the same width.
func steady(s string) string {
	for _, r := range []struct{ find, put string }{
		{`\d\d:\d\d:\d\d`, "12:00:00"},
		{`\(\d+(\.\d+)?(µs|ms|s)\)`, "(0.1s)"},
		{`127\.0\.0\.1:\d+`, "127.0.0.1:5000"},
		{`\d+ min ago`, "just now"},
		{`\([0-9a-f]{7}\)`, "(1a2b3c4)"},
	} {
		s = regexp.MustCompile(r.find).ReplaceAllString(s, r.put)
	}
	return s
}
