// Package plan decides what has to be done, and says so as data.
//
// Build reads no file, no clock and no network: it is a function of what the user
// committed (Inputs) and of what was seen (Observed). The stages get Work; people and
// programs read Plan.
package plan

import (
	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/lock"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/secret"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// Inputs is what the user committed, flags included.
type Inputs struct {
	// File is expanded, checked and has its defaults.
	File *config.File
	// Lock may be nil.
	Lock *lock.File
	// Source is the source tree as the app may see it.
	Source artifact.Source
	// Withheld lists what the deny list and .slugignore kept out.
	Withheld []tree.Withheld
	// Secrets are the places of the source tree, and of inline files, that hold what looks like a
	// credential and that nobody asked for, in the order of the tree.
	Secrets []secret.Hit
	Git     Git
	// Epoch is the mtime of every member of the slug, in seconds since 1970.
	Epoch int64
	// OS and Arch are of this machine, in Go's words.
	OS, Arch string
	// prepared is what Prepare worked out, or nil.
	prepared *prepared
	// Create allows to make an app that is not there. The embedded platform needs no leave.
	Create bool
	// Tool is the version of this program, which a saved plan tells.
	Tool string
}

// Git is what git says of the source tree. It is zero outside a checkout.
type Git struct {
	// SHA is the full commit.
	SHA    string
	Branch string
}

// Observed is what was seen of the world. It is data: nothing in it looks anything up.
type Observed struct {
	// Target is nil when no platform takes part (build).
	Target *Target
	// Tools are the tools that `host:` runtimes name, by runtime.
	Tools map[string]Tool
	// Archives are the archives that `path:` runtimes name, by runtime.
	Archives map[string]Tool
	// Stored holds the digests of the runtime archives that need no download.
	Stored map[digest.Digest]bool
	// Outputs are the outputs of steps that are in the store, by step key.
	Outputs map[digest.Digest]artifact.Output
	// Slug is the slug in the store that was made for this plan key, if there is one.
	Slug *artifact.Slug
	// Released is what is known of the slug that runs now, remembered or read from the platform.
	// When it is nil, ReleasedWhy says why and ReleasedHint what to do about it.
	Released                  *Record
	ReleasedWhy, ReleasedHint string
	// Against is what the plan is compared with instead of the live release, or nil.
	Against *Base
	// Next is what the store remembers of Slug.
	Next *Record
	// Unpinned are the tools of this machine that a step calls and no `host:` runtime names, by step.
	Unpinned map[string][]string
}

// Tool is a file of this machine and its content.
type Tool struct {
	// Path is absolute.
	Path   string
	Digest digest.Digest
	// Size is in bytes.
	Size int64
}

// Target is what the platform says.
type Target struct {
	// Name is what the user called the app.
	Name string
	// Local is set for the embedded platform, where apply makes apps.
	Local bool
	// App is nil when there is no such app.
	App *platform.App
	// Stacks are those that the app may use; all of the platform's when there is no app.
	Stacks []platform.Stack
	// Current is the live release, and Slug its slug; nil when there is none.
	Current *platform.Release
	Slug    *platform.Slug
	// Latest is the highest version of any release, 0 when there is none.
	Latest int
	// Newest is the release with the highest version; it need not be the live one.
	Newest *platform.Release
	// Recent are the newest releases, newest first, as many as were read.
	Recent []platform.Release
	// ConfigNames are the names of the app's config vars, sorted; their values are never kept.
	// ConfigKnown is not set when they could not be read, or nothing needed them.
	ConfigNames []string
	ConfigKnown bool
	// Now is the time of the observation, in seconds since 1970, from which ages are told.
	Now int64
}

// The kinds of a Base.
const (
	BaseRelease  = "release"
	BaseRevision = "revision"
	BaseSaved    = "plan"
)

// Base is what a plan is compared with: the live release, or what --against names.
type Base struct {
	// Kind is BaseRelease, BaseRevision or BaseSaved; Name is what people call it: "v12",
	// "main (1a2b3c4)", "plan.json".
	Kind, Name string
	// Stack, ProcessTypes and Key are as in a slug; Key is zero when it is not known.
	Stack        string
	ProcessTypes map[string]string
	Key          digest.Digest
	// Checksum is of the compressed slug, zero when there is none or it is not known, and Size
	// its size in bytes, or nil.
	Checksum digest.Digest
	Size     *int64
	// Record is what it was made of. When it is nil, Why says why and Hint what to do about it.
	Record    *Record
	Why, Hint string
}

// Record is what is known of a slug, so that a plan can say what changes. For one that was made
// here it is kept in the store under the slug's digest; one that was read from the platform knows
// Tree only; that of a slug which is not made yet knows what can be told before.
type Record struct {
	Key digest.Digest `json:"key,omitzero"`
	// Stack is its name.
	Stack    string          `json:"stack,omitempty"`
	Runtimes []RuntimeRecord `json:"runtimes,omitempty"`
	Steps    []StepRecord    `json:"steps,omitempty"`
	// Tree is what the slug holds below ./app.
	Tree tree.Manifest `json:"tree"`
	// Parts says, for each entry of Tree, where it came from: a runtime counted from 0, then
	// a step, then, last, the source tree and inline files. It is empty when that is not known.
	Parts []int `json:"parts,omitempty"`
	// Source is the part of the source tree that steps and slug could take.
	Source tree.Manifest `json:"source"`
	// Size is in bytes, compressed; 0 when it is not known.
	Size int64 `json:"size,omitempty"`
}

// RuntimeRecord is one runtime of a Record.
type RuntimeRecord struct {
	Name   string        `json:"name"`
	From   string        `json:"from"` // URL, path, or tool
	Digest digest.Digest `json:"digest"`
	// Layout is the digest of strip, into, only and build_only with the bytes.
	Layout digest.Digest `json:"layout,omitzero"`
	// Unknown says that its files are not in Tree: nobody had looked into it.
	Unknown bool `json:"unknown,omitempty"`
}

// StepRecord is one step of a Record.
type StepRecord struct {
	Name string        `json:"name"`
	Key  digest.Digest `json:"key"`
	// Definition is the digest of what slug.yaml said of it.
	Definition digest.Digest `json:"definition,omitzero"`
	// Inputs is the digest of the part of the source tree that it sees.
	Inputs digest.Digest `json:"inputs,omitzero"`
	// Unknown says that its outputs are not in Tree: it had not run.
	Unknown bool `json:"unknown,omitempty"`
}
