// Package provenance says what a slug was made of and who made it, in a form that others can
// check: an in-toto Statement v1 with the SLSA provenance v1 predicate, in a DSSE envelope when
// it is signed.
//
// It is for the commands that build and verify. It reads and prints text; it opens no file and
// asks nobody. Nothing in a statement depends on the time of day or on this machine, so equal
// inputs give equal bytes, signature included: ed25519 has no randomness.
//
// The formats: https://in-toto.io/Statement/v1, https://slsa.dev/spec/v1.0/provenance and
// https://github.com/secure-systems-lab/dsse/blob/master/envelope.md.
package provenance

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/slugfile/slugfile/pipeline/digest"
)

// The names of the formats, and of what slugfile does. Whoever reads a statement must know all
// of them: a document of another type says something else.
const (
	StatementType = "https://in-toto.io/Statement/v1"
	PredicateType = "https://slsa.dev/provenance/v1"
	// BuildType says what the parameters mean. README.md describes them.
	BuildType = "https://github.com/slugfile/slugfile/build/v1"
	// Builder is this program, run by whoever holds the key: it makes no claim about the machine.
	Builder = "https://github.com/slugfile/slugfile"
)

// The names of files among the dependencies and results of a build.
const (
	nameFile   = "slug.yaml"
	nameLock   = "slug.lock"
	nameCommit = "commit"
	nameBOM    = "bill of materials"
)

// Input is what a statement tells.
type Input struct {
	// Name is what the slug's file is called, and Slug its digest.
	Name string
	Slug digest.Digest
	// App and Stack are as in slug.yaml, flags considered; App may be empty.
	App, Stack string
	// Vars names what --var has set. The values are covered by PlanKey and told to nobody.
	Vars []string
	// File and Lock are of slug.yaml and slug.lock; Lock is zero when there is none.
	File, Lock digest.Digest
	// PlanKey is of every input of the slug. Source is of the source tree.
	PlanKey, Source digest.Digest
	// Epoch is the time of every member of the slug, in seconds since 1970.
	Epoch int64
	// Commit is empty outside a git checkout. Dirty says that the source tree is not that of Commit.
	Commit string
	Dirty  bool
	// Runtimes are the archives and tools that went in, in the order of slug.yaml.
	Runtimes []Runtime
	// BOM is of the bill of materials that was written with it, or zero.
	BOM digest.Digest
	// Version is of this program.
	Version string
}

// Runtime is an archive or a tool, and what its bytes are.
type Runtime struct {
	Name string
	// URL is where it comes from, without credentials. It is empty for what is no URL.
	URL string
	// Digest is of the archive or of the tool.
	Digest digest.Digest
	// BuildOnly says that steps saw it and the slug has nothing of it.
	BuildOnly bool
}

// Statement is an in-toto statement about a slug. The fields stand in the order of the document.
type Statement struct {
	Type          string     `json:"_type"`
	Subject       []Resource `json:"subject"`
	PredicateType string     `json:"predicateType"`
	Predicate     Predicate  `json:"predicate"`
}

// Resource is a file, an archive or a commit, by its digest: sha256 or gitCommit, in hex.
type Resource struct {
	Name        string            `json:"name,omitempty"`
	URI         string            `json:"uri,omitempty"`
	Digest      map[string]string `json:"digest,omitempty"`
	MediaType   string            `json:"mediaType,omitempty"`
	Annotations map[string]any    `json:"annotations,omitempty"`
}

// Predicate is SLSA's.
type Predicate struct {
	BuildDefinition BuildDefinition `json:"buildDefinition"`
	RunDetails      RunDetails      `json:"runDetails"`
}

// BuildDefinition is what went into the build.
type BuildDefinition struct {
	BuildType            string     `json:"buildType"`
	ExternalParameters   External   `json:"externalParameters"`
	InternalParameters   Internal   `json:"internalParameters"`
	ResolvedDependencies []Resource `json:"resolvedDependencies"`
}

// External is what the user said.
type External struct {
	App   string   `json:"app,omitempty"`
	Stack string   `json:"stack"`
	File  string   `json:"file"`
	Vars  []string `json:"vars,omitempty"`
}

// Internal is what slugfile made of it.
type Internal struct {
	PlanKey string `json:"planKey"`
	Source  string `json:"sourceTree"`
	Epoch   int64  `json:"sourceDateEpoch"`
}

// RunDetails is who built, and what came of it beside the slug. It tells no time: two builds of
// one slug are one fact.
type RunDetails struct {
	Builder    BuilderInfo `json:"builder"`
	Byproducts []Resource  `json:"byproducts,omitempty"`
}

// BuilderInfo is the program.
type BuilderInfo struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version,omitempty"`
}

// New makes the statement.
func New(in Input) Statement {
	s := Statement{
		Type: StatementType, PredicateType: PredicateType,
		Subject: []Resource{{Name: in.Name, Digest: shaOf(in.Slug)}},
	}
	b := &s.Predicate.BuildDefinition
	b.BuildType = BuildType
	b.ExternalParameters = External{App: in.App, Stack: in.Stack, File: nameFile, Vars: in.Vars}
	b.InternalParameters = Internal{PlanKey: in.PlanKey.String(), Source: in.Source.String(), Epoch: in.Epoch}
	b.ResolvedDependencies = []Resource{{Name: nameFile, Digest: shaOf(in.File)}}
	if !in.Lock.IsZero() {
		b.ResolvedDependencies = append(b.ResolvedDependencies, Resource{Name: nameLock, Digest: shaOf(in.Lock)})
	}
	if in.Commit != "" {
		b.ResolvedDependencies = append(b.ResolvedDependencies, Resource{
			Name: nameCommit, Digest: map[string]string{"gitCommit": in.Commit}, Annotations: map[string]any{"dirty": in.Dirty},
		})
	}
	for _, r := range in.Runtimes {
		d := Resource{Name: "runtime " + r.Name, URI: r.URL, Digest: shaOf(r.Digest)}
		if r.BuildOnly {
			d.Annotations = map[string]any{"buildOnly": true}
		}
		b.ResolvedDependencies = append(b.ResolvedDependencies, d)
	}
	s.Predicate.RunDetails.Builder = BuilderInfo{ID: Builder, Version: map[string]string{"slugfile": in.Version}}
	if !in.BOM.IsZero() {
		s.Predicate.RunDetails.Byproducts = []Resource{{
			Name: nameBOM, Digest: shaOf(in.BOM), MediaType: "application/vnd.cyclonedx+json",
		}}
	}
	return s
}

func shaOf(d digest.Digest) map[string]string { return map[string]string{"sha256": d.String()} }

// Text is the statement as a document: indented JSON with a final line end.
func (s Statement) Text() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(s); err != nil {
		return nil, fmt.Errorf("write provenance: %w", err)
	}
	return b.Bytes(), nil
}

// Commit is the git commit that the slug was made of, empty when there was none, and whether the
// source tree had changes that were not committed.
func (s Statement) Commit() (sha string, dirty bool) {
	for _, d := range s.Predicate.BuildDefinition.ResolvedDependencies {
		if d.Name == nameCommit {
			changed, told := d.Annotations["dirty"].(bool)
			return d.Digest["gitCommit"], changed || !told
		}
	}
	return "", false
}

// BOM is the digest of the bill of materials that was written with the statement; zero when
// none was.
func (s Statement) BOM() digest.Digest {
	for _, b := range s.Predicate.RunDetails.Byproducts {
		if b.Name == nameBOM {
			d, err := digest.Parse(b.Digest["sha256"])
			if err == nil {
				return d
			}
		}
	}
	return digest.Digest{}
}
