package local

import (
	"slices"
	"strings"

	"github.com/slugfile/slugfile/pipeline/platform"
)

// The dyno sizes of the cedar generation, the default first. They change nothing here: a dyno
// has what this machine gives it.
var dynoSizes = []platform.Ref{
	{ID: "d1e00000-0000-4000-8000-000000000001", Name: "Basic"},
	{ID: "d1e00000-0000-4000-8000-000000000002", Name: "Eco"},
	{ID: "d1e00000-0000-4000-8000-000000000003", Name: "Standard-1X"},
	{ID: "d1e00000-0000-4000-8000-000000000004", Name: "Standard-2X"},
	{ID: "d1e00000-0000-4000-8000-000000000005", Name: "Performance-M"},
	{ID: "d1e00000-0000-4000-8000-000000000006", Name: "Performance-L"},
	{ID: "d1e00000-0000-4000-8000-000000000007", Name: "Performance-L-RAM"},
	{ID: "d1e00000-0000-4000-8000-000000000008", Name: "Performance-XL"},
	{ID: "d1e00000-0000-4000-8000-000000000009", Name: "Performance-2XL"},
}

// sizeFacts are what Heroku sells under a name: GB of memory, least vCPUs, dyno units, cents a
// month. They are shown, and nothing is made of them.
var sizeFacts = map[string]struct {
	memory    float64
	compute   int
	units     float64
	cents     int
	dedicated bool
}{
	"Basic": {0.5, 1, 0.28, 700, false}, "Eco": {0.5, 1, 0, 500, false},
	"Standard-1X": {0.5, 1, 1, 2500, false}, "Standard-2X": {1, 1, 2, 5000, false},
	"Performance-M": {2.5, 2, 8, 25000, true}, "Performance-L": {14, 8, 16, 50000, true},
	"Performance-L-RAM": {30, 4, 16, 50000, true}, "Performance-XL": {62, 8, 24, 75000, true},
	"Performance-2XL": {126, 16, 48, 150000, true},
}

// dynoSize is the resource of the hyper-schema.
type dynoSize struct {
	Architecture     string       `json:"architecture"`
	Compute          int          `json:"compute"`
	Cost             sizeCost     `json:"cost"`
	Dedicated        bool         `json:"dedicated"`
	PreciseDynoUnits float64      `json:"precise_dyno_units"`
	Generation       platform.Ref `json:"generation"`
	ID               string       `json:"id"`
	Memory           float64      `json:"memory"`
	Name             string       `json:"name"`
	PrivateSpaceOnly bool         `json:"private_space_only"`
}

type sizeCost struct {
	Cents int    `json:"cents"`
	Unit  string `json:"unit"`
}

func wireSize(s platform.Ref) dynoSize {
	f := sizeFacts[s.Name]
	return dynoSize{
		Architecture: "amd64", Compute: f.compute, Cost: sizeCost{f.cents, "month"}, Dedicated: f.dedicated,
		PreciseDynoUnits: f.units, Generation: cedar, ID: s.ID, Memory: f.memory, Name: s.Name,
	}
}

// findSize takes an id or a name, in any case: the heroku command sends `standard-2x`.
func findSize(ident string) (platform.Ref, bool) {
	i := slices.IndexFunc(dynoSizes, func(s platform.Ref) bool { return s.ID == ident || strings.EqualFold(s.Name, ident) })
	if i < 0 {
		return platform.Ref{}, false
	}
	return dynoSizes[i], true
}

func (p *Platform) listSizes(c *call) (answer, error) {
	list := make([]dynoSize, len(dynoSizes))
	for i, s := range dynoSizes {
		list[i] = wireSize(s)
	}
	return page(c, list, []string{"name", "id"}, func(s dynoSize, field string) string { return either(field, s.ID, s.Name) })
}

func (p *Platform) availableSizes(c *call) (answer, error) {
	if _, err := p.findApp(c.PathValue("app")); err != nil {
		return answer{}, err
	}
	return p.listSizes(c)
}

func (p *Platform) sizeInfo(c *call) (answer, error) {
	s, found := findSize(c.PathValue("size"))
	if !found {
		return answer{}, notFound("dyno_size", "Couldn't find that dyno size.")
	}
	return ok(wireSize(s))
}
