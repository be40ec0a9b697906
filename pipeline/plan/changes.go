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
	// Key is the digest of every input.
	Key digest.Digest `json:"key"`
	// Current is the live release; nil when there is none.
	Current     *Current        `json:"current"`
	StackChange *StackChange    `json:"stack_change,omitempty"`
	Runtimes    []RuntimeChange `json:"runtimes"`
	Steps       []StepChange    `json:"steps"`
	Slug        SlugChange      `json:"slug"`
	// Files are the files and links of the slug that change, those of runtimes apart. When
	// FilesKnown is not set they cannot be told, and FilesWhy says why. FilesAfter lists the
	// steps whose files are told only after they ran.
	FilesKnown   bool            `json:"files_known"`
	FilesWhy     string          `json:"files_why,omitempty"`
	FilesAfter   []string        `json:"files_after,omitempty"`
	Files        []FileChange    `json:"files"`
	ProcessTypes []ProcessChange `json:"process_types"`
	// Release is nil when there will be none.
	Release *ReleaseChange `json:"release"`
	// Drift is set when what runs now was not released by this program.
	Drift    *Drift          `json:"drift,omitempty"`
	Withheld []tree.Withheld `json:"withheld"`
	Unpinned []Unpinned      `json:"unpinned"`
	Warnings []Warning       `json:"warnings"`
	// Problems stop apply.
	Problems []Problem `json:"problems"`
	Summary  Summary   `json:"summary"`
	// Work is what the stages are told.
	Work Work `json:"-"`
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
	// Limit is 0 when there is none.
	Limit int64 `json:"limit,omitempty"`
}

// FileChange is one file or link of the slug.
type FileChange struct {
	Action Action `json:"action"`
	Path   string `json:"path"`
	// What says what differs of a changed one: content, mode, link or kind.
	What   string      `json:"what,omitempty"`
	Before *tree.Entry `json:"before,omitempty"`
	After  *tree.Entry `json:"after,omitempty"`
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

// Drift is a release that another tool made.
type Drift struct {
	Version     int    `json:"version"`
	By          string `json:"by,omitempty"`
	Age         int64  `json:"age_seconds"`
	Description string `json:"description,omitempty"`
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
