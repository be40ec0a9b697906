package tree

import (
	"fmt"
	"strings"
)

// lister sorts a list of paths by directory, and hands a directory to the workers as soon as
// the list has left it.
type lister struct {
	*scan
	top  *spot
	dirs map[string]*listed
	open []*listed // from the root to the directory of the last path
	full []*batch  // of directories that were left
	held int       // names in them
}

// listed is a directory that the list has named.
type listed struct {
	spot  *spot // nil: it is gone, is none, or is left out
	path  string
	known int
	now   *batch // what was listed there since it was entered, or nil
}

func newLister(s *scan) *lister {
	top := &listed{spot: &spot{}, known: s.known.find("")}
	return &lister{scan: s, top: top.spot, dirs: map[string]*listed{}, open: []*listed{top}}
}

func (l *lister) add(rel string, exec Exec) error {
	if !isBelow(rel) {
		return fmt.Errorf("list %q: path %q is not below it", l.root.name, rel)
	}
	dir, name := splitPath(rel)
	at, err := l.enter(dir)
	if err != nil || at.spot == nil {
		return err
	}
	l.batch(at).append(name, item{typ: unknownType, exec: exec, listed: true})
	return nil
}

// batch is where names of a directory are collected.
func (l *lister) batch(p *listed) *batch {
	if p.now == nil {
		b, ok := l.used.Get().(*batch)
		if !ok {
			b = &batch{}
		}
		b.spot, b.known = p.spot, p.known
		p.now = b
	}
	return p.now
}

// enter leaves the directories that do not hold dir and enters those that do.
func (l *lister) enter(dir string) (*listed, error) {
	for at := l.open[len(l.open)-1]; at.path != "" && !Under(dir, at.path); at = l.open[len(l.open)-1] {
		l.leave()
	}
	at := l.open[len(l.open)-1]
	for at.path != dir {
		rest := strings.TrimPrefix(dir[len(at.path):], "/")
		name, _, _ := strings.Cut(rest, "/")
		path := dir[:len(dir)-len(rest)+len(name)]
		p, ok := l.dirs[path]
		if !ok {
			p = &listed{path: strings.Clone(path)}
			if err := l.see(at, p, name); err != nil {
				return nil, err
			}
			l.dirs[p.path] = p
		}
		l.open = append(l.open, p)
		at = p
	}
	return at, nil
}

// see looks at a directory when the list first names something in it.
func (l *lister) see(parent, p *listed, name string) error {
	if parent.spot == nil {
		return nil
	}
	switch ok, err := l.root.isDir(p.path); {
	case err != nil && !isGone(err):
		return err
	case !ok, l.skip != nil && l.skip(p.path, true):
		return nil
	}
	p.spot = &spot{folder: folder{path: p.path}}
	p.known = l.known.find(p.path)
	l.batch(parent).append(name, item{parent: true})
	return nil
}

func (l *lister) leave() {
	last := l.open[len(l.open)-1]
	l.open = l.open[:len(l.open)-1]
	if last.now == nil {
		return
	}
	l.full = append(l.full, last.now)
	l.held += len(last.now.items)
	last.now = nil
	if l.held >= handful {
		l.flush()
	}
}

// handful is how many names the workers are woken for: to wake one takes longer than to look
// at a few names.
const handful = 512

func (l *lister) flush() {
	l.push(l.full...)
	l.full, l.held = l.full[:0], 0
}

func (l *lister) end() {
	for len(l.open) > 0 {
		l.leave()
	}
	l.flush()
}

// link gives each spot those of its directories.
func (l *lister) link() {
	l.top.link(l.dirs)
}

func (s *spot) link(dirs map[string]*listed) {
	for r := range s.all() {
		if r.flags&flagFolder != 0 {
			sub := dirs[s.prefix()+string(r.name)].spot
			s.subs = append(s.subs, sub)
			sub.link(dirs)
		}
	}
}
