package platformtest

import (
	"strings"
	"testing"

	"github.com/slugfile/slugfile/pipeline/platform"
)

type coupling struct {
	ID, Stage string
	App       struct{ ID string }
	Pipeline  platform.Ref
}

func (w *wire) pipeline(t *testing.T, name string) platform.Ref {
	t.Helper()
	return decode[platform.Ref](t, w.call(t, "POST", "/pipelines", map[string]string{"name": name}, 201))
}

func (w *wire) couple(t *testing.T, app, pipeline, stage string) coupling {
	t.Helper()
	return decode[coupling](t, w.call(t, "POST", "/pipeline-couplings", map[string]string{"app": app, "pipeline": pipeline, "stage": stage}, 201))
}

func apiPipelines(t *testing.T, w *wire) {
	a := w.app(t, "example")
	other := w.app(t, "other")
	account := get[platform.Owner](t, w, "/account")
	// As `heroku pipelines:create` sends it.
	line := decode[platform.Ref](t, w.call(t, "POST", "/pipelines", map[string]any{
		"name": "line", "owner": map[string]string{"id": account.ID, "type": "user"}, "generation": map[string]string{"name": "cedar", "id": "x"},
	}, 201))
	for _, path := range []string{"/pipelines/" + line.ID, "/pipelines/line"} {
		if l := get[platform.Ref](t, w, path); l != line {
			t.Errorf("GET %s: %+v", path, l)
		}
	}
	for query, want := range map[string]int{"": 1, "?eq[name]=line": 1, "?eq[name]=other": 0} {
		if list := get[[]platform.Ref](t, w, "/pipelines"+query); len(list) != want {
			t.Errorf("GET /pipelines%s: %+v", query, list)
		}
	}
	k := w.couple(t, "example", line.ID, "staging")
	if k.App.ID != a.ID || k.Pipeline != line || k.Stage != "staging" {
		t.Errorf("the coupling is %+v", k)
	}
	w.call(t, "POST", "/pipeline-couplings", map[string]string{"app": a.ID, "pipeline": line.ID, "stage": "production"}, 422)
	w.couple(t, other.ID, "line", "production")
	for path, want := range map[string]int{"/pipelines/line/pipeline-couplings": 2, "/pipelines/" + line.ID + "/pipeline-couplings": 2, "/pipeline-couplings": 2, "/users/~/pipeline-couplings": 2} {
		if list := get[[]coupling](t, w, path); len(list) != want {
			t.Errorf("GET %s: %+v", path, list)
		}
	}
	if one := get[coupling](t, w, "/apps/example/pipeline-couplings"); one != k {
		t.Errorf("the app's coupling is %+v", one)
	}
	if one := decode[coupling](t, w.call(t, "PATCH", "/pipeline-couplings/"+k.ID, `{"stage":"development"}`, 200)); one.Stage != "development" {
		t.Errorf("the changed coupling is %+v", one)
	}
	w.call(t, "PATCH", "/pipeline-couplings/"+k.ID, `{"stage":"elsewhere"}`, 422)
	filtered := decode[[]platform.App](t, w.call(t, "POST", "/filters/apps", map[string]any{"in": map[string]any{"id": []string{other.ID, "nothing"}}}, 200,
		"Range", "id ..; max=1000;", "Accept", "application/vnd.heroku+json; version=3.filters"))
	if len(filtered) != 1 || filtered[0].Name != "other" {
		t.Errorf("the filter lets %+v pass", filtered)
	}
	if l := decode[platform.Ref](t, w.call(t, "PATCH", "/pipelines/"+line.ID, `{"name":"belt"}`, 200)); l.Name != "belt" || l.ID != line.ID {
		t.Errorf("the renamed pipeline is %+v", l)
	}
	twin := w.pipeline(t, "belt") // names are not unique
	if e := w.refused(t, "GET", "/pipelines/belt", nil, 422); e.ID != "multiple_matches" {
		t.Errorf("a name that two pipelines have: %+v", e)
	}
	w.call(t, "DELETE", "/pipelines/"+twin.ID, nil, 200)
	w.call(t, "DELETE", "/pipeline-couplings/"+k.ID, nil, 200)
	w.call(t, "GET", "/apps/example/pipeline-couplings", nil, 404)
	w.call(t, "DELETE", "/apps/other", nil, 200)
	if list := get[[]coupling](t, w, "/pipelines/belt/pipeline-couplings"); len(list) != 0 {
		t.Errorf("a deleted app is still coupled: %+v", list)
	}
	w.couple(t, "example", line.ID, "review")
	w.call(t, "DELETE", "/pipelines/"+line.ID, `{"name":"belt"}`, 200) // the heroku command sends a body
	w.call(t, "GET", "/apps/example/pipeline-couplings", nil, 404)
	w.call(t, "GET", "/apps/example", nil, 200)
}

type promotionTarget struct {
	ID      string
	App     struct{ ID string }
	Release *struct{ ID string }
	Status  string
	Error   *string `json:"error_message"`
}

func apiPromotions(t *testing.T, w *wire) {
	w.needDynos(t)
	source := w.app(t, "source")
	good, bad, stranger := w.app(t, "good"), w.app(t, "bad"), w.app(t, "stranger")
	line := w.pipeline(t, "line")
	w.couple(t, "source", line.ID, "staging")
	w.couple(t, "good", line.ID, "production")
	w.couple(t, "bad", line.ID, "production")
	ask := func(targets ...string) map[string]any {
		var list []any
		for _, id := range targets {
			list = append(list, map[string]any{"app": map[string]string{"id": id}})
		}
		return map[string]any{"pipeline": map[string]string{"id": line.ID}, "source": map[string]any{"app": map[string]string{"id": source.ID}}, "targets": list}
	}
	w.call(t, "POST", "/pipeline-promotions", ask(good.ID), 422) // nothing to promote yet
	first := w.release(t, "source", map[string]string{"worker": "sleep 60", "release": `echo "for $NAME"; test "$NAME" = good`}, "1")
	eventually(t, "the source's own release phase", func() bool {
		return get[platform.Release](t, w, "/apps/source/releases/"+first.ID).Status == platform.Failed
	})
	w.call(t, "POST", "/pipeline-promotions", ask(good.ID), 422) // it is not what the source runs
	for _, a := range []string{"source", "good", "bad"} {
		name := map[bool]string{true: "bad", false: "good"}[a == "bad"]
		w.call(t, "PATCH", "/apps/"+a+"/config-vars", map[string]string{"NAME": name}, 200)
	}
	second := decode[platform.Release](t, w.call(t, "POST", "/apps/source/releases", map[string]string{"slug": first.Slug.ID}, 201))
	eventually(t, "the source's own release phase", func() bool {
		return get[platform.Release](t, w, "/apps/source/releases/"+second.ID).Current
	})
	w.call(t, "POST", "/pipeline-promotions", ask(stranger.ID), 422)
	w.call(t, "POST", "/pipeline-promotions", ask(source.ID), 422)
	w.call(t, "POST", "/pipeline-promotions", ask(good.ID, good.ID), 422)
	w.call(t, "POST", "/pipeline-promotions", ask("nothing"), 404)

	promotion := decode[struct{ ID, Status string }](t, w.call(t, "POST", "/pipeline-promotions", ask(good.ID, bad.ID), 201))
	targets := map[string]promotionTarget{}
	eventually(t, "the promotion", func() bool {
		done := true
		for _, target := range get[[]promotionTarget](t, w, "/pipeline-promotions/"+promotion.ID+"/promotion-targets") {
			targets[target.App.ID] = target
			done = done && target.Status != platform.Pending
		}
		return done
	})
	if one := get[struct{ Status string }](t, w, "/pipeline-promotions/"+promotion.ID); one.Status != "completed" {
		t.Errorf("the promotion is %s", one.Status)
	}
	for _, c := range []struct {
		app    platform.App
		status string
	}{{good, platform.Succeeded}, {bad, platform.Failed}} {
		target := targets[c.app.ID]
		if target.Status != c.status || target.Release == nil || (target.Error != nil) != (c.status == platform.Failed) {
			t.Errorf("the target %s is %+v", c.app.Name, target)
			continue
		}
		r := get[platform.Release](t, w, "/apps/"+c.app.ID+"/releases/"+target.Release.ID)
		if r.Status != c.status || r.Current != (c.status == platform.Succeeded) || r.Slug.ID != first.Slug.ID || r.OutputStreamURL == nil ||
			!strings.HasPrefix(r.Description, "Promote source v") {
			t.Errorf("the release of %s is %+v", c.app.Name, r)
			continue
		}
		eventually(t, "the output of the release phase", func() bool {
			out := fetch(t, "GET", *r.OutputStreamURL, "")
			return out.status == 200 && strings.Contains(string(out.body), "for "+c.app.Name+"\n")
		})
	}
	// A release by its id, without the one that runs.
	from := ask(good.ID)
	from["source"].(map[string]any)["release"] = map[string]string{"id": second.ID}
	w.call(t, "POST", "/pipeline-promotions", from, 201)
}
