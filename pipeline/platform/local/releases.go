package local

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/slugfile/slugfile/pipeline/failpoint"
	"github.com/slugfile/slugfile/pipeline/platform"
)

func (p *Platform) wireRelease(r releaseRecord, app appRecord) platform.Release {
	out := platform.Release{
		ID: r.ID, Version: r.Version, AddonPlanNames: []string{}, App: platform.Ref{ID: app.ID, Name: app.Name},
		Artifacts: []platform.Artifact{}, CreatedAt: r.CreatedAt, Current: r.Version == app.Current,
		Description: r.Description, EligibleForRollback: eligible(r), Status: r.Status, UpdatedAt: r.UpdatedAt, User: p.owner(),
	}
	if r.Slug != "" {
		out.Slug = &platform.SlugRef{ID: r.Slug}
		out.Artifacts = append(out.Artifacts, platform.Artifact{ID: r.Slug, Type: "slug"})
	}
	if r.Stream != "" {
		u := p.apiURL + "/streams/" + r.Stream
		out.OutputStreamURL = &u
	}
	return out
}

// eligible says whether a release can be gone back to.
func eligible(r releaseRecord) bool { return r.Slug != "" && r.Status == platform.Succeeded }

// addRelease makes the next release of an app from its config and a slug, which is nil before
// the first one. It becomes current at once, unless it has a release phase to pass first.
// The caller stores the app, and after the transaction calls launch.
func (p *Platform) addRelease(tx *bolt.Tx, app *appRecord, slug *slugRecord, description string) (releaseRecord, error) {
	now := p.now()
	app.Version++
	config, err := recordConfig(tx, app.ID, app.Version, app.Config)
	if err != nil {
		return releaseRecord{}, err
	}
	r := releaseRecord{
		ID: newID(), App: app.ID, Version: app.Version, Status: platform.Succeeded, Description: description,
		configRecord: config, CreatedAt: now, UpdatedAt: now,
	}
	if slug != nil {
		r.Slug = slug.ID
	}
	if slug != nil && slug.ProcessTypes["release"] != "" {
		r.Status, r.Stream = platform.Pending, randomHex(20)
	} else {
		p.makeCurrent(app, r, slug)
	}
	return r, put(tx, bucketReleases, releaseKey(app.ID, r.Version), r)
}

// makeCurrent lets the app follow a release that went live.
func (p *Platform) makeCurrent(app *appRecord, r releaseRecord, slug *slugRecord) {
	now := p.now()
	app.Current, app.UpdatedAt, app.ReleasedAt = r.Version, now, &now
	if slug == nil {
		return
	}
	first := app.SlugSize == nil
	app.Stack, app.Description = slug.Stack, slug.Description
	size := slug.Size
	app.SlugSize = &size
	for name := range slug.ProcessTypes {
		if _, known := app.Formation[name]; known {
			continue
		}
		f := formationRecord{ID: newID(), Size: dynoSizes[0].Name, CreatedAt: now, UpdatedAt: now}
		if first && name == "web" {
			f.Quantity = 1
		}
		app.Formation[name] = f
	}
}

// launch brings the dynos to a release that was just stored.
func (p *Platform) launch(app appRecord, r releaseRecord) {
	failpoint.Hit("local.release.stored")
	p.mu.Lock()
	f := p.fleets[app.ID]
	p.mu.Unlock()
	if f == nil {
		return // the app was deleted meanwhile
	}
	if r.Version > p.opts.KeepReleases {
		if err := p.retain(app.ID); err != nil {
			f.log.add("heroku", "retention", "Error: "+err.Error()) // the timer tries again
		}
	}
	f.log.add("app", "api", fmt.Sprintf("Release v%d created by user %s", r.Version, email))
	if r.Status == platform.Pending {
		f.queuePhase(r)
		return
	}
	f.poke()
}

// slugToRelease finds a slug that can be released, or says why it cannot.
func (p *Platform) slugToRelease(tx *bolt.Tx, id string) (slugRecord, error) {
	slug, err := slugIn(tx, id)
	switch {
	case err != nil:
		return slug, notFound("slug", "Couldn't find that slug.")
	case slug.File == "":
		return slug, invalid("Slug %s has not been uploaded: PUT its archive to the blob URL first.", slug.ID)
	case slug.Checksum != nil && !strings.EqualFold(*slug.Checksum, "SHA256:"+slug.SHA256):
		// The real platform checks in Private Spaces only, where the dyno then does not start
		// (R17): devcenter.heroku.com/articles/slug-checksums. Here wrong bytes never go live.
		return slug, invalid("Could not verify slug checksum: %s was promised, the archive has SHA256:%s.", *slug.Checksum, slug.SHA256)
	case slug.Size > p.opts.SlugLimit:
		return slug, invalid("Compiled slug size: %d bytes is too large (max is %d).", slug.Size, p.opts.SlugLimit)
	}
	if _, found := findStack(slug.Stack); !found {
		return slug, invalid("Slug %s is for the stack %s, which does not exist.", slug.ID, slug.Stack)
	}
	return slug, nil
}

func (p *Platform) createRelease(c *call) (answer, error) {
	var in struct {
		Slug        string  `json:"slug"`
		Release     string  `json:"release"`
		Description *string `json:"description"`
		OCIImage    string  `json:"oci_image"`
	}
	if err := c.decode(&in, "slug", "release", "description", "oci_image"); err != nil {
		return answer{}, err
	}
	switch {
	case in.OCIImage != "":
		return answer{}, invalid("Apps of the cedar generation release slugs, not OCI images.")
	case in.Slug == "" && in.Release == "":
		return answer{}, invalid("slug is required: the id of the slug to release.")
	case in.Slug != "" && in.Release != "":
		return answer{}, invalid("Give slug to deploy or release to roll back, not both.")
	}
	var app appRecord
	var r releaseRecord
	var slug slugRecord
	err := p.db.Update(func(tx *bolt.Tx) (err error) {
		if app, err = appIn(tx, c.PathValue("app")); err != nil {
			return err
		}
		id, description := in.Slug, ""
		if in.Release != "" {
			old, err := releaseIn(tx, app, in.Release)
			if err != nil {
				return err
			}
			if !eligible(old) {
				return invalid("Cannot rollback to v%d: it has no slug that went live.", old.Version)
			}
			// A rollback brings back the code and the config vars of that release.
			id, description = old.Slug, fmt.Sprintf("Rollback to v%d", old.Version)
			if app.Config, err = configIn(tx, app.ID, old.Version); err != nil {
				return err
			}
		}
		if slug, err = p.slugToRelease(tx, id); err != nil {
			return err
		}
		if description == "" {
			description = "Deploy " + shortCommit(slug)
		}
		if in.Description != nil && *in.Description != "" {
			description = *in.Description
		}
		if r, err = p.addRelease(tx, &app, &slug, description); err != nil {
			return err
		}
		return putApp(tx, app)
	})
	if err != nil {
		return answer{}, err
	}
	p.launch(app, r)
	return created(p.wireRelease(r, app))
}

// shortCommit is how descriptions name a slug: by its commit when it has one.
func shortCommit(slug slugRecord) string {
	if slug.Commit != nil && *slug.Commit != "" {
		return (*slug.Commit)[:min(7, len(*slug.Commit))]
	}
	return slug.ID[:8]
}

// releaseIn finds a release by id or version; v12 is 12.
func releaseIn(tx *bolt.Tx, app appRecord, ident string) (releaseRecord, error) {
	var r releaseRecord
	if version, err := strconv.Atoi(trimV(ident)); err == nil && version > 0 {
		found, err := get(tx, bucketReleases, releaseKey(app.ID, version), &r)
		if err != nil || found {
			return r, err
		}
		return r, notFound("release", "Couldn't find that release.")
	}
	list, err := releasesOf(tx, app.ID)
	if err != nil {
		return r, err
	}
	i := slices.IndexFunc(list, func(r releaseRecord) bool { return r.ID == ident })
	if i < 0 {
		return r, notFound("release", "Couldn't find that release.")
	}
	return list[i], nil
}

func (p *Platform) listReleases(c *call) (answer, error) {
	value := func(r platform.Release, field string) string { return either(field, r.ID, strconv.Itoa(r.Version)) }
	return pageRead(p, c, []string{"version", "id"}, value, func(tx *bolt.Tx) (list []platform.Release, err error) {
		app, err := appIn(tx, c.PathValue("app"))
		if err != nil {
			return nil, err
		}
		records, err := releasesOf(tx, app.ID)
		for _, r := range records {
			list = append(list, p.wireRelease(r, app))
		}
		return list, err
	})
}

// oneRelease reads the release of the call's path.
func (p *Platform) oneRelease(c *call) (app appRecord, r releaseRecord, err error) {
	err = p.db.View(func(tx *bolt.Tx) error {
		if app, err = appIn(tx, c.PathValue("app")); err != nil {
			return err
		}
		r, err = releaseIn(tx, app, c.PathValue("release"))
		return err
	})
	return app, r, err
}

func (p *Platform) releaseInfo(c *call) (answer, error) {
	app, r, err := p.oneRelease(c)
	if err != nil {
		return answer{}, err
	}
	return ok(p.wireRelease(r, app))
}

func (p *Platform) releaseConfig(c *call) (answer, error) {
	app, r, err := p.oneRelease(c)
	if err != nil {
		return answer{}, err
	}
	config, err := p.releasedConfig(app.ID, r.Version)
	if err != nil {
		return answer{}, err
	}
	return ok(config)
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func (p *Platform) configVars(c *call) (answer, error) {
	app, err := p.findApp(c.PathValue("app"))
	if err != nil {
		return answer{}, err
	}
	return ok(orEmpty(app.Config))
}

// configKey is the pattern of the hyper-schema, which means ASCII.
var configKey = regexp.MustCompile(`^\w+$`)

// configLimit is the size of all names and values of an app together.
const configLimit = 32 << 10

// updateConfig changes config vars; null removes one. A change makes a release.
func (p *Platform) updateConfig(c *call) (answer, error) {
	fields, err := c.object()
	if err != nil {
		return answer{}, err
	}
	changes := map[string]*string{}
	for key, raw := range fields {
		if !configKey.MatchString(key) {
			return answer{}, invalid("Config var %q does not match ^\\w+$.", key)
		}
		if strings.HasPrefix(key, "HEROKU_") || strings.HasPrefix(key, "__") {
			return answer{}, invalid("Config var %q begins with HEROKU_ or __, which are reserved.", key)
		}
		var value *string
		if err := json.Unmarshal(raw, &value); err != nil {
			return answer{}, invalid("Config var %q must be a string or null.", key)
		}
		if value != nil && strings.ContainsRune(*value, 0) {
			return answer{}, invalid("Config var %q holds a NUL byte, which no environment can.", key)
		}
		changes[key] = value
	}
	var app appRecord
	var r releaseRecord
	err = p.db.Update(func(tx *bolt.Tx) (err error) {
		if app, err = appIn(tx, c.PathValue("app")); err != nil {
			return err
		}
		description := applyConfig(&app, changes)
		if description == "" {
			return nil
		}
		size := 0
		for k, v := range app.Config {
			size += len(k) + len(v)
		}
		if size > configLimit {
			return invalid("Config vars are limited to %d bytes in all; these have %d.", configLimit, size)
		}
		slug, err := latestSlug(tx, app)
		if err != nil {
			return err
		}
		if r, err = p.addRelease(tx, &app, slug, description); err != nil {
			return err
		}
		return putApp(tx, app)
	})
	if err != nil {
		return answer{}, err
	}
	if r.ID != "" {
		p.launch(app, r)
	}
	return ok(orEmpty(app.Config))
}

// latestSlug is the slug that a config change releases: that of the newest release which is live or
// on its way there. One that waits for its release phase would otherwise be passed by a newer
// version with the older slug, and never go live. The new release has a release phase of its own,
// after the one before: how that one ends decides nothing about this one. It is nil before the
// first release of a slug.
func latestSlug(tx *bolt.Tx, app appRecord) (*slugRecord, error) {
	for version := app.Version; version >= app.Current; version-- {
		var r dueRelease
		if _, err := get(tx, bucketReleases, releaseKey(app.ID, version), &r); err != nil {
			return nil, err
		}
		if version > app.Current && r.Status != platform.Pending || r.Slug == "" {
			continue
		}
		slug, err := slugIn(tx, r.Slug)
		return &slug, err
	}
	return nil, nil
}

// applyConfig changes the app's config and describes the release; no change has no words.
func applyConfig(app *appRecord, changes map[string]*string) string {
	config := maps.Clone(orEmpty(app.Config))
	var set, removed []string
	for _, key := range slices.Sorted(maps.Keys(changes)) {
		value := changes[key]
		old, had := config[key]
		switch {
		case value == nil && had:
			delete(config, key)
			removed = append(removed, key)
		case value != nil && (!had || old != *value):
			config[key] = *value
			set = append(set, key)
		}
	}
	app.Config = config
	var words []string
	if len(set) > 0 {
		words = append(words, "Set "+strings.Join(set, ", "))
	}
	if len(removed) > 0 {
		words = append(words, "Remove "+strings.Join(removed, ", "))
	}
	if len(words) == 0 {
		return ""
	}
	return strings.Join(words, ", ") + " config vars"
}
