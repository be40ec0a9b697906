package local

import (
	"regexp"

	bolt "go.etcd.io/bbolt"

	"github.com/slugfile/slugfile/pipeline/platform"
)

// processType is the pattern of the hyper-schema, which means ASCII.
var processType = regexp.MustCompile(`^[-\w]{1,128}$`)

var checksumForm = regexp.MustCompile(`^SHA256:[0-9a-fA-F]{64}$`)

func (p *Platform) wireSlug(s slugRecord, method string, c *call) platform.Slug {
	out := platform.Slug{
		ID: s.ID, Blob: platform.Blob{Method: method, URL: p.signBlob(method, s.Key, c)},
		BuildpackProvidedDescription: s.Description, Checksum: s.Checksum, Commit: s.Commit,
		CommitDescription: s.CommitDescription, CreatedAt: s.CreatedAt, ProcessTypes: s.ProcessTypes,
		Stack: stackRef(s.Stack), UpdatedAt: s.UpdatedAt,
	}
	if s.File != "" {
		out.Size = &s.Size
	}
	return out
}

func (p *Platform) createSlug(c *call) (answer, error) {
	var in struct {
		platform.SlugCreate
		ProcessTypes *map[string]string `json:"process_types"`
		Stack        *string            `json:"stack"`
	}
	if err := c.decode(&in, "process_types", "stack", "checksum", "commit", "commit_description", "buildpack_provided_description"); err != nil {
		return answer{}, err
	}
	if in.ProcessTypes == nil {
		return answer{}, invalid("process_types is required: an object of commands by process type.")
	}
	for name := range *in.ProcessTypes {
		if !processType.MatchString(name) {
			return answer{}, invalid("Process type %q does not match ^[-\\w]{1,128}$.", name)
		}
	}
	if in.Checksum != nil && !checksumForm.MatchString(*in.Checksum) {
		return answer{}, invalid("checksum must be \"SHA256:\" and the digest of the archive in hex.")
	}
	var slug slugRecord
	err := p.db.Update(func(tx *bolt.Tx) error {
		app, err := appIn(tx, c.PathValue("app"))
		if err != nil {
			return err
		}
		stack := app.Stack
		if in.Stack != nil {
			s, found := findStack(*in.Stack)
			if !found {
				return invalid("Couldn't find that stack: %s.", *in.Stack)
			}
			stack = s.Name
		}
		now := p.now()
		slug = slugRecord{
			ID: newID(), App: app.ID, Stack: stack, ProcessTypes: *in.ProcessTypes, Checksum: in.Checksum,
			Commit: in.Commit, CommitDescription: in.CommitDescription, Description: in.BuildpackProvidedDescription,
			Key: randomHex(20), CreatedAt: now, UpdatedAt: now,
		}
		if err := tx.Bucket(bucketKeys).Put([]byte(slug.Key), []byte(slug.ID)); err != nil {
			return err
		}
		return put(tx, bucketSlugs, []byte(slug.ID), slug)
	})
	if err != nil {
		return answer{}, err
	}
	return created(p.wireSlug(slug, "PUT", c))
}

func (p *Platform) slugInfo(c *call) (answer, error) {
	var slug slugRecord
	err := p.db.View(func(tx *bolt.Tx) error {
		app, err := appIn(tx, c.PathValue("app"))
		if err != nil {
			return err
		}
		if slug, err = slugIn(tx, c.PathValue("slug")); err != nil || slug.App == app.ID {
			return err
		}
		// A slug of another app is seen through the releases that run it here.
		releases, err := releasesOf(tx, app.ID)
		if err != nil {
			return err
		}
		for _, r := range releases {
			if r.Slug == slug.ID {
				return nil
			}
		}
		return notFound("slug", "Couldn't find that slug.")
	})
	if err != nil {
		return answer{}, err
	}
	return ok(p.wireSlug(slug, "GET", c))
}
