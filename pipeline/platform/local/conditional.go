package local

import (
	"net/http"
	"strings"
)

// unchanged says whether If-None-Match names the tag: it is a list of tags, weak ones among
// them, or `*` for any (RFC 9110, section 13.1.2).
func unchanged(h http.Header, tag string) bool {
	for _, line := range h.Values("If-None-Match") {
		for candidate := range strings.SplitSeq(line, ",") {
			candidate = strings.TrimSpace(candidate)
			if candidate == "*" || strings.TrimPrefix(candidate, "W/") == tag {
				return true
			}
		}
	}
	return false
}

// checkAccept refuses a version of the API other than 3. Everything else is taken: clients send
// `version=3`, `version=3.sdk`, `application/json`, `*/*` or nothing.
func checkAccept(h http.Header) error {
	for _, line := range h.Values("Accept") {
		for part := range strings.SplitSeq(strings.ToLower(line), ",") {
			kind, parameters, _ := strings.Cut(part, ";")
			if !strings.HasPrefix(strings.TrimSpace(kind), "application/vnd.heroku") {
				continue
			}
			for parameter := range strings.SplitSeq(parameters, ";") {
				name, version, _ := strings.Cut(strings.TrimSpace(parameter), "=")
				version = strings.Trim(version, `"`)
				if name == "version" && version != "3" && !strings.HasPrefix(version, "3.") {
					return &apiError{status: http.StatusNotAcceptable, id: "not_acceptable", message: "The `Accept` header asks for version " + version + " of the API: send `application/vnd.heroku+json; version=3`."}
				}
			}
		}
	}
	return nil
}

// checkContentType refuses a body that says it is something else than JSON. curl calls a body
// application/x-www-form-urlencoded when it is not told the type.
func checkContentType(h http.Header) error {
	kind, _, _ := strings.Cut(strings.ToLower(h.Get("Content-Type")), ";")
	if kind = strings.TrimSpace(kind); kind == "" || kind == "application/json" || strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json") {
		return nil
	}
	return &apiError{status: http.StatusBadRequest, id: "bad_request", message: "The request body has the content type " + kind + ": send JSON, with `Content-Type: application/json`."}
}
