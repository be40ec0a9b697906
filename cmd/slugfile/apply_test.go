package main

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slugfile/slugfile/pipeline/pipetest"
)

// greeterApp is an app whose runtime is one archive of the repository: nothing is downloaded
// and nothing compiled.
func greeterApp(t *testing.T, dir, name string) {
	t.Helper()
	archive := pipetest.TarGz(t, map[string]string{"greeter-1.0/bin/greeter*": string(buildGreeter(t))})
	write(t, filepath.Join(dir, "vendor.tar.gz"), string(archive))
	write(t, filepath.Join(dir, "motd"), "hello\n")
	write(t, filepath.Join(dir, "slug.yaml"), `app: `+name+`
stack: heroku-24
runtimes:
  greeter: {path: vendor.tar.gz, strip: 1}
build:
  - name: page
    run: tr a-z A-Z <motd >page
    inputs: [motd]
    outputs: [page]
process_types:
  web: greeter/bin/greeter
`)
}

// A fresh machine has no cache; what it needs to know stands with the slug on the platform.
func TestApply_fromAnotherCloneWithAnEmptyCacheMakesNoRelease(t *testing.T) {
	t.Parallel()
	pipetest.NeedTools(t, "go", "git")
	w := newWorld(t)
	w.startPlatform(t)
	dir := t.TempDir()
	greeterApp(t, dir, "clones")
	commit(t, dir, "first")
	w.ok(t, dir, "lock")
	commit(t, dir, "pin the runtime")
	first := w.apply(t, dir, "apply", "--local", "--json")
	if !first.Changed || first.Release.Version != 3 {
		t.Fatalf("first apply: v%d, changed %v", first.Release.Version, first.Changed)
	}

	// Another commit with the same tree, in another place, by a user with nothing cached.
	clone := filepath.Join(t.TempDir(), "elsewhere")
	git(t, dir, "commit", "-q", "--allow-empty", "-m", "no change")
	git(t, dir, "clone", "-q", ".", clone)
	fresh := &world{Env: maps.Clone(w.Env)}
	fresh.Env["XDG_CACHE_HOME"], fresh.Env["XDG_STATE_HOME"], fresh.Env["HOME"] = t.TempDir(), t.TempDir(), t.TempDir()
	if r := fresh.run(t, clone, "plan", "--local", "--detailed-exitcode"); r.Code != exitDone || !strings.Contains(r.Out, "No changes.") {
		t.Errorf("plan: exit code %d\n%s%s", r.Code, r.Out, r.Err)
	}
	again := fresh.apply(t, clone, "apply", "--local", "--json")
	if again.Changed || again.Release != first.Release || again.Slug != first.Slug || again.WebURL != first.WebURL {
		t.Errorf("apply from another clone:\n first %+v\n again %+v", first, again)
	}

	// Description and limits are no inputs of the slug; the content of a file is.
	replace(t, filepath.Join(clone, "slug.yaml"), "process_types:", "release: {description: Friday}\nlimits: {slug: 400MB}\nprocess_types:")
	if r := fresh.run(t, clone, "plan", "--local", "--detailed-exitcode"); r.Code != exitDone {
		t.Errorf("another description is a change: exit code %d\n%s%s", r.Code, r.Out, r.Err)
	}
	write(t, filepath.Join(clone, "motd"), "good morning\n")
	if r := fresh.run(t, clone, "plan", "--local", "--detailed-exitcode"); r.Code != exitChanges {
		t.Errorf("another file is no change: exit code %d\n%s%s", r.Code, r.Out, r.Err)
	}
	changed := fresh.apply(t, clone, "apply", "--local", "--json")
	if !changed.Changed || changed.Release.Version != 4 || changed.Slug.Checksum == first.Slug.Checksum {
		t.Errorf("apply after an edit: %+v", changed)
	}
	// Back to the first tree: its slug is in the first user's cache, and it is a change again.
	if back := w.apply(t, dir, "apply", "--local", "--json"); !back.Changed || back.Slug.Checksum != first.Slug.Checksum {
		t.Errorf("apply of the first tree: %+v", back)
	}
}

// Without a platform of its own, apply --local starts one, boots the app, and ends.
func TestApply_localBootsTheReleaseAndStops(t *testing.T) {
	t.Parallel()
	pipetest.NeedTools(t, "go")
	w := newWorld(t)
	dir := t.TempDir()
	greeterApp(t, dir, "alone")
	w.ok(t, dir, "lock")
	first := w.apply(t, dir, "apply", "--local", "--json")
	again := w.apply(t, dir, "apply", "--local", "--json")
	if !first.Changed || again.Changed || again.Release != first.Release {
		t.Errorf("first %+v\nagain %+v", first, again)
	}
	if again.WebURL != first.WebURL {
		t.Errorf("the app moved from %s to %s", first.WebURL, again.WebURL)
	}
}

// A web process that cannot come up fails the apply, with what it wrote.
func TestApply_localFailsWithTheOutputOfAWebProcessThatCrashes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "slug.yaml"), `app: crashes
stack: heroku-24
process_types:
  web: echo the database is missing; exit 3
`)
	write(t, filepath.Join(dir, "motd"), "hello\n")
	r := w.run(t, dir, "apply", "--local")
	if r.Code != exitFailed || !strings.Contains(r.Err, "the database is missing") {
		t.Errorf("exit code %d\n%s%s", r.Code, r.Out, r.Err)
	}
}

// build takes no platform, and says where the slug is.
func TestBuild_tellsTheSlugInItsLastLine(t *testing.T) {
	t.Parallel()
	pipetest.NeedTools(t, "go")
	w := newWorld(t)
	dir := t.TempDir()
	greeterApp(t, dir, "built")
	w.ok(t, dir, "lock")
	lines := strings.Split(strings.TrimSpace(w.ok(t, dir, "build", "--json", "-o", "slug.tgz")), "\n")
	var last struct {
		V    int    `json:"v"`
		Type string `json:"type"`
		Slug struct {
			Checksum string `json:"checksum"`
			Size     int64  `json:"size"`
			Path     string `json:"path"`
		} `json:"slug"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatal(err)
	}
	if last.V != 1 || last.Type != "built" || last.Slug.Size <= 0 || filepath.Base(last.Slug.Path) != "slug.tgz" || !strings.HasPrefix(last.Slug.Checksum, "SHA256:") {
		t.Errorf("last line: %+v", last)
	}
	// The slug lies in the source tree now, and is no part of the next one.
	if again := w.ok(t, dir, "build", "--json", "-o", "slug.tgz"); !strings.Contains(again, last.Slug.Checksum) {
		t.Errorf("a second build made another slug:\n%s", again)
	}
}
