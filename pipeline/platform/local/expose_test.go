package local_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/slugfile/slugfile/pipeline/platform/local"
)

// ask sends one request as it is given, without the token. A header named Host is the Host.
func ask(t *testing.T, method, address string, header ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Add(header[i], header[i+1])
	}
	// No redirect is followed: where it leads is part of the answer.
	res, err := client.Transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, res)
}

// A browser that was told that evil.example is at 127.0.0.1 sends that name.
func TestExpose_answersToItsOwnNamesOnly(t *testing.T) {
	t.Parallel()
	p := open(t, t.TempDir(), local.Options{})
	address := *createApp(t, p, "example").WebURL
	bearer := "Bearer " + p.Token().Reveal()
	for name, at := range map[string]string{
		"API": p.URL() + "/apps", "status page": p.URL() + "/", "blob": p.BlobURL() + "/slugs/x", "app": address,
		"faults": p.URL() + "/_fault", "stream": p.URL() + "/streams/x", "log": p.URL() + "/logs/x",
	} {
		for _, host := range []string{"evil.example", "evil.example:5999", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.1", "example.localhost.evil.example"} {
			header := []string{"Host", host, "Authorization", bearer}
			if name == "blob" {
				header = header[:2]
			}
			if res := ask(t, "GET", at, header...); res.status != http.StatusForbidden {
				t.Errorf("%s as %s: status %d", name, host, res.status)
			}
		}
	}
	// An app's name is foreign too, when the host that is asked is not this machine.
	if res := ask(t, "GET", p.URL()+"/", "Host", "example.localhost"); res.status != http.StatusServiceUnavailable {
		t.Errorf("the app by name: status %d", res.status)
	}
}

func TestExpose_keepsItsCredentialsFromApps(t *testing.T) {
	t.Parallel()
	needDynos(t)
	p := open(t, t.TempDir(), local.Options{})
	address := *createApp(t, p, "example").WebURL
	release(t, p, "example", map[string]string{"web": "bin/web"}, web(t))
	awaitWeb(t, p, "example")
	api, err := url.Parse(p.URL())
	if err != nil {
		t.Fatal(err)
	}
	token := p.Token().Reveal()
	basic := &http.Request{Header: http.Header{}}
	basic.SetBasicAuth("you@example.com", token)
	for name, c := range map[string]struct {
		header     []string
		want, hide string
	}{
		"bearer":            {[]string{"Authorization", "Bearer " + token}, "", "Authorization"},
		"bearer in capital": {[]string{"Authorization", "BEARER  " + token}, "", "Authorization"},
		"basic":             {[]string{"Authorization", basic.Header.Get("Authorization")}, "", "Authorization"},
		"second line":       {[]string{"Authorization", "Bearer theirs", "Authorization", "Bearer " + token}, "Authorization: Bearer theirs", token},
		"of the app":        {[]string{"Authorization", "Bearer theirs"}, "Authorization: Bearer theirs", token},
		"cookie":            {[]string{"Cookie", "a=1; slugfile_status_5999=secret; b=2"}, "Cookie: a=1; b=2", "secret"},
		"only cookie":       {[]string{"Cookie", "slugfile_status_" + api.Port() + "=secret"}, "", "Cookie"},
		"two lines":         {[]string{"Cookie", "slugfile_status_1=secret;slugfile_status_2=secret", "Cookie", "b=2"}, "Cookie: b=2", "secret"},
		"value":             {[]string{"Cookie", "a=slugfile_status_1"}, "Cookie: a=slugfile_status_1", token},
	} {
		for _, host := range []string{"", "example.localhost:" + api.Port()} {
			at, header := address+"header", c.header
			if host != "" {
				at, header = p.URL()+"/header", append([]string{"Host", host}, c.header...)
			}
			res := ask(t, "GET", at, header...)
			if res.status != http.StatusOK || !strings.Contains(res.body, c.want) || strings.Contains(res.body, c.hide) {
				t.Errorf("%s (host %q): the app got, with status %d:\n%s", name, host, res.status, res.body)
			}
		}
	}
}

func TestOpen_keepsItsDirectoryPrivate(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("the modes of files say nothing on Windows")
	}
	mode := func(path string) os.FileMode {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	dir := filepath.Join(t.TempDir(), "made")
	p := open(t, dir, local.Options{})
	createApp(t, p, "example")
	want := map[string]os.FileMode{"": 0o700, "blobs": 0o700, "outputs": 0o700, "dynos": 0o700, "token": 0o600, "platform.db": 0o600, "platform.json": 0o600, "lock": 0o600}
	check := func(when string) {
		t.Helper()
		for name, m := range want {
			if got := mode(filepath.Join(dir, name)); got != m {
				t.Errorf("%s: %q has mode %#o, want %#o", when, name, got, m)
			}
		}
	}
	check("made")
	stop(t, p)
	for name := range want {
		if name == "platform.json" {
			continue // it went with the platform
		}
		if err := os.Chmod(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p = open(t, dir, local.Options{})
	check("mended")
	stop(t, p)

	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	if _, err := local.Open(dir, local.Options{}); err == nil || !strings.Contains(err.Error(), "others can write to") {
		t.Errorf("a directory that others can write to: %v", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(dir, "token")
	if err := os.Rename(token, token+".was"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("token.was", token); err != nil {
		t.Fatal(err)
	}
	if _, err := local.Open(dir, local.Options{}); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a token that is a link: %v", err)
	}

	// What is not the platform's alone keeps its mode, and an empty directory does not.
	shared := t.TempDir()
	if err := os.Chmod(shared, 0o777); err != nil {
		t.Fatal(err)
	}
	stop(t, open(t, shared, local.Options{}))
	if m := mode(shared); m != 0o700 {
		t.Errorf("an empty directory has mode %#o", m)
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "theirs"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(other, 0o755); err != nil {
		t.Fatal(err)
	}
	stop(t, open(t, other, local.Options{}))
	if m := mode(other); m != 0o755 {
		t.Errorf("a directory with something else in it has mode %#o", m)
	}
}
