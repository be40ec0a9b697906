package transport

import (
	"fmt"
	"io"
)

// hidden stands wherever a Secret would be printed.
const hidden = "***"

// Secret is a value that must not be shown: a token, a signed URL. Every way of printing
// it, and its forms in JSON and text, give "***".
//
// fmt asks no methods of an unexported field of a struct and of the verb %p, so a Secret is kept
// in an exported field or in a closure, and a Redactor stands under the last writer.
type Secret string

// Reveal returns the value itself, for the one place that sends it.
func (s Secret) Reveal() string { return string(s) }

// String is "***".
func (Secret) String() string { return hidden }

// GoString is "***".
func (Secret) GoString() string { return hidden }

// Format writes "***" for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) } // fmt.State keeps no error

// MarshalJSON is "***" as a JSON string.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }

// MarshalText is "***".
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }
