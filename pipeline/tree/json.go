package tree

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/slugfile/slugfile/pipeline/digest"
)

// wireEntry is the JSON form of an Entry. Names are bytes on disk and text in JSON, so one
// that is not UTF-8 stands in a field of its own, in base64: otherwise two names could look
// alike, and their trees have one digest.
type wireEntry struct {
	Path        string        `json:"path,omitempty"`
	PathBytes   []byte        `json:"path_bytes,omitempty"`
	Kind        string        `json:"kind"`
	Exec        bool          `json:"exec,omitempty"`
	Size        int64         `json:"size,omitempty"`
	Digest      digest.Digest `json:"digest,omitzero"`
	Target      string        `json:"target,omitempty"`
	TargetBytes []byte        `json:"target_bytes,omitempty"`
}

// MarshalJSON is lossless: different entries have different forms.
func (e Entry) MarshalJSON() ([]byte, error) { return e.appendJSON(nil), nil }

// MarshalJSON is that of the entries, in one go.
func (m Manifest) MarshalJSON() ([]byte, error) {
	if m == nil {
		return []byte("null"), nil
	}
	b := make([]byte, 0, 160*len(m)+2)
	b = append(b, '[')
	for i, e := range m {
		if i > 0 {
			b = append(b, ',')
		}
		b = e.appendJSON(b)
	}
	return append(b, ']'), nil
}

// appendJSON writes what encoding/json would make of a wireEntry, which is too slow for the
// trees of large apps.
func (e Entry) appendJSON(b []byte) []byte {
	b = appendName(append(b, '{'), "path", e.Path)
	b = appendString(append(b, `,"kind":`...), e.Kind.String())
	if e.Exec {
		b = append(b, `,"exec":true`...)
	}
	if e.Size != 0 {
		b = strconv.AppendInt(append(b, `,"size":`...), e.Size, 10)
	}
	if !e.Digest.IsZero() {
		b = hex.AppendEncode(append(b, `,"digest":"`...), e.Digest[:])
		b = append(b, '"')
	}
	if e.Target != "" {
		b = appendName(append(b, ','), "target", e.Target)
	}
	return append(b, '}')
}

func appendName(b []byte, field, name string) []byte {
	b = append(append(b, '"'), field...)
	if utf8.ValidString(name) {
		return appendString(append(b, `":`...), name)
	}
	b = base64.StdEncoding.AppendEncode(append(b, `_bytes":"`...), []byte(name))
	return append(b, '"')
}

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, err := json.Marshal(s)
			if err != nil {
				panic(fmt.Sprintf("%q in JSON: %v", s, err)) // a string always encodes
			}
			return append(b, text...)
		}
	}
	b = append(append(b, '"'), s...)
	return append(b, '"')
}

// UnmarshalJSON refuses what no manifest holds, so that a document of another shape is not
// taken for an entry.
func (e *Entry) UnmarshalJSON(b []byte) error {
	var w wireEntry
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	if w.PathBytes != nil {
		w.Path = string(w.PathBytes)
	}
	if w.TargetBytes != nil {
		w.Target = string(w.TargetBytes)
	}
	kind := kindOf(w.Kind)
	switch {
	case w.Path == "":
		return fmt.Errorf("an entry of a tree has no path")
	case kind == 0:
		return fmt.Errorf("entry %q of a tree is a %q", w.Path, w.Kind)
	}
	*e = Entry{Path: w.Path, Kind: kind, Exec: w.Exec, Size: w.Size, Digest: w.Digest, Target: w.Target}
	return nil
}

// UnmarshalJSON reads what MarshalJSON writes in one go, and any other form of it, or what is
// none, by way of the entries.
func (m *Manifest) UnmarshalJSON(b []byte) error {
	if list, ok := parse(b); ok {
		*m = list
		return nil
	}
	var list []Entry
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	*m = list
	return nil
}

// parse reads the form that appendJSON gives to names without special characters. A plan reads
// several manifests of tens of thousands of entries, and encoding/json takes most of its time.
func parse(b []byte) (m Manifest, ok bool) {
	if !utf8.Valid(b) {
		return nil, false
	}
	c := cursor(b)
	if !c.skip("[") {
		return nil, false
	}
	m = make(Manifest, 0, strings.Count(string(c), `"kind":`))
	if c == "]" {
		return m, true
	}
	for {
		var e Entry
		if e.Path, ok = c.text(`{"path":"`); !ok || e.Path == "" {
			return nil, false
		}
		kind, ok := c.text(`,"kind":"`)
		if e.Kind = kindOf(kind); !ok || e.Kind == 0 {
			return nil, false
		}
		e.Exec = c.skip(`,"exec":true`)
		if c.skip(`,"size":`) {
			n := strings.IndexAny(string(c), ",}")
			if n < 0 {
				return nil, false
			}
			var err error
			// A sign, or a zero before other digits, is written by nobody here.
			if e.Size, err = strconv.ParseInt(string(c[:n]), 10, 64); err != nil || c[0] < '1' || c[0] > '9' {
				return nil, false
			}
			c = c[n:]
		}
		if sum, ok := c.text(`,"digest":"`); ok {
			if hex.DecodedLen(len(sum)) != digest.Size {
				return nil, false
			}
			if n, err := hex.Decode(e.Digest[:], []byte(sum)); err != nil || n != digest.Size {
				return nil, false
			}
		}
		e.Target, _ = c.text(`,"target":"`)
		m = append(m, e)
		switch {
		case c == "}]":
			return m, true
		case !c.skip("},"):
			return nil, false
		}
	}
}

// cursor is what is left of a text.
type cursor string

func (c *cursor) skip(s string) bool {
	rest, ok := strings.CutPrefix(string(*c), s)
	*c = cursor(rest)
	return ok
}

// text reads a string without escapes after what stands before it, or nothing.
func (c *cursor) text(before string) (string, bool) {
	rest, ok := strings.CutPrefix(string(*c), before)
	if !ok {
		return "", false
	}
	for i := range len(rest) {
		switch {
		case rest[i] == '"':
			*c = cursor(rest[i+1:])
			return rest[:i], true
		case rest[i] == '\\' || rest[i] < ' ':
			return "", false
		}
	}
	return "", false
}
