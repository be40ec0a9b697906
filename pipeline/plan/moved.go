package plan

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/platform"
)

// The things that a Move is about, besides "runtime NAME".
const (
	movedFile    = "slug.yaml"
	movedLock    = "slug.lock"
	movedSource  = "source tree"
	movedEpoch   = "mtime"
	movedApp     = "app"
	movedStack   = "stack"
	movedRelease = "release"
	// movedTool is another version of this program, which makes another slug of the same.
	movedTool = "slugfile"
)

// Move is one thing that is no longer as a saved plan has it.
type Move struct {
	// What is "slug.yaml", "slug.lock", "source tree", "runtime NAME", "mtime", "app", "stack",
	// "release" or "slugfile".
	What string `json:"what"`
	// Before and After say how it was and is, in a word or a short digest. They may be empty.
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
	// Files are the files of the source tree that differ, where they are known.
	Files []FileChange `json:"files,omitempty"`
	// Releases are those that were made since, newest first.
	Releases []platform.Release `json:"-"`
}

// String is one line: "source tree: web.js and 2 more changed". Names stand in it as they are.
func (m Move) String() string {
	switch {
	case m.What == movedSource && len(m.Files) > 0:
		return m.What + ": " + firstOf(m.Files) + " " + became(m.Files)
	case m.What == movedRelease && len(m.Releases) > 0:
		r := m.Releases[0]
		s := fmt.Sprintf("v%d was released", r.Version)
		if r.User.Email != "" {
			s += " by " + r.User.Email
		}
		if text, _, _ := ParseMark(r.Description); text != "" {
			s += " (" + text + ")"
		}
		if n := len(m.Releases) - 1; n > 0 {
			s += fmt.Sprintf(", and %d before it", n)
		}
		return s
	case m.Before != "" && m.After != "":
		return m.What + ": " + m.Before + " → " + m.After
	case m.After != "":
		return m.What + ": now " + m.After
	case m.Before != "":
		return m.What + ": no longer " + m.Before
	}
	return m.What + " changed"
}

// Moved is what is no longer as it was when the plan was saved; now is the plan of this moment
// for the same flags. It is nil when the saved plan still says what apply would do.
//
// A change of config vars makes a release and keeps the slug, so it is no move: apply takes the
// live release of now as the one it starts from, and the check right before the release holds
// against that. Another version of this program is none as long as it makes the same slug.
func (s Saved) Moved(now Plan, in Inputs, seen Observed) []Move {
	var moves []Move
	move := func(m Move) { moves = append(moves, m) }
	was, is := s.Plan.Basis, now.Basis
	if m, moved := s.appMoved(now); moved {
		move(m)
	} else if m, moved := s.releaseMoved(now, seen); moved {
		move(m)
	}
	if s.Plan.Stack != now.Stack {
		move(Move{What: movedStack, Before: s.Plan.Stack, After: now.Stack})
	}
	if was.File != is.File {
		move(Move{What: movedFile})
	}
	if was.Lock != is.Lock {
		move(Move{What: movedLock})
	}
	if was.Source != is.Source && in.File != nil {
		files := fileChanges(entries(s.Next.Source), entries(in.prepare().reachable.tree))
		if was.File != is.File { // another slug.yaml takes other files, which need not have changed
			files = slices.DeleteFunc(files, func(f FileChange) bool { return f.Action != Change })
		}
		if len(files) > 0 || was.File == is.File {
			move(Move{What: movedSource, Files: files})
		}
	}
	names := map[string]bool{}
	for n := range was.Tools {
		names[n] = true
	}
	for n := range is.Tools {
		names[n] = true
	}
	for _, n := range slices.Sorted(maps.Keys(names)) {
		before, had := was.Tools[n]
		after, has := is.Tools[n]
		if before != after && (had && has || was.File == is.File) {
			move(Move{What: partRuntime(n), Before: short(before), After: short(after)})
		}
	}
	if was.Epoch != is.Epoch {
		move(Move{What: movedEpoch, Before: strconv.FormatInt(was.Epoch, 10), After: strconv.FormatInt(is.Epoch, 10)})
	}
	if len(moves) == 0 && s.Plan.Key != now.Key {
		move(Move{What: movedTool, Before: was.Tool, After: is.Tool})
	}
	return moves
}

func (s Saved) appMoved(now Plan) (Move, bool) {
	was, is := s.Plan, now
	if was.App == is.App && was.AppID == is.AppID && was.Create == is.Create {
		return Move{}, false
	}
	name := func(p Plan) string {
		if p.App == "" || p.Create {
			return "none"
		}
		return p.App
	}
	m := Move{What: movedApp, Before: name(was), After: name(is)}
	if m.Before == m.After { // it was deleted and made again
		m.Before, m.After = was.AppID, is.AppID
	}
	return m, true
}

func (s Saved) releaseMoved(now Plan, seen Observed) (Move, bool) {
	slugOf := func(r *ReleaseBasis) (id, version string) {
		if r == nil || r.SlugID == "" {
			return "", "none"
		}
		return r.SlugID, fmt.Sprintf("v%d", r.Version)
	}
	was, before := slugOf(s.Plan.Basis.Release)
	is, after := slugOf(now.Basis.Release)
	if was == is {
		return Move{}, false
	}
	m := Move{What: movedRelease, Before: before, After: after}
	if seen.Target != nil {
		for _, r := range seen.Target.recent() {
			if l := s.Plan.Basis.Release; l == nil || r.Version > l.Latest {
				m.Releases = append(m.Releases, r)
			}
		}
	}
	return m, true
}

// short is a digest for people, and nothing for one that is not known.
func short(d digest.Digest) string {
	if d.IsZero() {
		return ""
	}
	return d.Short()
}
