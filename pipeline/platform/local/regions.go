package local

import (
	"slices"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform"
)

// The regions that apps without a Private Space can be in.
var regions = []platform.Ref{
	{ID: "59accabd-516d-4f0e-83e6-6e3757701145", Name: "us"},
	{ID: "ed30241c-ed8c-4bb6-9714-61953675d0b4", Name: "eu"},
}

// region is the resource of the hyper-schema.
type region struct {
	Country        string         `json:"country"`
	CreatedAt      time.Time      `json:"created_at"`
	Description    string         `json:"description"`
	ID             string         `json:"id"`
	Locale         string         `json:"locale"`
	Name           string         `json:"name"`
	PrivateCapable bool           `json:"private_capable"`
	Provider       regionProvider `json:"provider"`
	UpdatedAt      time.Time      `json:"updated_at"`
}

type regionProvider struct {
	Name   string `json:"name"`
	Region string `json:"region"`
}

// wireRegion tells what the name stands for on the real platform; here every app is on this machine.
func wireRegion(r platform.Ref) region {
	out := region{
		Country: "United States", CreatedAt: fixedTime, Description: "United States", ID: r.ID, Locale: "Virginia", Name: r.Name,
		Provider: regionProvider{"amazon-web-services", "us-east-1"}, UpdatedAt: fixedTime,
	}
	if r.Name == "eu" {
		out.Country, out.Description, out.Locale, out.Provider.Region = "Ireland", "Europe", "Ireland", "eu-west-1"
	}
	return out
}

func findRegion(ident string) (platform.Ref, bool) {
	i := slices.IndexFunc(regions, func(r platform.Ref) bool { return r.ID == ident || r.Name == ident })
	if i < 0 {
		return platform.Ref{}, false
	}
	return regions[i], true
}

func (p *Platform) listRegions(c *call) (answer, error) {
	list := make([]region, len(regions))
	for i, r := range regions {
		list[i] = wireRegion(r)
	}
	return page(c, list, []string{"name", "id"}, func(r region, field string) string { return either(field, r.ID, r.Name) })
}

func (p *Platform) regionInfo(c *call) (answer, error) {
	r, found := findRegion(c.PathValue("region"))
	if !found {
		return answer{}, notFound("region", "Couldn't find that region.")
	}
	return ok(wireRegion(r))
}
