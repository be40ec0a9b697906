package local_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	herokugo "github.com/heroku/heroku-go/v6"

	"github.com/slugfile/slugfile/pipeline/platform/local"
)

// herokuService is Heroku's own Go client, pointed here.
func herokuService(p *local.Platform) *herokugo.Service {
	svc := herokugo.NewService(&http.Client{Transport: &herokugo.Transport{BearerToken: p.Token().Reveal()}})
	svc.URL = p.URL()
	return svc
}

func TestHerokuGo_deploysUnchanged(t *testing.T) {
	t.Parallel()
	p := open(t, t.TempDir(), local.Options{})
	svc := herokuService(p)
	ctx := t.Context()
	app, err := svc.AppCreate(ctx, herokugo.AppCreateOpts{Name: new("example")})
	if err != nil {
		t.Fatal(err)
	}
	archive := pack(t, web(t))
	slug, err := svc.SlugCreate(ctx, app.ID, herokugo.SlugCreateOpts{
		ProcessTypes: map[string]string{"web": "bin/web"}, Checksum: new(checksum(archive)), Stack: new("heroku-24"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if res := put(t, slug.Blob.URL, archive); res.status != 200 {
		t.Fatalf("PUT %d %s", res.status, res.body)
	}
	r, err := svc.ReleaseCreate(ctx, app.ID, herokugo.ReleaseCreateOpts{Slug: slug.ID, Description: new("by heroku-go")})
	if err != nil {
		t.Fatal(err)
	}
	if r.Version != 3 || !r.Current {
		t.Errorf("release is v%d, current %t", r.Version, r.Current)
	}
	awaitWeb(t, p, app.ID)
	if _, err := svc.ConfigVarUpdate(ctx, "example", map[string]*string{"A": new("1")}); err != nil {
		t.Fatal(err)
	}
	list, err := svc.ReleaseList(ctx, "example", &herokugo.ListRange{Field: "version", Descending: true, Max: 2})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 || list[0].Version != 4 || list[1].Description != "by heroku-go" {
		t.Errorf("releases are %+v", list)
	}
	back, err := svc.ReleaseRollback(ctx, "example", herokugo.ReleaseRollbackOpts{Release: r.ID})
	if err != nil {
		t.Fatal(err)
	}
	if back.Version != 5 || back.Description != "Rollback to v3" || back.Slug.ID != slug.ID {
		t.Errorf("rollback is %+v", back)
	}
	if vars, err := svc.ConfigVarInfoForApp(ctx, "example"); err != nil || len(vars) != 0 {
		t.Errorf("after the rollback config vars are %v, %v", vars, err)
	}
	if f, err := svc.FormationUpdate(ctx, "example", "web", herokugo.FormationUpdateOpts{Quantity: new(0)}); err != nil || f.Quantity != 0 {
		t.Errorf("scaled to %+v, %v", f, err)
	}
	if _, err := svc.DynoRestartAll(ctx, "example"); err != nil {
		t.Errorf("restart: %v", err)
	}
	if _, err = svc.AppInfo(ctx, "nowhere"); err == nil {
		t.Fatal("an app that does not exist was found")
	}
	var refusal herokugo.Error
	if !errors.As(err, &refusal) || refusal.ID != "not_found" || refusal.StatusCode != http.StatusNotFound {
		t.Errorf("refusal is %#v", err)
	}
}

func TestHerokuGo_worksEveryResource(t *testing.T) {
	t.Parallel()
	needDynos(t)
	p := open(t, t.TempDir(), local.Options{})
	svc, ctx := herokuService(p), t.Context()
	// must ends the test at the first call that fails.
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	made, err := svc.AppCreate(ctx, herokugo.AppCreateOpts{Name: new("example"), Region: new("eu"), Stack: new("heroku-26")})
	must("app create", err)
	_, err = svc.AppCreate(ctx, herokugo.AppCreateOpts{})
	must("app create without a name", err)
	renamed, err := svc.AppUpdate(ctx, "example", herokugo.AppUpdateOpts{Name: new("renamed"), Maintenance: new(true)})
	must("app update", err)
	app, err := svc.AppInfo(ctx, made.ID)
	must("app info", err)
	if app.Name != "renamed" || !app.Maintenance || renamed.ID != made.ID || app.Region.Name != "eu" || app.Generation.Name != "cedar" {
		t.Errorf("the app is %+v", app)
	}
	apps, err := svc.AppList(ctx, &herokugo.ListRange{Field: "name", Max: 1})
	must("app list", err)
	own, err := svc.AppListOwnedAndCollaborated(ctx, "~", nil)
	must("app list of the user", err)
	if len(apps) != 1 || len(own) != 2 {
		t.Errorf("lists have %d and %d apps", len(apps), len(own))
	}

	archive := pack(t)
	slug, err := svc.SlugCreate(ctx, app.ID, herokugo.SlugCreateOpts{ProcessTypes: map[string]string{"worker": "sleep 600"}, Checksum: new(checksum(archive)), Commit: new("60883d9e8947a57e04dc9124f25df004866a2051")})
	must("slug create", err)
	if res := put(t, slug.Blob.URL, archive); res.status != 200 {
		t.Fatalf("PUT %d %s", res.status, res.body)
	}
	known, err := svc.SlugInfo(ctx, app.ID, slug.ID)
	must("slug info", err)
	if known.Size == nil || *known.Size != len(archive) || known.Stack.Name != "heroku-26" {
		t.Errorf("the slug is %+v", known)
	}
	first, err := svc.ReleaseCreate(ctx, app.ID, herokugo.ReleaseCreateOpts{Slug: slug.ID})
	must("release create", err)
	for i := range 5 {
		_, err = svc.ConfigVarUpdate(ctx, app.ID, map[string]*string{"N": new(fmt.Sprint(i)), "GONE": nil})
		must("config update", err)
	}
	info, err := svc.ReleaseInfo(ctx, app.ID, "3")
	must("release info", err)
	if info.ID != first.ID || info.Current || info.Status != "succeeded" || info.Description != "Deploy 60883d9" {
		t.Errorf("v3 is %+v", info)
	}
	then, err := svc.ConfigVarInfoForAppRelease(ctx, app.ID, "5")
	must("config of a release", err)
	now, err := svc.ConfigVarInfoForApp(ctx, app.ID)
	must("config", err)
	if *then["N"] != "1" || *now["N"] != "4" {
		t.Errorf("config vars were %v and are %v", then, now)
	}
	// Its lists stop after one page, which is what a client of it sees.
	releases, err := svc.ReleaseList(ctx, app.ID, &herokugo.ListRange{Max: 3})
	must("release list", err)
	newest, err := svc.ReleaseList(ctx, app.ID, &herokugo.ListRange{Field: "version", Descending: true, Max: 2, FirstID: "7"})
	must("release list", err)
	if len(releases) != 3 || releases[2].Version != 3 || len(newest) != 2 || newest[0].Version != 7 || newest[1].Version != 6 {
		t.Errorf("pages are %d releases, and %+v", len(releases), newest)
	}
	back, err := svc.ReleaseRollback(ctx, app.ID, herokugo.ReleaseRollbackOpts{Release: first.ID})
	must("rollback", err)
	if back.Version != 9 || !back.Current || back.Slug.ID != slug.ID {
		t.Errorf("the rollback is %+v", back)
	}

	batch := herokugo.FormationBatchUpdateOpts{}
	batch.Updates = append(batch.Updates, struct {
		DynoSize *struct {
			ID   *string `json:"id,omitempty" url:"id,omitempty,key"`
			Name *string `json:"name,omitempty" url:"name,omitempty,key"`
		} `json:"dyno_size,omitempty" url:"dyno_size,omitempty,key"`
		Quantity *int   `json:"quantity,omitempty" url:"quantity,omitempty,key"`
		Type     string `json:"type" url:"type,key"`
	}{Quantity: new(1), Type: "worker"})
	scaled, err := svc.FormationBatchUpdate(ctx, app.ID, batch)
	must("formation batch update", err)
	one, err := svc.FormationInfo(ctx, app.ID, "worker")
	must("formation info", err)
	all, err := svc.FormationList(ctx, app.ID, nil)
	must("formation list", err)
	if len(scaled) != 1 || scaled[0].Quantity != 1 || one.Quantity != 1 || one.Size != "Basic" || len(all) != 1 {
		t.Errorf("the formation is %+v, %+v, %+v", scaled, one, all)
	}

	var worker herokugo.Dyno
	await := func(what string, ok func([]herokugo.Dyno) bool) {
		t.Helper()
		eventually(t, what, func() bool {
			list, err := svc.DynoList(ctx, app.ID, nil)
			must("dyno list", err)
			for _, d := range list {
				if d.Name == "worker.1" {
					worker = d
				}
			}
			return ok(list)
		})
	}
	await("the worker", func(list []herokugo.Dyno) bool { return len(list) == 1 && worker.State == "up" })
	for what, restart := range map[string]func() error{
		"restart all":  func() error { _, err := svc.DynoRestartAll(ctx, app.ID); return err },
		"restart type": func() error { _, err := svc.DynoRestartFormation(ctx, app.ID, "worker"); return err },
		"restart one":  func() error { _, err := svc.DynoRestart(ctx, app.ID, "worker.1"); return err },
		"stop type":    func() error { _, err := svc.DynoStopFormation(ctx, app.ID, "worker"); return err },
		"stop one":     func() error { _, err := svc.DynoStop(ctx, app.ID, "worker.1"); return err },
	} {
		old := worker.ID
		must(what, restart())
		await(what, func([]herokugo.Dyno) bool { return worker.ID != old && worker.State == "up" })
	}
	run, err := svc.DynoCreate(ctx, app.ID, herokugo.DynoCreateOpts{Command: "sleep 600", Attach: new(false), TimeToLive: new(600)})
	must("dyno create", err)
	shown, err := svc.DynoInfo(ctx, app.ID, run.Name)
	must("dyno info", err)
	if shown.ID != run.ID || shown.Type != "run" || shown.Command != "sleep 600" || shown.Release.Version != 9 {
		t.Errorf("the one-off dyno is %+v", shown)
	}
	_, err = svc.DynoStop(ctx, app.ID, run.ID)
	must("dyno stop", err)
	await("the end of the one-off dyno", func(list []herokugo.Dyno) bool { return len(list) == 1 })

	sizes, err := svc.DynoSizeList(ctx, nil)
	must("dyno sizes", err)
	stacks, err := svc.StackList(ctx, nil)
	must("stacks", err)
	account, err := svc.AccountInfo(ctx)
	must("account", err)
	limits, err := svc.RateLimitInfo(ctx)
	must("rate limits", err)
	if len(sizes) == 0 || len(stacks) == 0 || account.Email == "" || limits.Remaining == 0 {
		t.Errorf("facts are %+v, %+v, %+v, %+v", sizes, stacks, account, limits)
	}
	feature, err := svc.AppFeatureUpdate(ctx, app.ID, "runtime-dyno-metadata", herokugo.AppFeatureUpdateOpts{Enabled: true})
	must("feature", err)
	if !feature.Enabled {
		t.Errorf("the feature is %+v", feature)
	}
	_, err = svc.TeamAppCreate(ctx, herokugo.TeamAppCreateOpts{Name: new("ours"), Team: new("crew")})
	must("team app", err)
	pipeline, err := svc.PipelineCreate(ctx, herokugo.PipelineCreateOpts{Name: "line"})
	must("pipeline", err)
	for _, app := range []string{"renamed", "ours"} {
		_, err = svc.PipelineCouplingCreate(ctx, herokugo.PipelineCouplingCreateOpts{App: app, Pipeline: pipeline.ID, Stage: "staging"})
		must("coupling", err)
	}
	if gone, err := svc.AppDelete(ctx, app.ID); err != nil || gone.ID != app.ID || time.Since(gone.CreatedAt) > time.Hour {
		t.Errorf("app delete: %+v, %v", gone, err)
	}
}
