// Package inspect says what is in a slug: how large its directories and kinds of files are, what
// lies there twice, which runtimes and packages it brings, and how two slugs differ.
//
// It is for the command of that name. It works on what package slug has read, so it opens nothing and
// holds no content; the documents here are those of inspect --json. Sizes are in bytes. "Packed" is
// what something takes of the slug as it is, compressed: it is measured, but a file that shares 32 KiB
// with others has its share of theirs. It decides nothing: package stack judges.
package inspect

import (
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
)

// Version is that of the documents. Fields may be added within a version; none is renamed or
// changes its meaning.
const Version = 1

// The types of the documents.
const (
	ReportType     = "inspected"
	ComparisonType = "compared"
)

// Report is what is in one slug. All sizes are in bytes.
type Report struct {
	// The version of this form. Fields may be added within a version; none is renamed or changes its meaning.
	V int `json:"v"`
	// The type of this document.
	Type string `json:"type"`
	// What was looked at, as the user named it: a file, a release, or "tree".
	Subject string `json:"subject"`
	// "SHA256:" and 64 hex digits. Absent when the slug is damaged.
	Checksum string `json:"checksum,omitempty"`
	// The size of the slug, compressed; 0 when it is not known.
	Size int64 `json:"size"`
	// The limit of slug.yaml for the size. Absent when there is none.
	Limit int64 `json:"limit,omitempty"`
	// Whether the bytes are laid out as a slug.
	Layout Layout `json:"layout"`
	// The stack that the slug is for; null when nobody names one.
	Present *Stack `json:"present"`
	// The stack that it was looked at for; null when nobody names one.
	Checked *Stack `json:"checked"`
	// The commands of the process types. Empty when they are not known.
	ProcessTypes map[string]string `json:"process_types"`
	// What is in it; null when the layout is wrong.
	Contents *Contents `json:"contents"`
	// What would keep it from running, errors first, and what to know.
	Findings []artifact.Finding `json:"findings"`
}

// Count is how many findings are of a severity.
func (r Report) Count(s artifact.Severity) (n int) {
	for _, f := range r.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// Runs reports whether nothing is known that would keep the slug from running.
func (r Report) Runs() bool { return r.Layout.OK && r.Count(artifact.Error) == 0 }

// Layout says whether bytes are laid out as a slug.
type Layout struct {
	// Whether they are.
	OK bool `json:"ok"`
	// What is wrong. Absent when nothing is.
	Why string `json:"why,omitempty"`
}

// Stack is what is known of a stack.
type Stack struct {
	// The stack's name.
	Name string `json:"name"`
	// Whether anything is known of it.
	Known bool `json:"known"`
	// The Ubuntu release that it is made of.
	Ubuntu string `json:"ubuntu,omitempty"`
	// What Heroku says of it.
	State string `json:"state,omitempty"`
	// A day or a month.
	EndOfLife string `json:"end_of_life,omitempty"`
	// Whether the end is Ubuntu's, and not announced.
	Expected bool `json:"expected,omitempty"`
	// Whether its support is on, ending or ended.
	Support string `json:"support,omitempty"`
	// The version of its C library.
	GLIBC string `json:"glibc,omitempty"`
	// The newest symbol version of its C++ library.
	GLIBCXX string `json:"glibcxx,omitempty"`
	// The version of its library libssl.
	OpenSSL string `json:"openssl,omitempty"`
}

// Sizes is how much something takes.
type Sizes struct {
	// Unpacked.
	Size int64 `json:"size"`
	// Compressed, as a part of the slug: measured, and a share of what the neighbours take for files far below 32 kB.
	Packed int64 `json:"packed"`
	// How many files and links these are.
	Files int `json:"files"`
}

func (s *Sizes) add(o Sizes) {
	s.Size += o.Size
	s.Packed += o.Packed
	s.Files += o.Files
}

// Contents is what a slug holds.
type Contents struct {
	// The size of all files, unpacked.
	Size int64 `json:"size"`
	// How many files there are.
	Files int `json:"files"`
	// How many directories there are.
	Dirs int `json:"directories"`
	// How many symbolic links there are.
	Links int `json:"links"`
	// How many of the files are programs of the machine.
	Programs int `json:"programs"`
	// How many of the files are shared libraries.
	Libraries int `json:"libraries"`
	// How many of the files begin with "#!".
	Scripts int `json:"scripts"`
	// The directories at the top, the largest first; files that lie there are in ".".
	Top []Share `json:"top"`
	// The kinds of files, the largest first.
	Kinds []KindShare `json:"kinds"`
	// The largest files, the largest first, at most ten.
	Largest []Share `json:"largest"`
	// What is there more than once.
	Duplicates Duplicates `json:"duplicates"`
	// What the app may do without, by the names of files, the largest first. It may be needed all the same.
	Advice []Advice `json:"advice"`
	// The runtimes that were recognised, by name.
	Runtimes []Runtime `json:"runtimes"`
	// The Go programs with their modules, by path.
	GoPrograms []GoProgram `json:"go_programs"`
	// The npm packages, by directory.
	NPM []Package `json:"npm_packages"`
	// The gems.
	Gems []Package `json:"gems"`
	// What the programs and libraries are.
	ELF ELF `json:"elf"`
	// The tree, folded, where --tree asked for it.
	Tree *Node `json:"tree,omitempty"`
}

// Share is what a directory or a file takes.
type Share struct {
	// The path below ./app.
	Path string `json:"path"`
	Sizes
}

// KindShare is what files of a kind take.
type KindShare struct {
	// What the files are, such as "programs" or "images".
	Kind string `json:"kind"`
	Sizes
}

// Duplicates are files that are there more than once, empty ones and hard links apart.
type Duplicates struct {
	// How many contents there are more than once.
	Contents int `json:"contents"`
	// The copies beyond the first of each: how many they are, and what the slug would not have without them. Packed is small
	// where the compressor has seen the copy right before.
	Sizes
	// Those that take most, at most ten.
	Largest []Duplicate `json:"largest"`
}

// Duplicate is one content that is there more than once.
type Duplicate struct {
	// The sha256 of the content.
	Digest digest.Digest `json:"digest"`
	// What the copies beyond the first take.
	Sizes
	// Where it lies, at most five.
	Paths []string `json:"paths"`
	// How many other paths there are.
	More int `json:"more,omitempty"`
}

// Advice is one kind of what the app may do without.
type Advice struct {
	// What it is, such as "source maps".
	Kind string `json:"kind"`
	Sizes
	// How to leave it out.
	Hint string `json:"hint"`
	// Where it lies, the largest first, at most five.
	Paths []Share `json:"paths"`
	// How many other paths there are.
	More int `json:"more,omitempty"`
}

// Runtime is a runtime that was recognised.
type Runtime struct {
	// Which it is: go, java, node, python or ruby.
	Name string `json:"name"`
	// Empty when nothing tells it.
	Version string `json:"version"`
	// The directory below ./app that holds it, or ".".
	Dir string `json:"dir"`
	// The file that tells the version.
	From string `json:"from"`
	// What its directory takes. All zero when that is the whole slug.
	Sizes
}

// GoProgram is a program that was built by Go, by its build information.
type GoProgram struct {
	// The path below ./app.
	Path string `json:"path"`
	// The version of Go.
	Go string `json:"go"`
	// The main module. Empty when there is none.
	Module string `json:"module"`
	// The version of the main module. Empty for a build of a work tree.
	Version string `json:"version"`
	// What the file takes.
	Sizes
	// The modules that it was built of, the main one apart.
	Modules []Package `json:"modules"`
}

// Package is a module of Go, a package of npm or a gem.
type Package struct {
	// Its name.
	Name string `json:"name"`
	// Its version. Empty when there is none.
	Version string `json:"version"`
	// Its directory below ./app. Absent when it has none of its own.
	Dir string `json:"dir,omitempty"`
}

// ELF is what the programs and libraries are, and what they need.
type ELF struct {
	// How many there are for each machine.
	Machines map[string]int `json:"machines"`
	// How many programs need no loader.
	Static int `json:"static"`
	// How many programs need one.
	Dynamic int `json:"dynamic"`
	// How many files are programs of macOS or Windows.
	Foreign int `json:"foreign"`
	// How many could not be read whole.
	Damaged int `json:"damaged"`
	// The newest version of the C library that any of them wants. Empty when none does.
	GLIBC string `json:"glibc"`
	// The file that wants it.
	GLIBCOf string `json:"glibc_of,omitempty"`
	// The libraries that the slug does not have itself, those first that most want.
	Needs []Needed `json:"needs"`
}

// Needed is a library that programs and libraries of the slug want of the stack.
type Needed struct {
	// Its soname.
	Name string `json:"name"`
	// How many of them want it.
	Files int `json:"files"`
}

// Node is a directory or a file in a tree that was folded: what is small is left out, and stands
// together in the last of its nodes.
type Node struct {
	// The path below the node above, several directories at once where there is nothing beside them; "." for the
	// whole, empty for what was left out. That of a directory ends with a slash.
	Path string `json:"path"`
	Sizes
	// What it was before: in a comparison, both tell of those files only that changed. Absent where nothing is compared.
	Before *Sizes `json:"before,omitempty"`
	// How many directories and files were left out here. Absent where path is not empty.
	More int `json:"more,omitempty"`
	// What is in it, the largest first. Absent when that was not looked at.
	Nodes []Node `json:"nodes,omitempty"`
}

// Comparison is how one slug differs from another. All sizes are in bytes.
type Comparison struct {
	// The version of this form. Fields may be added within a version; none is renamed or changes its meaning.
	V int `json:"v"`
	// The type of this document.
	Type string `json:"type"`
	// The slug that it is compared with.
	Before Side `json:"before"`
	// The slug that was looked at.
	After Side `json:"after"`
	// Whether both hold the same files.
	Same bool `json:"same"`
	// The limit of slug.yaml for the compressed size. Absent when there is none.
	Limit int64 `json:"limit,omitempty"`
	// The directories that changed, folded; null when none did.
	Tree *Node `json:"tree"`
	// The files and links that were added, removed or changed, those first that take most of the difference.
	Files []FileDifference `json:"files"`
	// The runtimes that came, went, or have another version.
	Runtimes []VersionChange `json:"runtimes"`
	// The Go modules, npm packages and gems that came, went, or have other versions.
	Packages []VersionChange `json:"packages"`
}

// Side is one of two slugs.
type Side struct {
	// What it is, as the user named it.
	Subject string `json:"subject"`
	// "SHA256:" and 64 hex digits.
	Checksum string `json:"checksum"`
	// The size, compressed.
	Packed int64 `json:"packed"`
	// The size of all files, unpacked.
	Size int64 `json:"size"`
	// How many files and links there are.
	Files int `json:"files"`
}

// FileDifference is a file or link that differs.
type FileDifference struct {
	// What happened to it: added, changed or removed.
	Action string `json:"action"`
	// The path below ./app.
	Path string `json:"path"`
	// Which part of a changed one differs.
	What string `json:"what,omitempty"`
	// What it was. Absent for one that is added.
	Before *Sizes `json:"before,omitempty"`
	// What it is. Absent for one that is removed.
	After *Sizes `json:"after,omitempty"`
}

// The actions of a FileDifference.
const (
	Added   = "added"
	Changed = "changed"
	Removed = "removed"
)

// VersionChange is a runtime or package whose versions differ.
type VersionChange struct {
	// What it is: runtime, go, npm or gem.
	Kind string `json:"kind"`
	// Its name.
	Name string `json:"name"`
	// The versions before, sorted; empty when it was not there. A version that is not known is empty.
	Before []string `json:"before"`
	// The versions now, sorted; empty when it is not there. A version that is not known is empty.
	After []string `json:"after"`
}
