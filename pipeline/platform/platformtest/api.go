package platformtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/platform"
)

// API is a Platform API on the wire, with no app on it.
type API struct {
	// URL is its base, without a final slash; Token is the account's.
	URL, Token string
	// Slug makes a slug archive with these files, by path below ./app.
	Slug func(t *testing.T, files map[string]string) []byte
	// Advance moves the platform's clock, back when by is below zero.
	Advance func(t *testing.T, by time.Duration)
	// BlobLifetime is how long the address of a blob can be used.
	BlobLifetime time.Duration
	// NoDynos, when set, is the reason why this platform cannot run dynos here.
	NoDynos string
}

// APISettings are what a claim needs of the platform. Zero is what Heroku has.
type APISettings struct {
	// RateLimit is the number of calls in hand. With one, the platform's clock stands still but
	// for Advance: tokens come back with time.
	RateLimit int
}

// RunAPI holds a Platform API to its contract on the wire: what clients that were made for
// Heroku send and rely on. Every answer that went well is validated against the schema that
// Heroku publishes, every refusal against the form that errors have. open is called once for
// each claim, and they run in parallel.
func RunAPI(t *testing.T, open func(t *testing.T, s APISettings) API) {
	for _, c := range []struct {
		name     string
		run      func(*testing.T, *wire)
		settings APISettings
	}{
		{name: "letsInWhoHasTheToken", run: apiCredentials},
		{name: "takesEverySpellingOfAccept", run: apiAccept},
		{name: "takesJSONAlone", run: apiBodies},
		{name: "answersEachRequestWithAnIDOfItsOwn", run: apiRequestID},
		{name: "savesABodyThatTheClientHas", run: apiConditional},
		{name: "saysWhatItDoesNotKnow", run: apiUnknown},
		{name: "refusesWhatHerokuRefuses", run: apiRefusals},
		{name: "countsCallsAndRefusesTooMany", run: apiRateLimit, settings: APISettings{RateLimit: 5}},
		{name: "listsByEverySpellingOfRange", run: apiRanges},
		{name: "listsAppsThatChangedInTheSameSecond", run: apiTies},
		{name: "makesRenamesAndDeletesApps", run: apiApps},
		{name: "knowsAppsByIDAndName", run: apiIdents},
		{name: "servesTheAppsOfTeams", run: apiTeams},
		{name: "givesEachAppADomain", run: apiDomains},
		{name: "tellsTheFactsThatNoAppChanges", run: apiFacts},
		{name: "turnsFeaturesOnAndOff", run: apiFeatures},
		{name: "keepsWhatASlugWasMadeWith", run: apiSlugs},
		{name: "keepsTheRulesOfSignedAddresses", run: apiBlobs},
		{name: "releasesAndRollsBack", run: apiReleases},
		{name: "makesAReleaseForEachChangeOfConfig", run: apiConfig},
		{name: "scalesByNumbersTextAndSteps", run: apiFormation},
		{name: "runsListsAndStopsDynos", run: apiDynos},
		{name: "couplesAppsToPipelines", run: apiPipelines},
		{name: "promotesTheSlugThatTheSourceRuns", run: apiPromotions},
		{name: "expiresWhatIsOldAndNotTheLast", run: apiRetention},
		{name: "outlivesAClockThatJumpsBack", run: apiClock, settings: APISettings{RateLimit: 50}},
		{name: "tellsTheLog", run: apiLogs},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, &wire{API: open(t, c.settings), schema: schema(t)})
		})
	}
}

// wire is a client that believes nothing.
type wire struct {
	API
	schema *hyperSchema
}

// reply is a whole answer.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// wireClient follows no redirect: the API gives none.
var wireClient = &http.Client{
	Transport:     &http.Transport{MaxIdleConnsPerHost: 16},
	Timeout:       time.Minute,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// fetch makes one request as it stands.
func fetch(t *testing.T, method, url, body string, header ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body == "" {
		req.Body, req.ContentLength = nil, 0
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := wireClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err := errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, text}
}

// call makes one request with the token, and holds the answer to its status and to the form
// that all answers have. A header of "" is left out.
func (w *wire) call(t *testing.T, method, path string, body any, want int, header ...string) reply {
	t.Helper()
	text, isText := body.(string)
	if !isText && body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	all := []string{"Authorization", "Bearer " + w.Token, "Accept", "application/vnd.heroku+json; version=3"}
	if text != "" {
		all = append(all, "Content-Type", "application/json")
	}
	r := fetch(t, method, w.URL+path, text, append(all, header...)...)
	if r.status != want {
		t.Fatalf("%s %s %.200s: status %d, want %d: %.2000s", method, path, text, r.status, want, r.body)
	}
	w.check(t, method, path, r)
	return r
}

func (w *wire) check(t *testing.T, method, path string, r reply) {
	t.Helper()
	for _, name := range []string{"Request-Id", "RateLimit-Remaining"} {
		if r.header.Get(name) == "" {
			t.Errorf("%s %s: the answer has no %s", method, path, name)
		}
	}
	if r.status == http.StatusNotModified || method == http.MethodHead {
		return
	}
	if kind := r.header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
		t.Errorf("%s %s: the answer is %q", method, path, kind)
	}
	if r.status/100 == 2 {
		path, _, _ = strings.Cut(path, "?")
		if err := w.schema.validate(method, path, r.body); err != nil {
			t.Errorf("%s %s: %v\n%.2000s", method, path, err, r.body)
		}
		return
	}
	if e := decode[refusal](t, r); e.ID == "" || e.Message == "" {
		t.Errorf("%s %s: a refusal without id or message: %s", method, path, r.body)
	}
}

// refusal is the body of an error.
type refusal struct {
	ID, Message, URL, Resource string
}

func decode[T any](t *testing.T, r reply) (v T) {
	t.Helper()
	if err := json.Unmarshal(r.body, &v); err != nil {
		t.Fatalf("%v in %.2000s", err, r.body)
	}
	return v
}

// get reads a resource.
func get[T any](t *testing.T, w *wire, path string) T {
	t.Helper()
	return decode[T](t, w.call(t, http.MethodGet, path, nil, http.StatusOK))
}

// refused makes a request that must fail, and answers how.
func (w *wire) refused(t *testing.T, method, path string, body any, want int) refusal {
	t.Helper()
	return decode[refusal](t, w.call(t, method, path, body, want))
}

func (w *wire) app(t *testing.T, name string) platform.App {
	t.Helper()
	return decode[platform.App](t, w.call(t, http.MethodPost, "/apps", map[string]string{"name": name}, http.StatusCreated))
}

// slug creates a slug and uploads its archive, which differs with note.
func (w *wire) slug(t *testing.T, app string, types map[string]string, note string) platform.Slug {
	t.Helper()
	b := w.Slug(t, map[string]string{"note": note})
	s := decode[platform.Slug](t, w.call(t, http.MethodPost, "/apps/"+app+"/slugs", map[string]any{
		"process_types": types, "checksum": digest.Of(b).Checksum(), "commit": "0123456789abcdef",
	}, http.StatusCreated))
	if r := putBytes(t, s.Blob.URL, b); r.status != http.StatusOK {
		t.Fatalf("PUT blob: %d %s", r.status, r.body)
	}
	return s
}

func putBytes(t *testing.T, url string, b []byte, header ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := wireClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err := errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, text}
}

// release uploads a slug and releases it.
func (w *wire) release(t *testing.T, app string, types map[string]string, note string) platform.Release {
	t.Helper()
	s := w.slug(t, app, types, note)
	return decode[platform.Release](t, w.call(t, http.MethodPost, "/apps/"+app+"/releases", map[string]string{"slug": s.ID}, http.StatusCreated))
}

func (w *wire) needDynos(t *testing.T) {
	t.Helper()
	if w.NoDynos != "" {
		t.Skip(w.NoDynos)
	}
}

// eventually waits for something that the platform does in its own time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}
