package tree

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// walkers is how many goroutines look at directories. More of them than cores only wait for
// each other in the kernel; each holds one directory open.
const walkers = 4

// settled is how long an inode must have been at rest to be known by its stamp. It is the
// coarsest tick of a file system's clock.
const settled = 2 * time.Second

// scan is one scan under way.
type scan struct {
	root    *rootDir
	skip    func(rel string, isDir bool) bool
	known   *Index
	cutoff  int64 // nanoseconds: an inode that changed then or later is not known
	hashers int
	walkers int
	entries atomic.Int64 // listed so far
	trusted atomic.Bool  // names were taken from the known index
	used    sync.Pool    // of *batch, for more names

	mu      sync.Mutex
	ready   sync.Cond
	waiting []*batch
	feeding bool // more batches may come from outside
	busy    int  // workers with a batch
	err     error
	workers sync.WaitGroup
}

// spot is a directory of the tree that is being scanned: a folder of the index to be.
type spot struct {
	folder
	paths string  // of the records, in their order, without anything in between
	subs  []*spot // of the records with flagFolder, in their order
}

// prefix is what stands before a name in a path.
func (s *spot) prefix() string {
	if s.path == "" {
		return ""
	}
	return s.path + "/"
}

// batch is names of one directory to look at.
type batch struct {
	spot  *spot
	known int  // the folder of it in the known index, or -1
	all   bool // the names are whatever the directory holds
	names []byte
	items []item
}

type item struct {
	at, size int32 // of the name in names
	typ      fs.FileMode
	exec     Exec
	listed   bool // the manifest has it
	parent   bool // a directory with a spot of its own; it has been looked at
}

// unknownType is that of an item which stat has to tell.
const unknownType = fs.ModeIrregular

// add adds a name that the directory has.
func (b *batch) add(name []byte, typ fs.FileMode) {
	b.items = append(b.items, item{at: int32(len(b.names)), size: int32(len(name)), typ: typ, listed: true})
	b.names = append(b.names, name...)
}

func (b *batch) append(name string, i item) {
	i.at, i.size = int32(len(b.names)), int32(len(name))
	b.items = append(b.items, i)
	b.names = append(b.names, name...)
}

func (b *batch) name(i item) []byte { return b.names[i.at : i.at+i.size] }

func newScan(root string, o ScanOptions) (*scan, error) {
	dir, err := openRoot(root)
	if err != nil {
		return nil, err
	}
	now := o.Now
	if now.IsZero() {
		now = time.Now()
	}
	s := &scan{root: dir, skip: o.Skip, known: o.Known, cutoff: now.Add(-settled).UnixNano(), hashers: scanWorkers, walkers: walkers}
	if o.workers > 0 {
		s.hashers, s.walkers = o.workers, o.workers
	}
	s.ready.L = &s.mu
	return s, nil
}

func (s *scan) start(ctx context.Context) {
	s.feeding = true
	for range s.walkers {
		s.workers.Go(func() { s.work(ctx) })
	}
}

func (s *scan) push(list ...*batch) {
	if len(list) == 0 {
		return
	}
	s.mu.Lock()
	s.waiting = append(s.waiting, list...)
	s.mu.Unlock()
	if len(list) > 1 {
		s.ready.Broadcast()
	} else {
		s.ready.Signal()
	}
}

// stop ends the scan with an error; the first one counts.
func (s *scan) stop(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.mu.Unlock()
	s.ready.Broadcast()
}

// wait says that nothing more comes, and returns when all is done.
func (s *scan) wait() error {
	s.mu.Lock()
	s.feeding = false
	s.mu.Unlock()
	s.ready.Broadcast()
	s.workers.Wait()
	return s.err
}

// take returns the next batch, or nil when there is none and will be none.
func (s *scan) take() *batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if n := len(s.waiting); s.err == nil && n > 0 {
			b := s.waiting[n-1]
			s.waiting = s.waiting[:n-1]
			s.busy++
			return b
		}
		if s.err != nil || !s.feeding && s.busy == 0 {
			return nil
		}
		s.ready.Wait()
	}
}

func (s *scan) done() {
	s.mu.Lock()
	s.busy--
	last := s.busy == 0
	s.mu.Unlock()
	if last {
		s.ready.Broadcast()
	}
}

func (s *scan) work(ctx context.Context) {
	w := &walker{scan: s, buf: make([]byte, 32<<10)}
	for b := s.take(); b != nil; b = s.take() {
		err := context.Cause(ctx)
		if err == nil {
			err = w.look(b)
		}
		if err != nil {
			s.stop(err)
		}
		s.done()
	}
}

// walker is one goroutine of a scan and what it uses again and again.
type walker struct {
	*scan
	buf     []byte
	scratch batch
	paths   []byte
	records []byte
	below   []*batch

	// Of the folder that is being looked at:
	rest   []byte // of the known records
	had    record // the last known one before rest
	hadAt  int    // its folder, if it has one
	hadDev uint64 // what their stamps are of
	next   int    // the folder of the next known record that has one
	unread bool   // a file has to be read
}

// look turns the names of a batch into records of its spot.
func (w *walker) look(b *batch) error {
	at := b.spot
	dir, err := w.root.open(at.path)
	if err != nil {
		switch {
		case at.path == "" || !isGone(err):
			return fmt.Errorf("list directory: %w", err)
		case b.all:
			return &ChangedError{Path: w.name(at.path)}
		}
		return nil // what was listed there is gone
	}
	defer dir.close()
	found := spot{folder: folder{path: at.path}}
	var known *folder
	w.rest, w.had, w.next = nil, record{}, b.known+1
	if b.known >= 0 {
		known = &w.known.folders[b.known]
		w.rest, w.hadDev = known.records, known.dev
	}
	if !b.all {
		b.arrange()
	} else if found.seal, err = w.list(dir, b, known); err != nil {
		return fmt.Errorf("list directory: %w", err)
	}

	prefix := 0
	if at.path != "" {
		prefix = len(at.path) + 1
	}
	w.paths, w.records, w.below = w.paths[:0], w.records[:0], w.below[:0]
	for _, i := range b.items {
		if prefix > 0 {
			w.paths = append(append(w.paths, at.path...), '/')
		}
		w.paths = append(w.paths, b.name(i)...)
	}
	found.paths = string(w.paths)
	w.unread = false
	start, listed := 0, 0
	for _, i := range b.items {
		path := found.paths[start : start+prefix+int(i.size)]
		start += len(path)
		begun := len(w.records)
		if err := w.item(dir, &found, i, path, path[prefix:], b.all); err != nil {
			return err
		}
		if begun == len(w.records) { // left out, or gone
			w.begin(0, path[prefix:])
		} else {
			listed++
		}
	}
	if known != nil && !w.unread && found.dev == known.dev && bytes.Equal(w.records, known.records) {
		found.records = known.records
	} else {
		found.records = bytes.Clone(w.records)
	}
	w.entries.Add(int64(listed))
	w.attach(at, &found)
	w.push(w.below...)
	if !b.all {
		b.names, b.items = b.names[:0], b.items[:0]
		w.used.Put(b)
	}
	return nil
}

// list fills the batch with the names of the directory: those that are known when nothing was
// added or removed since. It returns by what that can be told the next time.
func (w *walker) list(dir openDir, b *batch, known *folder) (dirStamp, error) {
	w.scratch.names, w.scratch.items = w.scratch.names[:0], w.scratch.items[:0]
	now, err := w.root.dirStamp(dir)
	if err != nil {
		return now, err
	}
	if now != (dirStamp{}) && known != nil && now == known.seal {
		for r := range known.all() {
			w.scratch.add(r.name, r.mode())
		}
		b.names, b.items = w.scratch.names, w.scratch.items
		w.trusted.Store(true)
		return now, nil
	}
	if err := dir.list(&w.scratch, w.buf); err != nil {
		return now, err
	}
	b.names, b.items = w.scratch.names, w.scratch.items
	b.arrange()
	if now.ctime >= w.cutoff {
		return dirStamp{}, nil
	}
	return now, nil
}

// mode is the type that a record tells of its name.
func (r record) mode() fs.FileMode {
	switch r.kind() {
	case File:
		return 0
	case Dir:
		return fs.ModeDir
	case Link:
		return fs.ModeSymlink
	}
	return unknownType
}

// arrange sorts the names and makes one of those that are there twice.
func (b *batch) arrange() {
	byName := func(x, y item) int { return bytes.Compare(b.name(x), b.name(y)) }
	if !slices.IsSortedFunc(b.items, byName) {
		slices.SortFunc(b.items, func(x, y item) int { return cmp.Or(byName(x, y), int(x.at-y.at)) })
	}
	out := b.items[:0]
	for _, i := range b.items {
		if n := len(out); n > 0 && byName(out[n-1], i) == 0 {
			i.parent = i.parent || out[n-1].parent
			i.listed = i.listed || out[n-1].listed
			out[n-1] = i
			continue
		}
		out = append(out, i)
	}
	b.items = out
}

// item adds the record of one name to those of the folder, unless it is left out or gone.
func (w *walker) item(dir openDir, found *spot, i item, path, name string, walk bool) error {
	for string(w.had.name) < name && len(w.rest) > 0 {
		w.rest, _ = w.had.read(w.rest)
		if w.had.flags&flagFolder != 0 {
			w.hadAt, w.next = w.next, w.known.folders[w.next].end
		}
	}
	had := string(w.had.name) == name
	if i.parent {
		flags := byte(Dir) | flagFolder
		if i.listed {
			flags |= flagListed
		}
		w.begin(flags, name)
		return nil
	}
	var st stamp
	var err error
	typ, looked := i.typ, false
	if typ == unknownType {
		if st, typ, err = dir.stat(name); err != nil {
			return w.missing(err, path, walk)
		}
		looked = true
	}
	if w.skip != nil && w.skip(path, typ.IsDir()) {
		return nil
	}
	switch {
	case typ.IsDir():
		if !walk {
			w.begin(byte(Dir)|flagListed, name)
			return nil
		}
		w.begin(byte(Dir)|flagListed|flagFolder, name)
		b := &batch{spot: &spot{folder: folder{path: path}}, known: -1, all: true}
		if had && w.had.flags&flagFolder != 0 {
			b.known = w.hadAt
		}
		found.subs = append(found.subs, b.spot)
		w.below = append(w.below, b)
		return nil
	case typ&fs.ModeSymlink != 0:
		target, err := dir.readlink(name)
		if errors.Is(err, syscall.EINVAL) {
			return &ChangedError{Path: w.name(path)} // no link any more
		}
		if err != nil {
			return w.missing(err, path, walk)
		}
		w.begin(byte(Link), name)
		w.records = appendBytes(w.records, target)
		return nil
	case !typ.IsRegular():
		return fmt.Errorf("%q is %s: only files, directories and links can be packed", w.name(path), describe(typ))
	}
	if !looked {
		if st, typ, err = dir.stat(name); err != nil {
			return w.missing(err, path, walk)
		}
		if !typ.IsRegular() {
			return &ChangedError{Path: w.name(path)}
		}
	}
	flags := byte(File)
	if i.exec == Executable || i.exec == ByMode && typ&0o100 != 0 {
		flags |= flagExec
	}
	if found.dev == 0 {
		found.dev = st.dev
	}
	if had && st.dev == found.dev && w.had.kind() == File && w.had.known(w.hadDev, &st) {
		w.begin(flags|flagStamped, name)
		w.records = append(w.records, w.had.body...)
		return nil
	}
	w.begin(flags, name)
	var body [fileSize]byte
	putStamp(body[:], &st)
	w.records = append(w.records, body[:]...)
	w.unread = true
	return nil
}

func (w *walker) begin(flags byte, name string) {
	w.records = appendBytes(append(w.records, flags), name)
}

// missing is the error for a name that could not be looked at: none when only a list named it.
func (w *walker) missing(err error, path string, walk bool) error {
	switch {
	case !isGone(err):
		return err
	case walk:
		return &ChangedError{Path: w.name(path)}
	}
	return nil
}

// name is a path of the tree as it is opened.
func (s *scan) name(path string) string { return filepath.Join(s.root.name, filepath.FromSlash(path)) }

// attach gives a spot what was found in a batch of it; there may have been others before.
func (s *scan) attach(at, found *spot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at.records == nil {
		// Not the path: another batch of the spot may just be using it.
		at.seal, at.dev, at.records, at.paths, at.subs = found.seal, found.dev, found.records, found.paths, found.subs
		return
	}
	at.merge(found)
}

// merge adds records. Of a name that both have, those of a directory become one, and of others
// the later one stays.
func (s *spot) merge(more *spot) {
	if s.dev == 0 {
		s.dev = more.dev
	}
	var records, paths []byte
	var x, y record
	a, b := s.records, more.records
	for len(a) > 0 || len(b) > 0 {
		restA, _ := x.read(a)
		restB, _ := y.read(b)
		order := -1
		if len(a) == 0 {
			order = 1
		} else if len(b) > 0 {
			order = bytes.Compare(x.name, y.name)
		}
		start := len(records)
		name := x.name
		if order < 0 {
			records = append(records, a[:len(a)-len(restA)]...)
		} else {
			name = y.name
			records = append(records, b[:len(b)-len(restB)]...)
			if more.dev != s.dev && y.kind() == File {
				records[start] &^= flagStamped
			}
		}
		if order == 0 && x.kind() == Dir && y.kind() == Dir {
			records[start] |= x.flags
		}
		if order <= 0 {
			a = restA
		}
		if order >= 0 {
			b = restB
		}
		paths = append(append(paths, s.prefix()...), name...)
	}
	s.records, s.paths = records, string(paths)
}
