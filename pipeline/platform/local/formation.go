package local

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/slugfile/slugfile/pipeline/platform"
)

// maxQuantity is the most dynos of one type, so that a slip of the finger does not take the
// machine down.
const maxQuantity = 100

func wireFormation(app appRecord, name, command string, f formationRecord) platform.Formation {
	size, _ := findSize(f.Size) // checked before it was stored
	return platform.Formation{
		App: platform.Ref{ID: app.ID, Name: app.Name}, Command: command, CreatedAt: f.CreatedAt, DynoSize: size,
		ID: f.ID, Quantity: f.Quantity, Size: size.Name, Type: name, UpdatedAt: f.UpdatedAt,
	}
}

// currentSlug is the slug that runs now; a zero one before the first release of a slug.
func currentSlug(tx *bolt.Tx, app appRecord) (slugRecord, error) {
	r, err := currentIn(tx, app)
	if err != nil || r.Slug == "" {
		return slugRecord{}, err
	}
	return slugIn(tx, r.Slug)
}

// formationOf lists the process types of the slug that runs now.
func (p *Platform) formationOf(ident string) ([]platform.Formation, error) {
	list := []platform.Formation{}
	err := p.db.View(func(tx *bolt.Tx) error {
		app, err := appIn(tx, ident)
		if err != nil {
			return err
		}
		slug, err := currentSlug(tx, app)
		for name, command := range slug.ProcessTypes {
			list = append(list, wireFormation(app, name, command, app.Formation[name]))
		}
		return err
	})
	slices.SortFunc(list, func(a, b platform.Formation) int { return cmp.Compare(a.Type, b.Type) })
	return list, err
}

func (p *Platform) listFormation(c *call) (answer, error) {
	list, err := p.formationOf(c.PathValue("app"))
	if err != nil {
		return answer{}, err
	}
	return page(c, list, []string{"type", "id"}, func(f platform.Formation, field string) string { return either(field, f.ID, f.Type) })
}

func (p *Platform) formationInfo(c *call) (answer, error) {
	list, err := p.formationOf(c.PathValue("app"))
	if err != nil {
		return answer{}, err
	}
	for _, f := range list {
		if f.Type == c.PathValue("type") || f.ID == c.PathValue("type") {
			return ok(f)
		}
	}
	return answer{}, notFound("formation", "Couldn't find that formation.")
}

// formationUpdate is one change. The heroku command sends quantities as strings, `+1` among
// them, and the old name of the size.
type formationUpdate struct {
	Type     string          `json:"type"`
	Quantity json.RawMessage `json:"quantity"`
	DynoSize json.RawMessage `json:"dyno_size"`
	Size     json.RawMessage `json:"size"`
}

var updateFields = []string{"type", "quantity", "dyno_size", "size"}

func (p *Platform) updateFormation(c *call) (answer, error) {
	var in struct {
		Updates []map[string]json.RawMessage `json:"updates"`
	}
	if err := c.decode(&in, "updates"); err != nil {
		return answer{}, err
	}
	updates := make([]formationUpdate, len(in.Updates))
	for i, fields := range in.Updates {
		for name := range fields {
			if !slices.Contains(updateFields, name) {
				return answer{}, invalid("Unknown field %q: expected one of %s.", name, strings.Join(updateFields, ", "))
			}
		}
		if json.Unmarshal(fields["type"], &updates[i].Type) != nil || updates[i].Type == "" {
			return answer{}, invalid("Each update needs the type that it is for.")
		}
		updates[i].Quantity, updates[i].DynoSize, updates[i].Size = fields["quantity"], fields["dyno_size"], fields["size"]
	}
	list, err := p.scale(c.PathValue("app"), updates)
	if err != nil {
		return answer{}, err
	}
	return ok(list)
}

func (p *Platform) updateFormationType(c *call) (answer, error) {
	var in formationUpdate
	if err := c.decode(&in, "quantity", "dyno_size", "size"); err != nil {
		return answer{}, err
	}
	in.Type = c.PathValue("type")
	list, err := p.scale(c.PathValue("app"), []formationUpdate{in})
	if err != nil {
		return answer{}, err
	}
	return ok(list[0])
}

// scale carries out all updates or none, and answers the changed items.
func (p *Platform) scale(ident string, updates []formationUpdate) ([]platform.Formation, error) {
	list := []platform.Formation{}
	var app appRecord
	err := p.db.Update(func(tx *bolt.Tx) (err error) {
		if app, err = appIn(tx, ident); err != nil {
			return err
		}
		slug, err := currentSlug(tx, app)
		if err != nil {
			return err
		}
		for _, u := range updates {
			name := u.Type
			for n, f := range app.Formation {
				if f.ID == u.Type {
					name = n
				}
			}
			command, found := slug.ProcessTypes[name]
			if !found {
				return notFound("formation", "Couldn't find that process type ("+u.Type+").")
			}
			f := app.Formation[name]
			if f.Quantity, err = newQuantity(f.Quantity, u.Quantity); err != nil {
				return err
			}
			if f.Size, err = newSize(f.Size, u.DynoSize, u.Size); err != nil {
				return err
			}
			f.UpdatedAt = p.now()
			app.Formation[name] = f
			list = append(list, wireFormation(app, name, command, f))
		}
		return putApp(tx, app)
	})
	if err == nil {
		p.poke(app.ID)
	}
	return list, err
}

// newQuantity reads 2, "2", "+1" and "-1".
func newQuantity(old int, raw json.RawMessage) (int, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return old, nil
	}
	text := string(raw)
	relative := false
	if strings.HasPrefix(text, `"`) {
		if json.Unmarshal(raw, &text) != nil {
			return 0, invalid("quantity could not be read.")
		}
		relative = strings.HasPrefix(text, "+") || strings.HasPrefix(text, "-")
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, invalid("quantity must be a whole number, got %s.", raw)
	}
	if relative {
		n += old
	}
	if n < 0 || n > maxQuantity {
		return 0, invalid("quantity must be between 0 and %d, got %d.", maxQuantity, n)
	}
	return n, nil
}

// newSize reads "basic", {"name": "basic"} and {"id": …}.
func newSize(old string, fields ...json.RawMessage) (string, error) {
	for _, raw := range fields {
		if len(raw) == 0 || string(raw) == "null" {
			continue
		}
		var ident string
		if json.Unmarshal(raw, &ident) != nil {
			var ref platform.Ref
			if err := json.Unmarshal(raw, &ref); err != nil {
				return "", invalid("dyno_size must be an object with a name or id.")
			}
			ident = cmp.Or(ref.ID, ref.Name)
		}
		size, found := findSize(ident)
		if !found {
			return "", invalid("Couldn't find that size: %s.", ident)
		}
		return size.Name, nil
	}
	return old, nil
}
