package local

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Whatever a Range header holds, it is refused or understood, and what Next-Range would send
// back is understood as the same.
func FuzzParseRange(f *testing.F) {
	for _, header := range []string{
		"", "..", "version ..; max=15, order=desc", "id ..; max=1000;", "version ]12..; max=15", "..; max=5", "version 3..9[; order=desc",
		"updated_at ]2026-11-22T18:00:00Z~01234567-89ab..; max=5", "version ..; max=99999999999999999999", "]..[", "bytes=0-1",
	} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		r, err := parseRange(header, "version")
		if err != nil {
			return
		}
		if r.max < 1 || r.max > largestPage || r.field == "" {
			t.Errorf("%q is read as %+v", header, r)
		}
		again, err := parseRange(r.next("7"), "id")
		want := r
		want.start, want.after = "7", true
		want.before = r.before && r.end != ""
		again.before = again.before && again.end != ""
		if err != nil || again != want {
			t.Errorf("%q goes on as %q: %+v, %v; want %+v", header, r.next("7"), again, err, want)
		}
	})
}

// Whatever a body holds, it is decoded or refused as Heroku refuses: never a fault of ours.
func FuzzDecode(f *testing.F) {
	for _, body := range []string{
		"", "null", "{}", "[]", `{"name":"a","region":{"x":[1]}}`, `{"name":null,"stack":"b"}`, `{"name":1}`, `{"name":`, "{} {}", `{"name":"\ud800"}`, "\xff",
		`{"updates":[{"type":"web","quantity":"+1","dyno_size":{"name":"basic"}}]}`, `{"quantity":1e99}`, `{"quantity":"--1"}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, decode := range []func(*call) error{
			func(c *call) error { return c.decode(&appSpec{}, "name", "region", "stack", "feature_flags") },
			func(c *call) error { return c.decode(&promotionSpec{}, "pipeline", "source", "targets") },
			func(c *call) error {
				var u formationUpdate
				if err := c.decode(&u, "quantity", "dyno_size", "size"); err != nil {
					return err
				}
				if n, err := newQuantity(1, u.Quantity); err != nil || n < 0 || n > maxQuantity {
					return err
				}
				_, err := newSize(dynoSizes[0].Name, u.DynoSize, u.Size)
				return err
			},
		} {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			err := decode(&call{Request: r, w: w})
			if err == nil {
				continue
			}
			writeError(w, err)
			if w.Code != 400 && w.Code != 422 {
				t.Errorf("%q is refused with %d: %v", body, w.Code, err)
			}
		}
	})
}
