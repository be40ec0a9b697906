package local

import (
	"crypto/sha256"
	"strings"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform"
)

// domain is the resource of the hyper-schema.
type domain struct {
	ACMStatus       *string       `json:"acm_status"`
	ACMStatusReason *string       `json:"acm_status_reason"`
	App             platform.Ref  `json:"app"`
	CNAME           *string       `json:"cname"`
	CreatedAt       time.Time     `json:"created_at"`
	Hostname        string        `json:"hostname"`
	ID              string        `json:"id"`
	Kind            string        `json:"kind"`
	SNIEndpoint     *platform.Ref `json:"sni_endpoint"`
	Status          string        `json:"status"`
	UpdatedAt       time.Time     `json:"updated_at"`
}

// defaultDomain is the one that every app has. On Heroku it is one of herokuapp.com; here it is
// what stands in the app's web_url. Others cannot be added.
func (p *Platform) defaultDomain(app appRecord) domain {
	id := sha256.Sum256([]byte("domain of " + app.ID)) // always the same, and kept nowhere
	return domain{
		App: platform.Ref{ID: app.ID, Name: app.Name}, CreatedAt: app.CreatedAt, Hostname: p.domainName(app), ID: uuid(id[:16]),
		Kind: "heroku", Status: "none", UpdatedAt: app.CreatedAt,
	}
}

func (p *Platform) domainName(app appRecord) string {
	return strings.TrimSuffix(strings.TrimPrefix(p.webURL(app), "http://"), "/")
}

func (p *Platform) listDomains(c *call) (answer, error) {
	app, err := p.findApp(c.PathValue("app"))
	if err != nil {
		return answer{}, err
	}
	return ok([]domain{p.defaultDomain(app)})
}

func (p *Platform) domainInfo(c *call) (answer, error) {
	app, err := p.findApp(c.PathValue("app"))
	if err != nil {
		return answer{}, err
	}
	d := p.defaultDomain(app)
	if ident := c.PathValue("domain"); ident != d.ID && ident != d.Hostname {
		return answer{}, notFound("domain", "Couldn't find that domain name.")
	}
	return ok(d)
}
