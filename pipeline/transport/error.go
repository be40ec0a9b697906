package transport

import (
	"fmt"
	"io"
	"net/url"
	"reflect"
	"regexp"
	"strings"
)

// Describe names a request for people: method, scheme, host and path. The query, the
// fragment and user information are left out, since any of them may be a credential.
func Describe(method, rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.Opaque != "" {
		return method + " (an address that cannot be read)"
	}
	clean := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	return method + " " + clean.String()
}

// Error wraps the error of a request that got no usable answer. The result prints as
// Describe and the cause, without any query or user information. errors.Is and errors.As
// reach the cause, but never a *url.Error, which would print the whole address.
func Error(method, rawURL string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := err.(*requestError); ok { //nolint:errorlint // only when nothing was added around it
		return err
	}
	return &requestError{text: Describe(method, rawURL) + ": " + render(err), cause: err}
}

// requestError has no Unwrap on purpose: whoever unwraps it could print the cause's own
// text. Is and As give what callers need.
type requestError struct {
	text  string
	cause error
}

func (e *requestError) Error() string { return e.text }

// Format prints the text for every verb: fmt would show the fields for the odd ones.
func (e *requestError) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.text) }

// GoString is the text too.
func (e *requestError) GoString() string { return e.text }

// MarshalText makes the text the JSON form.
func (e *requestError) MarshalText() ([]byte, error) { return []byte(e.text), nil }

// Timeout reports whether the cause says so, as in net.Error.
func (e *requestError) Timeout() bool {
	var t interface{ Timeout() bool }
	return as(e.cause, &t) && t.Timeout()
}

func (e *requestError) Is(target error) bool { return is(e.cause, target) }

func (e *requestError) As(target any) bool { return as(e.cause, target) }

// is is errors.Is over the tree of err.
func is(err, target error) bool {
	found := false
	walk(err, func(e error) bool {
		if reflect.TypeOf(e).Comparable() && e == target { //nolint:errorlint // walk visits the whole tree
			found = true
		} else if x, ok := e.(interface{ Is(error) bool }); ok && x.Is(target) {
			found = true
		}
		return !found
	})
	return found
}

// as is errors.As over the tree of err, which skips every *url.Error.
func as(err error, target any) bool {
	v := reflect.ValueOf(target)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return false
	}
	found := false
	walk(err, func(e error) bool {
		if _, ok := e.(*url.Error); ok { //nolint:errorlint // walk visits the whole tree
			return true
		}
		if reflect.TypeOf(e).AssignableTo(v.Type().Elem()) {
			v.Elem().Set(reflect.ValueOf(e))
			found = true
		} else if x, ok := e.(interface{ As(any) bool }); ok && x.As(target) {
			found = true
		}
		return !found
	})
	return found
}

// walk visits err and everything it wraps, depth first, until visit returns false.
func walk(err error, visit func(error) bool) bool {
	if err == nil {
		return true
	}
	if !visit(err) {
		return false
	}
	switch x := err.(type) { //nolint:errorlint // this is what errors.As is made of
	case interface{ Unwrap() error }:
		return walk(x.Unwrap(), visit)
	case interface{ Unwrap() []error }:
		for _, e := range x.Unwrap() {
			if !walk(e, visit) {
				return false
			}
		}
	}
	return true
}

// render is the text of err with each *url.Error replaced by its cause.
func render(err error) string {
	if u, ok := err.(*url.Error); ok { //nolint:errorlint // deeper ones are found below
		if u.Err == nil {
			return "no cause given"
		}
		return render(u.Err)
	}
	text := err.Error()
	walk(err, func(e error) bool {
		if u, ok := e.(*url.Error); ok && u.Err != nil { //nolint:errorlint // walk visits the whole tree
			text = strings.ReplaceAll(text, u.Error(), render(u.Err))
		}
		return true
	})
	return StripURLs(text)
}

// An address in text: scheme, user information, the rest up to the query, and the query.
var address = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s/?#"'<>]*@)?([^\s?#"'<>]*)(?:[?#][^\s"'<>]*)?`)

// StripURLs removes user information, queries and fragments from every address in a text
// that somebody else wrote.
func StripURLs(text string) string { return address.ReplaceAllString(text, "$1$2") }
