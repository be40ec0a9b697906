package lock

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

const header = "# The bytes that every runtime's URL must have. Written by slugfile lock.\n"

// Bytes is the text of the file. It depends on the pins alone, not on their order, and
// Parse reads it back. Signatures of URLs are left out.
func (f *File) Bytes() []byte {
	sorted := File{}
	if f != nil {
		sorted.Pins = slices.Clone(f.Pins)
	}
	for i := range sorted.Pins {
		sorted.Pins[i].URL = Unsigned(sorted.Pins[i].URL)
	}
	sorted.Sort()
	var b strings.Builder
	b.WriteString(header)
	if len(sorted.Pins) == 0 {
		b.WriteString("[]\n")
	}
	for _, p := range sorted.Pins {
		fmt.Fprintf(&b, "- name: %s\n  url: %s\n  sha256: %s\n  size: %d\n", scalar(p.Name), scalar(p.URL), p.SHA256, p.Size)
	}
	return []byte(b.String())
}

var (
	// What YAML reads as a string without quotes, kept narrow.
	plainName = regexp.MustCompile(`^[A-Za-z_][-A-Za-z0-9_./]*$`) // a path in the repository too
	plainURL  = regexp.MustCompile(`^[a-z]+:[-A-Za-z0-9._~/:%+@?=&,;]*[-A-Za-z0-9_~/]$`)
	// Words that YAML 1.1 or 1.2 read as a truth value or as nothing.
	reserved = regexp.MustCompile(`^(?i:true|false|yes|no|on|off|y|n|null)$`)
)

func scalar(s string) string {
	if plainName.MatchString(s) && !reserved.MatchString(s) || plainURL.MatchString(s) {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r >= 0x20 && r <= 0x7e || r >= 0xa1 && r <= 0xd7ff && r != 0x2028 && r != 0x2029:
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\U%08X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
