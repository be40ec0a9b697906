// Package lock is slug.lock: which bytes every runtime's URL must have.
package lock

import "github.com/slugfile/slugfile/pipeline/digest"

// File is slug.lock.
type File struct {
	Pins []Pin
}

// Pin fixes the bytes of one URL. Several URLs of one name may stand.
type Pin struct {
	Name string
	// URL is expanded: no ${} is left in it. Signed queries are never kept.
	URL    string
	SHA256 digest.Digest
	// Size is in bytes.
	Size int64
}

// Find returns the pin of a runtime's URL.
func (f *File) Find(name, url string) (Pin, bool) {
	if f == nil {
		return Pin{}, false
	}
	for _, p := range f.Pins {
		if p.Name == name && p.URL == url {
			return p, true
		}
	}
	return Pin{}, false
}
