package local_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform"
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

// raw sends bytes as they are, and reads until the other side closes. The address is a URL.
func raw(t *testing.T, address, text string) string {
	t.Helper()
	conn, _ := dial(t, address)
	defer conn.Close()
	// The other side may close before it has read everything.
	_, _ = io.WriteString(conn, text)
	got, _ := io.ReadAll(conn)
	return string(got)
}

func TestExpose_keepsTheCredentialOfAnAddressUnguessable(t *testing.T) {
	t.Parallel()
	p := open(t, t.TempDir(), local.Options{})
	createApp(t, p, "example")
	keys := map[string]bool{}
	for range 20 {
		text, h := call(t, p, "POST", "/apps/example/slugs", map[string]any{"process_types": map[string]string{"web": "x"}}, 201)
		u, err := url.Parse(into[platform.Slug](t, text, h).Blob.URL)
		if err != nil {
			t.Fatal(err)
		}
		key := strings.TrimPrefix(u.Path, "/slugs/")
		// 160 bits, beside a signature of 256.
		if len(key) < 40 || len(u.Query().Get("Signature")) < 64 || keys[key] {
			t.Errorf("blob key %q", key)
		}
		keys[key] = true
		text, h = call(t, p, "POST", "/apps/example/log-sessions", map[string]any{}, 201)
		u, err = url.Parse(into[struct {
			URL string `json:"logplex_url"`
		}](t, text, h).URL)
		if err != nil {
			t.Fatal(err)
		}
		if key = u.Path[strings.LastIndex(u.Path, "/")+1:]; len(key) < 40 || keys[key] {
			t.Errorf("log session %q", key)
		}
		keys[key] = true
	}
	if token := p.Token().Reveal(); len(token) < 40 {
		t.Errorf("a token of %d digits", len(token))
	}
	// What is nearly right is wrong, at every place.
	text, h := call(t, p, "POST", "/apps/example/slugs", map[string]any{"process_types": map[string]string{"web": "x"}}, 201)
	blob := into[platform.Slug](t, text, h).Blob.URL
	path, query, _ := strings.Cut(blob, "?")
	for name, wrong := range map[string]string{
		"another key": path[:len(path)-1] + "x?" + query, "no signature": path, "a short one": blob[:len(blob)-1],
		"a longer one": blob + "0", "another time": strings.Replace(blob, "Expires=", "Expires=9", 1),
	} {
		if res := put(t, wrong, nil); res.status != http.StatusForbidden {
			t.Errorf("%s: status %d", name, res.status)
		}
	}
	if res := ask(t, "GET", blob); res.status != http.StatusForbidden {
		t.Errorf("another method: status %d", res.status)
	}
}

// A page of another origin may send requests here, but reads no answer.
func TestExpose_hasNoWordForOtherOrigins(t *testing.T) {
	t.Parallel()
	p := open(t, t.TempDir(), local.Options{})
	app := *createApp(t, p, "example").WebURL
	bearer := "Bearer " + p.Token().Reveal()
	text, h := call(t, p, "POST", "/apps/example/slugs", map[string]any{"process_types": map[string]string{"web": "x"}}, 201)
	blob := into[platform.Slug](t, text, h).Blob.URL
	for _, address := range []string{
		p.URL() + "/", p.URL() + "/apps", p.URL() + "/apps/example/config-vars", p.URL() + "/_fault", p.URL() + "/_clock", p.URL() + "/_status/events",
		p.URL() + "/streams/x", p.URL() + "/logs/x", p.URL() + "/nothing", blob, app,
	} {
		for _, header := range [][]string{
			{"Origin", "https://evil.example"},
			{"Origin", "null"},
			{"Origin", "https://evil.example", "Access-Control-Request-Method", "DELETE", "Access-Control-Request-Headers", "authorization", "Access-Control-Request-Private-Network", "true"},
		} {
			for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
				for _, auth := range [][]string{nil, {"Authorization", bearer}} {
					if strings.Contains(address, "events") && method == "GET" && auth != nil {
						continue // it would not end
					}
					res := ask(t, method, address, append(auth, header...)...)
					for name := range res.header {
						if strings.HasPrefix(name, "Access-Control-") {
							t.Errorf("%s %s: %s: %s", method, address, name, res.header.Get(name))
						}
					}
					if method == "OPTIONS" && res.status < 400 {
						t.Errorf("OPTIONS %s: status %d", address, res.status)
					}
				}
			}
		}
	}
}

func TestExpose_limitsWhatARequestMaySend(t *testing.T) {
	t.Parallel()
	p := open(t, t.TempDir(), local.Options{HeaderTimeout: 500 * time.Millisecond})
	app := *createApp(t, p, "example").WebURL
	auth := "Authorization: Bearer " + p.Token().Reveal() + "\r\n"
	long := strings.Repeat("x", 1<<20)
	for name, address := range map[string]string{"API": p.URL(), "blob store": p.BlobURL(), "app": app} {
		for what, text := range map[string]string{
			"header": "GET /x HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: " + long + "\r\n\r\n",
			"path":   "GET /" + long + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
		} {
			// A reset may overtake the answer that says why.
			if got := raw(t, address, text); got != "" && !strings.HasPrefix(got, "HTTP/1.1 431 ") {
				t.Errorf("%s, a long %s: %.80q", name, what, got)
			}
		}
		// A header that never ends is not waited for; raw returns when the connection is closed.
		if got := raw(t, address, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "); strings.Contains(got, " 200 ") {
			t.Errorf("%s, a header without an end: %.80q", name, got)
		}
	}
	got := raw(t, p.URL(), "POST /apps HTTP/1.1\r\nHost: 127.0.0.1\r\n"+auth+"Content-Length: 2000000\r\n\r\n{\"name\":\""+long+"\"")
	if got != "" && !strings.HasPrefix(got, "HTTP/1.1 400 ") {
		t.Errorf("a body of 2 MB: %.80q", got)
	}
	if got := raw(t, p.URL(), "POST /apps HTTP/1.1\r\nHost: 127.0.0.1\r\n"+auth+"Content-Length: 100\r\n\r\n{\"name\":"); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
		t.Errorf("a body without an end: %.80q", got)
	}
	// The same connection goes on after a body that came in time.
	body := `{"name":"second"}`
	got = raw(t, p.URL(), "POST /apps HTTP/1.1\r\nHost: 127.0.0.1\r\n"+auth+"Content-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"+body+
		"GET /apps/second HTTP/1.1\r\nHost: 127.0.0.1\r\n"+auth+"Connection: close\r\n\r\n")
	if strings.Count(got, "HTTP/1.1 20") != 2 {
		t.Errorf("two calls on one connection: %.300q", got)
	}
}

// No path of the API or of the blob store is a path of the disk.
func TestExpose_readsNoFileByItsPath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := open(t, dir, local.Options{})
	createApp(t, p, "example")
	auth := "Authorization: Bearer " + p.Token().Reveal() + "\r\n"
	for _, file := range []string{"token", "platform.json", "platform.db", "lock"} {
		var paths []string
		for _, base := range []string{"", "/streams/", "/logs/", "/slugs/", "/apps/", "/apps/example/slugs/", "/apps/example/releases/", "/_status/", "/_web/"} {
			for _, up := range []string{"", "/", "../", "../../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..%5c", "....//", "..%00/", "./"} {
				paths = append(paths, base+up+file, base+up+file+"%00", base+up+file+".log")
			}
			paths = append(paths, base+dir+"/"+file, base+strings.ReplaceAll(dir, "/", "%2f")+"%2f"+file)
		}
		for _, path := range paths {
			if !strings.HasPrefix(path, "/") {
				path = "/" + path
			}
			for _, address := range []string{p.URL(), p.BlobURL()} {
				credential := auth
				if address == p.BlobURL() {
					credential = ""
				}
				got := raw(t, address, "GET "+path+" HTTP/1.1\r\nHost: 127.0.0.1\r\n"+credential+"Connection: close\r\n\r\n")
				if strings.HasPrefix(got, "HTTP/1.1 2") || strings.Contains(got, p.Token().Reveal()) {
					t.Errorf("GET %s: %.200q", path, got)
				}
			}
		}
	}
	for _, method := range []string{"TRACE", "CONNECT", "PROPFIND", "MOVE", "get", "X"} {
		got := raw(t, p.URL(), method+" /apps HTTP/1.1\r\nHost: 127.0.0.1\r\n"+auth+"Connection: close\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 4") {
			t.Errorf("%s: %.80q", method, got)
		}
	}
}

// Two servers in a row must agree on where a request ends. What can be read in two ways is refused,
// or goes on in one: the app never sees a request that its router did not.
func TestExpose_smugglesNoRequestThroughTheRouter(t *testing.T) {
	t.Parallel()
	needDynos(t)
	p := open(t, t.TempDir(), local.Options{})
	address := *createApp(t, p, "example").WebURL
	release(t, p, "example", map[string]string{"web": "bin/web"}, web(t))
	awaitWeb(t, p, "example")
	inner := "GET /header HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Smuggled: yes\r\nConnection: close\r\n\r\n"
	last := "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
	post := func(header, body string) string {
		return "POST /header HTTP/1.1\r\nHost: 127.0.0.1\r\n" + header + "\r\n" + body
	}
	for name, text := range map[string]string{
		"two lengths":              post("Content-Length: 0\r\nContent-Length: "+strconv.Itoa(len(inner))+"\r\n", inner),
		"a list of lengths":        post("Content-Length: 0, "+strconv.Itoa(len(inner))+"\r\n", inner),
		"a length with a sign":     post("Content-Length: +5\r\n", "hello"),
		"a negative length":        post("Content-Length: -1\r\n", inner),
		"a length in hexadecimal":  post("Content-Length: 0x5\r\n", "hello"),
		"an unknown coding":        post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"+inner),
		"two codings":              post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"+inner),
		"two lines of coding":      post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"+inner),
		"a blank before the colon": post("Transfer-Encoding : chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"+inner),
		"a folded header":          post("X-A: 1\r\n Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "hello"+last),
		"a bare line feed":         post("X-A: 1\nX-B\x00: 2\r\n", ""),
		"two hosts":                "GET /header HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: localhost\r\n\r\n",
		"a chunk with a bad size":  post("Transfer-Encoding: chunked\r\n", "zz\r\nhello\r\n0\r\n\r\n"+inner),
	} {
		got := raw(t, address, text)
		if strings.Contains(got, "X-Smuggled") {
			t.Errorf("%s: the app saw the hidden request:\n%s", name, got)
		}
		// An app may answer before it reads the body, and so before a bad chunk is found.
		if strings.HasPrefix(got, "HTTP/1.1 2") && name != "a folded header" && name != "a chunk with a bad size" {
			t.Errorf("%s: %.120q", name, got)
		}
	}
	// A length beside chunks: the chunks count (RFC 9112, section 6.3), and the app is told them
	// alone. What comes behind them is a request of its own, with a line of its own in the log.
	got := raw(t, address, post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"+inner))
	first, rest, _ := strings.Cut(got, "HTTP/1.1 200 OK\r\n")
	if strings.Contains(got, "Content-Length: 4") || first != "" && !strings.HasPrefix(first, "HTTP/1.1 400 ") {
		t.Errorf("a length beside chunks: %.300q", got)
	}
	if n := strings.Count(rest, "X-Smuggled"); n > 0 {
		eventually(t, "a line in the log for each request", func() bool {
			lines := strings.Join(p.Logs("example"), "\n")
			return strings.Count(lines, `method=GET path="/header"`) == n
		})
	}
}

// evilSlugs are archives that no dyno may be made of, with a word of the reason.
func evilSlugs(t *testing.T) map[string]struct {
	archive []byte
	want    string
} {
	file := func(name, body string) *tar.Header {
		return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(body)), Uname: body}
	}
	link := func(kind byte, name, target string) *tar.Header {
		return &tar.Header{Typeflag: kind, Name: name, Linkname: target, Mode: 0o777}
	}
	odd := func(kind byte, name string) *tar.Header { return &tar.Header{Typeflag: kind, Name: name, Mode: 0o666} }
	// The body of a file travels in its Uname, which is not written.
	of := func(headers ...*tar.Header) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		w := tar.NewWriter(z)
		write := func(h *tar.Header) {
			body := h.Uname
			h.Uname, h.Format = "", tar.FormatGNU
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, body); err != nil {
				t.Fatal(err)
			}
		}
		write(&tar.Header{Typeflag: tar.TypeDir, Name: "./app/", Mode: 0o755})
		for _, h := range headers {
			write(h)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	zeros := &tar.Header{Typeflag: tar.TypeReg, Name: "./app/zeros", Mode: 0o644, Uname: strings.Repeat("\x00", 65<<20), Size: 65 << 20}
	good := of(file("./app/a", "a"))
	type evil = struct {
		archive []byte
		want    string
	}
	return map[string]evil{
		"parent":                 {of(file("./app/../../../../canary", "evil")), `".."`},
		"parent in a link":       {of(link(tar.TypeSymlink, "./app/x", "../../../../canary")), "leads out"},
		"absolute":               {of(file("/canary", "evil")), "absolute"},
		"absolute link":          {of(link(tar.TypeSymlink, "./app/x", "/etc/passwd")), "absolute"},
		"through a link":         {of(link(tar.TypeSymlink, "./app/x", "y"), file("./app/x/file", "evil")), "passes through"},
		"hard link out":          {of(link(tar.TypeLink, "./app/x", "../canary")), `".."`},
		"hard link to the token": {of(link(tar.TypeLink, "./app/x", "../../token")), `".."`},
		"hard link to a link":    {of(link(tar.TypeSymlink, "./app/s", "f"), link(tar.TypeLink, "./app/x", "./app/s")), "no regular file"},
		"outside of app":         {of(file("./etc/passwd", "evil")), "not below ./app"},
		"app is a link":          {of(link(tar.TypeSymlink, "./app", "/")), "app"},
		"FIFO":                   {of(odd(tar.TypeFifo, "./app/x")), "FIFO"},
		"device":                 {of(odd(tar.TypeBlock, "./app/x")), "device"},
		"twice":                  {of(file("./app/a", "1"), file("./app/a", "2")), "already"},
		"a second archive":       {append(bytes.Clone(good), good...), "more bytes"},
		"cut short":              {good[:len(good)-8], "unexpected EOF"},
		"no archive":             {[]byte("hello, world"), "archive"},
		"empty":                  {nil, "empty"},
		"bomb":                   {of(zeros), "more than 67108864 bytes"},
	}
}

// An archive that wants out, or wants too much, starts no dyno: the log says why, and nothing
// is left of it.
func TestExpose_bootsNoHostileSlug(t *testing.T) {
	t.Parallel()
	needDynos(t)
	base := t.TempDir()
	dir := filepath.Join(base, "data")
	if err := os.WriteFile(filepath.Join(base, "canary"), []byte("alive"), 0o644); err != nil {
		t.Fatal(err)
	}
	p := open(t, dir, local.Options{RestartDelay: time.Hour, UnpackLimit: 64 << 20})
	cases := evilSlugs(t)
	n := 0
	for name, c := range cases {
		n++
		app := fmt.Sprintf("evil-%d", n)
		createApp(t, p, app)
		slug := upload(t, p, app, map[string]string{"web": "sleep 600"}, c.archive)
		call(t, p, "POST", "/apps/"+app+"/releases", map[string]string{"slug": slug.ID}, 201)
		var log string
		eventually(t, name+" to be refused", func() bool {
			log = strings.Join(p.Logs(app), "\n")
			return strings.Contains(log, "State changed from starting to crashed")
		})
		if !strings.Contains(log, c.want) || !strings.Contains(log, "unpack") {
			t.Errorf("%s: %q is not in the log:\n%s", name, c.want, log)
		}
		for _, trace := range []string{"to up", "Process exited"} {
			if strings.Contains(log, trace) {
				t.Errorf("%s: a process ran:\n%s", name, log)
			}
		}
	}
	if text, err := os.ReadFile(filepath.Join(base, "canary")); err != nil || string(text) != "alive" {
		t.Errorf("the file beside the data directory: %q %v", text, err)
	}
	left, err := os.ReadDir(base)
	if err != nil || len(left) != 2 {
		t.Errorf("beside the data directory: %v %v", left, err)
	}
	// What was unpacked before an archive was refused is gone.
	var size int64
	err = filepath.WalkDir(filepath.Join(dir, "dynos"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && path != filepath.Join(dir, "dynos") {
			if info, statErr := d.Info(); statErr == nil {
				size += info.Size()
			}
			t.Errorf("%s is left", path)
		}
		return err
	})
	if err != nil || size > 0 {
		t.Errorf("%d bytes are left: %v", size, err)
	}
	t.Logf("%d hostile slugs refused", len(cases))
}
