package local_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sebdah/goldie/v2"

	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/local"
)

func inject(t *testing.T, p *local.Platform, specs ...string) {
	t.Helper()
	if err := p.InjectFault(specs...); err != nil {
		t.Fatal(err)
	}
}

// TestParseFault_saysWhatIsWrongAndWhere reads testdata/faults.txt, one rule a line, and keeps
// what becomes of each. GOLDIE_UPDATE=true rewrites it.
func TestParseFault_saysWhatIsWrongAndWhere(t *testing.T) {
	t.Parallel()
	specs, err := os.ReadFile("testdata/faults.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for spec := range strings.Lines(string(specs)) {
		spec = strings.TrimSuffix(spec, "\n")
		if strings.HasPrefix(spec, "#") {
			fmt.Fprintf(&out, "%s\n\n", spec)
			continue
		}
		fmt.Fprintln(&out, spec)
		rule, err := local.ParseFault(spec)
		var wrong *local.FaultError
		switch {
		case errors.As(err, &wrong):
			fmt.Fprintf(&out, "%*s %s\n\n", wrong.Column, "^", wrong.Problem)
		case err != nil:
			t.Errorf("%s: %v", spec, err)
		default:
			fmt.Fprintf(&out, "= %s\n\n", rule)
		}
	}
	goldie.New(t).Assert(t, "faults", []byte(out.String()))
}

func TestParseFault_refusesWhatNoLineOfAFileShows(t *testing.T) {
	t.Parallel()
	for spec, column := range map[string]int{
		"":                              1,
		"lost \x1b[2J":                  6,
		"lost \xff":                     1,
		strings.Repeat("lost ", 1000):   1001,
		"lost\n\x00":                    6,
		"late=1s\tlost":                 9,
		"expired on=blob\u00a0times=no": 17,
	} {
		_, err := local.ParseFault(spec)
		var wrong *local.FaultError
		if !errors.As(err, &wrong) || wrong.Column != column {
			t.Errorf("%.40q: %+v", spec, err)
		}
	}
}

func FuzzParseFault(f *testing.F) {
	specs, err := os.ReadFile("testdata/faults.txt")
	if err != nil {
		f.Fatal(err)
	}
	for spec := range strings.Lines(string(specs)) {
		f.Add(strings.TrimSuffix(spec, "\n"))
	}
	f.Fuzz(func(t *testing.T, spec string) {
		rule, err := local.ParseFault(spec)
		if err != nil {
			var wrong *local.FaultError
			if !errors.As(err, &wrong) || wrong.Column < 1 || wrong.Column > len(spec)+1 || wrong.Problem == "" {
				t.Errorf("%q: %#v", spec, err)
			}
			return
		}
		text := rule.String()
		again, err := local.ParseFault(text)
		if err != nil || again.String() != text {
			t.Errorf("%q is written as %q, which reads as %q, %v", spec, text, again, err)
		}
	})
}

// statuses asks n times, from several clients at once, and counts what came.
func statuses(t *testing.T, p *local.Platform, path string, n, clients int) (list []int) {
	t.Helper()
	var mu sync.Mutex
	var wait sync.WaitGroup
	for range clients {
		wait.Go(func() {
			for range n / clients {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.URL()+path, nil)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Authorization", "Bearer "+p.Token().Reveal())
				res, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				res.Body.Close()
				mu.Lock()
				list = append(list, res.StatusCode)
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	return list
}

func TestFaults_repeatWithTheirSeed(t *testing.T) {
	t.Parallel()
	rules := []string{"status=500|502|503 rate=20% on=/account", "status=429 rate=40% skip=3 on=/stacks"}
	start := func(seed uint64) *local.Platform {
		p := open(t, t.TempDir(), local.Options{RateLimit: -1, FaultSeed: seed})
		inject(t, p, rules...)
		return p
	}
	a, b, other := start(7), start(7), start(8)
	want := statuses(t, a, "/account", 100, 1)
	if got := statuses(t, b, "/account", 100, 1); !cmp.Equal(want, got) {
		t.Errorf("the same seed gives %v, then %v", want, got)
	}
	if got := statuses(t, other, "/account", 100, 1); cmp.Equal(want, got) {
		t.Error("another seed gives the same")
	}
	kinds := map[int]int{}
	for _, s := range want {
		kinds[s]++
	}
	if kinds[200] < 60 || kinds[200] > 95 || kinds[500] == 0 || kinds[502] == 0 || kinds[503] == 0 {
		t.Errorf("of 100 answers with 20 %% faults there are %v", kinds)
	}

	// The chances are those of the rule's own matches: what others do meanwhile changes nothing,
	// and of requests at once as many are hit as of requests in turn.
	inTurn := statuses(t, a, "/stacks", 60, 1)
	var wait sync.WaitGroup
	var atOnce []int
	wait.Go(func() { atOnce = statuses(t, b, "/stacks", 60, 6) })
	wait.Go(func() { statuses(t, b, "/account", 60, 6) })
	wait.Wait()
	count := func(list []int) (n int) {
		for _, s := range list {
			if s == 429 {
				n++
			}
		}
		return n
	}
	if count(inTurn) != count(atOnce) || count(inTurn) == 0 {
		t.Errorf("%d of 60 are hit in turn, %d at once", count(inTurn), count(atOnce))
	}
	state := b.Faults()
	if state.Seed != 7 || state.Rules[1].Matches != 60 || state.Rules[1].Hits != count(atOnce) {
		t.Errorf("counts: %+v", state)
	}

	// Taken away and given again, the sequence begins anew.
	call(t, a, "DELETE", "/_fault", nil, 200)
	inject(t, a, rules...)
	if got := statuses(t, a, "/account", 100, 1); !cmp.Equal(want, got) {
		t.Errorf("given again it gives %v, not %v", got, want)
	}
}

func TestFaults_twoEqualRulesHaveChancesOfTheirOwn(t *testing.T) {
	t.Parallel()
	p := open(t, t.TempDir(), local.Options{RateLimit: -1, FaultSeed: 3})
	inject(t, p, "latency=1ms rate=50%", "latency=1ms rate=50%")
	statuses(t, p, "/account", 64, 1)
	both := 0
	for _, l := range p.Faults().Rules {
		both += l.Hits
	}
	inject(t, p, "status=503 on=/stacks", "latency=1us on=/stacks times=1")
	call(t, p, "GET", "/stacks", nil, 503)
	if left := p.Faults().Rules[3].Left; left == nil || *left != 0 {
		t.Error("a wait does not go with the end that another rule makes")
	}
	if both < 32 || both > 96 {
		t.Errorf("two rules of 50 %% hit 64 requests %d times", both)
	}
}

func TestFaults_areGivenToldAndTakenAwayOneByOne(t *testing.T) {
	t.Parallel()
	rule, err := local.ParseFault("status=404 on=/stacks")
	if err != nil {
		t.Fatal(err)
	}
	p := open(t, t.TempDir(), local.Options{FaultSeed: 11, Faults: []local.FaultRule{rule}})
	call(t, p, "GET", "/stacks", nil, 404)
	call(t, p, "POST", "/_fault", "status=503 rate=100% times=2\n\nlatency=1ms on='GET /account'\n", 200, "Content-Type", "text/plain")
	call(t, p, "GET", "/account", nil, 503)
	text, _ := call(t, p, "GET", "/_fault", nil, 200)
	var state local.FaultState
	if err := json.Unmarshal(text, &state); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(local.FaultState{Seed: 11, Rules: []local.FaultCount{
		{ID: 1, Spec: "status=404 on=/stacks", Matches: 1, Hits: 1},
		{ID: 2, Spec: "status=503 times=2", Matches: 1, Hits: 1, Left: new(1)},
		{ID: 3, Spec: `latency=1ms on="GET /account"`, Matches: 1, Hits: 1},
	}}, state); d != "" {
		t.Error(d)
	}
	call(t, p, "DELETE", "/_fault/2", nil, 200)
	call(t, p, "GET", "/account", nil, 200)
	call(t, p, "DELETE", "/_fault/2", nil, 404)
	call(t, p, "DELETE", "/_fault/x", nil, 404)
	call(t, p, "DELETE", "/_fault/1", nil, 200, "Authorization", "Bearer "+p.Token().Reveal())
	call(t, p, "DELETE", "/_fault/3", nil, 401, "Authorization", "Bearer wrong")
	call(t, p, "PUT", "/_fault", "lost", 404)
	call(t, p, "GET", "/stacks", nil, 200)

	for body, want := range map[string]string{
		"":                     "one a line",
		"status=503 rate=3":    "column 12",
		"lost\nloost":          "unknown word",
		"[1]":                  "A fault rule is a string or an object",
		"{":                    "A fault rule is a string or an object",
		`{"status":[503]}`:     "must be a string, a number or true",
		`{"lost":true,"on":7}`: "is no method",
		`["lost","late"]`:      "late needs a value",
	} {
		if text, _ := call(t, p, "POST", "/_fault", body, 422); !strings.Contains(string(text), want) {
			t.Errorf("%s: %s", body, text)
		}
	}
	before := len(p.Faults().Rules)
	if text, _ := call(t, p, "POST", "/_fault", strings.Repeat("lost\n", 300), 422); !strings.Contains(string(text), "there can be 200") || len(p.Faults().Rules) != before {
		t.Errorf("300 rules: %s", text)
	}
}

// TestFaults_haveOneLineEachInTheLogOfTheApp says nothing of what can open something.
func TestFaults_haveOneLineEachInTheLogOfTheApp(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var lines []string
	p := open(t, t.TempDir(), local.Options{Log: func(app, line string) {
		mu.Lock()
		defer mu.Unlock()
		if strings.Contains(line, " heroku[fault]: ") {
			_, text, _ := strings.Cut(line, " ")
			lines = append(lines, app+" "+text)
		}
	}})
	createApp(t, p, "example")
	inject(t, p, "latency=2ms on=/apps/*", `expired on="PUT blob" times=1`, "status=500 on=/account")
	call(t, p, "GET", "/apps/example", nil, 200)
	call(t, p, "GET", "/account", nil, 500)
	text, h := call(t, p, "POST", "/apps/example/slugs", `{"process_types":{"web":"x"}}`, 201)
	slug := into[platform.Slug](t, text, h)
	if res := put(t, slug.Blob.URL, []byte("x")); res.status != 403 || !strings.Contains(res.body, "Request has expired") {
		t.Errorf("an expired address answers %d %s", res.status, res.body)
	}
	if res := put(t, slug.Blob.URL, []byte("x")); res.status != 200 {
		t.Errorf("the next time it answers %d %s", res.status, res.body)
	}
	mu.Lock()
	defer mu.Unlock()
	if d := cmp.Diff([]string{
		`example heroku[fault]: rule=1 match=1 fault="latency=2ms" method=GET path="/apps/example"`,
		`platform heroku[fault]: rule=3 match=1 fault="status=500" method=GET path="/account"`,
		`example heroku[fault]: rule=2 match=1 fault="expired" method=PUT path="/slugs/…"`,
	}, lines); d != "" {
		t.Error(d)
	}
}

func TestFaults_ofTheNetworkComeAtTheByteTheyName(t *testing.T) {
	t.Parallel()
	p := open(t, t.TempDir(), local.Options{})
	createApp(t, p, "example")
	text, h := call(t, p, "POST", "/apps/example/slugs", `{"process_types":{"web":"x"}}`, 201)
	slug := into[platform.Slug](t, text, h)
	body := make([]byte, 1<<20)
	if res := put(t, slug.Blob.URL, body); res.status != 200 {
		t.Fatalf("PUT: %d %s", res.status, res.body)
	}
	text, h = call(t, p, "GET", "/apps/example/slugs/"+slug.ID, nil, 200)
	at := into[platform.Slug](t, text, h).Blob.URL
	inject(t, p, `reset=64KiB on="GET blob" times=1`, `latency=300ms on="GET blob" skip=1`)
	get := func() (int, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		defer res.Body.Close()
		n, err := io.Copy(io.Discard, res.Body)
		return int(n), err
	}
	if n, err := get(); err == nil || n > 64<<10 {
		t.Errorf("a reset at 64 KiB gave %d bytes, %v", n, err)
	}
	began := time.Now()
	if n, err := get(); err != nil || n != len(body) || time.Since(began) < 300*time.Millisecond {
		t.Errorf("after it come %d bytes in %v, %v", n, time.Since(began), err)
	}
}

func TestFaults_befallNeitherThePlatformsOwnCallsNorItsPage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := open(t, dir, local.Options{})
	createApp(t, p, "example")
	inject(t, p, "status=503")
	call(t, p, "GET", "/apps/example", nil, 503)
	if info, found := local.Discover(dir); !found || info.API != p.URL() {
		t.Error("a platform with faults is not found")
	}
	if err := local.AwaitWeb(t.Context(), p.Info(), "example"); !errors.Is(err, local.ErrNoWeb) {
		t.Errorf("waiting for the web process: %v", err)
	}
	res, err := client.Get(p.URL() + "/")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode == http.StatusServiceUnavailable {
		t.Error("the page meets a fault")
	}
}

func TestFaults_ofDynosAreThoseOfAProcess(t *testing.T) {
	t.Parallel()
	program := web(t)
	p := open(t, t.TempDir(), local.Options{RestartDelay: 10 * time.Millisecond})
	createApp(t, p, "example")
	createApp(t, p, "other")

	inject(t, p, "crash-boot=7 app=example type=web times=1")
	release(t, p, "other", map[string]string{"web": "bin/web"}, program)
	awaitWeb(t, p, "other")
	release(t, p, "example", map[string]string{"web": "bin/web"}, program)
	eventually(t, "the dyno that starts after the crash", func() bool {
		status, _ := fetch(t, *getApp(t, p, "example").WebURL)
		return status == http.StatusOK
	})
	log := strings.Join(p.Logs("example"), "\n")
	for _, want := range []string{
		`heroku[fault]: rule=1 match=1 fault="crash-boot=7" dyno=web.1`, "app[web.1]: Injected fault: crash-boot=7",
		"heroku[web.1]: Process exited with status 7", "Starting process with command `bin/web`",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}

	// A release phase that fails leaves the old release live.
	inject(t, p, "fail-release-phase=3 times=1")
	r := release(t, p, "example", map[string]string{"web": "bin/web", "release": "echo migrated"}, program)
	eventually(t, "the failed release phase", func() bool {
		return getRelease(t, p, "example", r.ID).Status == platform.Failed
	})
	if _, text := fetch(t, *r.OutputStreamURL); text != "Injected fault: fail-release-phase=3\n" {
		t.Errorf("its output is %q", text)
	}
	if now := getRelease(t, p, "example", fmt.Sprint(r.Version-1)); !now.Current {
		t.Errorf("after it, %+v", now)
	}
	r = release(t, p, "example", map[string]string{"web": "bin/web", "release": "echo migrated"}, program)
	eventually(t, "the next release phase", func() bool {
		return getRelease(t, p, "example", r.ID).Status == platform.Succeeded
	})
}

func TestFaults_slowBootCountsAgainstTheBootTimeout(t *testing.T) {
	t.Parallel()
	program := web(t)
	p := open(t, t.TempDir(), local.Options{})
	createApp(t, p, "example")
	inject(t, p, "slow-boot=700ms times=1")
	began := time.Now()
	release(t, p, "example", map[string]string{"web": "MESSAGE=\"it's me\" bin/web"}, program)
	awaitWeb(t, p, "example")
	if took := time.Since(began); took < 700*time.Millisecond {
		t.Errorf("a slow boot took %v", took)
	}
	if _, text := fetch(t, *getApp(t, p, "example").WebURL); !strings.Contains(text, "message=it's me\n") {
		t.Errorf("the command has become another: %s", text)
	}

	p = open(t, t.TempDir(), local.Options{BootTimeout: 500 * time.Millisecond})
	createApp(t, p, "example")
	inject(t, p, "slow-boot=1h")
	release(t, p, "example", map[string]string{"web": "bin/web"}, program)
	var boot *local.BootError
	if err := p.AwaitWeb(t.Context(), "example"); !errors.As(err, &boot) || boot.Code != "R10" {
		t.Errorf("a boot that is too slow: %v", err)
	}
}

// TestFaults_lateAndLostAct makes sure that what is refused by a lost connection was done.
func TestFaults_lateAndLostAct(t *testing.T) {
	t.Parallel()
	p := open(t, t.TempDir(), local.Options{})
	createApp(t, p, "example")
	send := func(body string) error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, p.URL()+"/apps/example/config-vars", bytes.NewReader([]byte(body)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+p.Token().Reveal())
		res, err := client.Do(req)
		if err == nil {
			res.Body.Close()
		}
		return err
	}
	inject(t, p, `lost on="PATCH /apps/*/config-vars" times=1`, `late=100ms..200ms on="PATCH /apps/*/config-vars" times=1`)
	for i, body := range []string{`{"A":"1"}`, `{"B":"1"}`} {
		if err := send(body); err == nil {
			t.Errorf("call %d was answered", i)
		}
	}
	eventually(t, "what was lost and what was late", func() bool {
		text, _ := call(t, p, "GET", "/apps/example/config-vars", nil, 200)
		return strings.TrimSpace(string(text)) == `{"A":"1","B":"1"}`
	})
}
