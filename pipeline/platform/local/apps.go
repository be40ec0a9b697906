package local

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"math/big"
	"regexp"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/slugfile/slugfile/pipeline/failpoint"
	"github.com/slugfile/slugfile/pipeline/platform"
)

// appName is the pattern of the hyper-schema.
var appName = regexp.MustCompile(`^[a-z][a-z0-9-]{1,28}[a-z0-9]$`)

func (p *Platform) wireApp(a appRecord) platform.App {
	web := p.webURL(a)
	region, _ := findRegion(a.Region) // checked before it was stored
	routing := false
	owner := p.owner()
	if a.Team != nil {
		owner = teamOwner(*a.Team)
	}
	return platform.App{
		ID: a.ID, Name: a.Name, BuildpackProvidedDescription: a.Description,
		BuildStack: stackRef(a.BuildStack), CreatedAt: a.CreatedAt, Generation: cedar,
		GitURL:          "https://git.heroku.com/" + a.Name + ".git",
		InternalRouting: &routing, Maintenance: a.Maintenance, Owner: owner, Organization: a.Team, Team: a.Team, Region: region,
		ReleasedAt: a.ReleasedAt, SlugSize: a.SlugSize, Stack: stackRef(a.Stack), UpdatedAt: a.UpdatedAt, WebURL: &web,
	}
}

// appSpec asks for an app. What is empty, the platform chooses.
type appSpec struct {
	Name         string   `json:"name"`
	Region       string   `json:"region"`
	Stack        string   `json:"stack"`
	FeatureFlags []string `json:"feature_flags"`

	team   string
	locked bool
}

func (p *Platform) createApp(c *call) (answer, error) {
	var in appSpec
	if err := c.decode(&in, "name", "region", "stack", "feature_flags"); err != nil {
		return answer{}, err
	}
	app, err := p.makeApp(in)
	if err != nil {
		return answer{}, err
	}
	return created(p.wireApp(app))
}

// record checks what was asked for.
func (in appSpec) record() (appRecord, error) {
	app := appRecord{ID: newID(), Name: in.Name, Locked: in.locked, Config: map[string]string{}, Formation: map[string]formationRecord{}}
	if in.Name != "" {
		if err := checkName(in.Name); err != nil {
			return app, err
		}
	}
	stack, found := findStack(cmp.Or(in.Stack, defaultStack))
	if !found {
		return app, invalid("Couldn't find that stack: %s.", in.Stack)
	}
	region, found := findRegion(cmp.Or(in.Region, regions[0].Name))
	if !found {
		return app, invalid("Couldn't find that region: %s.", in.Region)
	}
	for _, ident := range in.FeatureFlags {
		f, found := findFeature(ident)
		if !found {
			return app, invalid("Couldn't find that feature: %s.", ident)
		}
		app.setFeature(f.Name, true)
	}
	app.Region, app.Stack, app.BuildStack = region.Name, stack.Name, stack.Name
	return app, nil
}

// checkName holds a name to the pattern that the hyper-schema has for apps and pipelines.
func checkName(name string) error {
	if appName.MatchString(name) {
		return nil
	}
	return invalid("Name must start with a letter, end with a letter or digit and can only contain lowercase letters, digits, and dashes. It has 3 to 30 characters.")
}

// makeApp stores an app with its first releases, and serves it.
func (p *Platform) makeApp(in appSpec) (appRecord, error) {
	app, err := in.record()
	if err != nil {
		return app, err
	}
	listener, err := p.listenApp(0)
	if err != nil {
		return app, err
	}
	app.Port = portOf(listener)
	err = p.db.Update(func(tx *bolt.Tx) error {
		now := p.now()
		app.CreatedAt, app.UpdatedAt, app.ReleasedAt = now, now, &now
		if in.team != "" {
			t, err := p.joinTeam(tx, in.team)
			if err != nil {
				return err
			}
			app.Team = &platform.Ref{ID: t.ID, Name: t.Name}
		}
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
		return app, err
	}
	failpoint.Hit("local.app.stored")
	p.newFleet(app, listener)
	return app, nil
}

func (p *Platform) isAccount(user string) bool {
	return user == "~" || user == email || user == p.meta.AccountID
}

// listApps lists all apps; by user it leaves out those of teams.
func (p *Platform) listApps(c *call) (answer, error) {
	user := c.PathValue("user")
	if user != "" && !p.isAccount(user) {
		return answer{}, notFound("account", "Couldn't find that user.")
	}
	apps, err := p.allApps()
	if err != nil {
		return answer{}, err
	}
	list := []platform.App{}
	for _, a := range apps {
		if user == "" || a.Team == nil {
			list = append(list, p.wireApp(a))
		}
	}
	return pageApps(c, list, func(a platform.App) platform.App { return a })
}

// pageApps answers a list of apps, or of something that is one.
func pageApps[T any](c *call, list []T, app func(T) platform.App) (answer, error) {
	return page(c, list, []string{"name", "id", "updated_at"}, func(item T, field string) string {
		switch a := app(item); field {
		case "id":
			return a.ID
		case "updated_at":
			return tied(a.UpdatedAt.Format(time.RFC3339), a.ID)
		default:
			return a.Name
		}
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
			if err := checkName(*in.Name); err != nil {
				return err
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
	var files, streams []string
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
				streams = append(streams, r.Stream)
			}
		}
		// Its slugs go with it, unless another app releases them.
		if files, err = p.dropSlugs(tx, func(s slugRecord, _ bool) bool { return s.App == app.ID }); err != nil {
			return err
		}
		if err := tx.Bucket(bucketCouplings).Delete([]byte(app.ID)); err != nil {
			return err
		}
		return tx.Bucket(bucketApps).Delete([]byte(app.ID))
	})
	if err != nil {
		return answer{}, err
	}
	failpoint.Hit("local.app.deleted")
	p.removeFleet(app.ID)
	p.removeFiles(files)
	p.removeStreams(streams)
	return ok(p.wireApp(app))
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
