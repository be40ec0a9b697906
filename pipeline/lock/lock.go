// Package lock is slug.lock: which bytes every runtime's URL must have.
//
// It is for plan, which compares, and for the command that writes the file. It reads and
// prints text; it opens no file and downloads nothing.
package lock

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/slugfile/slugfile/pipeline/digest"
)

// File is slug.lock.
type File struct {
	Pins []Pin
}

// Pin fixes the bytes of one URL. Several URLs of one name may stand.
type Pin struct {
	Name string
	// URL is expanded: no ${} is left in it. Signed queries are never kept. For an archive of
	// the repository it is the path, as slug.yaml has it.
	URL    string
	SHA256 digest.Digest
	// Size is in bytes.
	Size int64
}

// Find returns the pin of a runtime's URL. A signature in the URL's query does not matter.
func (f *File) Find(name, url string) (Pin, bool) {
	if f == nil {
		return Pin{}, false
	}
	url = Unsigned(url)
	for _, p := range f.Pins {
		if p.Name == name && Unsigned(p.URL) == url {
			return p, true
		}
	}
	return Pin{}, false
}

// Sort puts the pins into the order of the file: by name, then by URL.
func (f *File) Sort() {
	slices.SortFunc(f.Pins, func(a, b Pin) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.URL, b.URL))
	})
}

// Unsigned is a URL without what signs it: user information and the query parameters of
// presigned addresses. It changes nothing else, so that most URLs come back as they are.
func Unsigned(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.RawQuery == "" && u.User == nil {
		return raw
	}
	kept := strings.Split(u.RawQuery, "&")
	kept = slices.DeleteFunc(kept, func(param string) bool {
		key, _, _ := strings.Cut(param, "=")
		return isSignature(key)
	})
	query := strings.Join(kept, "&")
	if query == u.RawQuery && u.User == nil {
		return raw
	}
	u.RawQuery, u.User = query, nil
	return u.String()
}

// isSignature knows the parameters of presigned URLs of the large blob stores, and of
// addresses with a token.
func isSignature(key string) bool {
	if k, err := url.QueryUnescape(key); err == nil {
		key = k
	}
	key = strings.ToLower(key)
	for _, prefix := range []string{"x-amz-", "x-goog-"} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	switch key {
	case "awsaccesskeyid", "googleaccessid", "signature", "expires", "policy", "key-pair-id", // S3, GCS, CloudFront
		"sig", "se", "sp", "sv", "sr", "st", "skoid", "sktid", "skt", "ske", "sks", "skv", // Azure
		"token", "access_token", "private_token", "jwt":
		return true
	}
	return false
}

// SeenKey is the name of the note in the store that a runtime's URL has given certain bytes.
// A digest that was seen at one URL says nothing about another.
func SeenKey(name, url string) string {
	return digest.Of([]byte(name + Unsigned(url))).String()
}
