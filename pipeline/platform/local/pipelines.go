package local

import (
	"cmp"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/slugfile/slugfile/pipeline/platform"
)

var (
	bucketPipelines = []byte("pipelines") // pipeline id -> pipelineRecord
	bucketCouplings = []byte("couplings") // app id -> couplingRecord: an app is in one pipeline
)

type pipelineRecord struct {
	ID        string        `json:"id"`
	Name      string        `json:"name"`
	Owner     pipelineOwner `json:"owner"`
	CreatedAt time.Time     `json:"created_at"`
	UpdatedAt time.Time     `json:"updated_at"`
}

type pipelineOwner struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

type couplingRecord struct {
	ID        string    `json:"id"`
	App       string    `json:"app"`
	Pipeline  string    `json:"pipeline"`
	Stage     string    `json:"stage"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// wirePipeline is the resource of the hyper-schema.
type wirePipeline struct {
	pipelineRecord
	Generation platform.Ref `json:"generation"`
}

// wireCoupling has the name of the pipeline too, which the heroku command shows.
type wireCoupling struct {
	ID        string       `json:"id"`
	App       idOnly       `json:"app"`
	Pipeline  platform.Ref `json:"pipeline"`
	Stage     string       `json:"stage"`
	CreatedAt time.Time    `json:"created_at"`
	UpdatedAt time.Time    `json:"updated_at"`
}

type idOnly struct {
	ID string `json:"id"`
}

// The pattern and the stages are those of the hyper-schema.
var (
	pipelineName = regexp.MustCompile(`^[a-z][a-z0-9-]{2,29}$`)
	stages       = []string{"test", "review", "development", "staging", "production"}
)

func checkPipelineName(name string) error {
	if pipelineName.MatchString(name) {
		return nil
	}
	return invalid("Name must start with a letter and can only contain lowercase letters, digits, and dashes. It has 3 to 30 characters.")
}

// pipelineIn finds a pipeline by id, or by name when only one has it: names are not unique.
func pipelineIn(tx *bolt.Tx, ident string) (pipelineRecord, error) {
	var found pipelineRecord
	byID, err := get(tx, bucketPipelines, []byte(ident), &found)
	if err != nil || byID {
		return found, err
	}
	several := false
	err = each(tx, bucketPipelines, nil, func(l pipelineRecord) error {
		if l.Name == ident {
			several = found.ID != ""
			found = l
		}
		return nil
	})
	switch {
	case err != nil:
	case several:
		err = &apiError{status: http.StatusUnprocessableEntity, id: "multiple_matches", message: "More than one pipeline has the name " + ident + ": give its id."}
	case found.ID == "":
		err = notFound("pipeline", "Couldn't find that pipeline.")
	}
	return found, err
}

func answerPipeline(status int, l pipelineRecord, err error) (answer, error) {
	return answer{status, wirePipeline{l, cedar}}, err
}

func (p *Platform) listPipelines(c *call) (answer, error) {
	name := c.URL.Query().Get("eq[name]") // how the heroku command looks one up
	value := func(l wirePipeline, field string) string { return either(field, l.ID, l.Name) }
	return pageRead(p, c, []string{"id", "name"}, value, func(tx *bolt.Tx) (list []wirePipeline, err error) {
		err = each(tx, bucketPipelines, nil, func(l pipelineRecord) error {
			if name == "" || l.Name == name {
				list = append(list, wirePipeline{l, cedar})
			}
			return nil
		})
		return list, err
	})
}

func (p *Platform) createPipeline(c *call) (answer, error) {
	var in struct {
		Name       string         `json:"name"`
		Owner      *pipelineOwner `json:"owner"`
		Generation any            `json:"generation"`
	}
	if err := c.decode(&in, "name", "owner", "generation"); err != nil {
		return answer{}, err
	}
	if err := checkPipelineName(in.Name); err != nil {
		return answer{}, err
	}
	if generation, isObject := in.Generation.(map[string]any); isObject {
		in.Generation = generation["name"]
	}
	if in.Generation != nil && in.Generation != cedar.Name {
		return answer{}, invalid("The embedded platform has the generation cedar only.")
	}
	now := p.now()
	l := pipelineRecord{ID: newID(), Name: in.Name, Owner: pipelineOwner{p.meta.AccountID, "user"}, CreatedAt: now, UpdatedAt: now}
	err := p.db.Update(func(tx *bolt.Tx) error {
		if in.Owner != nil {
			switch in.Owner.Type {
			case "user":
				if in.Owner.ID != p.meta.AccountID {
					return invalid("owner is another user: the embedded platform has one account.")
				}
			case "team":
				t, err := teamIn(tx, in.Owner.ID)
				if err != nil {
					return err
				}
				l.Owner = pipelineOwner{t.ID, "team"}
			default:
				return invalid("owner needs the type user or team, got %q.", in.Owner.Type)
			}
		}
		return put(tx, bucketPipelines, []byte(l.ID), l)
	})
	return answerPipeline(http.StatusCreated, l, err)
}

func (p *Platform) pipelineInfo(c *call) (answer, error) {
	var l pipelineRecord
	err := p.db.View(func(tx *bolt.Tx) (err error) {
		l, err = pipelineIn(tx, c.PathValue("pipeline"))
		return err
	})
	return answerPipeline(http.StatusOK, l, err)
}

func (p *Platform) updatePipeline(c *call) (answer, error) {
	var in struct {
		Name *string `json:"name"`
	}
	if err := c.decode(&in, "name", "id"); err != nil {
		return answer{}, err
	}
	var l pipelineRecord
	err := p.db.Update(func(tx *bolt.Tx) (err error) {
		if l, err = pipelineIn(tx, c.PathValue("pipeline")); err != nil {
			return err
		}
		if in.Name != nil {
			if err := checkPipelineName(*in.Name); err != nil {
				return err
			}
			l.Name = *in.Name
		}
		l.UpdatedAt = p.now()
		return put(tx, bucketPipelines, []byte(l.ID), l)
	})
	return answerPipeline(http.StatusOK, l, err)
}

// deletePipeline leaves the apps alone. The heroku command sends a body, which says nothing.
func (p *Platform) deletePipeline(c *call) (answer, error) {
	var l pipelineRecord
	err := p.db.Update(func(tx *bolt.Tx) (err error) {
		if l, err = pipelineIn(tx, c.PathValue("pipeline")); err != nil {
			return err
		}
		couplings, err := couplingsIn(tx, l.ID)
		if err != nil {
			return err
		}
		for _, k := range couplings {
			if err := tx.Bucket(bucketCouplings).Delete([]byte(k.App)); err != nil {
				return err
			}
		}
		if err := dropPromotions(tx, func(m promotionRecord) bool { return m.Pipeline == l.ID }); err != nil {
			return err
		}
		return tx.Bucket(bucketPipelines).Delete([]byte(l.ID))
	})
	return answerPipeline(http.StatusOK, l, err)
}

// couplingsIn lists the couplings of a pipeline; of all of them when it is empty.
func couplingsIn(tx *bolt.Tx, pipeline string) ([]couplingRecord, error) {
	var list []couplingRecord
	err := each(tx, bucketCouplings, nil, func(k couplingRecord) error {
		if pipeline == "" || k.Pipeline == pipeline {
			list = append(list, k)
		}
		return nil
	})
	slices.SortFunc(list, func(a, b couplingRecord) int { return cmp.Compare(a.ID, b.ID) })
	return list, err
}

func wireCouplingIn(tx *bolt.Tx, k couplingRecord) (wireCoupling, error) {
	l, err := pipelineIn(tx, k.Pipeline)
	return wireCoupling{k.ID, idOnly{k.App}, platform.Ref{ID: l.ID, Name: l.Name}, k.Stage, k.CreatedAt, k.UpdatedAt}, err
}

// listCouplings lists those of a pipeline, a team's apps, a user's apps, or all.
func (p *Platform) listCouplings(c *call) (answer, error) {
	user := c.PathValue("user")
	if user != "" && !p.isAccount(user) {
		return answer{}, notFound("account", "Couldn't find that user.")
	}
	value := func(k wireCoupling, _ string) string { return k.ID }
	return pageRead(p, c, []string{"id"}, value, func(tx *bolt.Tx) (list []wireCoupling, err error) {
		pipeline, owner := "", ""
		if ident := c.PathValue("pipeline"); ident != "" {
			l, err := pipelineIn(tx, ident)
			if err != nil {
				return nil, err
			}
			pipeline = l.ID
		}
		if ident := c.PathValue("team"); ident != "" {
			t, err := teamIn(tx, ident)
			if err != nil {
				return nil, err
			}
			owner = t.ID
		}
		couplings, err := couplingsIn(tx, pipeline)
		if err != nil {
			return nil, err
		}
		for _, k := range couplings {
			if owner != "" {
				app, err := appIn(tx, k.App)
				if err != nil {
					return nil, err
				}
				if app.Team == nil || app.Team.ID != owner {
					continue
				}
			}
			w, err := wireCouplingIn(tx, k)
			if err != nil {
				return nil, err
			}
			list = append(list, w)
		}
		return list, nil
	})
}

func (p *Platform) createCoupling(c *call) (answer, error) {
	var in struct {
		App      ident  `json:"app"`
		Pipeline ident  `json:"pipeline"`
		Stage    string `json:"stage"`
	}
	if err := c.decode(&in, "app", "pipeline", "stage"); err != nil {
		return answer{}, err
	}
	if in.App == "" || in.Pipeline == "" {
		return answer{}, invalid("app, pipeline and stage are required.")
	}
	if !slices.Contains(stages, in.Stage) {
		return answer{}, invalid("Stage %q is not one of %s.", in.Stage, strings.Join(stages, ", "))
	}
	var out wireCoupling
	err := p.db.Update(func(tx *bolt.Tx) error {
		app, err := appIn(tx, string(in.App))
		if err != nil {
			return err
		}
		l, err := pipelineIn(tx, string(in.Pipeline))
		if err != nil {
			return err
		}
		if tx.Bucket(bucketCouplings).Get([]byte(app.ID)) != nil {
			return invalid("App %s is already in a pipeline.", app.Name)
		}
		now := p.now()
		k := couplingRecord{ID: newID(), App: app.ID, Pipeline: l.ID, Stage: in.Stage, CreatedAt: now, UpdatedAt: now}
		if out, err = wireCouplingIn(tx, k); err != nil {
			return err
		}
		return put(tx, bucketCouplings, []byte(app.ID), k)
	})
	return answer{http.StatusCreated, out}, err
}

func couplingIn(tx *bolt.Tx, id string) (couplingRecord, error) {
	list, err := couplingsIn(tx, "")
	if err != nil {
		return couplingRecord{}, err
	}
	i := slices.IndexFunc(list, func(k couplingRecord) bool { return k.ID == id })
	if i < 0 {
		return couplingRecord{}, notFound("pipeline_coupling", "Couldn't find that pipeline coupling.")
	}
	return list[i], nil
}

// withCoupling answers the coupling of the path after change, which may be nil.
func (p *Platform) withCoupling(c *call, change func(*bolt.Tx, *couplingRecord) error) (answer, error) {
	var out wireCoupling
	run := p.db.View
	if change != nil {
		run = p.db.Update
	}
	err := run(func(tx *bolt.Tx) error {
		k, err := couplingIn(tx, c.PathValue("coupling"))
		if err != nil {
			return err
		}
		if change != nil {
			if err := change(tx, &k); err != nil {
				return err
			}
		}
		out, err = wireCouplingIn(tx, k)
		return err
	})
	return answer{http.StatusOK, out}, err
}

func (p *Platform) couplingInfo(c *call) (answer, error) { return p.withCoupling(c, nil) }

func (p *Platform) updateCoupling(c *call) (answer, error) {
	var in struct {
		Stage string `json:"stage"`
	}
	if err := c.decode(&in, "stage"); err != nil {
		return answer{}, err
	}
	if !slices.Contains(stages, in.Stage) {
		return answer{}, invalid("Stage %q is not one of %s.", in.Stage, strings.Join(stages, ", "))
	}
	return p.withCoupling(c, func(tx *bolt.Tx, k *couplingRecord) error {
		k.Stage, k.UpdatedAt = in.Stage, p.now()
		return put(tx, bucketCouplings, []byte(k.App), *k)
	})
}

func (p *Platform) deleteCoupling(c *call) (answer, error) {
	return p.withCoupling(c, func(tx *bolt.Tx, k *couplingRecord) error {
		return tx.Bucket(bucketCouplings).Delete([]byte(k.App))
	})
}

// couplingOfApp is a 404 when there is none, and no empty list, which makes the heroku command
// crash.
func (p *Platform) couplingOfApp(c *call) (answer, error) {
	var out wireCoupling
	err := p.db.View(func(tx *bolt.Tx) error {
		app, err := appIn(tx, c.PathValue("app"))
		if err != nil {
			return err
		}
		var k couplingRecord
		found, err := get(tx, bucketCouplings, []byte(app.ID), &k)
		if err == nil && !found {
			err = notFound("pipeline_coupling", "Couldn't find that pipeline coupling.")
		}
		if err != nil {
			return err
		}
		out, err = wireCouplingIn(tx, k)
		return err
	})
	return answer{http.StatusOK, out}, err
}

// filterApps answers the apps of a list of ids that exist.
func (p *Platform) filterApps(c *call) (answer, error) {
	var in struct {
		In struct {
			ID   []string `json:"id"`
			Name []string `json:"name"`
		} `json:"in"`
	}
	if err := c.decode(&in, "in"); err != nil {
		return answer{}, err
	}
	apps, err := p.allApps()
	if err != nil {
		return answer{}, err
	}
	list := []teamApp{}
	for _, a := range apps {
		if slices.Contains(in.In.ID, a.ID) || slices.Contains(in.In.Name, a.Name) {
			list = append(list, p.wireTeamApp(a))
		}
	}
	return pageApps(c, list, func(a teamApp) platform.App { return a.App })
}
