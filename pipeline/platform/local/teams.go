package local

import (
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/slugfile/slugfile/pipeline/platform"
)

var bucketTeams = []byte("teams") // team name -> teamRecord

type teamRecord struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
}

// team is the resource of the hyper-schema.
type team struct {
	ID                    string            `json:"id"`
	CreatedAt             time.Time         `json:"created_at"`
	CreditCardCollections bool              `json:"credit_card_collections"`
	Default               bool              `json:"default"`
	EnterpriseAccount     *platform.Ref     `json:"enterprise_account"`
	IdentityProvider      *identityProvider `json:"identity_provider"`
	MembershipLimit       *int              `json:"membership_limit"`
	Name                  string            `json:"name"`
	ProvisionedLicenses   bool              `json:"provisioned_licenses"`
	Role                  string            `json:"role"`
	Type                  string            `json:"type"`
	UpdatedAt             time.Time         `json:"updated_at"`
}

func wireTeam(t teamRecord) team {
	return team{ID: t.ID, Name: t.Name, CreatedAt: t.CreatedAt, UpdatedAt: t.CreatedAt, Role: "admin", Type: "team"}
}

// teamApp is an app with what the team's resource adds to it.
type teamApp struct {
	platform.App
	Joined bool `json:"joined"`
	Locked bool `json:"locked"`
}

func (p *Platform) wireTeamApp(a appRecord) teamApp {
	return teamApp{App: p.wireApp(a), Joined: true, Locked: a.Locked}
}

// teamOwner is how the real platform names the owner of a team's app; the heroku command knows
// teams by the host.
func teamOwner(t platform.Ref) platform.Owner {
	return platform.Owner{ID: t.ID, Email: t.Name + "@herokumanager.com"}
}

// teamIn finds a team by id or name.
func teamIn(tx *bolt.Tx, ident string) (teamRecord, error) {
	var t teamRecord
	found, err := get(tx, bucketTeams, []byte(ident), &t)
	if err != nil || found {
		return t, err
	}
	err = each(tx, bucketTeams, nil, func(other teamRecord) error {
		if other.ID == ident {
			t = other
		}
		return nil
	})
	if err == nil && t.ID == "" {
		err = notFound("team", "Couldn't find that team.")
	}
	return t, err
}

// joinTeam finds a team or makes it: there is nobody here who could invite to one, so a team
// exists from the first app that names it.
func (p *Platform) joinTeam(tx *bolt.Tx, name string) (teamRecord, error) {
	t, err := teamIn(tx, name)
	if err == nil || !isNotFound(err) {
		return t, err
	}
	if !appName.MatchString(name) {
		return t, invalid("Team name %q must start with a letter and can only contain lowercase letters, digits, and dashes.", name)
	}
	t = teamRecord{ID: newID(), Name: name, CreatedAt: p.now()}
	return t, put(tx, bucketTeams, []byte(name), t)
}

func (p *Platform) listTeams(c *call) (answer, error) {
	value := func(t team, field string) string { return either(field, t.ID, t.Name) }
	return pageRead(p, c, []string{"name", "id"}, value, func(tx *bolt.Tx) (list []team, err error) {
		err = each(tx, bucketTeams, nil, func(t teamRecord) error {
			list = append(list, wireTeam(t))
			return nil
		})
		return list, err
	})
}

func (p *Platform) createTeam(c *call) (answer, error) {
	var in struct {
		Name string `json:"name"`
	}
	if err := c.decode(&in, "name"); err != nil {
		return answer{}, err
	}
	if in.Name == "" {
		return answer{}, invalid("name is required.")
	}
	var t teamRecord
	err := p.db.Update(func(tx *bolt.Tx) (err error) {
		if _, err = teamIn(tx, in.Name); err == nil {
			return invalid("Name %s is already taken", in.Name)
		}
		t, err = p.joinTeam(tx, in.Name)
		return err
	})
	if err != nil {
		return answer{}, err
	}
	return created(wireTeam(t))
}

func (p *Platform) findTeam(ident string) (t teamRecord, err error) {
	err = p.db.View(func(tx *bolt.Tx) error {
		t, err = teamIn(tx, ident)
		return err
	})
	return t, err
}

func (p *Platform) teamInfo(c *call) (answer, error) {
	t, err := p.findTeam(c.PathValue("team"))
	if err != nil {
		return answer{}, err
	}
	return ok(wireTeam(t))
}

// underTeams tells /teams/apps/APP from /teams/TEAM/apps, which are one pattern to a mux.
func (p *Platform) underTeams(c *call) (answer, error) {
	first, second := c.PathValue("team"), c.PathValue("kind")
	switch {
	case first == "apps":
		c.SetPathValue("app", second)
		return p.teamAppInfo(c)
	case second == "apps":
		return p.listTeamApps(c)
	case second == "pipeline-couplings":
		return p.listCouplings(c)
	}
	return answer{}, noEndpoint()
}

func (p *Platform) listTeamApps(c *call) (answer, error) {
	t, err := p.findTeam(c.PathValue("team"))
	if err != nil {
		return answer{}, err
	}
	apps, err := p.allApps()
	if err != nil {
		return answer{}, err
	}
	list := []teamApp{}
	for _, a := range apps {
		if a.Team != nil && a.Team.ID == t.ID {
			list = append(list, p.wireTeamApp(a))
		}
	}
	return pageApps(c, list, func(a teamApp) platform.App { return a.App })
}

// createTeamApp makes an app for a team. Without one, or with personal, the account owns it.
func (p *Platform) createTeamApp(c *call) (answer, error) {
	var in struct {
		appSpec
		Team            *string `json:"team"`
		Personal        bool    `json:"personal"`
		Locked          bool    `json:"locked"`
		Space           *string `json:"space"`
		InternalRouting *bool   `json:"internal_routing"`
	}
	if err := c.decode(&in, "name", "region", "stack", "feature_flags", "team", "personal", "locked", "space", "internal_routing"); err != nil {
		return answer{}, err
	}
	switch {
	case in.Space != nil && *in.Space != "":
		return answer{}, notFound("space", "Couldn't find that space: the embedded platform has no Private Spaces.")
	case in.InternalRouting != nil && *in.InternalRouting:
		return answer{}, invalid("internal_routing is for apps in Private Spaces, which the embedded platform does not have.")
	}
	if in.Team != nil && !in.Personal {
		in.team = *in.Team
	}
	in.locked = in.Locked
	app, err := p.makeApp(in.appSpec)
	if err != nil {
		return answer{}, err
	}
	return created(p.wireTeamApp(app))
}

func (p *Platform) teamAppInfo(c *call) (answer, error) {
	app, err := p.findApp(c.PathValue("app"))
	if err != nil {
		return answer{}, err
	}
	return ok(p.wireTeamApp(app))
}

// updateTeamApp locks an app, or gives it to a team or to the account.
func (p *Platform) updateTeamApp(c *call) (answer, error) {
	var in struct {
		Locked *bool   `json:"locked"`
		Owner  *string `json:"owner"`
	}
	if err := c.decode(&in, "locked", "owner"); err != nil {
		return answer{}, err
	}
	var app appRecord
	err := p.db.Update(func(tx *bolt.Tx) (err error) {
		if app, err = appIn(tx, c.PathValue("app")); err != nil {
			return err
		}
		if in.Locked != nil {
			app.Locked = *in.Locked
		}
		if in.Owner != nil {
			if p.isAccount(*in.Owner) {
				app.Team = nil
			} else {
				t, err := teamIn(tx, *in.Owner)
				if err != nil {
					return err
				}
				app.Team = &platform.Ref{ID: t.ID, Name: t.Name}
			}
		}
		app.UpdatedAt = p.now()
		return putApp(tx, app)
	})
	if err != nil {
		return answer{}, err
	}
	return ok(p.wireTeamApp(app))
}
