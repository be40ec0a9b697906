package local

import (
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// dynoMetadata is the feature that tells a dyno about itself in HEROKU_* variables:
// devcenter.heroku.com/articles/dyno-metadata.
const dynoMetadata = "runtime-dyno-metadata"

// feature is an app feature of the hyper-schema.
type feature struct {
	CreatedAt     time.Time `json:"created_at"`
	Description   string    `json:"description"`
	DocURL        string    `json:"doc_url"`
	Enabled       bool      `json:"enabled"`
	ID            string    `json:"id"`
	Name          string    `json:"name"`
	State         string    `json:"state"`
	UpdatedAt     time.Time `json:"updated_at"`
	DisplayName   string    `json:"display_name"`
	FeedbackEmail string    `json:"feedback_email"`
}

// The features that do something here. Heroku has more, which change nothing in how a slug runs.
var features = []feature{{
	ID: "fea70000-0000-4000-8000-000000000001", Name: dynoMetadata, DisplayName: "Dyno Metadata", State: "public",
	Description: "Tells dynos their app, release and slug in HEROKU_* variables",
	DocURL:      "https://devcenter.heroku.com/articles/dyno-metadata", FeedbackEmail: "labs@example.com",
	CreatedAt: fixedTime, UpdatedAt: fixedTime,
}}

// findFeature takes an id or a name.
func findFeature(ident string) (feature, bool) {
	i := slices.IndexFunc(features, func(f feature) bool { return f.ID == ident || f.Name == ident })
	if i < 0 {
		return feature{}, false
	}
	return features[i], true
}

func wireFeature(f feature, app appRecord) feature {
	f.Enabled = app.Features[f.Name]
	return f
}

func (p *Platform) listFeatures(c *call) (answer, error) {
	app, err := p.findApp(c.PathValue("app"))
	if err != nil {
		return answer{}, err
	}
	list := make([]feature, len(features))
	for i, f := range features {
		list[i] = wireFeature(f, app)
	}
	return page(c, list, []string{"name", "id"}, func(f feature, field string) string { return either(field, f.ID, f.Name) })
}

func (p *Platform) featureInfo(c *call) (answer, error) {
	app, err := p.findApp(c.PathValue("app"))
	if err != nil {
		return answer{}, err
	}
	f, found := findFeature(c.PathValue("feature"))
	if !found {
		return answer{}, notFound("feature", "Couldn't find that feature.")
	}
	return ok(wireFeature(f, app))
}

// updateFeature turns a feature on or off. Dynos see it when they start next, as on Heroku.
func (p *Platform) updateFeature(c *call) (answer, error) {
	var in struct {
		Enabled *bool `json:"enabled"`
	}
	if err := c.decode(&in, "enabled"); err != nil {
		return answer{}, err
	}
	f, found := findFeature(c.PathValue("feature"))
	var app appRecord
	err := p.db.Update(func(tx *bolt.Tx) (err error) {
		if app, err = appIn(tx, c.PathValue("app")); err != nil {
			return err
		}
		switch {
		case !found:
			return notFound("feature", "Couldn't find that feature.")
		case in.Enabled == nil:
			return invalid("enabled is required: true or false.")
		}
		app.setFeature(f.Name, *in.Enabled)
		app.UpdatedAt = p.now()
		return putApp(tx, app)
	})
	if err != nil {
		return answer{}, err
	}
	return ok(wireFeature(f, app))
}

func (a *appRecord) setFeature(name string, on bool) {
	if a.Features == nil {
		a.Features = map[string]bool{}
	}
	if on {
		a.Features[name] = true
	} else {
		delete(a.Features, name)
	}
}

// noAccountFeature sends clients on to the app's features: `heroku labs:enable` looks here first.
func (p *Platform) noAccountFeature(*call) (answer, error) {
	return answer{}, notFound("feature", "Couldn't find that feature.")
}
