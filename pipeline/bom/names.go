package bom

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// purl is a package URL. namespace has its slashes; query is escaped already.
func purl(kind, namespace, name, version, query string) string {
	b := "pkg:" + kind + "/"
	if namespace != "" {
		b += escape(namespace, "/") + "/"
	}
	b += escape(name, "")
	if version != "" {
		b += "@" + escape(version, "")
	}
	if query = strings.TrimPrefix(query, "&"); query != "" {
		b += "?" + query
	}
	return b
}

// escape writes as %XX what is none of the characters that package URLs keep, nor one of also.
func escape(s, also string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~", c) >= 0, strings.IndexByte(also, c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// printable is a path as a bill has it. Names are bytes and JSON is text, so that one which is
// no UTF-8 is written with %XX for the bytes that are none.
func printable(path string) string {
	if utf8.ValidString(path) {
		return path
	}
	var b strings.Builder
	for i := 0; i < len(path); {
		r, n := utf8.DecodeRuneInString(path[i:])
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, "%%%02X", path[i])
		} else {
			b.WriteString(path[i : i+n])
		}
		i += n
	}
	return b.String()
}

// owners says which component stands for what lies in a directory.
type owners struct{ dirs map[string]string }

func (o *owners) add(dir, ref string) {
	if o.dirs == nil {
		o.dirs = map[string]string{}
	}
	if _, taken := o.dirs[dir]; !taken {
		o.dirs[dir] = ref
	}
}

// of finds the innermost directory that holds path.
func (o *owners) of(path string) (ref string, ok bool) {
	for dir := path; ; {
		if ref, ok := o.dirs[dir]; ok {
			return ref, true
		}
		i := strings.LastIndexByte(dir, '/')
		if i < 0 {
			return "", false
		}
		dir = dir[:i]
	}
}
