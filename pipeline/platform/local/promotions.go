package local

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/slugfile/slugfile/pipeline/platform"
)

var bucketPromotions = []byte("promotions") // promotion id -> promotionRecord

// promotionRecord is one promotion. Its status is that of its releases, so that nothing has to be
// brought up to date when they settle or when the platform was killed meanwhile.
type promotionRecord struct {
	ID        string         `json:"id"`
	Pipeline  string         `json:"pipeline"`
	Source    string         `json:"source"`
	Release   string         `json:"release"`
	Targets   []targetRecord `json:"targets"`
	CreatedAt time.Time      `json:"created_at"`
}

// targetRecord is one app that is promoted to. Error says why it got no release.
type targetRecord struct {
	ID      string `json:"id"`
	App     string `json:"app"`
	Release string `json:"release,omitempty"`
	Version int    `json:"version,omitempty"`
	Error   string `json:"error,omitempty"`
}

type promotionSource struct {
	App     idOnly `json:"app"`
	Release idOnly `json:"release"`
}

type wirePromotion struct {
	ID        string          `json:"id"`
	Pipeline  idOnly          `json:"pipeline"`
	Source    promotionSource `json:"source"`
	Status    string          `json:"status"`
	CreatedAt time.Time       `json:"created_at"`
	UpdatedAt time.Time       `json:"updated_at"`
}

type wireTarget struct {
	ID           string  `json:"id"`
	App          idOnly  `json:"app"`
	ErrorMessage *string `json:"error_message"`
	Promotion    idOnly  `json:"pipeline_promotion"`
	Release      *idOnly `json:"release"`
	Status       string  `json:"status"`
}

// targetIn reads how a target stands, and since when.
func targetIn(tx *bolt.Tx, m promotionRecord, t targetRecord) (wireTarget, time.Time, error) {
	out := wireTarget{ID: t.ID, App: idOnly{t.App}, Promotion: idOnly{m.ID}, Status: platform.Succeeded}
	fail := func(text string) { out.Status, out.ErrorMessage = platform.Failed, &text }
	if t.Release == "" {
		fail(t.Error)
		return out, m.CreatedAt, nil
	}
	var r releaseRecord
	found, err := get(tx, bucketReleases, releaseKey(t.App, t.Version), &r)
	switch {
	case err != nil:
	case !found:
		fail("Couldn't find that app.")
		return out, m.CreatedAt, nil
	case r.Status == platform.Pending:
		out.Status = platform.Pending
	case r.Status == platform.Failed:
		fail("Release command failed")
	}
	out.Release = &idOnly{t.Release}
	return out, r.UpdatedAt, err
}

func promotionIn(tx *bolt.Tx, id string) (promotionRecord, error) {
	var m promotionRecord
	found, err := get(tx, bucketPromotions, []byte(id), &m)
	if err == nil && !found {
		err = notFound("pipeline_promotion", "Couldn't find that pipeline promotion.")
	}
	return m, err
}

func wirePromotionIn(tx *bolt.Tx, m promotionRecord) (wirePromotion, error) {
	out := wirePromotion{
		ID: m.ID, Pipeline: idOnly{m.Pipeline}, Source: promotionSource{idOnly{m.Source}, idOnly{m.Release}},
		Status: "completed", CreatedAt: m.CreatedAt, UpdatedAt: m.CreatedAt,
	}
	for _, t := range m.Targets {
		w, since, err := targetIn(tx, m, t)
		if err != nil {
			return out, err
		}
		if w.Status == platform.Pending {
			out.Status = platform.Pending
		}
		if since.After(out.UpdatedAt) {
			out.UpdatedAt = since
		}
	}
	return out, nil
}

// promotionSpec is what a client asks for.
type promotionSpec struct {
	Pipeline idOnly `json:"pipeline"`
	Source   struct {
		App     idOnly  `json:"app"`
		Release *idOnly `json:"release"`
	} `json:"source"`
	Targets []struct {
		App idOnly `json:"app"`
	} `json:"targets"`
}

// createPromotion releases the slug that the source runs to each target. All releases are made
// at once; those with a release phase settle in their own time.
func (p *Platform) createPromotion(c *call) (answer, error) {
	var in promotionSpec
	if err := c.decode(&in, "pipeline", "source", "targets"); err != nil {
		return answer{}, err
	}
	if in.Pipeline.ID == "" || in.Source.App.ID == "" || len(in.Targets) == 0 {
		return answer{}, invalid("pipeline, source and at least one target are required.")
	}
	type launched struct {
		app appRecord
		r   releaseRecord
	}
	var launches []launched
	var out wirePromotion
	err := p.db.Update(func(tx *bolt.Tx) error {
		launches = nil
		l, err := pipelineIn(tx, in.Pipeline.ID)
		if err != nil {
			return err
		}
		source, err := coupledApp(tx, l, in.Source.App.ID)
		if err != nil {
			return err
		}
		from, err := currentIn(tx, source)
		if err == nil && in.Source.Release != nil {
			from, err = releaseIn(tx, source, in.Source.Release.ID)
		}
		if err != nil {
			return err
		}
		if !eligible(from) {
			return invalid("App %s has no slug to promote: v%d runs none that went live.", source.Name, from.Version)
		}
		m := promotionRecord{ID: newID(), Pipeline: l.ID, Source: source.ID, Release: from.ID, CreatedAt: p.now()}
		seen := map[string]bool{source.ID: true}
		for _, t := range in.Targets {
			app, err := coupledApp(tx, l, t.App.ID)
			if err != nil {
				return err
			}
			if seen[app.ID] {
				return invalid("App %s is named twice: a promotion goes from one app to others.", app.Name)
			}
			seen[app.ID] = true
			target, r, err := p.promote(tx, &app, source, from)
			if err != nil {
				return err
			}
			if target.Error == "" {
				launches = append(launches, launched{app, r})
			}
			m.Targets = append(m.Targets, target)
		}
		if err := put(tx, bucketPromotions, []byte(m.ID), m); err != nil {
			return err
		}
		out, err = wirePromotionIn(tx, m)
		return err
	})
	if err != nil {
		return answer{}, err
	}
	for _, l := range launches {
		p.launch(l.app, l.r)
	}
	return answer{http.StatusCreated, out}, nil
}

// coupledApp finds an app that is in a pipeline.
func coupledApp(tx *bolt.Tx, l pipelineRecord, ident string) (appRecord, error) {
	app, err := appIn(tx, ident)
	if err != nil {
		return app, err
	}
	var k couplingRecord
	if _, err := get(tx, bucketCouplings, []byte(app.ID), &k); err != nil {
		return app, err
	}
	if k.Pipeline != l.ID {
		return app, invalid("App %s is not in the pipeline %s.", app.Name, l.Name)
	}
	return app, nil
}

// promote makes the release of one target. A slug that cannot be released fails this target alone.
func (p *Platform) promote(tx *bolt.Tx, app *appRecord, source appRecord, from releaseRecord) (targetRecord, releaseRecord, error) {
	t := targetRecord{ID: newID(), App: app.ID}
	slug, err := p.slugToRelease(tx, from.Slug)
	var refused *apiError
	if errors.As(err, &refused) {
		t.Error = refused.message
		return t, releaseRecord{}, nil
	}
	if err != nil {
		return t, releaseRecord{}, err
	}
	r, err := p.addRelease(tx, app, &slug, fmt.Sprintf("Promote %s v%d %s", source.Name, from.Version, shortCommit(slug)))
	if err != nil {
		return t, r, err
	}
	t.Release, t.Version = r.ID, r.Version
	return t, r, putApp(tx, *app)
}

func (p *Platform) promotionInfo(c *call) (answer, error) {
	var out wirePromotion
	err := p.db.View(func(tx *bolt.Tx) error {
		m, err := promotionIn(tx, c.PathValue("promotion"))
		if err != nil {
			return err
		}
		out, err = wirePromotionIn(tx, m)
		return err
	})
	return answer{http.StatusOK, out}, err
}

func (p *Platform) listPromotionTargets(c *call) (answer, error) {
	value := func(t wireTarget, _ string) string { return t.ID }
	return pageRead(p, c, []string{"id"}, value, func(tx *bolt.Tx) (list []wireTarget, err error) {
		m, err := promotionIn(tx, c.PathValue("promotion"))
		if err != nil {
			return nil, err
		}
		for _, t := range m.Targets {
			w, _, err := targetIn(tx, m, t)
			if err != nil {
				return nil, err
			}
			list = append(list, w)
		}
		return list, nil
	})
}

// dropPromotions forgets promotions.
func dropPromotions(tx *bolt.Tx, gone func(promotionRecord) bool) error {
	var drop []string
	err := each(tx, bucketPromotions, nil, func(m promotionRecord) error {
		if gone(m) {
			drop = append(drop, m.ID)
		}
		return nil
	})
	for _, id := range drop {
		if err == nil {
			err = tx.Bucket(bucketPromotions).Delete([]byte(id))
		}
	}
	return err
}
