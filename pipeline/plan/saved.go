package plan

import "github.com/slugfile/slugfile/pipeline/platform"

// SavedType is the type of a saved plan's document, and SavedVersion the version of its form.
const (
	SavedType    = "saved_plan"
	SavedVersion = 1
)

// Saved is a plan in a file, with all that is needed to tell later whether it still holds and,
// when it does not, what moved. It holds no credential and no config var.
type Saved struct {
	V    int    `json:"v"`
	Type string `json:"type"`
	// Made is when the plan was made, in seconds since 1970.
	Made int64 `json:"made"`
	// Options are the flags that the plan was made with; apply takes them from here.
	Options SavedOptions `json:"options"`
	Plan    Plan         `json:"plan"`
	// Next is the slug that the plan leads to, as far as it was known.
	Next Record `json:"next"`
}

// SavedOptions are the flags that a plan depends on.
type SavedOptions struct {
	App   string            `json:"app,omitempty"`
	Stack string            `json:"stack,omitempty"`
	Vars  map[string]string `json:"vars,omitempty"`
	// API is the base address of the platform; Local is set for the embedded one, whose
	// address is not kept.
	API    string `json:"api,omitempty"`
	Local  bool   `json:"local,omitempty"`
	Create bool   `json:"create,omitempty"`
}

// Move is one thing that is no longer as a saved plan has it.
type Move struct {
	// What is slug.yaml, slug.lock, "source tree", "runtime NAME", mtime, app, stack or release.
	What string `json:"what"`
	// Before and After say how it was and is, in a word or a short digest. They may be empty.
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
	// Files are the files of the source tree that differ, where they are known.
	Files []FileChange `json:"files,omitempty"`
	// Releases are those that were made since, newest first.
	Releases []platform.Release `json:"-"`
}
