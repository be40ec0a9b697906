package local

import (
	"net/http"
	"strings"
)

// pageCookie begins the names of the cookies that open status pages. The port follows, so that
// two platforms on one host do not sign each other's readers out.
const pageCookie = "slugfile_status_"

// withhold takes what opens this platform out of a request that goes on to an app. A browser
// sends the cookies of a host to all its ports, those of the apps among them, and a user may
// have handed the token to an address of an app.
func (p *Platform) withhold(h http.Header) {
	var kept []string
	for _, line := range h["Cookie"] {
		var pairs []string
		for pair := range strings.SplitSeq(line, ";") {
			if !strings.HasPrefix(strings.TrimSpace(pair), pageCookie) {
				pairs = append(pairs, pair)
			}
		}
		if line = strings.TrimSpace(strings.Join(pairs, ";")); line != "" {
			kept = append(kept, line)
		}
	}
	h.Del("Cookie")
	if len(kept) > 0 {
		h["Cookie"] = kept
	}
	kept = nil
	for _, value := range h["Authorization"] {
		if p.authorize(&http.Request{Header: http.Header{"Authorization": {value}}}) != nil {
			kept = append(kept, value)
		}
	}
	h.Del("Authorization")
	if len(kept) > 0 {
		h["Authorization"] = kept
	}
}
