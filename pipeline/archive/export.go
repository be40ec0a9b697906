package archive

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/slugfile/slugfile/pipeline/artifact"
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

	// Beside the target, so that the rename stays on one file system.
	temp := filepath.Join(filepath.Dir(at), ".slugfile-"+rand.Text()+".tmp")
	dst, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temp))
		}
	}()
	_, err = io.Copy(dst, src)
	if err == nil {
		err = dst.Sync()
	}
	if err = errors.Join(err, dst.Close(), ctx.Err()); err != nil {
		return err
	}
	return os.Rename(temp, at)
}
