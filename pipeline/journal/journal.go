// Package journal remembers what an apply was about to change on the platform, so that the next
// one finds out what became of it instead of doing it twice.
//
// It is for the stages upload and release. There is one file for each app, and whoever writes it
// holds the lock of that app. Each line is one operation, that is one intended release, as it
// stood after a step; the line is on the disk before the call that it announces is made. A last
// line that was cut off is ignored; damage before it is an error, never a guess.
//
// It asks no platform and decides nothing, and it holds no secret: no token, no address, no
// text of a user or of a server beside names and ids.
package journal

import (
	"fmt"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
)

// Step says how far an operation has come.
type Step string

// The steps, in their order. An intent is written before the call, and what came of it after.
const (
	// BuildDone: the archive is in the store.
	BuildDone Step = "build.done"
	// SlugIntent: a slug is asked for. It cannot be listed, and one too many costs nothing.
	SlugIntent Step = "slug.intent"
	// SlugCreated: SlugID is known, and its bytes may be on the way.
	SlugCreated Step = "slug.created"
	// BlobVerified: the platform has the bytes, and no release is being asked for.
	BlobVerified Step = "blob.verified"
	// ReleaseIntent: a release is asked for. Until it is searched for, nobody may ask again.
	ReleaseIntent Step = "release.intent"
	// ReleaseCreated: the release is known, and its phase may run.
	ReleaseCreated Step = "release.created"
	// Done and Abandoned end an operation.
	Done      Step = "done"
	Abandoned Step = "abandoned"
)

var steps = []Step{BuildDone, SlugIntent, SlugCreated, BlobVerified, ReleaseIntent, ReleaseCreated, Done, Abandoned}

// Operation is one intended release, and how far it has come.
type Operation struct {
	Step Step `json:"step"`
	// At is when the step was written. It is for people, and for forgetting; clocks jump.
	At time.Time `json:"at"`
	// Apply is the id that marks the release. One id is one intended release.
	Apply string `json:"apply"`
	// App is what the platform is asked with, AppName is for messages.
	App     string `json:"app"`
	AppName string `json:"app_name,omitempty"`
	// PlanKey and Checksum are of the slug, as the platform has them; Size is in bytes.
	PlanKey  string `json:"plan_key"`
	Checksum string `json:"checksum"`
	Size     int64  `json:"size"`
	SlugID   string `json:"slug_id,omitempty"`
	// Rollback is set when an earlier release is asked for again, whose slug SlugID then is.
	Rollback *Rollback `json:"rollback,omitempty"`
	// Baseline is the live release that the plan was made against, with the highest version at that time.
	Baseline Release `json:"baseline,omitzero"`
	// Release is what came of it.
	Release Release `json:"release,omitzero"`
	// Unanswered counts the requests for a release of which nobody knows what became: the
	// platform may yet act on them.
	Unanswered int `json:"unanswered,omitempty"`
	// Told is the highest version that the user was told of as made more than once.
	Told int `json:"told,omitempty"`
	// Why is the reason for which an operation ended without its release.
	Why string `json:"why,omitempty"`
}

// Rollback is the release whose slug and config vars come back.
type Rollback struct {
	Release
	// SameSlug says that the live release has this slug already, so that it is the config vars that
	// come back, and a slug alone does not tell the rollback from the release before it.
	SameSlug bool `json:"same_slug,omitempty"`
}

// Release names a release.
type Release struct {
	ID      string `json:"id,omitempty"`
	Version int    `json:"version,omitempty"`
}

// Ended reports whether nothing more is to be done.
func (o Operation) Ended() bool { return o.Step == Done || o.Step == Abandoned }

// State is what a journal says.
type State struct {
	// Open is the operation that has not ended, or nil.
	Open *Operation
	// Past are those that have, the latest last; older ones are forgotten.
	Past []Operation
}

// keepPast is how many operations are remembered after their end: their slugs can be used again,
// and releases that come late be told of.
const keepPast = 4

// Fold reads lines in their order.
func Fold(lines []Operation) State {
	var s State
	for _, o := range lines {
		s = s.with(o)
	}
	return s
}

// with is the state after one more line.
func (s State) with(o Operation) State {
	past := slices.Clone(s.Past)
	if s.Open != nil && s.Open.Apply != o.Apply {
		if !o.Ended() {
			// One is open at a time: a new one takes the place of the old.
			left := *s.Open
			left.Step = Abandoned
			past = append(past, left)
		}
	}
	if i := slices.IndexFunc(past, func(p Operation) bool { return p.Apply == o.Apply }); i >= 0 {
		past = slices.Delete(past, i, i+1)
	}
	open := s.Open
	switch {
	case !o.Ended():
		open = &o
	default:
		past = append(past, o)
		if open != nil && open.Apply == o.Apply {
			open = nil
		}
	}
	return State{Open: open, Past: past[max(0, len(past)-keepPast):]}
}

// lines are the shortest journal that says the same.
func (s State) lines() []Operation {
	all := slices.Clone(s.Past)
	if s.Open != nil {
		all = append(all, *s.Open)
	}
	return all
}

// Slug is the latest slug that was allocated for these bytes. Whether the platform has it still,
// and whole, must be asked.
func (s State) Slug(checksum string) (id string, ok bool) {
	for _, o := range slices.Backward(s.lines()) {
		if o.Checksum == checksum && o.SlugID != "" {
			return o.SlugID, true
		}
	}
	return "", false
}

// Options are what Open may be told.
type Options struct {
	// Now is the clock. Default: time.Now.
	Now func() time.Time
	// ApplyID names operations. Default: a new ULID.
	ApplyID func() string
}

// Journal is the journal of one app. It is not safe for use by several goroutines.
type Journal struct {
	file File
	o    Options
	// state is what the first size bytes of the file say.
	state State
	size  int64
}

// Open reads a journal. It fails with a *DamagedError when what it says cannot be trusted.
func Open(file File, o Options) (*Journal, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.ApplyID == nil {
		o.ApplyID = func() string { return ulid.Make().String() }
	}
	text, err := file.Read()
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	lines, size, err := decode(file.Name(), text)
	if err != nil {
		return nil, err
	}
	return &Journal{file: file, o: o, state: Fold(lines), size: size}, nil
}

// InMemory is a journal that is gone with its process: a stage without one remembers its own
// run, and nothing of earlier ones.
func InMemory() *Journal {
	j, err := Open(&Memory{}, Options{})
	if err != nil {
		panic(err) // an empty file says nothing wrong
	}
	return j
}

// State is what the journal says now.
func (j *Journal) State() State {
	s := State{Past: slices.Clone(j.state.Past)}
	if j.state.Open != nil {
		open := *j.state.Open
		s.Open = &open
	}
	return s
}

// lateLimit is how long after an operation a release of it is still reckoned with. No platform
// holds a request that long.
const lateLimit = 24 * time.Hour

// Unsettled are the operations that have ended with requests of which nobody knows what became.
func (j *Journal) Unsettled() []Operation {
	return slices.DeleteFunc(slices.Clone(j.state.Past), func(o Operation) bool {
		return o.Unanswered == 0 || j.o.Now().Sub(o.At) > lateLimit
	})
}

// Begin opens an operation: o gets an id of its own and the step BuildDone. One that is still
// open is abandoned.
func (j *Journal) Begin(o Operation) (Operation, error) {
	if err := j.Abandon("another slug is to be released"); err != nil {
		return o, err
	}
	o.Apply, o.Step = j.o.ApplyID(), BuildDone
	return o, j.Write(o)
}

// Abandon ends the open operation, if there is one, without its release.
func (j *Journal) Abandon(why string) error {
	if j.state.Open == nil {
		return nil
	}
	o := *j.state.Open
	o.Step, o.Why = Abandoned, why
	return j.Write(o)
}

// Write writes an operation as it stands now; it is on the disk when Write returns. After an
// end, and when it has grown long, the whole file is replaced by what is still of use.
func (j *Journal) Write(o Operation) error {
	o.At = j.o.Now().UTC().Truncate(time.Second)
	line, err := encode(o)
	if err != nil {
		return fmt.Errorf("write journal %s: %w", j.file.Name(), err)
	}
	next := j.state.with(o)
	if o.Ended() || j.size+int64(len(line)) > maxGrown {
		return j.replace(next)
	}
	if err := j.file.Append(j.size, line); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	j.state, j.size = next, j.size+int64(len(line))
	return nil
}

func (j *Journal) replace(next State) error {
	var text []byte
	for _, o := range next.lines() {
		line, err := encode(o)
		if err != nil {
			return fmt.Errorf("write journal %s: %w", j.file.Name(), err)
		}
		text = append(text, line...)
	}
	if err := j.file.Replace(text); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	j.state, j.size = next, int64(len(text))
	return nil
}
