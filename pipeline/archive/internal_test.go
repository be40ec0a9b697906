package archive

import (
	"os"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/store"
)

// Forge makes the store believe that nobody has written to a slug since it was made.
func Forge(st *store.Store, d digest.Digest) error {
	var r recent
	if _, err := st.GetRef(recentKind, recentKey, &r); err != nil {
		return err
	}
	fi, err := os.Lstat(st.Path(d))
	if err != nil {
		return err
	}
	for i := range r.Slugs {
		if r.Slugs[i].Slug == d {
			r.Slugs[i].Stamp = stampOf(fi)
		}
	}
	return st.PutRef(recentKind, recentKey, r)
}
