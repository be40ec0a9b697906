package fetch

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/slugfile/slugfile/config/diag"
)

// Mirror sends requests for one origin, or a part of it, to another place.
type Mirror struct {
	// From and To are prefixes of addresses, without a final slash. From is https; To is https,
	// http or file.
	From, To string
}

// ParseMirror reads "PREFIX=PREFIX", the form of the flag --mirror.
func ParseMirror(s string) (Mirror, error) {
	cut := -1
	fail := func(why string) (Mirror, error) {
		shown := diag.Conceal(s)
		if cut >= 0 {
			shown = diag.Conceal(s[:cut]) + "=" + diag.Conceal(s[cut+1:])
		}
		return Mirror{}, fmt.Errorf("mirror %q: %s; write it as https://nodejs.org/dist=http://127.0.0.1:8080/node", shown, why)
	}
	for _, scheme := range []string{"=https://", "=http://", "=file:"} {
		if i := strings.Index(s, scheme); i >= 0 && (cut < 0 || i < cut) {
			cut = i
		}
	}
	if cut < 0 {
		return fail("there is no =https://, =http:// or =file: in it")
	}
	from, err := prefix(s[:cut])
	if err != nil {
		return fail("the first prefix " + err.Error())
	}
	to, err := prefix(s[cut+1:])
	if err != nil {
		return fail("the second prefix " + err.Error())
	}
	if !strings.HasPrefix(from, "https://") {
		return fail("the first prefix must be https")
	}
	return Mirror{From: from, To: to}, nil
}

// prefix brings a prefix into the form that rewrite compares.
func prefix(s string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "", fmt.Errorf("is no address")
	case u.User != nil:
		return "", fmt.Errorf("must not hold a user or password")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", fmt.Errorf("must not have a query or fragment")
	}
	switch u.Scheme {
	case "https", "http":
		if u.Host == "" {
			return "", fmt.Errorf("has no host")
		}
		u.Host = strings.ToLower(u.Host)
	case "file":
		if _, err := filePath(u); err != nil {
			return "", err
		}
	default:
		return "", fmt.Errorf("must be an https://, http:// or file: address")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// rewrite returns the address to ask in place of raw; the longest From wins, and of equal
// ones the first.
func rewrite(mirrors []Mirror, raw string) (at string, mirrored bool) {
	u, err := url.Parse(raw)
	if err != nil {
		return raw, false
	}
	u.Host = strings.ToLower(u.Host)
	addr := u.String()
	best := Mirror{}
	for _, m := range mirrors {
		rest, ok := strings.CutPrefix(addr, m.From)
		if ok && len(m.From) > len(best.From) && (rest == "" || rest[0] == '/' || rest[0] == '?') {
			best = m
		}
	}
	if best.From == "" {
		return raw, false
	}
	return best.To + addr[len(best.From):], true
}

// origin is scheme, host and port: what an exception or a credential may be tied to.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

// origins are those that the user named with --mirror.
func origins(mirrors []Mirror) map[string]bool {
	named := map[string]bool{}
	for _, m := range mirrors {
		if u, err := url.Parse(m.To); err == nil && u.Host != "" && u.Scheme != "file" {
			named[origin(u)] = true
		}
	}
	return named
}
