package config

import (
	"time"

	"github.com/slugfile/slugfile/config/diag"
)

// File is slug.yaml: how one slug is made and where it goes.
type File struct {
	// The address of this schema, for editors. slugfile does not read it.
	Schema string `yaml:"$schema,omitempty" json:"-"`
	// Name or id of the Heroku app. The flag -a overrides it.
	App string `yaml:"app,omitempty" json:"app,omitempty" jsonschema:"example=example"`
	// The Heroku stack that the slug is made for, such as heroku-24. When it is absent, plan and apply take the app's own; build needs it.
	Stack string `yaml:"stack,omitempty" json:"stack,omitempty" jsonschema:"enum=heroku-22,enum=heroku-24,enum=heroku-26"`
	// Values for ${NAME} in this file. The flag --var NAME=VALUE overrides one.
	Vars map[string]string `yaml:"vars,omitempty" json:"vars,omitempty"`
	// Archives and tools that the build steps or the app need. Their order is their order on PATH.
	Runtimes Runtimes `yaml:"runtimes,omitempty" json:"runtimes,omitempty"`
	// Commands that run before the slug is made, in this order.
	Build []Step `yaml:"build,omitempty" json:"build,omitempty"`
	// What goes into ./app besides the runtimes. Default: the source tree and all outputs of the steps.
	Files []FileEntry `yaml:"files,omitempty" json:"files,omitempty"`
	// The commands that dynos can run, by process type. Default: read from Procfile.
	ProcessTypes map[string]string `yaml:"process_types,omitempty" json:"process_types"`
	// How hard to compress: default (smaller) or fast.
	Compression string `yaml:"compression,omitempty" json:"compression" jsonschema:"enum=default,enum=fast,default=default"`
	// Bounds that stop a run before the platform does.
	Limits Limits `yaml:"limits,omitempty" json:"limits,omitzero"`
	// What of the slug may be as it is, although it may not run on the stack.
	Checks Checks `yaml:"checks,omitempty" json:"checks,omitzero"`
	// How the release is described.
	Release Release `yaml:"release,omitempty" json:"release,omitzero"`

	// path is the name of slug.yaml in messages.
	path string
	// positions are of every value, by its path.
	positions map[string]diag.Pos
	// source and procfile are the lines of the two files.
	source   []string
	procfile []string
}

// Runtimes keeps the order of the mapping in slug.yaml.
type Runtimes []Runtime

// Runtime is one archive or tool: exactly one of url, path and host.
type Runtime struct {
	Name string `yaml:"-" json:"name"`
	// Where the archive is downloaded from. Must be https, or a file: URL.
	URL string `yaml:"url,omitempty" json:"url,omitempty" jsonschema:"minLength=1,example=https://nodejs.org/dist/v22.11.0/node-v22.11.0-linux-x64.tar.xz"`
	// An archive in this repository, relative to slug.yaml.
	Path string `yaml:"path,omitempty" json:"path,omitempty" jsonschema:"minLength=1,example=third_party/tools.tar.gz"`
	// A tool of this machine, found on PATH once; its digest is part of every key. It is never in the slug.
	Host string `yaml:"host,omitempty" json:"host,omitempty" jsonschema:"pattern=^[A-Za-z0-9_][A-Za-z0-9._+-]*$,example=go" jsonschema_extras:"x-message=must be the name of a command\\, without a directory"`
	// The sha256 of the archive, 64 hex digits. Without it the archive must be pinned in slug.lock.
	SHA256 string `yaml:"sha256,omitempty" json:"sha256,omitempty" jsonschema:"pattern=^[0-9a-fA-F]{64}$,example=83bf07dd343002a26211cf1fcd46a9d9534219aad42ee02847816940bf610a72" jsonschema_extras:"x-message=must be 64 hex digits,x-got=length"`
	// How many leading path components of the archive's entries are dropped.
	Strip int `yaml:"strip,omitempty" json:"strip,omitempty" jsonschema:"minimum=0,maximum=100,default=0,example=1"`
	// The directory below ./app that the archive is unpacked into. Default: the runtime's name.
	Into string `yaml:"into,omitempty" json:"into,omitempty" jsonschema:"minLength=1,example=node"`
	// Globs, relative to into, that limit what enters the slug. The steps see the whole runtime.
	Only []string `yaml:"only,omitempty" json:"only,omitempty" jsonschema:"minItems=1,minLength=1,example=bin/node"`
	// Keeps the runtime out of the slug; the steps still see it.
	BuildOnly bool `yaml:"build_only,omitempty" json:"build_only,omitempty" jsonschema:"default=false"`
}

// Step is one build step.
type Step struct {
	// The step's name, unique in this file.
	Name string `yaml:"name" json:"name" jsonschema:"minLength=1,maxLength=100,example=dependencies"`
	// The command, run by bash -euo pipefail at /app. slugfile replaces nothing in it.
	Run string `yaml:"run" json:"run" jsonschema:"minLength=1,example=npm ci --omit=dev"`
	// Names of the runtimes that the step sees. Default: all.
	Runtimes []string `yaml:"runtimes,omitempty" json:"runtimes,omitempty"`
	// Paths and globs of the source tree that the step sees. Default: the whole source tree.
	Inputs []string `yaml:"inputs,omitempty" json:"inputs,omitempty" jsonschema:"minLength=1,example=package.json"`
	// Paths, relative to /app, that the step must leave behind. They are kept; the rest of its work tree is not.
	Outputs []string `yaml:"outputs,omitempty" json:"outputs,omitempty" jsonschema:"minLength=1,example=node_modules"`
	// Environment variables of the step. They are part of its key.
	Env map[string]string `yaml:"env,omitempty" json:"env,omitempty"`
	// Names of variables that are handed through from the environment. Their values are redacted and are part of no key.
	PassEnv []string `yaml:"pass_env,omitempty" json:"pass_env,omitempty" jsonschema:"pattern=^[A-Za-z_][A-Za-z0-9_]*$,example=NPM_TOKEN"`
	// How long the step may take, such as 90s or 10m.
	Timeout Duration `yaml:"timeout,omitempty" json:"timeout,omitempty" jsonschema:"default=30m,example=10m"`
}

// FileEntry puts files into ./app: from and into, or into and content.
type FileEntry struct {
	// A path or glob in the source tree or among the outputs of the steps.
	From string `yaml:"from,omitempty" json:"from,omitempty" jsonschema:"minLength=1,example=."`
	// Where it goes, relative to ./app. A directory's content goes into it. A single file keeps its name when this ends with a slash.
	Into string `yaml:"into" json:"into" jsonschema:"minLength=1,example=bin/start"`
	// Globs, relative to from, that are left out.
	Exclude []string `yaml:"exclude,omitempty" json:"exclude,omitempty" jsonschema:"minLength=1,example=test/**"`
	// Exact paths in the source tree that may hold credentials: they pass the built-in list of names and the search of their content.
	IncludeSecrets []string `yaml:"include_secrets,omitempty" json:"include_secrets,omitempty" jsonschema:"minLength=1,example=config/public.pem"`
	// The text of an inline file. slugfile replaces nothing in it.
	Content string `yaml:"content,omitempty" json:"content,omitempty"`
	// The mode of an inline file: "0644" or "0755", in quotes.
	Mode string `yaml:"mode,omitempty" json:"mode,omitempty" jsonschema:"enum=0644,enum=0755,default=0644" jsonschema_extras:"x-pad=4"`
}

// Limits is what stops a run before the platform does.
type Limits struct {
	// The largest slug, compressed, such as 500MB. plan warns near it, apply refuses above it.
	Slug Size `yaml:"slug,omitempty" json:"slug,omitempty" jsonschema:"default=1GB,example=500MB"`
}

// Checks is what of the slug may be as it is.
type Checks struct {
	// Codes of findings that stop nothing, such as glibc. The flag --allow adds one.
	Allow []string `yaml:"allow,omitempty" json:"allow,omitempty" jsonschema:"enum=glibc,enum=interpreter,enum=libgcc,enum=library,enum=library-version,enum=libstdcxx,enum=line-ends,enum=link,enum=loader,enum=machine,enum=mode,enum=program,enum=twins,example=glibc"`
}

// Release is how the release is described.
type Release struct {
	// The text in the app's release history. ${git.sha}, ${git.short} and ${git.branch} may stand in it.
	Description string `yaml:"description,omitempty" json:"description,omitempty" jsonschema:"example=Deploy ${git.short}"`
}

// Duration is a time span, written such as 90s or 10m.
type Duration time.Duration

// Size is a number of bytes, written such as 500MB or 1GB; units are decimal, KiB, MiB and GiB binary.
type Size int64

// Pos is the place of a path such as "runtimes.node.url" or "files[1].into" in slug.yaml:
// of its value, or of the nearest parent that is there.
func (f *File) Pos(path string) diag.Pos { return f.position(path) }
