// Package platformtest is the test kit for platforms: one conformance suite at the level of
// the port, and a small server of the Platform API in memory that can be told to fail.
//
// Only tests import it. It knows no platform but the interface.
package platformtest

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/platform"
)

// World is one platform with nothing on it.
type World struct {
	Platform platform.Platform
	// Slug makes a slug archive with these process types and files, by path below ./app.
	Slug func(t *testing.T, procs map[string]string, files map[string]string) []byte
	// Stack is a stack that the platform has. Default: heroku-24.
	Stack string
	// Configure sets config vars of an app.
	Configure func(t *testing.T, app string, vars map[string]string)
	// NoDynos, when set, is the reason why this platform cannot run a release phase here.
	NoDynos string
}

// patience is how long the suite waits for a release phase.
const patience = time.Minute

// Run holds a platform to what the stages rely on. open is called once for each claim, and they run in parallel.
func Run(t *testing.T, open func(t *testing.T) World) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, *suite)
	}{
		{"readsTheAppItMade", appRoundTrip},
		{"listsStacks", stacks},
		{"saysNotFound", notFound},
		{"keepsWhatASlugWasCreatedWith", slugRoundTrip},
		{"storesTheBlobThatWasPut", blob},
		{"givesBackTheBytesThatWerePut", openBlob},
		{"namesConfigVarsAndNoValues", configNames},
		{"takesASecondPut", secondPut},
		{"refusesBytesThatDoNotMatchTheChecksum", wrongChecksum},
		{"refusesToReleaseASlugThatWasNeverUploaded", neverUploaded},
		{"numbersTheFirstReleaseThree", firstRelease},
		{"marksOneReleaseCurrent", current},
		{"findsAReleaseByIDAndVersion", byVersion},
		{"listsAllReleasesNewestFirst", manyReleases},
		{"rollsBackToAnEarlierRelease", rollback},
		{"tellsTheLog", logs},
		{"runsTheReleasePhase", phase},
		{"keepsTheOldReleaseWhenThePhaseFails", failingPhase},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := open(t)
			if w.Stack == "" {
				w.Stack = "heroku-24"
			}
			c.run(t, &suite{World: w})
		})
	}
}

type suite struct{ World }

func (s *suite) app(t *testing.T) platform.App {
	t.Helper()
	app, err := s.Platform.CreateApp(t.Context(), platform.AppCreate{Name: "example", Stack: s.Stack})
	if err != nil {
		t.Fatalf("CreateApp: %v", err)
	}
	return app
}

// procs runs nothing by itself: only web is scaled up by a first release.
var procs = map[string]string{"worker": "sleep 60"}

func (s *suite) create(t *testing.T, app platform.App, types map[string]string, b []byte) platform.Slug {
	t.Helper()
	slug, err := s.Platform.CreateSlug(t.Context(), app.ID, platform.SlugCreate{
		ProcessTypes: types, Checksum: new(digest.Of(b).Checksum()), Commit: new("0123456789abcdef"),
		CommitDescription: new("slugfile/1 plan=00"), Stack: s.Stack,
	})
	if err != nil {
		t.Fatalf("CreateSlug: %v", err)
	}
	return slug
}

func (s *suite) put(t *testing.T, slug platform.Slug, b []byte) {
	t.Helper()
	var last int64
	err := s.Platform.PutBlob(t.Context(), slug.Blob, bytes.NewReader(b), int64(len(b)), func(n int64) { last = n })
	if err != nil {
		t.Fatalf("PutBlob: %v", err)
	}
	if last != int64(len(b)) {
		t.Errorf("progress ended at %d of %d bytes", last, len(b))
	}
}

// upload makes a slug whose bytes differ with note.
func (s *suite) upload(t *testing.T, app platform.App, types map[string]string, note string) platform.Slug {
	t.Helper()
	b := s.Slug(t, types, map[string]string{"note": note})
	slug := s.create(t, app, types, b)
	s.put(t, slug, b)
	return slug
}

func (s *suite) release(t *testing.T, app platform.App, slug platform.Slug, text string) platform.Release {
	t.Helper()
	r, err := s.Platform.CreateRelease(t.Context(), app.ID, platform.ReleaseCreate{Slug: slug.ID, Description: text})
	if err != nil {
		t.Fatalf("CreateRelease: %v", err)
	}
	return r
}

// settled waits until a release is no longer pending.
func (s *suite) settled(t *testing.T, app platform.App, r platform.Release) platform.Release {
	t.Helper()
	for end := time.Now().Add(patience); r.Status == platform.Pending; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("v%d is still pending after %s", r.Version, patience)
		}
		var err error
		if r, err = s.Platform.Release(t.Context(), app.ID, r.ID); err != nil {
			t.Fatalf("Release: %v", err)
		}
	}
	return r
}

// live returns the versions of all releases that are marked current.
func (s *suite) live(t *testing.T, app platform.App) []int {
	t.Helper()
	all, err := s.Platform.Releases(t.Context(), app.ID, 0)
	if err != nil {
		t.Fatalf("Releases: %v", err)
	}
	var versions []int
	for _, r := range all {
		if r.Current {
			versions = append(versions, r.Version)
		}
	}
	return versions
}

func appRoundTrip(t *testing.T, s *suite) {
	made := s.app(t)
	if made.ID == "" || made.Name != "example" {
		t.Fatalf("CreateApp returned id %q, name %q", made.ID, made.Name)
	}
	if g := made.Generation.Name; g != "" && g != "cedar" {
		t.Errorf("generation is %q; slugs run on cedar only", g)
	}
	for _, by := range []string{made.ID, made.Name} {
		got, err := s.Platform.App(t.Context(), by)
		if err != nil {
			t.Fatalf("App(%q): %v", by, err)
		}
		if got.ID != made.ID || got.Name != made.Name || got.Stack.Name != s.Stack {
			t.Errorf("App(%q) = id %q, name %q, stack %q; want %q, %q, %q", by, got.ID, got.Name, got.Stack.Name, made.ID, made.Name, s.Stack)
		}
	}
	if _, err := s.Platform.CreateApp(t.Context(), platform.AppCreate{Name: "example"}); err == nil {
		t.Error("a second app of the same name was made")
	}
}

func stacks(t *testing.T, s *suite) {
	app := s.app(t)
	for _, of := range []string{"", app.ID} {
		list, err := s.Platform.Stacks(t.Context(), of)
		if err != nil {
			t.Fatalf("Stacks(%q): %v", of, err)
		}
		if !slices.ContainsFunc(list, func(k platform.Stack) bool { return k.Name == s.Stack }) {
			t.Errorf("Stacks(%q) lacks %s", of, s.Stack)
		}
	}
}

func notFound(t *testing.T, s *suite) {
	app := s.app(t)
	const absent = "01234567-89ab-4cde-8f01-23456789abcd"
	_, noApp := s.Platform.App(t.Context(), "no-such-app")
	_, noReleases := s.Platform.Releases(t.Context(), "no-such-app", 0)
	_, noRelease := s.Platform.Release(t.Context(), app.ID, "99")
	_, noSlug := s.Platform.Slug(t.Context(), app.ID, absent)
	_, noSlugToRelease := s.Platform.CreateRelease(t.Context(), app.ID, platform.ReleaseCreate{Slug: absent})
	for what, err := range map[string]error{"App": noApp, "Releases": noReleases, "Release": noRelease, "Slug": noSlug} {
		var e *platform.Error
		if !errors.Is(err, platform.ErrNotFound) {
			t.Errorf("%s: %v; want ErrNotFound", what, err)
		} else if errors.As(err, &e) && e.Message == "" {
			t.Errorf("%s: the error has no message", what)
		}
	}
	if noSlugToRelease == nil || errors.Is(noSlugToRelease, platform.ErrAmbiguous) {
		t.Errorf("CreateRelease of an absent slug: %v; want a refusal", noSlugToRelease)
	}
}

func slugRoundTrip(t *testing.T, s *suite) {
	app := s.app(t)
	types := map[string]string{"worker": "sleep 60", "odd-1_name": "echo \"a b\" 'c' $D"}
	b := s.Slug(t, types, map[string]string{"note": "1"})
	made := s.create(t, app, types, b)
	if strings.ToUpper(made.Blob.Method) != "PUT" || made.Blob.URL == "" {
		t.Errorf("blob of a new slug has method %q and an address of %d bytes", made.Blob.Method, len(made.Blob.URL))
	}
	s.put(t, made, b)
	got, err := s.Platform.Slug(t.Context(), app.ID, made.ID)
	if err != nil {
		t.Fatalf("Slug: %v", err)
	}
	text := func(p *string) string {
		if p == nil {
			return "null"
		}
		return *p
	}
	if !maps.Equal(got.ProcessTypes, types) {
		t.Errorf("process types %v, want %v", got.ProcessTypes, types)
	}
	if c := text(got.Checksum); !strings.EqualFold(c, digest.Of(b).Checksum()) {
		t.Errorf("checksum %s, want %s", c, digest.Of(b).Checksum())
	}
	if text(got.Commit) != "0123456789abcdef" || text(got.CommitDescription) != "slugfile/1 plan=00" || got.Stack.Name != s.Stack {
		t.Errorf("commit %s, description %s, stack %s", text(got.Commit), text(got.CommitDescription), got.Stack.Name)
	}
	if got.Blob.URL == made.Blob.URL {
		t.Error("the address for download is the one for upload")
	}
}

func blob(t *testing.T, s *suite) {
	app := s.app(t)
	b := s.Slug(t, procs, map[string]string{"note": strings.Repeat("some text ", 20_000)})
	made := s.create(t, app, procs, b)
	s.put(t, made, b)
	got, err := s.Platform.Slug(t.Context(), app.ID, made.ID)
	if err != nil {
		t.Fatalf("Slug: %v", err)
	}
	info, err := s.Platform.StatBlob(t.Context(), got.Blob)
	if err != nil {
		t.Fatalf("StatBlob: %v", err)
	}
	if info.Size != int64(len(b)) {
		t.Errorf("the store has %d bytes, want %d", info.Size, len(b))
	}
	sum := md5.Sum(b)
	if tag := strings.Trim(info.ETag, `"`); len(tag) == 32 && tag != hex.EncodeToString(sum[:]) {
		t.Errorf("ETag %s, want %x", tag, sum)
	}
}

func openBlob(t *testing.T, s *suite) {
	app := s.app(t)
	b := s.Slug(t, procs, map[string]string{"note": strings.Repeat("some text ", 20_000)})
	made := s.create(t, app, procs, b)
	address := func() platform.Blob {
		got, err := s.Platform.Slug(t.Context(), app.ID, made.ID)
		if err != nil {
			t.Fatalf("Slug: %v", err)
		}
		return got.Blob
	}
	if _, err := s.Platform.OpenBlob(t.Context(), address()); !errors.Is(err, platform.ErrNotFound) {
		t.Errorf("OpenBlob of a slug that was never uploaded: %v; want ErrNotFound", err)
	}
	s.put(t, made, b)
	r, err := s.Platform.OpenBlob(t.Context(), address())
	if err != nil {
		t.Fatalf("OpenBlob: %v", err)
	}
	got, err := io.ReadAll(io.LimitReader(r, int64(len(b))+1))
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatalf("OpenBlob: %v", err)
	}
	if !bytes.Equal(got, b) {
		t.Errorf("OpenBlob gave %d bytes with the digest %s, want %d with %s", len(got), digest.Of(got).Short(), len(b), digest.Of(b).Short())
	}
}

func configNames(t *testing.T, s *suite) {
	app := s.app(t)
	if _, err := s.Platform.ConfigNames(t.Context(), "no-such-app"); !errors.Is(err, platform.ErrNotFound) {
		t.Errorf("ConfigNames of no app: %v; want ErrNotFound", err)
	}
	if names, err := s.Platform.ConfigNames(t.Context(), app.ID); err != nil || len(names) != 0 {
		t.Errorf("ConfigNames of a new app: %q, %v", names, err)
	}
	s.Configure(t, app.ID, map[string]string{"B": "canary", "A": "", "C_1": "{\"X\": 1}"})
	names, err := s.Platform.ConfigNames(t.Context(), app.ID)
	if err != nil || !slices.Equal(names, []string{"A", "B", "C_1"}) {
		t.Errorf("ConfigNames: %q, %v; want A, B, C_1", names, err)
	}
}

func secondPut(t *testing.T, s *suite) {
	app := s.app(t)
	b := s.Slug(t, procs, map[string]string{"note": "1"})
	made := s.create(t, app, procs, b)
	s.put(t, made, b)
	s.put(t, made, b)
	if r := s.settled(t, app, s.release(t, app, made, "after two puts")); r.Status != platform.Succeeded {
		t.Errorf("status %s, want %s", r.Status, platform.Succeeded)
	}
}

func wrongChecksum(t *testing.T, s *suite) {
	app := s.app(t)
	promised := s.Slug(t, procs, map[string]string{"note": "promised"})
	made := s.create(t, app, procs, promised)
	b := s.Slug(t, procs, map[string]string{"note": "other"})
	if err := s.Platform.PutBlob(t.Context(), made.Blob, bytes.NewReader(b), int64(len(b)), nil); err != nil {
		return
	}
	_, err := s.Platform.CreateRelease(t.Context(), app.ID, platform.ReleaseCreate{Slug: made.ID})
	if err == nil || errors.Is(err, platform.ErrAmbiguous) {
		t.Errorf("release of bytes that do not match the checksum: %v; want a refusal", err)
	}
}

func neverUploaded(t *testing.T, s *suite) {
	app := s.app(t)
	made := s.create(t, app, procs, s.Slug(t, procs, nil))
	_, err := s.Platform.CreateRelease(t.Context(), app.ID, platform.ReleaseCreate{Slug: made.ID})
	var e *platform.Error
	if !errors.As(err, &e) || e.Status/100 != 4 {
		t.Errorf("release of a slug without bytes: %v; want a refusal", err)
	}
}

func firstRelease(t *testing.T, s *suite) {
	app := s.app(t)
	slug := s.upload(t, app, procs, "1")
	r := s.release(t, app, slug, "first [slugfile 01JD]")
	if r.Version != 3 {
		t.Errorf("the first release of a slug is v%d, want v3", r.Version)
	}
	r = s.settled(t, app, r)
	if r.Status != platform.Succeeded || r.Slug == nil || r.Slug.ID != slug.ID || r.Description != "first [slugfile 01JD]" {
		t.Errorf("release is %+v", r)
	}
	all, err := s.Platform.Releases(t.Context(), app.ID, 0)
	if err != nil {
		t.Fatalf("Releases: %v", err)
	}
	for _, r := range all[1:] {
		if r.Slug != nil {
			t.Errorf("v%d of a new app has a slug", r.Version)
		}
	}
}

func current(t *testing.T, s *suite) {
	app := s.app(t)
	for want := 3; want <= 4; want++ {
		r := s.release(t, app, s.upload(t, app, procs, strconv.Itoa(want)), "")
		s.settled(t, app, r)
		if got := s.live(t, app); !slices.Equal(got, []int{want}) {
			t.Errorf("current is %v, want v%d alone", got, want)
		}
	}
}

func byVersion(t *testing.T, s *suite) {
	app := s.app(t)
	made := s.release(t, app, s.upload(t, app, procs, "1"), "")
	for _, by := range []string{made.ID, strconv.Itoa(made.Version), "v" + strconv.Itoa(made.Version)} {
		got, err := s.Platform.Release(t.Context(), app.ID, by)
		if err != nil {
			t.Errorf("Release(%q): %v", by, err)
		} else if got.ID != made.ID {
			t.Errorf("Release(%q) has id %s, want %s", by, got.ID, made.ID)
		}
	}
}

func manyReleases(t *testing.T, s *suite) {
	app := s.app(t)
	slug := s.upload(t, app, procs, "1")
	for range 6 {
		s.settled(t, app, s.release(t, app, slug, ""))
	}
	for limit, want := range map[int][]int{0: {8, 7, 6, 5, 4, 3, 2, 1}, 5: {8, 7, 6, 5, 4}, 1: {8}} {
		list, err := s.Platform.Releases(t.Context(), app.ID, limit)
		if err != nil {
			t.Fatalf("Releases(limit %d): %v", limit, err)
		}
		var got []int
		for _, r := range list {
			got = append(got, r.Version)
		}
		if !slices.Equal(got, want) {
			t.Errorf("Releases(limit %d) = %v, want %v", limit, got, want)
		}
	}
}

func rollback(t *testing.T, s *suite) {
	app := s.app(t)
	first := s.upload(t, app, procs, "1")
	v3 := s.settled(t, app, s.release(t, app, first, "one"))
	s.Configure(t, app.ID, map[string]string{"LATER": "canary"})
	v := s.settled(t, app, s.release(t, app, s.upload(t, app, procs, "2"), "two"))
	back, err := s.Platform.CreateRelease(t.Context(), app.ID, platform.ReleaseCreate{Release: v3.ID})
	if err != nil {
		t.Fatalf("CreateRelease of a rollback: %v", err)
	}
	back = s.settled(t, app, back)
	if back.Version != v.Version+1 || back.Slug == nil || back.Slug.ID != first.ID || back.Status != platform.Succeeded || back.Description != "Rollback to v3" {
		t.Errorf("the rollback is %+v", back)
	}
	if got := s.live(t, app); !slices.Equal(got, []int{back.Version}) {
		t.Errorf("current is %v, want v%d alone", got, back.Version)
	}
	const absent = "01234567-89ab-4cde-8f01-23456789abcd"
	if _, err := s.Platform.CreateRelease(t.Context(), app.ID, platform.ReleaseCreate{Release: absent}); err == nil || errors.Is(err, platform.ErrAmbiguous) {
		t.Errorf("rollback to an absent release: %v; want a refusal", err)
	}
	configs, ok := s.Platform.(platform.Configs)
	if !ok {
		t.Fatalf("%T tells nothing of the config vars of releases", s.Platform)
	}
	for release, want := range map[string][]string{v3.ID: nil, v.ID: {"LATER"}, strconv.Itoa(back.Version): nil} {
		if names, err := configs.ReleaseConfigNames(t.Context(), app.ID, release); err != nil || !slices.Equal(names, want) {
			t.Errorf("ReleaseConfigNames(%s) = %q, %v; want %q", release, names, err, want)
		}
	}
	if _, err := configs.ReleaseConfigNames(t.Context(), app.ID, "99"); !errors.Is(err, platform.ErrNotFound) {
		t.Errorf("ReleaseConfigNames of an absent release: %v; want ErrNotFound", err)
	}
}

func logs(t *testing.T, s *suite) {
	reader, ok := s.Platform.(platform.Logs)
	if !ok {
		t.Fatalf("%T reads no logs", s.Platform)
	}
	if _, err := reader.CreateLogSession(t.Context(), "no-such-app", platform.LogSessionCreate{Lines: 1}); !errors.Is(err, platform.ErrNotFound) {
		t.Errorf("CreateLogSession of no app: %v; want ErrNotFound", err)
	}
	app := s.app(t)
	slug := s.upload(t, app, procs, "1")
	s.settled(t, app, s.release(t, app, slug, "one"))
	read := func(lines int, after string) (list []platform.LogEvent) {
		session, err := reader.CreateLogSession(t.Context(), app.ID, platform.LogSessionCreate{Lines: lines})
		if err == nil {
			err = reader.ReadLog(t.Context(), session, after, func(e platform.LogEvent) error {
				list = append(list, e)
				return nil
			})
		}
		if err != nil {
			t.Fatalf("read the log: %v", err)
		}
		return list
	}
	has := func(list []platform.LogEvent, text string) bool {
		return slices.ContainsFunc(list, func(e platform.LogEvent) bool { return strings.Contains(e.Line, text) })
	}
	all := read(100, "")
	if !has(all, " app[api]: Release v3 created by user ") {
		t.Fatalf("the log does not tell of the release: %q", all)
	}
	last := all[len(all)-1]
	if few := read(1, ""); len(few) != 1 {
		t.Errorf("the last line of the log is %q", few)
	}
	s.settled(t, app, s.release(t, app, slug, "two"))
	if last.ID == "" {
		return
	}
	if later := read(100, last.ID); has(later, "Release v3") || !has(later, "Release v4") {
		t.Errorf("behind event %s stand %q", last.ID, later)
	}
}

func phase(t *testing.T, s *suite) {
	if s.NoDynos != "" {
		t.Skip(s.NoDynos)
	}
	app := s.app(t)
	types := map[string]string{"worker": "sleep 60", "release": "echo first line; echo second line"}
	r := s.release(t, app, s.upload(t, app, types, "1"), "")
	if r.Status != platform.Pending || r.Current {
		t.Errorf("right after POST the release is %s, current %t; want pending, not current", r.Status, r.Current)
	}
	if got := s.output(t, r); got != "first line\nsecond line\n" {
		t.Errorf("the output is %q", got)
	}
	if r = s.settled(t, app, r); r.Status != platform.Succeeded {
		t.Errorf("status %s, want %s", r.Status, platform.Succeeded)
	}
	if got := s.live(t, app); !slices.Equal(got, []int{r.Version}) {
		t.Errorf("current is %v, want v%d", got, r.Version)
	}
}

// output reads a release phase's output to its end; there is none until the dyno writes.
func (s *suite) output(t *testing.T, r platform.Release) string {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		out, err := s.Platform.ReleaseOutput(t.Context(), r)
		if errors.Is(err, platform.ErrNotFound) && time.Now().Before(end) {
			continue
		}
		if err != nil {
			t.Fatalf("ReleaseOutput: %v", err)
		}
		b, err := io.ReadAll(io.LimitReader(out, 1<<20))
		if err := errors.Join(err, out.Close()); err != nil {
			t.Fatalf("ReleaseOutput: %v", err)
		}
		return string(b)
	}
}

func failingPhase(t *testing.T, s *suite) {
	if s.NoDynos != "" {
		t.Skip(s.NoDynos)
	}
	app := s.app(t)
	good := s.settled(t, app, s.release(t, app, s.upload(t, app, procs, "good"), ""))
	types := map[string]string{"worker": "sleep 60", "release": "echo no such table; exit 7"}
	bad := s.settled(t, app, s.release(t, app, s.upload(t, app, types, "bad"), ""))
	if bad.Status != platform.Failed || bad.Current {
		t.Errorf("the release is %s, current %t; want failed, not current", bad.Status, bad.Current)
	}
	if bad.Version != good.Version+1 {
		t.Errorf("the failed release is v%d, want v%d", bad.Version, good.Version+1)
	}
	if got := s.live(t, app); !slices.Equal(got, []int{good.Version}) {
		t.Errorf("current is %v, want v%d", got, good.Version)
	}
}
