//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/journal"
)

// journals are the journals of this user, one for each app.
func (r *rig) journals(t testing.TB) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(r.Env["XDG_STATE_HOME"], name, "apps", "*", "journal.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func (r *rig) journal(t testing.TB) (*journal.Journal, string) {
	t.Helper()
	list := r.journals(t)
	if len(list) != 1 {
		t.Fatalf("%d journals: %q", len(list), list)
	}
	j, err := journal.Open(journal.Disk(list[0]), journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return j, list[0]
}

// An app has an id and a name, and whoever uses either must not come in the way of the other.
func TestRecover_knowsAnAppByItsIDAndItsName(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.apply(t, r.dir, applyArgs...)
	app, err := r.client.App(t.Context(), "faulty")
	if err != nil {
		t.Fatal(err)
	}
	r.change(t, "two")
	if a := r.apply(t, r.dir, append(applyArgs, "-a", app.ID)...); !a.Changed {
		t.Error("nothing was released")
	}
	j, _ := r.journal(t)
	if past := j.State().Past; len(past) != 2 || j.State().Open != nil || past[1].App != app.ID || past[1].AppName != "faulty" || past[1].Step != journal.Done {
		t.Errorf("%+v", j.State())
	}
}

// The embedded platform has another address each time, and its apps are the same.
func TestRecover_knowsTheAppsOfTheEmbeddedPlatform(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.local()
	for _, text := range []string{"one", "two"} {
		r.change(t, text)
		r.apply(t, r.dir, "apply", "--local", "--json")
	}
	j, _ := r.journal(t)
	if past := j.State().Past; len(past) != 2 || past[1].Release.Version != past[0].Release.Version+1 {
		t.Errorf("%+v", j.State())
	}
}

func TestRecover_refusesAJournalThatWasDamaged(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.apply(t, r.dir, applyArgs...)
	_, path := r.journal(t)
	text := readFile(t, path)
	write(t, path, strings.Replace(text, `"done"`, `"Done"`, 1))
	r.change(t, "two")
	r.forget(nil)
	got := r.run(t, r.dir, applyArgs...)
	if got.Code != exitFailed || !strings.Contains(got.Err, path+": line 1: its checksum does not match") || !strings.Contains(got.Err, "slugfile releases") || r.count(postSlugs) != 0 {
		t.Errorf("exit code %d after %d slugs\n%s", got.Code, r.count(postSlugs), got.Err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r.base = 1
	r.assertInvariants(t, got)
}

// What was asked for and never came is waited for once. When the app has what is wanted, it is closed.
func TestRecover_closesWhatNobodyWantsAnyMore(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := r.apply(t, r.dir, applyArgs...)
	j, path := r.journal(t)
	o, err := j.Begin(journal.Operation{App: "faulty", AppName: "faulty", Checksum: "another", SlugID: "gone", Baseline: journal.Release{Version: a.Release.Version}})
	if err != nil {
		t.Fatal(err)
	}
	o.Step, o.Unanswered = journal.ReleaseIntent, 1
	if err := j.Write(o); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	got := r.run(t, r.dir, applyArgs...)
	if took := time.Since(start); got.Code != exitDone || took < window || !strings.Contains(got.Out, "an earlier apply was interrupted while it released; looking for its release, up to 2s") {
		t.Errorf("exit code %d after %s\n%s%s", got.Code, took, got.Out, got.Err)
	}
	j, _ = r.journal(t)
	if state := j.State(); state.Open != nil || len(state.Past) != 2 || state.Past[1].Step != journal.Abandoned || state.Past[1].Why != "nothing is to be released any more" {
		t.Errorf("%s: %+v", path, state)
	}
	start = time.Now()
	if b := r.apply(t, r.dir, applyArgs...); b.Changed || b.Release != a.Release || time.Since(start) > window {
		t.Errorf("%+v after %s", b, time.Since(start))
	}
}
