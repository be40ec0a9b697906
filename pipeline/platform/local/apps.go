package local

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"regexp"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/slugfile/slugfile/pipeline/platform"
)

// appName is the pattern of the hyper-schema.
var appName = regexp.MustCompile(`^[a-z][a-z0-9-]{1,28}[a-z0-9]$`)

func (p *Platform) wireApp(a appRecord) platform.App {
	web := p.webURL(a)
	region, _ := findRegion(a.Region) // checked before it was stored
	routing := false
	return platform.App{
		ID: a.ID, Name: a.Name, BuildpackProvidedDescription: a.Description,
		BuildStack: stackRef(a.BuildStack), CreatedAt: a.CreatedAt, Generation: cedar,
		GitURL:          "https://git.heroku.com/" + a.Name + ".git",
		InternalRouting: &routing, Maintenance: a.Maintenance, Owner: p.owner(), Region: region,
		ReleasedAt: a.ReleasedAt, SlugSize: a.SlugSize, Stack: stackRef(a.Stack), UpdatedAt: a.UpdatedAt, WebURL: &web,
	}
}

func (p *Platform) createApp(c *call) (answer, error) {
	var in struct {
		Name         string   `json:"name"`
		Region       string   `json:"region"`
		Stack        string   `json:"stack"`
		FeatureFlags []string `json:"feature_flags"`
	}
	if err := c.decode(&in, "name", "region", "stack", "feature_flags"); err != nil {
		return answer{}, err
	}
	if in.Name != "" && !appName.MatchString(in.Name) {
		return answer{}, invalid("Name must start with a letter, end with a letter or digit and can only contain lowercase letters, digits, and dashes. It has 3 to 30 characters.")
	}
	if in.Stack == "" {
		in.Stack = defaultStack
	}
	stack, found := findStack(in.Stack)
	if !found {
		return answer{}, invalid("Couldn't find that stack: %s.", in.Stack)
	}
	if in.Region == "" {
		in.Region = "us"
	}
	region, found := findRegion(in.Region)
	if !found {
		return answer{}, invalid("Couldn't find that region: %s.", in.Region)
	}
	now := p.now()
	app := appRecord{
		ID: newID(), Name: in.Name, Region: region.Name, Stack: stack.Name, BuildStack: stack.Name,
		Config: map[string]string{}, Formation: map[string]formationRecord{}, CreatedAt: now, UpdatedAt: now, ReleasedAt: &now,
	}
	listener, err := p.listenApp(0)
	if err != nil {
		return answer{}, err
	}
	app.Port = portOf(listener)
	err = p.db.Update(func(tx *bolt.Tx) error {
		names := tx.Bucket(bucketNames)
		for app.Name == "" || in.Name == "" && names.Get([]byte(app.Name)) != nil {
			app.Name = randomName()
		}
		if names.Get([]byte(app.Name)) != nil {
			return invalid("Name %s is already taken", app.Name)
		}
		if err := names.Put([]byte(app.Name), []byte(app.ID)); err != nil {
			return err
		}
		// The article's first release of a slug is v3; these two come with every new app.
		for _, description := range []string{"Initial release", "Enable Logplex"} {
			if _, err := p.addRelease(tx, &app, nil, description); err != nil {
				return err
			}
		}
		return putApp(tx, app)
	})
	if err != nil {
		_ = listener.Close()
		return answer{}, err
	}
	p.newFleet(app, listener)
	return created(p.wireApp(app))
}

func (p *Platform) listApps(c *call) (answer, error) {
	if user := c.PathValue("user"); user != "" && user != "~" && user != email && user != p.meta.AccountID {
		return answer{}, notFound("account", "Couldn't find that user.")
	}
	apps, err := p.allApps()
	if err != nil {
		return answer{}, err
	}
	list := make([]platform.App, len(apps))
	for i, a := range apps {
		list[i] = p.wireApp(a)
	}
	return page(c, list, []string{"name", "id", "updated_at"}, func(a platform.App, field string) string {
		switch field {
		case "id":
			return a.ID
		case "updated_at":
			return a.UpdatedAt.Format(time.RFC3339)
		}
		return a.Name
	})
}

func (p *Platform) appInfo(c *call) (answer, error) {
	app, err := p.findApp(c.PathValue("app"))
	if err != nil {
		return answer{}, err
	}
	return ok(p.wireApp(app))
}

func (p *Platform) updateApp(c *call) (answer, error) {
	var in struct {
		Name        *string `json:"name"`
		Maintenance *bool   `json:"maintenance"`
		BuildStack  *string `json:"build_stack"`
	}
	if err := c.decode(&in, "name", "maintenance", "build_stack"); err != nil {
		return answer{}, err
	}
	var app appRecord
	err := p.db.Update(func(tx *bolt.Tx) (err error) {
		if app, err = appIn(tx, c.PathValue("app")); err != nil {
			return err
		}
		if in.Maintenance != nil {
			app.Maintenance = *in.Maintenance
		}
		if in.BuildStack != nil {
			stack, found := findStack(*in.BuildStack)
			if !found {
				return invalid("Couldn't find that stack: %s.", *in.BuildStack)
			}
			app.BuildStack = stack.Name
			if app.SlugSize == nil {
				app.Stack = stack.Name // an app that was never deployed moves at once
			}
		}
		if in.Name != nil && *in.Name != app.Name {
			if !appName.MatchString(*in.Name) {
				return invalid("Name must start with a letter, end with a letter or digit and can only contain lowercase letters, digits, and dashes. It has 3 to 30 characters.")
			}
			names := tx.Bucket(bucketNames)
			if names.Get([]byte(*in.Name)) != nil {
				return invalid("Name %s is already taken", *in.Name)
			}
			if err := names.Delete([]byte(app.Name)); err != nil {
				return err
			}
			if err := names.Put([]byte(*in.Name), []byte(app.ID)); err != nil {
				return err
			}
			app.Name = *in.Name
		}
		app.UpdatedAt = p.now()
		return putApp(tx, app)
	})
	if err != nil {
		return answer{}, err
	}
	p.poke(app.ID)
	return ok(p.wireApp(app))
}

func (p *Platform) deleteApp(c *call) (answer, error) {
	var app appRecord
	var files []string
	err := p.db.Update(func(tx *bolt.Tx) (err error) {
		if app, err = appIn(tx, c.PathValue("app")); err != nil {
			return err
		}
		if err := tx.Bucket(bucketNames).Delete([]byte(app.Name)); err != nil {
			return err
		}
		releases, err := releasesOf(tx, app.ID)
		if err != nil {
			return err
		}
		for _, r := range releases {
			if err := tx.Bucket(bucketReleases).Delete(releaseKey(app.ID, r.Version)); err != nil {
				return err
			}
			if r.Stream != "" {
				files = append(files, p.streamPath(r.Stream))
			}
		}
		if files, err = p.dropSlugs(tx, app, files); err != nil {
			return err
		}
		return tx.Bucket(bucketApps).Delete([]byte(app.ID))
	})
	if err != nil {
		return answer{}, err
	}
	p.removeFleet(app.ID)
	p.removeFiles(files)
	return ok(p.wireApp(app))
}

// dropSlugs removes the slugs that were made for an app, unless another app releases them.
func (p *Platform) dropSlugs(tx *bolt.Tx, app appRecord, files []string) ([]string, error) {
	used := map[string]bool{}
	if err := each(tx, bucketReleases, nil, func(r releaseRecord) error {
		used[r.Slug] = true
		return nil
	}); err != nil {
		return files, err
	}
	var gone []slugRecord
	if err := each(tx, bucketSlugs, nil, func(s slugRecord) error {
		if s.App == app.ID && !used[s.ID] {
			gone = append(gone, s)
		}
		return nil
	}); err != nil {
		return files, err
	}
	for _, s := range gone {
		if err := tx.Bucket(bucketSlugs).Delete([]byte(s.ID)); err != nil {
			return files, err
		}
		if s.File != "" {
			files = append(files, p.blobPath(s.File))
		}
	}
	return files, nil
}

// The words of the names that apps get when nobody gives one.
var (
	adjectives = []string{"autumn", "calm", "clear", "cold", "deep", "early", "fading", "gentle", "high", "icy", "late", "mellow", "misty", "north", "pale", "quiet", "serene", "silent", "still", "wild"}
	nouns      = []string{"bay", "beach", "brook", "cliff", "coast", "dawn", "delta", "fjord", "glade", "grove", "haven", "island", "lake", "meadow", "peak", "plain", "reef", "ridge", "shore", "spring"}
)

func randomName() string {
	pick := func(n int) int {
		i, _ := rand.Int(rand.Reader, big.NewInt(int64(n))) // as in randomHex
		return int(i.Int64())
	}
	return fmt.Sprintf("%s-%s-%05d", adjectives[pick(len(adjectives))], nouns[pick(len(nouns))], pick(100_000))
}
