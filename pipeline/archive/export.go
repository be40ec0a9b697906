package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/disk"
	"github.com/slugfile/slugfile/pipeline/store"
)

// Export writes a copy of a slug to a file. It appears whole, or not at all; a file that was
// there is replaced, one that a link points to too. The bytes are those of the slug's digest.
func Export(ctx context.Context, st *store.Store, s artifact.Slug, to string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write slug to %q: %w", to, err)
		}
	}()
	at := to
	switch fi, err := os.Stat(to); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !fi.Mode().IsRegular():
		// Renaming over /dev/null or a directory would do harm or fail late.
		return errors.New("there is something that is no regular file: name a file")
	default:
		if at, err = filepath.EvalSymlinks(to); err != nil {
			return err
		}
	}
	src, err := st.Open(s.Digest)
	if err != nil {
		return err
	}
	defer src.Close()

	return disk.Replace(at, 0o666, func(w io.Writer) error {
		if _, err := io.Copy(w, src); err != nil {
			return err
		}
		return ctx.Err()
	})
}
