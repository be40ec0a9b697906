package local

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// BenchmarkLists reads a platform with 200 apps of 50 releases and 1 KB of config each.
func BenchmarkLists(b *testing.B) {
	dir := b.TempDir()
	p, err := Open(dir, Options{RateLimit: -1})
	if err != nil {
		b.Fatal(err)
	}
	config := map[string]string{}
	for i := range 20 {
		config[fmt.Sprintf("KEY_%d", i)] = fmt.Sprintf("%040d", i)
	}
	var app appRecord
	var release releaseRecord
	var slug slugRecord
	err = p.db.Update(func(tx *bolt.Tx) error {
		for i := range 200 {
			app, _ = appSpec{Name: fmt.Sprintf("app-%03d", i)}.record() // a good name
			app.Config, app.CreatedAt, app.UpdatedAt = config, p.now(), p.now()
			if err := tx.Bucket(bucketNames).Put([]byte(app.Name), []byte(app.ID)); err != nil {
				return err
			}
			for range 50 {
				slug = slugRecord{ID: newID(), App: app.ID, Stack: app.Stack, Key: randomHex(20), File: "x", CreatedAt: p.now(), UpdatedAt: p.now()}
				if err := put(tx, bucketSlugs, []byte(slug.ID), slug); err != nil {
					return err
				}
				if err := tx.Bucket(bucketKeys).Put([]byte(slug.Key), []byte(slug.ID)); err != nil {
					return err
				}
				if release, err = p.addRelease(tx, &app, &slug, "Deploy"); err != nil {
					return err
				}
			}
			if err := putApp(tx, app); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	for name, path := range map[string]string{
		"apps": "/apps", "app": "/apps/" + app.Name, "releases": "/apps/" + app.ID + "/releases", "newest": "/apps/" + app.ID + "/releases",
		"release by id": "/apps/" + app.ID + "/releases/" + release.ID, "release by version": "/apps/" + app.ID + "/releases/50",
		"slug": "/apps/" + app.ID + "/slugs/" + slug.ID,
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				r := httptest.NewRequest(http.MethodGet, path, nil)
				if name == "newest" {
					r.Header.Set("Range", "version ..; max=1, order=desc")
				}
				w := httptest.NewRecorder()
				p.router.ServeHTTP(w, r)
				if w.Code/100 != 2 {
					b.Fatalf("%d %s", w.Code, w.Body)
				}
			}
		})
	}
	b.Run("blob by key", func(b *testing.B) {
		for b.Loop() {
			if _, err := p.slugByKey(slug.Key); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("retention", func(b *testing.B) {
		for b.Loop() {
			if err := p.retain(""); err != nil {
				b.Fatal(err)
			}
		}
	})
	p.abandon()
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			p, err := Open(dir, Options{})
			if err != nil {
				b.Fatal(err)
			}
			p.abandon()
		}
	})
}

// BenchmarkConfigChanges changes one config var of an app a thousand times, beside others that fill
// what an app may have.
func BenchmarkConfigChanges(b *testing.B) {
	for b.Loop() {
		dir := b.TempDir()
		p, err := Open(dir, Options{RateLimit: -1, Listen: "127.0.0.1:0"})
		if err != nil {
			b.Fatal(err)
		}
		if err := p.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
		app, err := p.makeApp(appSpec{Name: "example"})
		if err != nil {
			b.Fatal(err)
		}
		set := func(config map[string]string) {
			text, _ := json.Marshal(config) // strings
			r := httptest.NewRequest(http.MethodPatch, "/apps/"+app.ID+"/config-vars", bytes.NewReader(text))
			w := httptest.NewRecorder()
			p.router.ServeHTTP(w, r)
			if w.Code != http.StatusOK {
				b.Fatalf("%d %s", w.Code, w.Body)
			}
		}
		config := map[string]string{}
		for i := range 31 {
			config[fmt.Sprintf("KEY_%d", i)] = strings.Repeat("x", 1000)
		}
		set(config)
		for i := range 1000 {
			set(map[string]string{"N": strconv.Itoa(i)})
		}
		info, err := os.Stat(filepath.Join(dir, "platform.db"))
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Size())/1e6, "MB")
		if err := p.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
