// Package artifact holds the values that flow from stage to stage.
//
// They are plain data: paths on this machine say where bytes are, digests say which bytes
// they must be. Nothing here does work.
package artifact

import (
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// Runtime is what fetch hands on: a verified runtime, unpacked or packed, or a tool of this
// machine.
type Runtime struct {
	Name string
	// Into is the directory below ./app that holds it, clean, with slashes. Empty for a tool.
	Into string
	// BuildOnly keeps it out of the slug; the steps still see it.
	BuildOnly bool
	// Only, when not empty, are globs that limit what of Tree enters the slug.
	Only []string
	// Dir is the absolute path of the unpacked tree, read-only. Empty for a tool, and with Pack.
	Dir string
	// Pack is the absolute path of one file that holds the bytes of all files of Tree, for a
	// runtime that no step sees. Offsets says where each begins; it is parallel to Tree.
	Pack    string
	Offsets []int64
	// Tree is everything in Dir or Pack. Its paths are relative to the root of the runtime.
	Tree tree.Manifest
	// Tool is the absolute path of a tool of this machine (`host:`), links resolved, and Command
	// the name it is called by. Empty for archives.
	Tool, Command string
	// Digest is of the archive's bytes, or of the tool's.
	Digest digest.Digest
	// Size is in bytes, of the archive or of the tool.
	Size int64
}

// Output is what one build step left behind.
type Output struct {
	Step string
	// Key is the step's key: the digest of all that the step depends on.
	Key digest.Digest
	// Dir is the absolute path of a directory that stands for ./app and holds Tree alone.
	Dir string
	// Tree has paths relative to ./app.
	Tree tree.Manifest
}

// Source is the source tree.
type Source struct {
	// Dir is the absolute path of the directory of slug.yaml.
	Dir string
	// Tree is what the app may see of it: denied, ignored and declared-output paths are gone.
	Tree tree.Manifest
}

// Tree is what compile hands to archive: all that the slug can be made of.
type Tree struct {
	Runtimes []Runtime // in the order of slug.yaml
	Outputs  []Output  // in the order of the steps
	Source   Source
}

// Layer says which part of the tar stream a member belongs to; see slug.Write.
type Layer uint8

// The layers, in the order of the slug: what changes often comes last.
const (
	LayerRuntime Layer = iota
	LayerOutput
	LayerSource
)

// Member is one entry of the slug and where its bytes are. There may be a million.
type Member struct {
	// Entry has the path below ./app.
	tree.Entry
	// Part is what brought it; it is never nil.
	*Part
	// Src is the path of a file's bytes below the part's Dir, with slashes. It is empty for
	// directories, links and inline files.
	Src string
	// At is where the bytes begin in a file that holds those of many members, a Runtime's Pack:
	// no file begins at 0 there. Else it is 0, and Src is this member alone.
	At    int64
	Layer Layer
}

// Part is what brings members into the slug, and what they have in common.
type Part struct {
	// Origin names who asked for the members, for messages: `runtime node`, `step build`,
	// `files[2]`, `source`.
	Origin string
	// Owner is what their bytes belong to: `runtime node`, `step build` or `source`, which inline
	// files belong to as well.
	Owner string
	// Dir is the absolute path of the tree that holds the members' bytes.
	Dir string
	// Pack, when not empty, is the absolute path of one file that holds the bytes of all members,
	// instead of Dir.
	Pack string
	// Content holds the bytes of an inline file, which is a part of its own.
	Content []byte
}

// From is the absolute path of the file that holds the member's bytes, from At on. It is empty
// for directories, links and inline files.
func (m *Member) From() string {
	switch {
	case m.Src == "":
		return ""
	case m.Pack != "":
		return m.Pack
	}
	return m.Dir + "/" + m.Src
}

// Slug is what archive hands to upload: one archive on this machine.
type Slug struct {
	// Path is absolute, in the store.
	Path string `json:"path"`
	// Digest is of the compressed bytes: the slug's checksum on the platform.
	Digest digest.Digest `json:"digest"`
	// Size is in bytes, compressed.
	Size int64 `json:"size"`
	// TarSize is of the tar stream inside.
	TarSize int64 `json:"tar_size"`
	// PlanKey is the digest of every input that it was made of.
	PlanKey digest.Digest `json:"plan_key"`
	// Checked is the version of the check that Findings are of; 0 means that nobody has checked it.
	// The plan key covers all that they depend on.
	Checked  int       `json:"checked,omitempty"`
	Findings []Finding `json:"findings,omitempty"`
	// Members is what it holds below ./app, in its order. It is nil for a slug that was in the
	// store already.
	Members []Member `json:"-"`
}

// Upload is what upload hands to release: a slug that the platform has and that was verified.
type Upload struct {
	// SlugID is the platform's id.
	SlugID string
	Slug   Slug
}

// Release is what the last stage returns.
type Release struct {
	ID      string
	Version int
	// Description is as the platform tells it.
	Description string
	// WebURL is the app's, with a final slash. It may be empty.
	WebURL string
}

// Severity says whether a finding stops a deploy.
type Severity string

// The severities.
const (
	// Error is what cannot work on the stack.
	Error Severity = "error"
	// Advice is what may not work, or what no process type starts with.
	Advice Severity = "warning"
)

// Finding is something in a slug that would not run, or may not, on the stack that it is for.
type Finding struct {
	// Code names the kind of finding, such as "glibc". It is what `checks.allow` takes.
	Code     string   `json:"code"`
	Severity Severity `json:"severity"`
	// Path is below ./app. It is empty where a process type is meant that leads to no file.
	Path string `json:"path,omitempty"`
	// ProcessType is the one whose command leads to Path, if one does.
	ProcessType string `json:"process_type,omitempty"`
	// Needs is what is wanted, and Has what is there instead: versions, sonames, machines or commands.
	Needs string `json:"needs,omitempty"`
	Has   string `json:"has,omitempty"`
	// Message says both in one clause, without the path. Hint says what to do.
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}
