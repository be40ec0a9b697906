package slug

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/deflate"
	"github.com/slugfile/slugfile/pipeline/digest"
)

// The names of the levels in slug.yaml.
const (
	LevelDefault = "default"
	LevelFast    = "fast"
)

// levels are those of the compressor, by their names in slug.yaml.
var levels = map[string]deflate.Level{"": deflate.Default, LevelDefault: deflate.Default, LevelFast: deflate.Fast}

// maxWorkers bounds the memory: a worker needs about four MiB.
const maxWorkers = 8

// Options shape a slug. Only Level and Epoch can change its bytes.
type Options struct {
	// Level is LevelDefault or LevelFast; empty means LevelDefault.
	Level string
	// Epoch is the mtime of every member, in seconds since 1970.
	Epoch int64
	// Limit is the most bytes that the slug may have; 0 is no limit.
	Limit int64
	// Workers is how many segments are compressed at a time; 0 means one a core, at most 8.
	Workers int
	// Cache are earlier slugs to take segments from, the likeliest first. The bytes do not depend
	// on them.
	Cache []Cached
	// Progress is told the bytes of the tar stream that are written, and the total. It is
	// called from one goroutine. It may be nil.
	Progress func(done, total int64)
	// Masked is told of each file whose setuid, setgid or sticky bit is not in the slug. It is
	// called from one goroutine. It may be nil.
	Masked func(m artifact.Member, mode fs.FileMode)
	// Look is shown each file that is read, when its bytes were found to be right. r holds its
	// content until Look returns; a write that starts again shows files again. It is called from one
	// goroutine. It may be nil.
	Look func(m *artifact.Member, r io.ReaderAt)
}

// Result says what was written.
type Result struct {
	// Digest and Size are of the slug.
	Digest digest.Digest
	Size   int64
	// TarSize is of the tar stream inside.
	TarSize int64
	// Fresh is how many bytes of Size were made for it. The others are those of earlier slugs.
	Fresh int64
	// Index is for the next slug.
	Index *Index
}

// ErrLimit says that a slug has more bytes than Options.Limit.
var ErrLimit = errors.New("over the limit")

// ChangedError says that a file is not what the plan saw.
type ChangedError struct {
	// Path is of the file on this machine.
	Path string
	// Why is what was noticed.
	Why string
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("changed while archiving: %q %s", e.Path, e.Why)
}

// Write writes a slug of the members to w, in any order they come; see New and Draft.Write.
func Write(ctx context.Context, w io.Writer, members []artifact.Member, o Options) (Result, error) {
	d, err := New(members, o)
	if err != nil {
		return Result{}, err
	}
	return d.Write(ctx, w)
}
