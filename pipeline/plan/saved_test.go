package plan_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/lock"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
)

// save plans the world and saves the plan, as it would come back from a file.
func (w *world) save(t testing.TB) plan.Saved {
	t.Helper()
	s := plan.Save(plan.Build(w.in, w.seen), w.in, w.seen, plan.SavedOptions{App: "example"}, now)
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	back, err := plan.ReadSaved(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, back, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("written and read again (-want +got):\n%s", diff)
	}
	return back
}

func moves(s plan.Saved, w *world) []string {
	var out []string
	for _, m := range s.Moved(plan.Build(w.in, w.seen), w.in, w.seen) {
		out = append(out, m.String())
	}
	return out
}

// next makes another release the live one.
func (w *world) next(description string, slug *platform.SlugRef) *world {
	t := w.seen.Target
	was := *t.Current
	was.Current = false
	r := platform.Release{
		ID: "release-" + description, Version: t.Latest + 1, Current: true, Status: platform.Succeeded,
		Description: description, CreatedAt: time.Unix(now-300, 0), User: platform.Owner{Email: "dev@example.com"}, Slug: slug,
	}
	if len(t.Recent) == 0 {
		t.Recent = []platform.Release{was}
	}
	t.Recent = append([]platform.Release{r}, t.Recent...)
	t.Current, t.Newest, t.Latest = &r, &r, r.Version
	if slug != nil && slug.ID != t.Slug.ID {
		other := *t.Slug
		other.ID, other.Checksum, other.CommitDescription = slug.ID, ptr(sum(slug.ID).Checksum()), ptr("made elsewhere")
		t.Slug = &other
	}
	return w
}

// changing is a released app with one changed file, and a tool of this machine.
func changing() *world {
	w := nodeApp()
	w.in.Tool = "1.0.0"
	w.in.File.Runtimes = append(w.in.File.Runtimes, config.Runtime{Name: "go", Host: "go"}, config.Runtime{Name: "tools", Path: "tools.tgz", BuildOnly: true})
	w.seen.Tools = map[string]plan.Tool{"go": {Path: "/bin/go", Digest: sum("go"), Size: 1}}
	w.seen.Archives = map[string]plan.Tool{"tools": {Path: "/src/tools.tgz", Digest: sum("tools"), Size: 1}}
	w.release()
	w.in.Source = source("lib/old.js", "migrate.js", "package.json", "run*", "current->lib", "web.js=edited")
	return w
}

func TestMoved_namesExactlyWhatMoved(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*world)
		want   []string
	}{
		"nothing": {func(*world) {}, nil},
		"what does not matter": {func(w *world) {
			w.in.Tool, w.in.Git.SHA, w.in.OS, w.in.Create = "2.0.0", "89", "darwin", true
			w.in.File.App, w.in.File.Limits.Slug, w.in.File.Release.Description = "other", 1, "Other"
			w.in.File.Build[0].Timeout = 1
			w.seen.Stored, w.seen.Outputs, w.seen.Released, w.seen.Target.Now = nil, nil, nil, now+3600
		}, nil},
		"a config change": {func(w *world) { w.next("Set A config vars", &platform.SlugRef{ID: "slug-id"}) }, nil},
		"a failed release": {func(w *world) {
			r := platform.Release{ID: "x", Version: 13, Status: platform.Failed, Slug: &platform.SlugRef{ID: "x"}}
			w.seen.Target.Newest, w.seen.Target.Latest = &r, 13
			w.seen.Target.Recent = []platform.Release{r, *w.seen.Target.Current}
		}, nil},
		"a release": {func(w *world) { w.next("Deploy 1a2b3c4 [slugfile 01X]", &platform.SlugRef{ID: "b"}) },
			[]string{"v13 was released by dev@example.com (Deploy 1a2b3c4)"}},
		"releases": {func(w *world) {
			w.next("Deploy 1a2b3c4", &platform.SlugRef{ID: "b"}).next("Set A config vars", &platform.SlugRef{ID: "b"})
		}, []string{"v14 was released by dev@example.com (Set A config vars), and 1 before it"}},
		"a release that nobody lists": {func(w *world) {
			w.next("Deploy", &platform.SlugRef{ID: "b"})
			w.seen.Target.Recent, w.seen.Target.Current.User.Email = nil, ""
		}, []string{"v13 was released (Deploy)"}},
		"no release any more": {func(w *world) { w.seen.Target.Current, w.seen.Target.Slug = nil, nil }, []string{"release: v12 → none"}},
		"another app of that name": {func(w *world) {
			w.seen.Target.App.ID = "new-id"
			w.next("Deploy", &platform.SlugRef{ID: "b"})
		}, []string{"app: app-id → new-id"}},
		"another app":    {func(w *world) { w.seen.Target.App.ID, w.seen.Target.App.Name = "new-id", "other" }, []string{"app: example → other"}},
		"no app":         {func(w *world) { w.seen.Target.App = nil }, []string{"app: example → none"}},
		"the stack":      {func(w *world) { w.in.File.Stack = "heroku-22" }, []string{"stack: heroku-24 → heroku-22"}},
		"mtime":          {func(w *world) { w.in.Epoch = 1 }, []string{"mtime: 0 → 1"}},
		"a tool":         {func(w *world) { w.seen.Tools["go"] = plan.Tool{Path: "/bin/go", Digest: sum("x")} }, []string{"runtime go: " + sum("go").Short() + " → " + sum("x").Short()}},
		"an archive":     {func(w *world) { w.seen.Archives["tools"] = plan.Tool{Digest: sum("x")} }, []string{"runtime tools: " + sum("tools").Short() + " → " + sum("x").Short()}},
		"a tool is gone": {func(w *world) { w.seen.Tools = nil }, []string{"runtime go: no longer " + sum("go").Short()}},
		"lock":           {func(w *world) { w.in.Lock.Pins[0].SHA256 = sum("x") }, []string{"slug.lock changed"}},
		"no lock":        {func(w *world) { w.in.Lock = nil }, []string{"slug.lock changed"}},
		"run":            {func(w *world) { w.in.File.Build[0].Run = "true" }, []string{"slug.yaml changed"}},
		"url":            {func(w *world) { w.in.File.Runtimes[0].URL = node11 }, []string{"slug.yaml changed"}},
		"a tool less":    {func(w *world) { w.in.File.Runtimes = w.in.File.Runtimes[:1] }, []string{"slug.yaml changed"}},
		"other files":    {func(w *world) { w.in.File.Files = []config.FileEntry{{From: "lib", Into: "."}} }, []string{"slug.yaml changed"}},
		"process types":  {func(w *world) { w.in.File.ProcessTypes = map[string]string{"web": "x"} }, []string{"slug.yaml changed"}},
		"one file": {func(w *world) {
			w.in.Source = source("lib/old.js", "migrate.js", "package.json=1", "run*", "current->lib", "web.js=edited")
		}, []string{"source tree: package.json changed"}},
		"files": {func(w *world) {
			w.in.Source = source("lib/new.js", "lib/newer.js", "lib/old.js", "migrate.js", "package.json", "run*", "current->lib", "web.js=edited")
		}, []string{"source tree: lib/new.js and 1 more added"}},
		"more": {func(w *world) {
			w.in.Source = source("lib/new.js", "migrate.js", "run", "current->lib", "web.js=edited")
			w.in.File.Build[0].Env = map[string]string{"A": "b"}
		}, []string{"slug.yaml changed", "source tree: run changed"}},
	} {
		w := changing()
		s := w.save(t)
		fresh := changing()
		c.change(fresh)
		if diff := cmp.Diff(c.want, moves(s, fresh)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestMoved_seesAnotherFormOfTheSlug(t *testing.T) {
	t.Parallel()
	w := changing()
	s := w.save(t)
	w.in.Tool = "2.0.0"
	p := plan.Build(w.in, w.seen)
	p.Key = sum("another form")
	if got := s.Moved(p, w.in, w.seen); len(got) != 1 || got[0].String() != "slugfile: 1.0.0 → 2.0.0" {
		t.Errorf("got %v", got)
	}
}

func TestMoved_givesTheReleasesMadeMeanwhileNewestFirst(t *testing.T) {
	t.Parallel()
	w := changing()
	s := w.save(t)
	w.next("one", &platform.SlugRef{ID: "b"}).next("two", &platform.SlugRef{ID: "c"})
	slices.Reverse(w.seen.Target.Recent)
	got := s.Moved(plan.Build(w.in, w.seen), w.in, w.seen)
	if len(got) != 1 || len(got[0].Releases) != 2 || got[0].Releases[0].Version != 14 || got[0].Before != "v12" || got[0].After != "v14" {
		t.Errorf("got %+v", got)
	}
}

func TestSave_keepsNoCredential(t *testing.T) {
	t.Parallel()
	w := nodeApp()
	w.in.File.Runtimes[0].URL = "https://user:hunter2@example.com/node-22.10.0.tar.gz?token=hunter2"
	w.in.Lock = &lock.File{Pins: []lock.Pin{{Name: "node", URL: "https://example.com/node-22.10.0.tar.gz", SHA256: sum("node")}}}
	b, err := json.Marshal(plan.Save(plan.Build(w.in, w.seen), w.in, w.seen, plan.SavedOptions{API: "http://user:hunter2@127.0.0.1:5999"}, now))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte("hunter2")) || !bytes.Contains(b, []byte(`"api":"http://127.0.0.1:5999"`)) {
		t.Errorf("saved: %s", b)
	}
}

func TestReadSaved_saysWhatIsWrong(t *testing.T) {
	t.Parallel()
	good, err := json.Marshal(changing().save(t))
	if err != nil {
		t.Fatal(err)
	}
	other := func(old, replacement string) string {
		if !bytes.Contains(good, []byte(old)) {
			t.Fatalf("a saved plan has no %s", old)
		}
		return strings.Replace(string(good), old, replacement, 1)
	}
	for want, text := range map[string]string{
		"it is empty":                         " \n",
		"it ends too early":                   string(good[:len(good)/2]),
		"it is no JSON: at byte 1":            "slugfile",
		"it is what plan --json prints":       `{"v":1,"type":"plan"}`,
		`its type is "", not "saved_plan"`:    `{}`,
		`its type is "x", not "saved_plan"`:   other(`"saved_plan"`, `"x"`),
		"it has the form 2 of another":        other(`"v":1`, `"v":2`),
		"the plan in it has the form 9":       other(`"plan":{"v":1`, `"plan":{"v":9`),
		`unknown field "later"`:               other(`"options":{`, `"options":{"later":1,`),
		"options.app is a number":             other(`"options":{"app":"example"`, `"options":{"app":7`),
		"something stands behind its end":     string(good) + "{}",
		"v is a string and should not be":     other(`"v":1`, `"v":"1"`),
		"the list of the source tree is not":  other(`"source":[{"path":"current"`, `"source":[{"path":"zz"`),
		"files of the slug, and where":        other(`"parts":[`, `"parts":[1,`),
		"and no saved plan has more than 671": strings.Repeat(" ", 64<<20+1),
	} {
		_, err := plan.ReadSaved([]byte(text))
		var e *plan.SavedError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) || e.Hint() == "" {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// What is read from a file may be anything.
func FuzzReadSaved(f *testing.F) {
	b, err := json.Marshal(changing().save(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	w := changing()
	p := plan.Build(w.in, w.seen)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := plan.ReadSaved(b)
		if err != nil {
			return
		}
		again, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		back, err := plan.ReadSaved(again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s, back, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("written and read again (-want +got):\n%s", diff)
		}
		for _, m := range s.Moved(p, w.in, w.seen) {
			_ = m.String()
		}
		base := s.Base("plan.json")
		seen := w.seen
		seen.Against = &base
		_ = plan.Build(w.in, seen)
	})
}
