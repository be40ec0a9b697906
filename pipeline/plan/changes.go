package plan

import (
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// Version is the version of the JSON form of a Plan.
const Version = 1

// Action is what happens to a part of the release.
type Action string

// The actions.
const (
	Add     Action = "+"
	Remove  Action = "-"
	Change  Action = "~"
	Keep    Action = "="
	Unknown Action = "?" // what runs now was made elsewhere, and nothing tells what it was made of
)

// Plan is what would be done and why: the JSON form for programs, from which a view draws
// the one for people. Lists are in the order of slug.yaml where that has one, else sorted.
// All sizes are in bytes, all ages in seconds.
type Plan struct {
	V    int    `json:"v"`
	Type string `json:"type"`
	// App is the app's name, or what the user called it when there is none. It is empty
	// when no platform takes part.
	App   string `json:"app,omitempty"`
	AppID string `json:"app_id,omitempty"`
	Local bool   `json:"local,omitempty"`
	// Create says that there is no such app.
	Create bool `json:"create"`
	// Stack is what the slug is made for.
	Stack string `json:"stack,omitempty"`
	// Changed says whether apply has anything to do, and Why says why, in words.
	Changed bool   `json:"changed"`
	Why     string `json:"why"`
	// Key is the digest of every input; zero when not all of them are known.
	Key digest.Digest `json:"key,omitzero"`
	// Basis is what the plan was made of. A saved plan is stale when any of it has moved.
	Basis Basis `json:"basis"`
	// Against is what the plan is compared with when that is not the live release.
	Against *Against `json:"against,omitempty"`
	// Current is the live release; nil when there is none.
	Current     *Current        `json:"current"`
	StackChange *StackChange    `json:"stack_change,omitempty"`
	Runtimes    []RuntimeChange `json:"runtimes"`
	Steps       []StepChange    `json:"steps"`
	Slug        SlugChange      `json:"slug"`
	// Files are the files and links of the slug that change, those of runtimes apart. When
	// FilesKnown is not set they cannot be told: FilesWhy says why, and FilesHint what to do.
	// When it is set, FilesWhy says what could not be compared, if anything.
	// FilesAfter lists the steps whose files are told only after they ran.
	FilesKnown   bool            `json:"files_known"`
	FilesWhy     string          `json:"files_why,omitempty"`
	FilesHint    string          `json:"files_hint,omitempty"`
	FilesAfter   []string        `json:"files_after,omitempty"`
	Files        []FileChange    `json:"files"`
	ProcessTypes []ProcessChange `json:"process_types"`
	// Release is nil when there will be none.
	Release *ReleaseChange `json:"release"`
	// Drift is what is different on the platform from what this program left there, or from what
	// slug.yaml counts on. It is no change: apply does not undo it.
	Drift    []Drift         `json:"drift"`
	Withheld []tree.Withheld `json:"withheld"`
	Unpinned []Unpinned      `json:"unpinned"`
	Warnings []Warning       `json:"warnings"`
	// Problems stop apply.
	Problems []Problem `json:"problems"`
	Summary  Summary   `json:"summary"`
	// Work is what the stages are told.
	Work Work `json:"-"`
}

// Basis is what a plan was made of, part by part, so that a saved plan that is stale can say
// what moved. Digests are zero for parts that are not there.
type Basis struct {
	// Tool is the version of the program that made the plan.
	Tool string `json:"tool,omitempty"`
	// File is of slug.yaml as it counts for the slug: expanded, with defaults, flags included.
	File digest.Digest `json:"slug_yaml"`
	Lock digest.Digest `json:"slug_lock,omitzero"`
	// Source is of the part of the source tree that steps and slug can take.
	Source digest.Digest `json:"source"`
	// Tools are the tools of this machine and the archives of the repository, by runtime.
	Tools map[string]digest.Digest `json:"tools,omitempty"`
	// Epoch is the mtime of every member of the slug, in seconds since 1970.
	Epoch int64 `json:"epoch"`
	// Commit is the git commit of the source tree. It may move.
	Commit string `json:"commit,omitempty"`
	// Release is nil when no platform took part, or nothing was released.
	Release *ReleaseBasis `json:"release,omitempty"`
}

// ReleaseBasis is the live release that a plan was made against.
type ReleaseBasis struct {
	ID      string `json:"id"`
	Version int    `json:"version"`
	// Latest is the highest version of any release then.
	Latest   int    `json:"latest"`
	SlugID   string `json:"slug_id,omitempty"`
	Checksum string `json:"checksum,omitempty"`
}

// Against names what a plan is compared with.
type Against struct {
	// Kind is release, revision or plan.
	Kind  string        `json:"kind"`
	Name  string        `json:"name"`
	Stack string        `json:"stack,omitempty"`
	Key   digest.Digest `json:"key,omitzero"`
}

// Current is the live release.
type Current struct {
	ID          string `json:"id"`
	Version     int    `json:"version"`
	Age         int64  `json:"age_seconds"`
	By          string `json:"by,omitempty"`
	Description string `json:"description,omitempty"`
	// SlugID is empty for a release without a slug.
	SlugID   string `json:"slug_id,omitempty"`
	Checksum string `json:"checksum,omitempty"`
	Stack    string `json:"stack,omitempty"`
}

// StackChange is a slug for another stack than the released one.
type StackChange struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// RuntimeChange is one runtime.
type RuntimeChange struct {
	Action Action `json:"action"`
	Name   string `json:"name"`
	// Before and After are versions as the addresses tell them, or what else differs. Before
	// is empty when it is not known.
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
	// From is the host of the URL, the path in the repository, or the tool's path.
	From   string        `json:"from,omitempty"`
	Digest digest.Digest `json:"digest"`
	// Fetch is set when the archive has to be downloaded; Bytes is its size, -1 when unknown.
	Fetch bool  `json:"fetch"`
	Bytes int64 `json:"bytes"`
	// Why is the reason when nothing is fetched.
	Why string `json:"why,omitempty"`
}

// The states of a step.
const (
	Reused = "reused"
	Runs   = "runs"
	// Open is the state of a step that may be reused or may run: its key depends on After.
	Open    = "open"
	Removed = "removed"
)

// StepChange is one build step.
type StepChange struct {
	Action Action `json:"action"`
	Name   string `json:"name"`
	State  string `json:"state"`
	Why    string `json:"why"`
	// After names the step that has to run before this one's state is known.
	After string `json:"after,omitempty"`
}

// SlugChange is the slug as a whole.
type SlugChange struct {
	Action Action `json:"action"`
	// Now and Next are compressed sizes; nil when not known.
	Now  *int64 `json:"now"`
	Next *int64 `json:"next"`
	// KnownAfter names the step, or the stage "archive", after which Next is known.
	KnownAfter string `json:"known_after,omitempty"`
	// Limit is that of slug.yaml, PlatformLimit that of the platform; 0 when there is none.
	Limit         int64 `json:"limit,omitempty"`
	PlatformLimit int64 `json:"platform_limit,omitempty"`
	// Dirs are the directories at the top of the slug with the sizes of what is in them,
	// unpacked; "." holds the files at the top. They are sorted by path, and empty when neither
	// side is known.
	Dirs []DirChange `json:"dirs"`
}

// DirChange is one directory at the top of the slug.
type DirChange struct {
	Path string `json:"path"`
	// Now and Next are the sizes of its files, unpacked, in bytes: 0 when there is none of that
	// name, nil when it is not known.
	Now  *int64 `json:"now"`
	Next *int64 `json:"next"`
	// KnownAfter names the step or the stage after which Next is known.
	KnownAfter string `json:"known_after,omitempty"`
}

// FileChange is one file or link of the slug.
type FileChange struct {
	Action Action `json:"action"`
	Path   string `json:"path"`
	// What says what differs of a changed one: "content", "mode", "content, mode", "link" or "kind".
	What   string      `json:"what,omitempty"`
	Before *tree.Entry `json:"before,omitempty"`
	After  *tree.Entry `json:"after,omitempty"`
	// Diff is the unified diff of a small text file, where one was asked for; when there is
	// none, NoDiff says why.
	Diff   string `json:"diff,omitempty"`
	NoDiff string `json:"no_diff,omitempty"`
}

// ProcessChange is one process type.
type ProcessChange struct {
	Action Action `json:"action"`
	Name   string `json:"name"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// ReleaseChange is the release that apply would make.
type ReleaseChange struct {
	Action Action `json:"action"`
	App    string `json:"app"`
	// From is the live version, 0 when there is none.
	From int `json:"from,omitempty"`
	// Restarts, Starts, Adds and Stops are process types. The type "release" is in none of
	// them: its command runs once, as the release phase. Adds are new ones, which have no
	// dynos until somebody scales them up; only the first web starts by itself.
	Restarts     []string `json:"restarts"`
	Starts       []string `json:"starts"`
	Adds         []string `json:"adds"`
	Stops        []string `json:"stops"`
	ReleasePhase bool     `json:"release_phase"`
	Description  string   `json:"description"`
}

// The kinds of drift.
const (
	// DriftRelease is a live release whose slug another tool made.
	DriftRelease = "release"
	// DriftRollback is a live release of an earlier slug of this program.
	DriftRollback = "rollback"
	// DriftStack is an app whose stack was set to another one than slug.yaml's.
	DriftStack = "stack"
	// DriftConfig are config vars that process types mention and the app lacks.
	DriftConfig = "config"
)

// Drift is one thing that is different on the platform. What its Kind has no use for is empty.
type Drift struct {
	Kind string `json:"kind"`
	// Version, By, Age and Description are of the release.
	Version     int    `json:"version,omitempty"`
	By          string `json:"by,omitempty"`
	Age         int64  `json:"age_seconds,omitempty"`
	Description string `json:"description,omitempty"`
	// To is the version that was rolled back to, 0 when that is not known.
	To int `json:"to,omitempty"`
	// Stack is the app's, and Want slug.yaml's.
	Stack string `json:"stack,omitempty"`
	Want  string `json:"want,omitempty"`
	// Missing are the config vars, and Types the process types that mention them.
	Missing []string `json:"missing,omitempty"`
	Types   []string `json:"types,omitempty"`
}

// Unpinned are the tools of this machine that a step calls and nothing pins.
type Unpinned struct {
	Step  string   `json:"step"`
	Tools []string `json:"tools"`
}

// Warning is what the user should know and what stops nothing.
type Warning struct {
	// Subject names the part it is about, such as "runtime node" or "stack". It may be empty.
	Subject string `json:"subject,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Problem is what stops apply.
type Problem struct {
	// Subject is as in Warning.
	Subject string `json:"subject,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Error is one line.
func (p Problem) Error() string {
	if p.Subject == "" {
		return p.Message
	}
	return p.Subject + ": " + p.Message
}

// Summary counts.
type Summary struct {
	Fetch       int   `json:"fetch"`
	FetchBytes  int64 `json:"fetch_bytes"`
	StepsRun    int   `json:"steps_run"`
	StepsReused int   `json:"steps_reused"`
	// StepsOpen may run or be reused.
	StepsOpen           int `json:"steps_open"`
	FilesAdded          int `json:"files_added"`
	FilesChanged        int `json:"files_changed"`
	FilesRemoved        int `json:"files_removed"`
	ProcessTypesAdded   int `json:"process_types_added"`
	ProcessTypesChanged int `json:"process_types_changed"`
	ProcessTypesRemoved int `json:"process_types_removed"`
}
