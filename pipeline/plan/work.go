package plan

import (
	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// Decision says whether a part of the work has to be done, and why. When Known is set the
// result is already there and the part is skipped; Why is then the reason for that.
type Decision[T any] struct {
	Why   string
	Known *T
}

// Work is what the five stages are told, one field a stage.
type Work struct {
	Fetch   Fetch
	Compile Compile
	Archive Archive
	Upload  Upload
	Release Release
}

// Fetch is the work of the first stage.
type Fetch struct {
	Decision[[]artifact.Runtime]
	Runtimes []Runtime
}

// Runtime is one archive to get or one tool to pin: exactly one of URL, Path and Tool is set.
type Runtime struct {
	Name string
	// URL is expanded: https, file, or whatever a mirror rewrites.
	URL string
	// Path is the absolute path of an archive of the repository.
	Path string
	// Tool is the absolute path of a tool of this machine, links resolved, and Command the
	// name it is called by: many programs are links, and some act by their name.
	Tool, Command string
	// Digest and Size are what the bytes must be. Size is -1 when only the digest is known.
	Digest digest.Digest
	Size   int64
	Strip  int
	// Into is the directory below ./app; empty for a tool.
	Into      string
	Only      []string
	BuildOnly bool
	// Unpack is set when a step sees the runtime. For the slug alone a pack is enough.
	Unpack bool
}

// unpackFormat moves when the extraction policy gives other trees for the same archive.
const unpackFormat = 1

// TreeKey is the key of the unpacked archive in the store, under the kind "runtime", and of its
// pack, under the kind "pack".
func (r Runtime) TreeKey() digest.Digest {
	return digest.OfJSON(struct {
		Format  int
		Archive digest.Digest
		Strip   int
	}{unpackFormat, r.Digest, r.Strip})
}

// Compile is the work of the second stage.
type Compile struct {
	Decision[artifact.Tree]
	Source artifact.Source
	Steps  []Step
}

// Step is one build step as a pure value: any runner that has these inputs can carry it out.
type Step struct {
	Decision[artifact.Output]
	Name string
	// Run is the text handed to bash -euo pipefail -c.
	Run string
	// Runtimes names the runtimes it sees, in their order on PATH.
	Runtimes []string
	// Strip says how many path components each of them lost, by name; it is here because
	// the step's key depends on it and an unpacked runtime no longer tells.
	Strip map[string]int
	// Inputs is the part of the source tree that it sees.
	Inputs tree.Manifest
	// InputsDigest is the BareDigest of Inputs; zero when nobody worked it out.
	InputsDigest digest.Digest
	Outputs      []string
	Env          map[string]string
	PassEnv      []string
	Timeout      config.Duration
	Stack        string
	// Epoch is SOURCE_DATE_EPOCH, in seconds.
	Epoch int64
}

// Archive is the work of the third stage.
type Archive struct {
	Decision[artifact.Slug]
	// Key is the plan key.
	Key digest.Digest
	// Files is nil for the default: the source tree and all outputs.
	Files []config.FileEntry
	// Level is "default" or "fast".
	Level string
	// Epoch is the mtime of every member, in seconds since 1970.
	Epoch int64
	// Limit is the largest slug in bytes.
	Limit int64
	// Stack and ProcessTypes are what the slug is checked for, and Allow the codes of findings that
	// stop nothing.
	Stack        string
	ProcessTypes map[string]string
	Allow        []string
}

// Upload is the work of the fourth stage.
type Upload struct {
	// App is the id of the app, or its name when Create is set.
	App string
	// Create is set when the app has to be made first.
	Create       *platform.AppCreate
	ProcessTypes map[string]string
	Stack        string
	// Commit is the git commit of the source tree, or empty.
	Commit string
	// CommitDescription carries the plan key; see CommitDescription in key.go.
	CommitDescription string
}

// Release is the work of the last stage.
type Release struct {
	// App is as in Upload.
	App string
	// AppName is for messages.
	AppName string
	// Baseline is the id of the release that the plan was made against, or empty when the app
	// had none with a slug; BaselineVersion is the highest version seen.
	Baseline        string
	BaselineVersion int
	// Description is the user's text, without slugfile's mark.
	Description string
}
