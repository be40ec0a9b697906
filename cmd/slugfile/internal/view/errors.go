package view

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"strings"

	"github.com/slugfile/slugfile/config/diag"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/platform"
)

// Hinter is an error that knows what to do next. Hint is one sentence in lower case, or
// empty when there is nothing to say.
type Hinter interface{ Hint() string }

// Error writes why a command failed, then what to do next:
//
//	slugfile: fetch: node: expected sha256 83bf…, got 0a1b…
//	hint: …
//
// Further lines of the error, such as the last output of a step, are indented.
// Diagnostics are written in their own form.
func Error(w io.Writer, err error, s Style) error {
	var list diag.List
	if errors.As(err, &list) {
		return Diagnostics(w, list, s)
	}
	var b strings.Builder
	for i, l := range strings.Split(strings.TrimRight(err.Error(), "\n"), "\n") {
		if i == 0 {
			b.WriteString(s.red("slugfile:") + " " + Clean(l) + "\n")
			continue
		}
		b.WriteString("    " + cleanOutput(l, s) + "\n")
	}
	if h := Hint(err); h != "" {
		b.WriteString(s.cyan("hint:") + " " + Clean(h) + "\n")
	}
	_, werr := io.WriteString(w, b.String())
	return werr
}

// platformHints holds one next step for each id of the Platform API's errors:
// https://devcenter.heroku.com/articles/platform-api-reference#error-responses
var platformHints = map[string]string{
	"unauthorized":   "log in: set HEROKU_API_KEY, add api.heroku.com to ~/.netrc, or run \"heroku login\"",
	"forbidden":      "the account that is logged in may not do this; ask an owner of the app for access, or check \"heroku auth:whoami\"",
	"two_factor":     "this account needs a second factor; use a token from \"heroku authorizations:create\"",
	"verification":   "verify the account with a payment method at https://heroku.com/verify",
	"delinquency":    "settle the account's open invoice at https://dashboard.heroku.com/account/billing",
	"suspended":      "the account or the app is suspended; Heroku's support can say why",
	"not_found":      "check the name in app: or -a, and that the account that is logged in can see the app",
	"rate_limit":     "wait some minutes before the next try",
	"gone":           "the platform has withdrawn this endpoint; a newer slugfile may know its successor",
	"conflict":       "another change to the app is under way; wait for it and run slugfile again",
	"invalid_params": "the platform refuses a value; the message above names it",
}

// statusHints are for answers whose id is not in the list.
var statusHints = map[int]string{
	401: platformHints["unauthorized"],
	403: platformHints["forbidden"],
	404: platformHints["not_found"],
	409: platformHints["conflict"],
	429: platformHints["rate_limit"],
	503: "the platform is not available; see https://status.heroku.com and try again later",
}

// Hint says what to do next about err, or nothing. An error that implements Hinter knows
// best; otherwise the kinds of errors below have one hint each.
func Hint(err error) string {
	var own Hinter
	if errors.As(err, &own) {
		if h := own.Hint(); h != "" {
			return h
		}
	}
	var api *platform.Error
	if errors.As(err, &api) {
		return platformHint(api)
	}
	var mismatch *digest.MismatchError
	var dns *net.DNSError
	switch {
	case errors.As(err, &mismatch):
		return "the bytes are not those that were pinned: do not use them. If upstream changed them on purpose, run \"slugfile lock --update\" and review the change"
	case errors.Is(err, platform.ErrUnauthorized):
		return platformHints["unauthorized"]
	case errors.Is(err, platform.ErrRateLimited):
		return platformHints["rate_limit"]
	case errors.Is(err, platform.ErrAmbiguous):
		return "look at \"slugfile releases\" first; running apply again finishes the work and makes no second release"
	case errors.Is(err, platform.ErrBlobExpired):
		return "run slugfile again: it asks for a new address, and reuses what was built"
	case errors.As(err, &dns):
		return "check the host name and the network; in a closed network use --mirror, or HTTPS_PROXY"
	case errors.Is(err, context.DeadlineExceeded):
		return "it took too long; run it again, and reuse what was done"
	case errors.Is(err, fs.ErrPermission):
		return "check who owns the file and its directory"
	}
	return systemHint(err)
}

func platformHint(e *platform.Error) string {
	if e.ID == "not_found" && strings.Contains(e.Op, "app ") {
		return "check the name in app: or -a for a typo; if the app is new, \"slugfile apply --create\" makes it"
	}
	if h, ok := platformHints[e.ID]; ok {
		return h
	}
	if h, ok := statusHints[e.Status]; ok {
		return h
	}
	if e.Status >= 500 && e.RequestID != "" {
		return "the fault is on the platform's side; try again, and give its support the request id"
	}
	return ""
}
