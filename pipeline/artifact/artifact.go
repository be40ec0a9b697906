// Package artifact holds the values that flow from stage to stage.
//
// They are plain data: paths on this machine say where bytes are, digests say which bytes
// they must be. Nothing here does work.
package artifact

import (
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// Runtime is what fetch hands on: a verified runtime, unpacked, or a tool of this machine.
type Runtime struct {
	Name string
	// Into is the directory below ./app that holds it, clean, with slashes. Empty for a tool.
	Into string
	// BuildOnly keeps it out of the slug; the steps still see it.
	BuildOnly bool
	// Only, when not empty, are globs relative to Dir that limit what enters the slug.
	Only []string
	// Dir is the absolute path of the unpacked tree, read-only. Empty for a tool.
	Dir string
	// Tree is everything in Dir.
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

// Layer says which part of the tar stream a member belongs to; see slug.Writer.
type Layer int

// The layers, in the order of the slug: what changes often comes last.
const (
	LayerRuntime Layer = iota
	LayerOutput
	LayerSource
)

// Member is one entry of the slug and where its bytes are.
type Member struct {
	// Entry has the path below ./app.
	tree.Entry
	Layer Layer
	// From is the absolute path of the bytes. Empty for directories, links and Content.
	From string
	// Content holds the bytes of an inline file.
	Content []byte
	// Origin names who asked for it, for messages: `runtime node`, `step build`, `files[2]`, `source`.
	Origin string
}

// Slug is what archive hands to upload: one archive on this machine.
type Slug struct {
	// Path is absolute, in the store.
	Path string `json:"path"`
	// Digest is of the compressed bytes: the slug's checksum on the platform.
	Digest digest.Digest `json:"digest"`
	// Size is in bytes, compressed.
	Size int64 `json:"size"`
	// TarDigest and TarSize are of the tar stream inside.
	TarDigest digest.Digest `json:"tar_digest"`
	TarSize   int64         `json:"tar_size"`
	// PlanKey is the digest of every input that it was made of.
	PlanKey digest.Digest `json:"plan_key"`
	// Tree is what it holds below ./app.
	Tree tree.Manifest `json:"tree,omitempty"`
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
