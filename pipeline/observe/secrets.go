package observe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/secret"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// SourceSecrets looks for credentials in the content of the files of a source tree, less those
// that include_secrets names, and of inline files. What was found to have none is remembered by
// its digest, so that a file is read once for as long as it does not change.
func SourceSecrets(ctx context.Context, src artifact.Source, files []config.FileEntry, keep Indexes) ([]secret.Hit, error) {
	asked := map[string]bool{}
	var hits []secret.Hit
	for i, f := range files {
		for _, p := range f.IncludeSecrets {
			asked[filepath.ToSlash(filepath.Clean(p))] = true
		}
		if h, found := secret.Find([]byte(f.Content)); found {
			h.Path = fmt.Sprintf("files[%d].content", i)
			hits = append(hits, h)
		}
	}
	found, err := search(ctx, searched{
		kind: "unsuspicious", key: indexKey(src.Dir), keep: keep, n: len(src.Tree),
		entry: func(i int) *tree.Entry {
			if asked[src.Tree[i].Path] {
				return nil
			}
			return &src.Tree[i]
		},
		from: func(i int) (string, int64) {
			return filepath.Join(filepath.FromSlash(src.Dir), filepath.FromSlash(src.Tree[i].Path)), 0
		},
	})
	if err != nil {
		return nil, fmt.Errorf("look for secrets in the source tree: %w", err)
	}
	return append(hits, found...), nil
}

// SlugSecrets is SourceSecrets for what a slug has of runtimes and outputs of steps. dir is the
// directory of slug.yaml, as absolute as in artifact.Source.
func SlugSecrets(ctx context.Context, dir string, members []artifact.Member, keep Indexes) ([]secret.Hit, error) {
	found, err := search(ctx, searched{
		kind: "unsuspicious", key: indexKey(dir + "/"), keep: keep, n: len(members),
		entry: func(i int) *tree.Entry {
			if members[i].Layer == artifact.LayerSource || members[i].Src == "" {
				return nil
			}
			return &members[i].Entry
		},
		from: func(i int) (string, int64) { return members[i].From(), members[i].At },
	})
	if err != nil {
		return nil, fmt.Errorf("look for secrets in the slug: %w", err)
	}
	return found, nil
}

// searched is a list of files.
type searched struct {
	// kind and key name the document with the digests of files that hold nothing.
	kind, key string
	keep      Indexes
	n         int
	// entry is nil for what is not looked at, and from says where a file's bytes begin.
	entry func(i int) *tree.Entry
	from  func(i int) (path string, at int64)
}

// brief is a digest as it is remembered: whom a collision of 16 bytes could help has no say in
// what others remember.
type brief [16]byte

func search(ctx context.Context, s searched) ([]secret.Hit, error) {
	if !scans {
		return nil, nil
	}
	clean := newRemembered(s)
	var unread []int
	for i := range s.n {
		e := s.entry(i)
		if e == nil || e.Kind != tree.File || e.Size == 0 || e.Size > secret.MaxSize {
			continue
		}
		if !clean.has(e) {
			unread = append(unread, i)
		}
	}
	if len(unread) == 0 {
		return nil, nil
	}
	var next, bytesRead atomic.Int64
	var mu sync.Mutex
	found := map[int]secret.Hit{}
	passed := make([]bool, len(unread))
	g, ctx := errgroup.WithContext(ctx)
	for range min(runtime.GOMAXPROCS(0), 8, len(unread)) {
		g.Go(func() error {
			buf := make([]byte, 0, 64<<10)
			for {
				n := int(next.Add(1)) - 1
				if n >= len(unread) {
					return nil
				}
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				i := unread[n]
				e := s.entry(i)
				path, at := s.from(i)
				var err error
				if buf, err = readWhole(path, at, e.Size, buf); err != nil {
					return err
				}
				bytesRead.Add(e.Size)
				hit, is := secret.Find(buf)
				if is {
					hit.Path = e.Path
					mu.Lock()
					found[i] = hit
					mu.Unlock()
					continue
				}
				// A file that has changed since it was listed is no longer what its digest says;
				// whoever packs it will notice.
				passed[n] = digest.Of(buf) == e.Digest
			}
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var hits []secret.Hit
	fresh := map[int]bool{}
	for n, i := range unread {
		if h, is := found[i]; is {
			hits = append(hits, h)
		}
		fresh[i] = passed[n]
	}
	// To write the document costs about as much as to read files of a megabyte.
	const openCost = 32 << 10
	if bytesRead.Load()+int64(len(unread))*openCost > 1<<20 {
		clean.keep(s, fresh)
	}
	return hits, nil
}

// readWhole reads size bytes of a file, or as many as there are. One that is gone has none.
func readWhole(path string, at, size int64, buf []byte) ([]byte, error) {
	f, err := tree.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP):
		return buf[:0], nil
	case err != nil:
		return nil, err
	}
	defer f.Close()
	buf = slices.Grow(buf[:0], int(size))[:size]
	n, err := f.ReadAt(buf, at)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return buf[:n], nil
}

// remembered are the files in which an earlier run found nothing, in the order of its list. That
// of this run is nearly the same, so that most files are found without a look at the others.
type remembered struct {
	list []byte // brief after brief
	at   int    // how many of them the list has passed
	all  map[brief]int
}

// unsuspiciousForm opens the document. It moves with what is looked for.
var unsuspiciousForm = fmt.Sprintf("slugfile unsuspicious %d\n", secret.Version)

func newRemembered(s searched) *remembered {
	r := &remembered{}
	if s.keep == nil {
		return r
	}
	b, ok, err := s.keep.GetBytes(s.kind, s.key)
	head := len(unsuspiciousForm)
	if err == nil && ok && len(b) > head && string(b[:head]) == unsuspiciousForm && (len(b)-head)%len(brief{}) == 0 {
		r.list = b[head:]
	}
	return r
}

func (r *remembered) get(i int) (b brief) {
	copy(b[:], r.list[i*len(b):])
	return b
}

func (r *remembered) has(e *tree.Entry) bool {
	if e.Digest.IsZero() {
		return false
	}
	want := brief(e.Digest[:len(brief{})])
	n := len(r.list) / len(want)
	if r.at < n && r.get(r.at) == want {
		r.at++
		return true
	}
	if r.all == nil {
		r.all = make(map[brief]int, n)
		for i := range n {
			r.all[r.get(i)] = i
		}
	}
	i, ok := r.all[want]
	if ok {
		r.at = i + 1
	}
	return ok
}

// keep writes down what is known now: of the files of this list and no others, so that it does
// not grow. fresh says of those that were read whether they hold nothing.
func (r *remembered) keep(s searched, fresh map[int]bool) {
	if s.keep == nil {
		return
	}
	out := []byte(unsuspiciousForm)
	for i := range s.n {
		e := s.entry(i)
		if e == nil || e.Kind != tree.File || e.Size == 0 || e.Size > secret.MaxSize {
			continue
		}
		if passed, read := fresh[i]; !read || passed {
			out = append(out, e.Digest[:len(brief{})]...)
		}
	}
	_ = s.keep.PutBytes(s.kind, s.key, out) // the next run reads the files again
}
