// Package platform is the port to a platform that releases slugs: the interface that the
// stages use, the resources as they are on the wire, and the errors.
//
// The wire types follow Heroku's published hyper-schema (heroku-go v6.1.0, schema.json).
// They are used by the client and by the embedded platform, so both speak of the same
// fields. Nothing here does I/O.
package platform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Ref names a resource inside another one.
type Ref struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// App is an app. Pointers are null on the wire when they are nil.
type App struct {
	ID                           string     `json:"id"`
	Name                         string     `json:"name"`
	ACM                          bool       `json:"acm"`
	ArchivedAt                   *time.Time `json:"archived_at"`
	BuildpackProvidedDescription *string    `json:"buildpack_provided_description"`
	BuildStack                   Ref        `json:"build_stack"`
	CreatedAt                    time.Time  `json:"created_at"`
	// Generation is cedar or fir; a missing one means cedar.
	Generation      Ref        `json:"generation"`
	GitURL          string     `json:"git_url"`
	InternalRouting *bool      `json:"internal_routing"`
	Maintenance     bool       `json:"maintenance"`
	Owner           Owner      `json:"owner"`
	Organization    *Ref       `json:"organization"`
	Team            *Ref       `json:"team"`
	Region          Ref        `json:"region"`
	ReleasedAt      *time.Time `json:"released_at"`
	RepoSize        *int64     `json:"repo_size"`
	SlugSize        *int64     `json:"slug_size"`
	Space           *Space     `json:"space"`
	Stack           Ref        `json:"stack"`
	UpdatedAt       time.Time  `json:"updated_at"`
	// WebURL is absolute and ends with a slash; null when the app has none.
	WebURL *string `json:"web_url"`
}

// Space is the Private Space of an app.
type Space struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Shield bool   `json:"shield"`
}

// Owner is who an app belongs to.
type Owner struct {
	ID    string `json:"id"`
	Email string `json:"email"`
}

// AppCreate asks for an app; empty fields are left to the platform.
type AppCreate struct {
	Name   string `json:"name,omitempty"`
	Region string `json:"region,omitempty"`
	Stack  string `json:"stack,omitempty"`
}

// Stack is a stack. State is beta, deprecated or public.
type Stack struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	State     string    `json:"state"`
	Default   bool      `json:"default"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// Blob is where the bytes of a slug go or come from. The URL is a credential: it is signed
// and never printed with its query.
type Blob struct {
	Method string `json:"method"`
	URL    string `json:"url"`
}

// Slug is a slug. Checksum is "SHA256:" and 64 hex digits, Size is in bytes, compressed;
// both are nil when the platform does not know them.
type Slug struct {
	ID                           string            `json:"id"`
	Blob                         Blob              `json:"blob"`
	BuildpackProvidedDescription *string           `json:"buildpack_provided_description"`
	Checksum                     *string           `json:"checksum"`
	Commit                       *string           `json:"commit"`
	CommitDescription            *string           `json:"commit_description"`
	CreatedAt                    time.Time         `json:"created_at"`
	ProcessTypes                 map[string]string `json:"process_types"`
	Size                         *int64            `json:"size"`
	Stack                        Ref               `json:"stack"`
	UpdatedAt                    time.Time         `json:"updated_at"`
}

// SlugCreate allocates a slug. Only ProcessTypes is required by the platform; slugfile
// always sends Checksum and Stack too.
type SlugCreate struct {
	ProcessTypes                 map[string]string `json:"process_types"`
	BuildpackProvidedDescription *string           `json:"buildpack_provided_description,omitempty"`
	Checksum                     *string           `json:"checksum,omitempty"`
	Commit                       *string           `json:"commit,omitempty"`
	CommitDescription            *string           `json:"commit_description,omitempty"`
	Stack                        string            `json:"stack,omitempty"`
}

// The states of a release.
const (
	Pending   = "pending"
	Succeeded = "succeeded"
	Failed    = "failed"
	Expired   = "expired"
)

// Release is a release. The one with Current set is live; the highest version need not be.
type Release struct {
	ID                  string     `json:"id"`
	Version             int        `json:"version"`
	AddonPlanNames      []string   `json:"addon_plan_names"`
	App                 Ref        `json:"app"`
	Artifacts           []Artifact `json:"artifacts"`
	CreatedAt           time.Time  `json:"created_at"`
	Current             bool       `json:"current"`
	Description         string     `json:"description"`
	EligibleForRollback bool       `json:"eligible_for_rollback"`
	// OutputStreamURL is set when a release phase runs. It is a credential like a blob URL.
	OutputStreamURL *string   `json:"output_stream_url"`
	Slug            *SlugRef  `json:"slug"`
	Status          string    `json:"status"`
	UpdatedAt       time.Time `json:"updated_at"`
	User            Owner     `json:"user"`
}

// Artifact is what a release runs. Type is slug or oci-image.
type Artifact struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

// SlugRef names the slug of a release.
type SlugRef struct {
	ID string `json:"id"`
}

// ReleaseCreate asks for a release of a slug, or for a rollback: exactly one of Slug and Release
// is set.
type ReleaseCreate struct {
	Slug        string `json:"slug,omitempty"`
	Description string `json:"description,omitempty"`
	// Release is the id of an earlier release, whose slug and config vars come back. The platform
	// describes a rollback by itself.
	Release string `json:"release,omitempty"`
}

// Formation is how many dynos of which size run one process type.
type Formation struct {
	App       Ref       `json:"app"`
	Command   string    `json:"command"`
	CreatedAt time.Time `json:"created_at"`
	DynoSize  Ref       `json:"dyno_size"`
	ID        string    `json:"id"`
	Quantity  int       `json:"quantity"`
	Size      string    `json:"size"`
	Type      string    `json:"type"`
	UpdatedAt time.Time `json:"updated_at"`
}

// Dyno is one running dyno. State is starting, up, crashed, down or idle.
type Dyno struct {
	App       Ref        `json:"app"`
	AttachURL *string    `json:"attach_url"`
	Command   string     `json:"command"`
	CreatedAt time.Time  `json:"created_at"`
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Release   ReleaseRef `json:"release"`
	Size      string     `json:"size"`
	State     string     `json:"state"`
	Type      string     `json:"type"`
	UpdatedAt time.Time  `json:"updated_at"`
}

// ReleaseRef names the release that a dyno runs.
type ReleaseRef struct {
	ID      string `json:"id"`
	Version int    `json:"version"`
}

// LogSessionCreate asks for an app's log.
type LogSessionCreate struct {
	// Lines is how many of the last lines come first.
	Lines int `json:"lines"`
	// Tail keeps the stream open for the lines to come.
	Tail bool `json:"tail"`
	// Dyno is a name such as web.1, or a process type. Source is app or heroku. Empty is all.
	Dyno   string `json:"dyno,omitempty"`
	Source string `json:"source,omitempty"`
}

// LogSession is where a log can be read for some minutes. The address is a credential.
type LogSession struct {
	LogplexURL string `json:"logplex_url"`
}

// LogEvent is one line of a log, in the form "<time> source[dyno]: text". ID is empty where the
// platform gives none.
type LogEvent struct{ ID, Line string }

// Logs is what else a platform can do for those who read logs.
type Logs interface {
	CreateLogSession(ctx context.Context, app string, in LogSessionCreate) (LogSession, error)
	// ReadLog hands the lines of a session to each, until the stream ends, each fails, or ctx
	// ends. With after, the id of an event, it begins behind that one where the platform can. It
	// fails with ErrNotFound when the session is over.
	ReadLog(ctx context.Context, s LogSession, after string, each func(LogEvent) error) error
}

// Configs is what else a platform can tell of the config vars of its releases.
type Configs interface {
	// ReleaseConfigNames are the names of the config vars of a release, sorted. It fails like
	// ConfigNames.
	ReleaseConfigNames(ctx context.Context, app, release string) ([]string, error)
}

// BlobInfo is what the blob store says of an uploaded blob. Size is in bytes, -1 when the
// store does not tell; ETag may be empty.
type BlobInfo struct {
	Size int64
	ETag string
}

// Platform is a platform. An app is named by id or name. Every error of the platform is a
// *Error; ErrAmbiguous wraps the error of a call that may or may not have been carried out.
type Platform interface {
	// App fails with ErrNotFound when there is none.
	App(ctx context.Context, app string) (App, error)
	CreateApp(ctx context.Context, in AppCreate) (App, error)
	// Stacks lists the stacks that the app may use; with an empty app, all stacks.
	Stacks(ctx context.Context, app string) ([]Stack, error)
	// Releases lists an app's releases, newest first, at most limit of them (0: all pages).
	Releases(ctx context.Context, app string, limit int) ([]Release, error)
	// Release finds a release by id or version number.
	Release(ctx context.Context, app, release string) (Release, error)
	CreateSlug(ctx context.Context, app string, in SlugCreate) (Slug, error)
	Slug(ctx context.Context, app, id string) (Slug, error)
	// PutBlob uploads size bytes. It calls progress with the bytes sent so far, and from 0
	// again when it starts over. It fails with ErrBlobExpired when the URL is too old.
	PutBlob(ctx context.Context, to Blob, body io.ReaderAt, size int64, progress func(int64)) error
	// StatBlob asks the store about a blob that was uploaded.
	StatBlob(ctx context.Context, from Blob) (BlobInfo, error)
	// OpenBlob streams a blob that was uploaded, and goes on where the connection broke. It
	// fails with ErrNotFound or ErrBlobExpired. The caller verifies the bytes.
	OpenBlob(ctx context.Context, from Blob) (io.ReadCloser, error)
	// ConfigNames are the names of an app's config vars, sorted. Their values are never kept.
	// It fails with ErrUnauthorized when the account may not read them.
	ConfigNames(ctx context.Context, app string) ([]string, error)
	// CreateRelease is sent at most once by one call. It fails with ErrAmbiguous when the
	// platform may have acted.
	CreateRelease(ctx context.Context, app string, in ReleaseCreate) (Release, error)
	// ReleaseOutput opens the output of a release phase. It fails with ErrNotFound until the
	// phase has started. The reader ends when the phase does.
	ReleaseOutput(ctx context.Context, r Release) (io.ReadCloser, error)
}

// What callers test for with errors.Is.
var (
	ErrNotFound     = errors.New("not found")
	ErrUnauthorized = errors.New("not allowed")
	ErrRateLimited  = errors.New("rate limited")
	ErrBlobExpired  = errors.New("the upload address has expired")
	ErrAmbiguous    = errors.New("the platform may or may not have acted")
)

// Error is an answer of the platform that refuses a call.
type Error struct {
	// Op says what was tried, such as "create slug for app example".
	Op     string
	Status int
	// ID is the platform's word for the kind of error, such as "invalid_params".
	ID      string
	Message string
	// RequestID is what Heroku's support asks for.
	RequestID string
	// RetryAfter is when the platform said to come back; 0 when it did not.
	RetryAfter time.Duration
}

func (e *Error) Error() string {
	msg := e.Message
	if msg == "" {
		msg = fmt.Sprintf("HTTP status %d", e.Status)
	}
	s := fmt.Sprintf("%s: %s", e.Op, msg)
	if e.ID != "" {
		s += fmt.Sprintf(" (%s)", e.ID)
	}
	if e.RequestID != "" {
		s += fmt.Sprintf(" [request %s]", e.RequestID)
	}
	return s
}

// Is makes errors.Is work with the sentinels of this package.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrNotFound:
		return e.Status == 404
	case ErrUnauthorized:
		return e.Status == 401 || e.Status == 403
	case ErrRateLimited:
		return e.Status == 429
	}
	return false
}

// BlobError is an answer of the blob store that refuses a call. It says nothing about the
// user's credentials: the store knows none.
type BlobError struct {
	// Op says what was tried, and names the store's host.
	Op     string
	Status int
	// Code is the store's word for the kind of error, such as "AccessDenied".
	Code      string
	Message   string
	RequestID string
	// Expired says that the signed address is too old.
	Expired bool
}

func (e *BlobError) Error() string {
	msg := e.Message
	if msg == "" {
		msg = fmt.Sprintf("HTTP status %d", e.Status)
	}
	s := fmt.Sprintf("%s: %s", e.Op, msg)
	if e.Code != "" {
		s += fmt.Sprintf(" (%s)", e.Code)
	}
	if e.Expired {
		s += ": " + ErrBlobExpired.Error()
	}
	if e.RequestID != "" {
		s += fmt.Sprintf(" [request %s]", e.RequestID)
	}
	return s
}

// Hint says what to do next.
func (e *BlobError) Hint() string {
	if e.Status/100 == 5 {
		return "the blob store is in trouble; see https://status.heroku.com and run slugfile again later: it reuses what was built"
	}
	return "run slugfile again: it asks for a new address, and reuses what was built"
}

// Is makes errors.Is work with the sentinels of this package.
func (e *BlobError) Is(target error) bool {
	switch target {
	case ErrNotFound:
		return e.Status == 404
	case ErrBlobExpired:
		return e.Expired
	}
	return false
}
