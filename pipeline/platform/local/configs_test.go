package local

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// bare is a platform that nothing is served from, with an app without a release.
func bare(t *testing.T) (*Platform, appRecord) {
	t.Helper()
	p, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.abandon)
	app, err := appSpec{Name: "example"}.record()
	if err != nil {
		t.Fatal(err)
	}
	return p, app
}

// releaseConfigs makes a release of each set of config vars.
func (p *Platform) releaseConfigs(t *testing.T, app *appRecord, sets ...map[string]string) {
	t.Helper()
	if err := p.db.Update(func(tx *bolt.Tx) error {
		for _, set := range sets {
			app.Config = maps.Clone(set)
			if _, err := p.addRelease(tx, app, nil, "Set config vars"); err != nil {
				return err
			}
		}
		return putApp(tx, *app)
	}); err != nil {
		t.Fatal(err)
	}
}

// assertConfigs reads every release's config vars.
func (p *Platform) assertConfigs(t *testing.T, app appRecord, want []map[string]string) {
	t.Helper()
	for i, set := range want {
		got, err := p.releasedConfig(app.ID, i+1)
		if err != nil || !maps.Equal(got, set) {
			t.Fatalf("v%d has the config vars %v, %v; want %v", i+1, got, err, set)
		}
	}
}

func TestReleases_keepTheirConfigVarsHoweverTheseChange(t *testing.T) {
	t.Parallel()
	chance := rand.New(rand.NewPCG(1, 1))
	p, app := bare(t)
	sets := []map[string]string{{}}
	for range 20 * wholeEvery {
		set := maps.Clone(sets[len(sets)-1])
		switch chance.IntN(10) {
		case 0:
			set = maps.Clone(sets[chance.IntN(len(sets))]) // a rollback
		case 1:
			clear(set)
		case 2: // a deploy
		default:
			for range 1 + chance.IntN(3) {
				key := fmt.Sprintf("KEY_%d", chance.IntN(6))
				if chance.IntN(3) == 0 {
					delete(set, key)
				} else {
					set[key] = []string{"", "null", fmt.Sprint(chance.IntN(5))}[chance.IntN(3)]
				}
			}
		}
		sets = append(sets, set)
	}
	p.releaseConfigs(t, &app, sets...)
	p.assertConfigs(t, app, sets)
}

func TestReleases_takeLittleRoomForBigConfigsThatChangeLittle(t *testing.T) {
	t.Parallel()
	p, app := bare(t)
	big := map[string]string{"BIG": strings.Repeat("x", 30_000)}
	const n = 1000
	for i := range n {
		big["N"] = fmt.Sprint(i)
		p.releaseConfigs(t, &app, big)
		if i == 0 {
			p.db.NoSync = true // a thousand transactions, of a database that is thrown away
		}
	}
	kept := 0
	if err := p.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketReleases).ForEach(func(_, text []byte) error {
			kept += len(text)
			return nil
		})
	}); err != nil {
		t.Fatal(err)
	}
	if limit := 2 * n / wholeEvery * 30_000; kept > limit {
		t.Errorf("%d releases take %d bytes, more than %d", n, kept, limit)
	}
}

func TestOpen_takesOverADirectoryWhereEachReleaseHasAllConfigVars(t *testing.T) {
	t.Parallel()
	p, app := bare(t)
	sets := []map[string]string{{}, {"A": "1"}, {"A": "1", "B": "2"}}
	if err := p.db.Update(func(tx *bolt.Tx) error {
		for _, set := range sets {
			app.Version++
			app.Current = app.Version
			// As format 1 has it.
			r := map[string]any{"id": newID(), "app": app.ID, "version": app.Version, "status": "succeeded", "config": set}
			if err := put(tx, bucketReleases, releaseKey(app.ID, app.Version), r); err != nil {
				return err
			}
		}
		old := p.meta
		old.Format = 1
		if err := put(tx, bucketMeta, []byte("meta"), old); err != nil {
			return err
		}
		return putApp(tx, app)
	}); err != nil {
		t.Fatal(err)
	}
	p.abandon()
	p, err := Open(p.dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.abandon)
	if p.meta.Format != dbFormat {
		t.Errorf("the format is %d still", p.meta.Format)
	}
	p.assertConfigs(t, app, sets)
	sets = append(sets, map[string]string{"B": "2"})
	p.releaseConfigs(t, &app, sets[3])
	p.assertConfigs(t, app, sets)
}

func TestOpen_refusesADirectoryOfALaterFormat(t *testing.T) {
	t.Parallel()
	p, _ := bare(t)
	if err := p.db.Update(func(tx *bolt.Tx) error {
		later := p.meta
		later.Format = dbFormat + 1
		return put(tx, bucketMeta, []byte("meta"), later)
	}); err != nil {
		t.Fatal(err)
	}
	p.abandon()
	if q, err := Open(p.dir, Options{}); err == nil {
		q.abandon()
		t.Error("it was opened")
	} else if !strings.Contains(err.Error(), "platform.db has format 3, which this version of slugfile does not know") {
		t.Errorf("it says %v", err)
	}
}
