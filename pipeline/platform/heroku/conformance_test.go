package heroku_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform/heroku"
	"github.com/slugfile/slugfile/pipeline/platform/platformtest"
	"github.com/slugfile/slugfile/pipeline/transport"
)

// quick makes retries fast without changing their rules.
var quick = transport.Backoff{Base: time.Millisecond, Max: 5 * time.Millisecond}

func client(s *platformtest.Server) *heroku.Client {
	return heroku.New(heroku.Options{BaseURL: s.URL, Token: transport.Secret(s.Token), Backoff: quick})
}

func archive(t *testing.T, _ map[string]string, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	for name, text := range files {
		if err := tw.WriteHeader(&tar.Header{Name: "./app/" + name, Mode: 0o644, Size: int64(len(text)), Format: tar.FormatGNU}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestClient_conformsAsAPlatform(t *testing.T) {
	t.Parallel()
	platformtest.Run(t, func(t *testing.T) platformtest.World {
		s := platformtest.NewServer(t)
		s.Page(3) // several pages
		return platformtest.World{Platform: client(s), Slug: archive, Configure: func(_ *testing.T, app string, vars map[string]string) {
			s.Configure(app, vars)
		}}
	})
}
