package observe

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slugfile/slugfile/config/diag"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// Revision is the directory of an app as it is committed at a git revision. It is read from git's
// object store: nothing is checked out, and neither the work tree nor git's index is touched.
//
// The bytes are the committed ones. Where git attributes make a checkout differ from them (line
// ends, a filter such as LFS), the two differ here too: a pointer to a large file stays a pointer.
type Revision struct {
	// Commit is the full id, and Name what people call the revision: "main (1a2b3c4)".
	Commit, Name string

	dir  string // absolute
	key  string // of what is known of the repository's objects
	git  *git
	list []committed
}

// committed is one path at a revision.
type committed struct {
	path, mode, id string
	// entry is filled by sum.
	entry tree.Entry
}

// RevisionError says why a git revision cannot be read.
type RevisionError struct {
	Revision string
	// Why goes on where `git revision "main"` ends.
	Why, hint string
}

func (e *RevisionError) Error() string { return fmt.Sprintf("git revision %q: %s", e.Revision, e.Why) }

// Hint says what to do.
func (e *RevisionError) Hint() string { return e.hint }

// OpenRevision finds a revision of the repository around dir, and lists what it holds of dir.
func OpenRevision(ctx context.Context, dir, rev string, env map[string]string) (*Revision, error) {
	fail := func(why, hint string) (*Revision, error) { return nil, &RevisionError{rev, why, hint} }
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("git revision %q: %w", rev, err)
	}
	repo, err := findRepository(abs)
	if err != nil {
		return nil, fmt.Errorf("git revision %q: %w", rev, err)
	}
	if repo == nil {
		return fail(filepath.ToSlash(abs)+" is not in a git checkout", "name a saved plan or a release, such as v11, instead")
	}
	g, err := newGit(env)
	if err != nil {
		return nil, fmt.Errorf("git revision %q: %w", rev, err)
	}
	// Nothing is fetched, whatever the repository says of where missing objects are; and an id
	// stands for the bytes that it was made of.
	g.env = append(g.env, "GIT_NO_LAZY_FETCH=1", "GIT_NO_REPLACE_OBJECTS=1", "GIT_ALLOW_PROTOCOL=")
	// Git itself allows no branch that begins so, and must not take one for an option.
	if rev == "" || rev[0] == '-' || strings.ContainsAny(rev, "\x00\n") {
		return fail("that is no name of a revision", "name a branch, a tag or a commit")
	}
	out, err := g.run(ctx, abs, "rev-parse", "--verify", "--quiet", rev+"^{commit}")
	commit := withoutLineEnd(out)
	if err != nil || !isCommit(commit) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if _, err := g.run(ctx, abs, "rev-parse", "--git-dir"); err != nil {
			return nil, fmt.Errorf("git revision %q: %w", rev, err)
		}
		return fail("there is no such commit in this clone", fetchHint(repo, rev))
	}
	below, err := g.run(ctx, abs, "rev-parse", "--show-prefix")
	if err != nil {
		return nil, fmt.Errorf("git revision %q: %w", rev, err)
	}
	r := &Revision{Commit: commit, Name: rev + " (" + commit[:7] + ")", dir: abs, git: g, key: indexKey(repo.common)}
	if strings.HasPrefix(commit, rev) {
		r.Name = commit[:7]
	}
	prefix := strings.TrimSuffix(withoutLineEnd(below), "/")
	switch err := r.read(ctx, prefix); {
	case err == nil:
		return r, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case prefix != "" && !r.has(ctx, prefix):
		return fail("there is no directory "+prefix+" in it", "name a revision that has the app")
	default:
		return nil, fmt.Errorf("git revision %q: %w", rev, err)
	}
}

// fetchHint is the command that brings a revision, as far as its name tells.
func fetchHint(repo *repository, rev string) string {
	plain := strings.Trim(rev, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._/-") == ""
	_, err := os.Stat(filepath.Join(repo.common, "shallow"))
	branch, remote := strings.CutPrefix(rev, "origin/")
	switch {
	case plain && remote:
		return fmt.Sprintf("get it with: git fetch --depth=1 origin +refs/heads/%s:refs/remotes/origin/%s", branch, branch)
	case isCommit(rev):
		return "get it with: git fetch --depth=1 origin " + rev
	case err == nil:
		return "this clone is shallow: get the rest with: git fetch --unshallow"
	}
	return "check the name, or get it with: git fetch origin"
}

// has reports whether the revision has a directory.
func (r *Revision) has(ctx context.Context, prefix string) bool {
	kind, err := r.git.run(ctx, r.dir, "cat-file", "-t", r.Commit+":"+prefix)
	return err == nil && withoutLineEnd(kind) == "tree"
}

// read lists the revision's files below prefix.
func (r *Revision) read(ctx context.Context, prefix string) error {
	out, err := r.git.start(ctx, r.dir, "ls-tree", "-r", "-z", "--full-tree", r.Commit+":"+prefix)
	if err != nil {
		return err
	}
	defer out.drop()
	for line, ok := out.line(); ok; line, ok = out.line() {
		what, name, ok := strings.Cut(line, "\t")
		mode, rest, spaced := strings.Cut(what, " ")
		_, id, typed := strings.Cut(rest, " ")
		if !ok || !spaced || !typed || !isCommit(id) || name == "" || name[0] == '/' || path.Clean(name) != name || name == ".." || strings.HasPrefix(name, "../") {
			return fmt.Errorf("git ls-tree in %s: line %q is no entry of a tree", r.dir, line)
		}
		r.list = append(r.list, committed{path: name, mode: mode, id: id})
	}
	return out.end()
}

func (r *Revision) find(name string) (*committed, bool) {
	i := slices.IndexFunc(r.list, func(c committed) bool { return c.path == name })
	if i < 0 {
		return nil, false
	}
	return &r.list[i], true
}

// largestLinks is how many links are followed from one name to its content.
const largestLinks = 8

// ReadFile is the content of a file at the revision, by its path in the directory of the app. It
// fails with fs.ErrNotExist when there is none. A link is followed as far as it leads to another
// path of the revision.
func (r *Revision) ReadFile(ctx context.Context, name string) ([]byte, error) {
	at := path.Clean(filepath.ToSlash(name))
	for range largestLinks {
		c, ok := r.find(at)
		if !ok || c.mode == modeSubmodule {
			break
		}
		text, err := r.blob(ctx, *c, largestBlob)
		if err != nil {
			return nil, fmt.Errorf("read %s at %s: %w", name, r.Name, err)
		}
		if c.mode != modeLink {
			return text, nil
		}
		at = path.Join(path.Dir(at), string(text))
	}
	return nil, &fs.PathError{Op: "read", Path: name + " at " + r.Name, Err: fs.ErrNotExist}
}

// largestBlob bounds what is held of one file in memory.
const largestBlob = 16 << 20

// errLarge is wrapped by the error of a file with more bytes than are wanted.
var errLarge = errors.New("it is too large")

// blob is the content of one file, which has at most that many bytes.
func (r *Revision) blob(ctx context.Context, c committed, most int64) (b []byte, err error) {
	err = r.contents(ctx, []string{c.id}, func(_ int, size int64, body io.Reader) (err error) {
		if size > most {
			return fmt.Errorf("%s has %d bytes: %w", c.path, size, errLarge)
		}
		b = make([]byte, size)
		_, err = io.ReadFull(body, b)
		return err
	})
	return b, err
}

// contents hands visit the blobs with these ids, in their order. What visit leaves of a body is
// read past.
func (r *Revision) contents(ctx context.Context, ids []string, visit func(i int, size int64, body io.Reader) error) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := r.git.command(inner, r.dir, "cat-file", "--batch", "--buffer")
	cmd.Stdin = strings.NewReader(strings.Join(ids, "\n") + "\n")
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return fault(ctx, cmd, "cat-file", err)
	}
	err = r.visit(bufio.NewReaderSize(pipe, 256<<10), ids, visit)
	if err != nil {
		cancel()
		_ = cmd.Wait() // it was ended, or has ended by itself
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fault(ctx, cmd, "cat-file", err)
	}
	return nil
}

func (r *Revision) visit(in *bufio.Reader, ids []string, visit func(i int, size int64, body io.Reader) error) error {
	for i, id := range ids {
		head, err := in.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("git cat-file in %s: its answer is cut off: %w", r.dir, err)
		}
		about, ok := bytes.CutPrefix(head, []byte(id+" blob "))
		size, digits := parseSize(bytes.TrimSuffix(about, []byte("\n")))
		if !ok || !digits {
			if bytes.HasSuffix(head, []byte(" missing\n")) {
				return &RevisionError{r.Name, "object " + id + " is not in this clone", "get all of it with: git fetch --refetch origin"}
			}
			return fmt.Errorf("git cat-file in %s: %q is no blob", r.dir, id)
		}
		body := &io.LimitedReader{R: in, N: size}
		if err := visit(i, size, body); err != nil {
			return err
		}
		// One more for the line end behind the content.
		if _, err := in.Discard(int(body.N) + 1); err != nil {
			return fmt.Errorf("git cat-file in %s: its answer is cut off: %w", r.dir, err)
		}
	}
	return nil
}

// parseSize reads digits alone, of which there are not many.
func parseSize(b []byte) (n int64, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' || n > 1<<50 {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, len(b) > 0
}

// Source lists the source tree at the revision: what Source gives for a fresh checkout of that commit.
func (r *Revision) Source(ctx context.Context, o SourceOptions) (artifact.Source, []tree.Withheld, diag.List, error) {
	src := artifact.Source{Dir: filepath.ToSlash(r.dir)}
	text, err := r.ReadFile(ctx, ignoreFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return src, nil, nil, fmt.Errorf("read source tree at %s: %w", r.Name, err)
	}
	f, faults := newFilter(o, text)
	var unread error
	f.read = func(rel string) ([]byte, error) {
		c, ok := r.find(rel)
		if !ok || c.mode == modeLink {
			return nil, nil // a link has no content of its own
		}
		b, err := r.blob(ctx, *c, largestSecret)
		if err != nil && !errors.Is(err, errLarge) {
			unread = err
		}
		return b, err
	}
	var absent []tree.Withheld
	var kept []*committed
	left := map[string]bool{"": false} // by directory
	for i := range r.list {
		switch c := &r.list[i]; {
		case c.mode == modeSubmodule:
			absent = append(absent, tree.Withheld{Path: c.path, Rule: submoduleAbsent})
		case !f.left(left, parent(c.path)) && !f.skip(c.path, false):
			kept = append(kept, c)
		}
	}
	if unread != nil {
		return src, nil, faults, fmt.Errorf("read source tree at %s: %w", r.Name, unread)
	}
	if err := r.sum(ctx, kept, o.Indexes); err != nil {
		return src, nil, faults, fmt.Errorf("read source tree at %s: %w", r.Name, err)
	}
	src.Tree = make(tree.Manifest, len(kept))
	for i, c := range kept {
		src.Tree[i] = c.entry
	}
	src.Tree.Sort()
	return src, f.done(absent), faults, nil
}

// parent is the directory of a path, empty at the top.
func parent(name string) string { return name[:max(0, strings.LastIndexByte(name, '/'))] }

// left reports whether a directory is left out, or one above it.
func (f *filter) left(known map[string]bool, dir string) bool {
	out, ok := known[dir]
	if !ok {
		out = f.left(known, parent(dir)) || f.skip(dir, true)
		known[dir] = out
	}
	return out
}

// archives are the archives that `path:` runtimes name, as they are committed. That the bytes are the
// promised ones is not checked: nothing is made of them.
func (r *Revision) archives(ctx context.Context, in *plan.Inputs, known Indexes) (map[string]plan.Tool, error) {
	out := map[string]plan.Tool{}
	var files []*committed
	var names []string
	for _, c := range in.File.Runtimes {
		if c.Path == "" {
			continue
		}
		if f, ok := r.find(path.Clean(c.Path)); ok && f.mode != modeSubmodule && f.mode != modeLink {
			files, names = append(files, f), append(names, c.Name)
		}
	}
	if len(files) == 0 {
		return out, nil
	}
	if err := r.sum(ctx, files, known); err != nil {
		return nil, fmt.Errorf("read archives at %s: %w", r.Name, err)
	}
	for i, f := range files {
		out[names[i]] = plan.Tool{Path: filepath.Join(r.dir, filepath.FromSlash(f.path)), Digest: f.entry.Digest, Size: f.entry.Size}
	}
	return out, nil
}

// sum fills the entries of files. Only blobs that no earlier comparison met are hashed.
func (r *Revision) sum(ctx context.Context, files []*committed, known Indexes) error {
	sums := readSums(known, r.key)
	var ids []string
	asked := map[string][]*committed{}
	for _, c := range files {
		if c.entry.Kind != 0 {
			continue
		}
		c.entry = tree.Entry{Path: c.path, Kind: tree.File, Exec: c.mode == modeExec}
		if c.mode == modeLink {
			c.entry.Kind = tree.Link
		} else if d, size, ok := sums.find(c.id); ok {
			c.entry.Digest, c.entry.Size = d, size
			continue
		}
		if asked[c.id] == nil {
			ids = append(ids, c.id)
		}
		asked[c.id] = append(asked[c.id], c)
	}
	if len(ids) == 0 {
		return nil
	}
	h := digest.New()
	var learnt []blobSum
	err := r.contents(ctx, ids, func(i int, size int64, body io.Reader) error {
		var target strings.Builder
		h.Reset()
		to := io.Writer(h)
		if slices.ContainsFunc(asked[ids[i]], func(c *committed) bool { return c.mode == modeLink }) {
			if size > largestTarget {
				return fmt.Errorf("link %s has a target of %d bytes", asked[ids[i]][0].path, size)
			}
			to = io.MultiWriter(h, &target)
		}
		if _, err := io.Copy(to, body); err != nil {
			return err
		}
		d := digest.Sum(h)
		learnt = append(learnt, blobSum{ids[i], d, size})
		for _, c := range asked[ids[i]] {
			if c.entry.Kind == tree.Link {
				c.entry.Target = target.String()
			} else {
				c.entry.Digest, c.entry.Size = d, size
			}
		}
		return nil
	})
	if err != nil {
		for _, list := range asked {
			for _, c := range list {
				c.entry = tree.Entry{}
			}
		}
		return err
	}
	sums.write(known, r.key, learnt)
	return nil
}

// largestTarget is more than a file system takes for the target of a link.
const largestTarget = 64 << 10

// blobsKind is the kind of the documents that say which digest a blob of git has. Their key stands
// for the repository.
const blobsKind = "blobs"

// blobsForm opens such a document. Records follow, sorted by id: the id, of 20 or 32 bytes, the
// digest, and the size, big endian.
const blobsForm = "slugfile blobs 1\n"

// mostBlobs is how many a document may hold: beyond it, it starts anew with those of one revision.
const mostBlobs = 400_000

// blobSum is what is known of one blob.
type blobSum struct {
	id   string
	sum  digest.Digest
	size int64
}

// blobSums is such a document as it was read.
type blobSums struct {
	records []byte
	width   int // of an id, in bytes; 0 when nothing is known
}

func (s blobSums) step() int { return s.width + digest.Size + 8 }

func (s blobSums) len() int {
	if s.width == 0 {
		return 0
	}
	return len(s.records) / s.step()
}

func readSums(from Indexes, key string) blobSums {
	if from == nil {
		return blobSums{}
	}
	b, ok, err := from.GetBytes(blobsKind, key)
	b, formed := bytes.CutPrefix(b, []byte(blobsForm))
	if err != nil || !ok || !formed || len(b) == 0 {
		return blobSums{}
	}
	s := blobSums{records: b[1:], width: int(b[0])}
	if s.width != 20 && s.width != 32 || len(s.records)%s.step() != 0 {
		return blobSums{}
	}
	return s
}

func (s blobSums) find(id string) (d digest.Digest, size int64, ok bool) {
	var raw [32]byte
	if len(id) != 2*s.width {
		return d, 0, false
	}
	if _, err := hex.Decode(raw[:], []byte(id)); err != nil {
		return d, 0, false
	}
	want, step := raw[:s.width], s.step()
	low, high := 0, s.len()
	for low < high {
		at := int(uint(low+high) / 2)
		if bytes.Compare(s.records[at*step:at*step+s.width], want) < 0 {
			low = at + 1
		} else {
			high = at
		}
	}
	if low == s.len() || !bytes.Equal(s.records[low*step:low*step+s.width], want) {
		return d, 0, false
	}
	rest := s.records[low*step+s.width : (low+1)*step]
	copy(d[:], rest)
	return d, int64(binary.BigEndian.Uint64(rest[digest.Size:])), true
}

// write keeps what was known and what was learnt for the next run, where that can be done.
func (s blobSums) write(in Indexes, key string, learnt []blobSum) {
	if in == nil || len(learnt) == 0 {
		return
	}
	width := len(learnt[0].id) / 2
	if s.width != width || s.len()+len(learnt) > mostBlobs {
		s = blobSums{width: width}
	}
	slices.SortFunc(learnt, func(a, b blobSum) int { return strings.Compare(a.id, b.id) })
	b := make([]byte, 0, len(blobsForm)+1+len(s.records)+len(learnt)*s.step())
	b = append(append(b, blobsForm...), byte(width))
	step := s.step()
	old := s.records
	for _, l := range learnt {
		id, err := hex.DecodeString(l.id)
		if err != nil || len(id) != width {
			return
		}
		for len(old) > 0 && bytes.Compare(old[:width], id) < 0 {
			b, old = append(b, old[:step]...), old[step:]
		}
		b = append(append(b, id...), l.sum[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(l.size))
	}
	_ = in.PutBytes(blobsKind, key, append(b, old...)) // the next run reads the blobs again
}
