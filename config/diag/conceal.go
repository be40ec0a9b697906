package diag

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// address finds what begins like an address, as far as it may reach.
var address = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>]*`)

// Conceal puts stars in place of what may be a credential in the addresses of a text: user
// and password, and the values of a query. It keeps the length, so that columns stay right,
// and ${}, which faults may be about. An address that is not well formed is no exception:
// its password may hold a slash.
func Conceal(text string) string {
	return address.ReplaceAllStringFunc(text, func(a string) string {
		i := strings.Index(a, "://") + len("://")
		scheme, rest := a[:i], a[i:]
		user, rest := cutUser(rest)
		rest, query, asks := strings.Cut(rest, "?")
		s := scheme + stars(user)
		if user != "" {
			s += "@"
		}
		s += rest
		if asks {
			s += "?" + concealQuery(query)
		}
		return s
	})
}

// Password finds what may be the password in an address, well formed or not, with or without
// its scheme; empty when there is none.
func Password(address string) string {
	if _, rest, ok := strings.Cut(address, "://"); ok {
		address = rest
	}
	user, _ := cutUser(address)
	_, password, _ := strings.Cut(user, ":")
	return password
}

// cutUser splits an address without its scheme at the @ after the user, which is lost. There is a user
// when an @ comes before the path; or later, when what comes before the path is neither a
// host nor a host with a port.
func cutUser(s string) (user, rest string) {
	end := len(s)
	if i := strings.IndexAny(s, "/?#"); i >= 0 {
		end = i
	}
	at := strings.LastIndexByte(s[:end], '@')
	if host, port, ok := strings.Cut(s[:end], ":"); at < 0 && ok && !strings.HasPrefix(host, "[") && strings.Trim(port, "0123456789") != "" {
		at = strings.LastIndexByte(s, '@')
	}
	if at < 0 {
		return "", s
	}
	return s[:at], s[at+1:]
}

func concealQuery(q string) string {
	parts := strings.Split(q, "&")
	for i, p := range parts {
		key, value, ok := strings.Cut(p, "=")
		if !ok {
			key, value = "", p // a token may stand by itself
		} else {
			key += "="
		}
		parts[i] = key + concealValue(value)
	}
	return strings.Join(parts, "&")
}

// concealValue leaves every ${} as it is.
func concealValue(v string) string {
	var b strings.Builder
	for v != "" {
		i := strings.Index(v, "${")
		if i < 0 {
			break
		}
		n := strings.IndexByte(v[i:], '}')
		if n < 0 {
			break
		}
		b.WriteString(stars(v[:i]) + v[i:i+n+1])
		v = v[i+n+1:]
	}
	return b.String() + stars(v)
}

func stars(s string) string { return strings.Repeat("*", utf8.RuneCountInString(s)) }

// Conceal takes credentials out of what the diagnostics show.
func (l List) Conceal() {
	for i := range l {
		l[i].Message, l[i].Snippet, l[i].Hint = Conceal(l[i].Message), Conceal(l[i].Snippet), Conceal(l[i].Hint)
	}
}
