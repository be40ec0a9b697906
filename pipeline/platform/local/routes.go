package local

import (
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform"
)

// routes are the calls of the Platform API that exist here.
func (p *Platform) routes() http.Handler {
	mux := http.NewServeMux()
	for pattern, fn := range map[string]func(*call) (answer, error){
		"POST /apps":                       p.createApp,
		"GET /apps":                        p.listApps,
		"GET /users/{user}/apps":           p.listApps,
		"GET /apps/{app}":                  p.appInfo,
		"PATCH /apps/{app}":                p.updateApp,
		"DELETE /apps/{app}":               p.deleteApp,
		"GET /apps/{app}/available-stacks": p.availableStacks,
		"GET /stacks":                      p.listStacks,
		"GET /stacks/{stack}":              p.stackInfo,

		"GET /teams":               p.listTeams,
		"POST /teams":              p.createTeam,
		"GET /teams/{team}":        p.teamInfo,
		"GET /teams/{team}/{kind}": p.underTeams,
		"POST /teams/apps":         p.createTeamApp,
		"PATCH /teams/apps/{app}":  p.updateTeamApp,

		"GET /apps/{app}/features":             p.listFeatures,
		"GET /apps/{app}/features/{feature}":   p.featureInfo,
		"PATCH /apps/{app}/features/{feature}": p.updateFeature,
		"GET /apps/{app}/available-dyno-sizes": p.availableSizes,
		"GET /dyno-sizes":                      p.listSizes,
		"GET /dyno-sizes/{size}":               p.sizeInfo,

		"POST /apps/{app}/slugs":       p.createSlug,
		"GET /apps/{app}/slugs/{slug}": p.slugInfo,

		"GET /apps/{app}/releases":                       p.listReleases,
		"POST /apps/{app}/releases":                      p.createRelease,
		"GET /apps/{app}/releases/{release}":             p.releaseInfo,
		"GET /apps/{app}/releases/{release}/config-vars": p.releaseConfig,

		"GET /apps/{app}/config-vars":   p.configVars,
		"PATCH /apps/{app}/config-vars": p.updateConfig,

		"GET /apps/{app}/formation":          p.listFormation,
		"PATCH /apps/{app}/formation":        p.updateFormation,
		"GET /apps/{app}/formation/{type}":   p.formationInfo,
		"PATCH /apps/{app}/formation/{type}": p.updateFormationType,

		"GET /apps/{app}/dynos":                           p.listDynos,
		"POST /apps/{app}/dynos":                          p.runDyno,
		"DELETE /apps/{app}/dynos":                        p.restartDynos,
		"GET /apps/{app}/dynos/{dyno}":                    p.dynoInfo,
		"DELETE /apps/{app}/dynos/{dyno}":                 p.restartDynos,
		"DELETE /apps/{app}/formations/{type}":            p.restartDynos,
		"POST /apps/{app}/dynos/{dyno}/actions/stop":      p.stopDynos,
		"POST /apps/{app}/formations/{type}/actions/stop": p.stopDynos,

		"POST /filters/apps": p.filterApps,

		"GET /pipelines":                                         p.listPipelines,
		"POST /pipelines":                                        p.createPipeline,
		"GET /pipelines/{pipeline}":                              p.pipelineInfo,
		"PATCH /pipelines/{pipeline}":                            p.updatePipeline,
		"DELETE /pipelines/{pipeline}":                           p.deletePipeline,
		"GET /pipeline-couplings":                                p.listCouplings,
		"POST /pipeline-couplings":                               p.createCoupling,
		"GET /pipeline-couplings/{coupling}":                     p.couplingInfo,
		"PATCH /pipeline-couplings/{coupling}":                   p.updateCoupling,
		"DELETE /pipeline-couplings/{coupling}":                  p.deleteCoupling,
		"GET /apps/{app}/pipeline-couplings":                     p.couplingOfApp,
		"GET /users/{user}/pipeline-couplings":                   p.listCouplings,
		"GET /pipelines/{pipeline}/pipeline-couplings":           p.listCouplings,
		"POST /pipeline-promotions":                              p.createPromotion,
		"GET /pipeline-promotions/{promotion}":                   p.promotionInfo,
		"GET /pipeline-promotions/{promotion}/promotion-targets": p.listPromotionTargets,

		"POST /apps/{app}/log-sessions":           p.createLogSession,
		"GET /apps/{app}/addons":                  p.emptyList,
		"GET /apps/{app}/addon-attachments":       p.emptyList,
		"GET /apps/{app}/collaborators":           p.emptyList,
		"GET /apps/{app}/domains":                 p.listDomains,
		"GET /apps/{app}/domains/{domain}":        p.domainInfo,
		"GET /apps/{app}/log-drains":              p.emptyList,
		"GET /apps/{app}/buildpack-installations": p.emptyList,
		"GET /apps/{app}/sni-endpoints":           p.emptyList,
		"GET /apps/{app}/webhooks":                p.emptyList,
		"GET /apps/{app}/builds":                  p.emptyList,
		"GET /addons":                             p.nothing,
		"GET /addon-attachments":                  p.nothing,
		"GET /addon-services":                     p.nothing,
		"GET /spaces":                             p.nothing,
		"GET /spaces/{space}":                     p.noSpace,
		"GET /regions":                            p.listRegions,
		"GET /regions/{region}":                   p.regionInfo,
		"GET /account":                            p.account,
		"GET /users/{user}":                       p.account,
		"GET /account/rate-limits":                p.rateLimits,
		"GET /account/features":                   p.nothing,
		"GET /account/features/{feature}":         p.noAccountFeature,
		"GET /account/keys":                       p.nothing,
		"GET /oauth/authorizations":               p.nothing,
		"GET /oauth/clients":                      p.nothing,
		"GET /oauth/sessions":                     p.nothing,

		"GET " + awaitPath + "{app}": p.awaitWeb,
	} {
		mux.Handle(pattern, p.handle(fn))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := checkAccept(r.Header); err != nil {
			writeError(w, err)
			return
		}
		// The mux answers in plain text and with redirects to a cleaner path; clients parse JSON
		// only, and the real platform redirects nobody.
		if _, pattern := mux.Handler(r); pattern == "" || path.Clean(r.URL.Path) != r.URL.Path {
			writeError(w, noEndpoint())
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// noEndpoint is the platform's word for an address or a method that it does not know.
func noEndpoint() error {
	return notFound("", "The requested API endpoint was not found. Are you using the right HTTP verb (i.e. `GET` vs. `POST`), and did you specify your intended version with the `Accept` header?")
}

// fixedTime stands for things that were there before any app.
var fixedTime = time.Date(2013, 10, 8, 16, 9, 54, 0, time.UTC)

// The stacks that exist in 2026, oldest first. Their ids are this platform's own.
var stacks = []platform.Stack{
	{ID: "a3bd6e22-0000-4000-8000-000000000022", Name: "heroku-22", State: "deprecated", CreatedAt: fixedTime, UpdatedAt: fixedTime},
	{ID: "a3bd6e24-0000-4000-8000-000000000024", Name: "heroku-24", State: "public", Default: true, CreatedAt: fixedTime, UpdatedAt: fixedTime},
	{ID: "a3bd6e26-0000-4000-8000-000000000026", Name: "heroku-26", State: "public", CreatedAt: fixedTime, UpdatedAt: fixedTime},
}

const defaultStack = "heroku-24"

// findStack takes an id or a name.
func findStack(ident string) (platform.Stack, bool) {
	i := slices.IndexFunc(stacks, func(s platform.Stack) bool { return s.ID == ident || s.Name == ident })
	if i < 0 {
		return platform.Stack{}, false
	}
	return stacks[i], true
}

func stackRef(name string) platform.Ref {
	s, _ := findStack(name) // a name is checked before it is stored
	return platform.Ref{ID: s.ID, Name: name}
}

func (p *Platform) listStacks(c *call) (answer, error) {
	return page(c, stacks, []string{"name", "id"}, func(s platform.Stack, field string) string { return either(field, s.ID, s.Name) })
}

func (p *Platform) availableStacks(c *call) (answer, error) {
	if _, err := p.findApp(c.PathValue("app")); err != nil {
		return answer{}, err
	}
	return p.listStacks(c)
}

func (p *Platform) stackInfo(c *call) (answer, error) {
	s, found := findStack(c.PathValue("stack"))
	if !found {
		return answer{}, notFound("stack", "Couldn't find that stack.")
	}
	return ok(s)
}

// cedar is the generation that runs slugs.
var cedar = platform.Ref{ID: "ced00000-0000-4000-8000-000000000001", Name: "cedar"}

// email is the only account's.
const email = "local@slugfile.localhost"

func (p *Platform) owner() platform.Owner { return platform.Owner{ID: p.meta.AccountID, Email: email} }

// account is the full account resource of the hyper-schema.
type account struct {
	AllowTracking       bool              `json:"allow_tracking"`
	Beta                bool              `json:"beta"`
	CountryOfResidence  *string           `json:"country_of_residence"`
	CreatedAt           time.Time         `json:"created_at"`
	DefaultOrganization *platform.Ref     `json:"default_organization"`
	DefaultTeam         *platform.Ref     `json:"default_team"`
	DelinquentAt        *time.Time        `json:"delinquent_at"`
	Email               string            `json:"email"`
	Federated           bool              `json:"federated"`
	ID                  string            `json:"id"`
	IdentityProvider    *identityProvider `json:"identity_provider"`
	LastLogin           *time.Time        `json:"last_login"`
	Name                *string           `json:"name"`
	SMSNumber           *string           `json:"sms_number"`
	SuspendedAt         *time.Time        `json:"suspended_at"`
	TwoFactor           bool              `json:"two_factor_authentication"`
	UpdatedAt           time.Time         `json:"updated_at"`
	Verified            bool              `json:"verified"`
}

// identityProvider is of federated accounts; this one never is.
type identityProvider struct {
	ID    string        `json:"id"`
	Name  string        `json:"name"`
	Owner identityOwner `json:"owner"`
	Team  *platform.Ref `json:"team"`
}

type identityOwner struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Type string `json:"type"`
}

func (p *Platform) account(c *call) (answer, error) {
	if user := c.PathValue("user"); user != "" && !p.isAccount(user) {
		return answer{}, notFound("account", "Couldn't find that user.")
	}
	name := "local"
	return ok(account{
		CreatedAt: p.meta.CreatedAt, UpdatedAt: p.meta.CreatedAt, Email: email, ID: p.meta.AccountID,
		Name: &name, Verified: true,
	})
}

func (p *Platform) rateLimits(*call) (answer, error) {
	return ok(struct {
		Remaining int `json:"remaining"`
	}{p.bucket.remaining()})
}

// trimV accepts v12 for 12.
func trimV(release string) string {
	if rest, found := strings.CutPrefix(release, "v"); found {
		return rest
	}
	return release
}
