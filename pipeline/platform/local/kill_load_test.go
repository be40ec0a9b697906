package local_test

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"

	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/local"
)

// kills is how often the platform is killed under load: SLUGFILE_FAULTS=gate and =long ask for more.
func kills() int {
	switch os.Getenv("SLUGFILE_FAULTS") {
	case "gate":
		return 100
	case "long":
		return 2000
	}
	return 5
}

// killSeed is that of the random choices. SLUGFILE_SEED takes one back; what the machine does in
// what order cannot be taken back.
func killSeed(t *testing.T) uint64 {
	seed := rand.Uint64()
	if text := os.Getenv("SLUGFILE_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("SLUGFILE_SEED: %v", err)
		}
	}
	t.Logf("SLUGFILE_SEED=%d", seed)
	return seed
}

// tenant is a client with apps that nobody else touches. It remembers what it was answered.
type tenant struct {
	t         *testing.T
	name      string
	chance    *rand.Rand
	http      *http.Client
	info      local.Info
	made      int
	apps      map[string]*tenantApp
	pipelines map[string]string // id -> name
	// open is the change whose answer did not come.
	open *change
	// answered counts the changes that were.
	answered int
}

type tenantApp struct {
	name     string
	id       string
	releases []platform.Release // by version, as last seen
	configs  []map[string]string
	config   map[string]string
	slugs    map[string]*tenantSlug
	workers  int
	stage    string // of its coupling
}

type tenantSlug struct {
	platform.Slug
	body     []byte
	uploaded bool
}

// change is one that may have happened or not.
type change struct {
	what string
	app  *tenantApp
	// done is what the tenant remembers when it has happened.
	done func()
	slug *tenantSlug
	// config is what the config vars are then.
	config map[string]string
}

func (c *tenant) fatalf(format string, args ...any) {
	c.t.Helper()
	c.t.Errorf(c.name+": "+format, args...)
	panic(errGaveUp)
}

var errGaveUp = fmt.Errorf("this client gave up")

// send makes one call. Without an answer it says false.
func (c *tenant) send(method, url string, body any) (int, []byte, bool) {
	var text []byte
	raw, isRaw := body.([]byte)
	switch {
	case isRaw:
		text = raw
	case body != nil:
		text, _ = json.Marshal(body) // maps of strings and the like
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, url, bytes.NewReader(text))
	if err != nil {
		c.fatalf("%v", err)
	}
	if strings.HasPrefix(url, c.info.API) {
		req.Header.Set("Authorization", "Bearer "+c.info.Token.Reveal())
		req.Header.Set("Accept", "application/vnd.heroku+json; version=3")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return 0, nil, false
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, nil, false
	}
	return res.StatusCode, answer, true
}

// ask is a call that must be answered with a status, into a value.
func (c *tenant) ask(path string, want int, v any) {
	c.t.Helper()
	status, text, ok := c.send("GET", c.info.API+path, nil)
	if !ok || status != want {
		c.fatalf("GET %s: %d %s", path, status, text)
	}
	if v != nil {
		if err := json.Unmarshal(text, v); err != nil {
			c.fatalf("GET %s: %v in %s", path, err, text)
		}
	}
}

// do makes a change. It says false when the platform is gone: then the change stays open.
func (c *tenant) do(ch *change, method, url string, body any, want int, into any) bool {
	c.open = ch
	status, text, ok := c.send(method, url, body)
	if !ok {
		return false
	}
	if status != want {
		c.fatalf("%s: %d %s", ch.what, status, text)
	}
	if into != nil {
		if err := json.Unmarshal(text, into); err != nil {
			c.fatalf("%s: %v in %s", ch.what, err, text)
		}
	}
	c.open = nil
	c.answered++
	ch.done()
	return true
}

// step makes one change by chance, and says whether the platform answered.
func (c *tenant) step() bool {
	names := slices.Sorted(maps.Keys(c.apps))
	if len(names) == 0 || len(names) < 3 && c.chance.IntN(12) == 0 {
		return c.createApp()
	}
	a := c.apps[names[c.chance.IntN(len(names))]]
	api := c.info.API + "/apps/" + a.name
	var uploaded, empty []*tenantSlug
	for _, id := range slices.Sorted(maps.Keys(a.slugs)) {
		if s := a.slugs[id]; s.uploaded {
			uploaded = append(uploaded, s)
		} else {
			empty = append(empty, s)
		}
	}
	switch n := c.chance.IntN(100); {
	case n < 20:
		return c.createSlug(a)
	case n < 40 && len(empty) > 0:
		s := empty[c.chance.IntN(len(empty))]
		return c.do(&change{what: "PUT blob", app: a, slug: s, done: func() { s.uploaded = true }}, "PUT", s.Blob.URL, s.body, 200, nil)
	case n < 44 && len(uploaded) > 0:
		s := uploaded[c.chance.IntN(len(uploaded))]
		return c.do(&change{what: "PUT blob again", app: a, done: func() {}}, "PUT", s.Blob.URL, s.body, 200, nil)
	case n < 60 && len(uploaded) > 0:
		s := uploaded[c.chance.IntN(len(uploaded))]
		return c.releasing(a, &change{what: "release", slug: s, config: a.config}, map[string]string{"slug": s.ID})
	case n < 66 && len(a.releases) > 0:
		r := a.releases[c.chance.IntN(len(a.releases))]
		if r.Slug == nil || r.Status != platform.Succeeded {
			return true
		}
		return c.releasing(a, &change{what: "rollback", slug: a.slugs[r.Slug.ID], config: a.configs[r.Version-1]}, map[string]string{"release": r.ID})
	case n < 80:
		config := maps.Clone(a.config)
		c.made++
		config["N"] = fmt.Sprint(c.made)
		ch := &change{what: "config", app: a, config: config, done: func() {
			a.config = config
			a.expect(1)
		}}
		return c.do(ch, "PATCH", api+"/config-vars", config, 200, nil)
	case n < 86:
		if !a.runsSlug() {
			return true // there is no process type to scale yet
		}
		want := 1 - a.workers
		return c.do(&change{what: "scale", app: a, done: func() { a.workers = want }}, "PATCH", api+"/formation/worker", map[string]int{"quantity": want}, 200, nil)
	case n < 92:
		return c.couple(a)
	case n < 94 && len(names) > 1:
		return c.do(&change{what: "delete", app: a, done: func() { delete(c.apps, a.name) }}, "DELETE", api, nil, 200, nil)
	}
	return true
}

func (c *tenant) createApp() bool {
	c.made++
	a := &tenantApp{name: fmt.Sprintf("%s-%d", c.name, c.made), config: map[string]string{}, slugs: map[string]*tenantSlug{}}
	var wire platform.App
	return c.do(&change{what: "create", app: a, done: func() {
		a.id = wire.ID
		c.apps[a.name] = a
		a.expect(2)
	}}, "POST", c.info.API+"/apps", map[string]string{"name": a.name}, 201, &wire)
}

func (c *tenant) createSlug(a *tenantApp) bool {
	noise := make([]byte, 1+c.chance.IntN(60_000))
	for i := range noise {
		noise[i] = byte(c.chance.Uint32())
	}
	s := &tenantSlug{body: pack(c.t, member{"noise.bin", noise, 0o644})}
	types := map[string]string{"worker": "sleep 600"}
	switch c.chance.IntN(4) {
	case 0:
		types["release"] = "true"
	case 1:
		types["release"] = "echo no; exit 1"
	}
	return c.do(&change{what: "slug", app: a, done: func() { a.slugs[s.ID] = s }}, "POST", c.info.API+"/apps/"+a.name+"/slugs",
		map[string]any{"process_types": types, "checksum": checksum(s.body)}, 201, &s.Slug)
}

func (c *tenant) couple(a *tenantApp) bool {
	if len(c.pipelines) == 0 {
		c.made++
		var wire struct{ ID, Name string }
		name := fmt.Sprintf("%s-line-%d", c.name, c.made)
		return c.do(&change{what: "pipeline", done: func() { c.pipelines[wire.ID] = name }}, "POST", c.info.API+"/pipelines", map[string]string{"name": name}, 201, &wire)
	}
	if a.stage != "" {
		return true
	}
	id := slices.Sorted(maps.Keys(c.pipelines))[0]
	return c.do(&change{what: "couple", app: a, done: func() { a.stage = "staging" }}, "POST", c.info.API+"/pipeline-couplings",
		map[string]string{"app": a.id, "pipeline": id, "stage": "staging"}, 201, nil)
}

// releasing is a change that makes a release of a slug.
func (c *tenant) releasing(a *tenantApp, ch *change, body any) bool {
	var r platform.Release
	ch.app, ch.done = a, func() {
		a.config = ch.config
		if r.Version == len(a.releases)+1 {
			a.releases, a.configs = append(a.releases, r), append(a.configs, ch.config)
			return
		}
		c.fatalf("%s is v%d, after v%d", ch.what, r.Version, len(a.releases))
	}
	return c.do(ch, "POST", c.info.API+"/apps/"+a.name+"/releases", body, 201, &r)
}

// expect notes releases that came by the way, of which the next look tells more.
func (a *tenantApp) expect(n int) {
	for range n {
		a.releases = append(a.releases, platform.Release{Version: len(a.releases) + 1})
		a.configs = append(a.configs, a.config)
	}
}

// runsSlug says whether the live release is known to have a slug. Once one had, all that go live
// later have one too.
func (a *tenantApp) runsSlug() bool {
	return slices.ContainsFunc(a.releases, func(r platform.Release) bool { return r.Status == platform.Succeeded && r.Slug != nil })
}

// goneOnFrom are the slugs that a config change may have released: that of the release which was
// live, or of a later one whose release phase was still to end. "" is none.
func goneOnFrom(before []platform.Release) (slugs []string) {
	for _, r := range slices.Backward(before) {
		slugs = append(slugs, slugID(r))
		if r.Status == platform.Succeeded {
			break // it was live, or is the newest that was on its way
		}
	}
	return slugs
}

func slugID(r platform.Release) string {
	if r.Slug == nil {
		return ""
	}
	return r.Slug.ID
}

// verify compares all that this client was answered with what the platform says after a kill.
// What was not answered has happened whole, or not at all.
func (c *tenant) verify() {
	open := c.open
	c.open = nil
	if open != nil && open.what == "create" {
		status, text, ok := c.send("GET", c.info.API+"/apps/"+open.app.name, nil)
		switch {
		case ok && status == 200:
			var wire platform.App
			if err := json.Unmarshal(text, &wire); err != nil {
				c.fatalf("%v", err)
			}
			open.app.id = wire.ID
			c.apps[open.app.name] = open.app
			open.app.expect(2)
		case !ok || status != 404:
			c.fatalf("an app that may have been made: %d %s", status, text)
		}
		open = nil
	}
	var list []struct{ ID, Name string }
	c.ask("/pipelines", 200, &list)
	mine := map[string]string{}
	for _, l := range list {
		if strings.HasPrefix(l.Name, c.name+"-") {
			mine[l.ID] = l.Name
		}
	}
	for id, name := range c.pipelines {
		if mine[id] != name {
			c.fatalf("pipeline %s is %q", name, mine[id])
		}
	}
	if extra := len(mine) - len(c.pipelines); extra > 0 && (extra > 1 || open == nil || open.what != "pipeline") {
		c.fatalf("there are pipelines that nobody made: %v", mine)
	}
	c.pipelines = mine
	for _, name := range slices.Sorted(maps.Keys(c.apps)) {
		a := c.apps[name]
		var of *change
		if open != nil && open.app == a {
			of = open
		}
		c.verifyApp(a, of)
	}
	var all []platform.App
	c.ask("/apps", 200, &all)
	for _, app := range all {
		if strings.HasPrefix(app.Name, c.name+"-") && c.apps[app.Name] == nil {
			c.fatalf("app %s is there, and was deleted or never made", app.Name)
		}
	}
}

func (c *tenant) verifyApp(a *tenantApp, open *change) {
	may := func(what string) bool { return open != nil && open.what == what }
	status, text, ok := c.send("GET", c.info.API+"/apps/"+a.name, nil)
	if ok && status == 404 && may("delete") {
		delete(c.apps, a.name)
		return
	}
	var app platform.App
	if !ok || status != 200 || json.Unmarshal(text, &app) != nil || a.id != app.ID {
		c.fatalf("app %s: %d %s", a.name, status, text)
	}
	c.verifyReleases(a, open)
	for _, s := range a.slugs {
		c.verifySlug(a, s, may("PUT blob") && open.slug == s)
	}
	c.verifyFormation(a, may("scale"))
	var coupling *struct{ Stage string }
	status, text, ok = c.send("GET", c.info.API+"/apps/"+a.name+"/pipeline-couplings", nil)
	if ok && status == 200 && json.Unmarshal(text, &coupling) != nil {
		c.fatalf("%s", text)
	}
	switch {
	case !ok || status != 200 && status != 404, status == 404 && a.stage != "", status == 200 && a.stage == "" && !may("couple"):
		c.fatalf("app %s, in stage %q, has the coupling %d %s", a.name, a.stage, status, text)
	case status == 200:
		a.stage = coupling.Stage
	}
}

func (c *tenant) verifyReleases(a *tenantApp, open *change) {
	var list []platform.Release
	c.ask("/apps/"+a.name+"/releases", 200, &list)
	slices.SortFunc(list, func(a, b platform.Release) int { return cmp.Compare(a.Version, b.Version) })
	makes := open != nil && slices.Contains([]string{"release", "rollback", "config"}, open.what)
	if n := len(list) - len(a.releases); n < 0 || n > 1 || n == 1 && !makes {
		c.fatalf("app %s has %d releases, of which %d were answered; not answered: %+v", a.name, len(list), len(a.releases), open)
	}
	happened := len(list) > len(a.releases)
	if happened {
		a.config = open.config
		a.expect(1)
	}
	current, newest := 0, 0
	for i, r := range list {
		old := a.releases[i]
		switch {
		case r.Version != i+1:
			c.fatalf("app %s: release %d is v%d", a.name, i+1, r.Version)
		case old.ID != "" && (old.ID != r.ID || old.Description != r.Description || !old.CreatedAt.Equal(r.CreatedAt) || !gocmp.Equal(old.Slug, r.Slug)):
			c.fatalf("app %s: release %+v was %+v", a.name, r, old)
		case old.Status != "" && old.Status != platform.Pending && old.Status != r.Status:
			c.fatalf("app %s: release v%d was %s, and is %s", a.name, r.Version, old.Status, r.Status)
		case r.Status == platform.Pending:
			c.fatalf("app %s: release v%d is pending still", a.name, r.Version)
		case happened && i == len(list)-1 && open.slug != nil && (r.Slug == nil || r.Slug.ID != open.slug.ID):
			c.fatalf("app %s: the %s made %+v", a.name, open.what, r)
		case strings.HasSuffix(r.Description, " config vars") && !slices.Contains(goneOnFrom(list[:i]), slugID(r)):
			c.fatalf("app %s: the config change %+v goes on from none of %v", a.name, r, goneOnFrom(list[:i]))
		}
		if r.Status == platform.Succeeded {
			newest = r.Version
		}
		if r.Current {
			if current != 0 {
				c.fatalf("app %s: v%d and v%d are both current", a.name, current, r.Version)
			}
			current = r.Version
		}
	}
	if current != newest {
		c.fatalf("app %s: v%d is current, v%d is the newest that went well", a.name, current, newest)
	}
	a.releases = list
	var config map[string]string
	c.ask("/apps/"+a.name+"/config-vars", 200, &config)
	if d := gocmp.Diff(a.config, config); d != "" {
		c.fatalf("app %s: config vars (-answered +now): %s", a.name, d)
	}
	v := 1 + c.chance.IntN(len(list))
	var old map[string]string
	c.ask(fmt.Sprintf("/apps/%s/releases/%d/config-vars", a.name, v), 200, &old)
	if d := gocmp.Diff(a.configs[v-1], old); d != "" {
		c.fatalf("app %s: config vars of v%d (-answered +now): %s", a.name, v, d)
	}
}

func (c *tenant) verifySlug(a *tenantApp, s *tenantSlug, open bool) {
	var now platform.Slug
	c.ask("/apps/"+a.name+"/slugs/"+s.ID, 200, &now)
	if d := gocmp.Diff([]any{s.Checksum, s.ProcessTypes, s.Stack}, []any{now.Checksum, now.ProcessTypes, now.Stack}); d != "" {
		c.fatalf("app %s: slug %s (-answered +now): %s", a.name, s.ID, d)
	}
	// The address of before the kill is good still, but its port is not.
	s.Blob.URL = c.onNewPort(s.Blob.URL, now.Blob.URL)
	if now.Size == nil {
		if s.uploaded {
			c.fatalf("app %s: slug %s has lost its blob", a.name, s.ID)
		}
		return
	}
	if !s.uploaded && !open {
		c.fatalf("app %s: slug %s has a blob that nobody sent", a.name, s.ID)
	}
	s.uploaded = true
	status, body, ok := c.send("GET", now.Blob.URL, nil)
	have, want := sha256.Sum256(body), sha256.Sum256(s.body)
	if !ok || status != 200 || have != want || *now.Size != int64(len(s.body)) {
		c.fatalf("app %s: the blob of slug %s: status %d, %d bytes of %d, sha256 %s", a.name, s.ID, status, len(body), len(s.body), hex.EncodeToString(have[:]))
	}
}

// onNewPort is a signed address at the blob store that runs now.
func (c *tenant) onNewPort(signed, now string) string {
	_, path, _ := strings.Cut(strings.TrimPrefix(signed, "http://"), "/")
	host, _, _ := strings.Cut(strings.TrimPrefix(now, "http://"), "/")
	return "http://" + host + "/" + path
}

func (c *tenant) verifyFormation(a *tenantApp, open bool) {
	var list []platform.Formation
	c.ask("/apps/"+a.name+"/formation", 200, &list)
	have := 0
	for _, f := range list {
		if f.Type == "worker" {
			have = f.Quantity
		}
	}
	if have != a.workers && !open {
		c.fatalf("app %s is scaled to %d, not %d", a.name, have, a.workers)
	}
	a.workers = have
	// The formation brings its dynos back.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		var dynos []struct{ Name, Type, State string }
		c.ask("/apps/"+a.name+"/dynos", 200, &dynos)
		n := 0
		for _, d := range dynos {
			if d.Type == "worker" {
				n++
			}
		}
		if n == have {
			return
		}
		if time.Now().After(deadline) {
			c.fatalf("app %s is scaled to %d and has the dynos %v", a.name, have, dynos)
		}
	}
}

// TestKill_losesNothingThatWasAnswered kills the platform at random moments while several clients
// change their apps, and now and then while it starts. After each start all that was answered is
// there, unchanged, and what was not has happened whole or not at all.
func TestKill_losesNothingThatWasAnswered(t *testing.T) {
	t.Parallel()
	needDynos(t)
	dir, seed := t.TempDir(), killSeed(t)
	chance := rand.New(rand.NewPCG(seed, 0))
	tenants := newTenants(t, seed)
	landed, early := 0, 0
	for round := 0; round <= kills(); round++ {
		for chance.IntN(5) == 0 {
			cmd := childCommand(t, dir)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(chance.IntN(150)) * time.Millisecond)
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // it was killed
			early++
		}
		info, kill := startChild(t, dir)
		verifyAll(t, tenants, info, dir)
		if t.Failed() {
			return
		}
		if round == kills() {
			kill()
			break
		}
		timer := time.AfterFunc(time.Duration(20+chance.IntN(300))*time.Millisecond, kill)
		together(t, tenants, func(c *tenant) {
			for c.step() {
			}
		})
		timer.Stop()
		kill()
		landed++
		if t.Failed() {
			return
		}
	}
	answered, apps := 0, 0
	for _, c := range tenants {
		answered += c.answered
		apps += len(c.apps)
	}
	t.Logf("%d kills under load and %d while it started: %d changes were answered; %d apps are left", landed, early, answered, apps)
	if answered < landed {
		t.Errorf("only %d changes were answered", answered)
	}
	db, err := bolt.Open(filepath.Join(dir, "platform.db"), 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			t.Errorf("platform.db: %v", err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func newTenants(t *testing.T, seed uint64) (list []*tenant) {
	for i := range 4 {
		list = append(list, &tenant{
			t: t, name: fmt.Sprintf("client%d", i), chance: rand.New(rand.NewPCG(seed, uint64(i+1))),
			apps: map[string]*tenantApp{}, pipelines: map[string]string{},
		})
	}
	return list
}

// verifyAll lets every client look at what is left, and looks at the files.
func verifyAll(t *testing.T, tenants []*tenant, info local.Info, dir string) {
	t.Helper()
	together(t, tenants, func(c *tenant) {
		c.http = &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}
		c.info = info
		c.verify()
	})
	if !t.Failed() {
		checkFiles(t, dir, tenants)
	}
}

// together lets every client do something at the same time.
func together(t *testing.T, tenants []*tenant, do func(*tenant)) {
	t.Helper()
	var wait sync.WaitGroup
	for _, c := range tenants {
		wait.Go(func() {
			defer func() {
				if v := recover(); v != nil && v != any(errGaveUp) {
					panic(v)
				}
			}()
			do(c)
		})
	}
	wait.Wait()
}

// checkFiles finds what a kill left behind in the data directory, while no client changes anything.
func checkFiles(t *testing.T, dir string, tenants []*tenant) {
	t.Helper()
	blobs, outputs := 0, map[string]bool{}
	for _, c := range tenants {
		for _, a := range c.apps {
			for _, s := range a.slugs {
				if s.uploaded {
					blobs++
				}
			}
			for _, r := range a.releases {
				if r.OutputStreamURL != nil {
					outputs[filepath.Base(*r.OutputStreamURL)+".log"] = true
				}
			}
		}
	}
	list := func(folder string) (names []string) {
		entries, err := os.ReadDir(filepath.Join(dir, folder))
		if err != nil {
			t.Error(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	if have := list("blobs"); len(have) != blobs {
		t.Errorf("%d blobs of %d slugs: %v", len(have), blobs, have)
	}
	for _, name := range list("outputs") {
		if !outputs[name] {
			t.Errorf("the output %s is of no release", name)
		}
	}
	for _, name := range list("") {
		if !slices.Contains([]string{"blobs", "dynos", "lock", "outputs", "platform.db", "platform.json", "token"}, name) {
			t.Errorf("%s was left in the data directory", name)
		}
	}
}
