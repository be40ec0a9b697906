package local

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/slugfile/slugfile/pipeline/platform"
)

// fleetOf finds the dynos of an app.
func (p *Platform) fleetOf(ident string) (appRecord, *fleet, error) {
	app, err := p.findApp(ident)
	if err != nil {
		return app, nil, err
	}
	p.mu.Lock()
	f := p.fleets[app.ID]
	p.mu.Unlock()
	if f == nil {
		return app, nil, notFound("app", "Couldn't find that app.")
	}
	return app, f, nil
}

func wireDyno(app appRecord, d *instance) platform.Dyno {
	size, _ := findSize(d.size) // checked before it was stored
	return platform.Dyno{
		App: platform.Ref{ID: app.ID, Name: app.Name}, Command: d.command, CreatedAt: d.createdAt, ID: d.id, Name: d.name,
		Release: platform.ReleaseRef{ID: d.release.ID, Version: d.release.Version}, Size: size.Name, State: d.state,
		Type: d.kind, UpdatedAt: d.updatedAt,
	}
}

// dynosOf lists what a user counts as dynos: not those that make room for a newer one.
func (f *fleet) dynosOf(app appRecord) []platform.Dyno {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := []platform.Dyno{}
	for _, d := range f.dynos {
		if !d.obsolete {
			list = append(list, wireDyno(app, d))
		}
	}
	slices.SortFunc(list, func(a, b platform.Dyno) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func (p *Platform) listDynos(c *call) (answer, error) {
	app, f, err := p.fleetOf(c.PathValue("app"))
	if err != nil {
		return answer{}, err
	}
	return page(c, f.dynosOf(app), []string{"name", "id"}, func(d platform.Dyno, field string) string { return either(field, d.ID, d.Name) })
}

func (p *Platform) dynoInfo(c *call) (answer, error) {
	app, f, err := p.fleetOf(c.PathValue("app"))
	if err != nil {
		return answer{}, err
	}
	for _, d := range f.dynosOf(app) {
		if d.ID == c.PathValue("dyno") || d.Name == c.PathValue("dyno") {
			return ok(d)
		}
	}
	return answer{}, notFound("dyno", "Couldn't find that dyno.")
}

// runDyno starts a detached one-off dyno.
func (p *Platform) runDyno(c *call) (answer, error) {
	var in struct {
		Command    string            `json:"command"`
		Attach     bool              `json:"attach"`
		Env        map[string]string `json:"env"`
		ForceNoTTY *bool             `json:"force_no_tty"`
		Size       string            `json:"size"`
		Type       string            `json:"type"`
		TimeToLive *int              `json:"time_to_live"`
	}
	if err := c.decode(&in, "command", "attach", "env", "force_no_tty", "size", "type", "time_to_live"); err != nil {
		return answer{}, err
	}
	switch {
	case in.Command == "":
		return answer{}, invalid("command is required.")
	case in.Attach:
		return answer{}, invalid("The embedded platform runs detached dynos only: use run:detached.")
	case in.TimeToLive != nil && (*in.TimeToLive < 1 || *in.TimeToLive > 86_400):
		return answer{}, invalid("time_to_live must be between 1 and 86400 seconds, got %d.", *in.TimeToLive)
	case in.Type != "" && !processType.MatchString(in.Type):
		return answer{}, invalid("Type %q does not match ^[-\\w]{1,128}$.", in.Type)
	}
	size, err := newSize(dynoSizes[0].Name, []byte(fmt.Sprintf("%q", cmp.Or(in.Size, dynoSizes[0].Name))))
	if err != nil {
		return answer{}, err
	}
	app, f, err := p.fleetOf(c.PathValue("app"))
	if err != nil {
		return answer{}, err
	}
	var r releaseRecord
	var slug slugRecord
	err = p.db.View(func(tx *bolt.Tx) (err error) {
		if r, err = currentIn(tx, app); err != nil {
			return err
		}
		if r.Slug == "" {
			return invalid("App %s has no slug to run: release one first.", app.Name)
		}
		slug, err = slugIn(tx, r.Slug)
		return err
	})
	if err != nil {
		return answer{}, err
	}
	d := f.startOneOff(cmp.Or(in.Type, "run"), in.Command, size, r, slug, in.Env)
	if in.TimeToLive != nil {
		go f.expireDyno(d, time.Duration(*in.TimeToLive)*time.Second)
	}
	f.mu.Lock()
	out := wireDyno(app, d)
	f.mu.Unlock()
	return answer{http.StatusCreated, out}, nil
}

// expireDyno stops a one-off dyno when its time to live is over.
func (f *fleet) expireDyno(d *instance, life time.Duration) {
	timer := time.NewTimer(life)
	defer timer.Stop()
	select {
	case <-timer.C:
		f.mu.Lock()
		f.stop(d)
		f.mu.Unlock()
	case <-d.finished:
	case <-f.ctx.Done():
	}
}

// restartDynos restarts all dynos, those of a type, or one.
func (p *Platform) restartDynos(c *call) (answer, error) {
	return p.endDynos(c, func(f *fleet, d *instance) { f.retire(d) })
}

// stopDynos ends one-off dynos for good. Dynos of the formation come back, as on Heroku, whose
// command for keeping them down is to scale.
func (p *Platform) stopDynos(c *call) (answer, error) {
	return p.endDynos(c, func(f *fleet, d *instance) { f.retire(d) })
}

func (p *Platform) endDynos(c *call, end func(*fleet, *instance)) (answer, error) {
	app, f, err := p.fleetOf(c.PathValue("app"))
	if err != nil {
		return answer{}, err
	}
	name, kind := c.PathValue("dyno"), c.PathValue("type")
	f.mu.Lock()
	// A type that is scaled to 0 is there, and has nothing to end.
	_, isType := app.Formation[kind]
	found := name == "" && kind == "" || isType
	for _, d := range f.dynos {
		switch {
		case d.obsolete:
		case name != "" && name != d.name && name != d.id && name != d.kind:
		case kind != "" && kind != d.kind:
		case name == "" && kind == "" && d.oneOff:
			// Restarting an app leaves its one-off dynos alone.
		default:
			found = true
			end(f, d)
		}
	}
	f.mu.Unlock()
	if !found {
		return answer{}, notFound("dyno", "Couldn't find that dyno.")
	}
	f.poke()
	return accepted(empty{})
}

// startOneOff runs a command beside the formation.
func (f *fleet) startOneOff(kind, command, size string, r releaseRecord, slug slugRecord, env map[string]string) *instance {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.newInstance(wanted{f.oneOffName(kind), kind, command, size}, r)
	d.oneOff = true
	if f.ending {
		d.state = down
		return d
	}
	f.launchInstance(d, slug, env, f.appOutput(d))
	return d
}

// oneOffName is a type and a number that no dyno has now. The caller holds mu.
func (f *fleet) oneOffName(kind string) string {
	for {
		name := kind + "." + strconv.Itoa(1000+rand.IntN(9000))
		if !f.occupied(name) {
			return name
		}
	}
}
