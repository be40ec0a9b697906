package heroku_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/heroku"
)

// home is a directory with these files, mode 0600.
func home(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// program puts a file that may be run where PATH can find it.
func program(t *testing.T, dir string) string {
	t.Helper()
	p := filepath.Join(dir, "heroku")
	if err := os.WriteFile(p, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCredentials_areFoundInTheirOrder(t *testing.T) {
	t.Parallel()
	const rc = "machine api.heroku.com\n  login you\n  password from-netrc\nmachine 127.0.0.1\n  password without-port\nmachine 127.0.0.1:5999\n  password with-port\n"
	bin := t.TempDir()
	cli := program(t, bin)
	full := home(t, map[string]string{".netrc": rc, "dir/.netrc": "machine api.heroku.com password in-dir", "file": "machine api.heroku.com password in-file", "_netrc": "machine api.heroku.com password on-windows"})
	empty := home(t, nil)
	for name, c := range map[string]struct {
		env     map[string]string
		home    string
		origin  string
		goos    string
		says    string // what the heroku program prints
		fails   error
		token   string
		source  string
		warning string
	}{
		"environment first":      {env: map[string]string{"HEROKU_API_KEY": " from-env\n"}, home: full, token: "from-env", source: "HEROKU_API_KEY"},
		"then netrc":             {home: full, says: "from-cli", token: "from-netrc", source: filepath.Join(full, ".netrc")},
		"netrc with port":        {home: full, origin: "http://127.0.0.1:5999", token: "with-port", source: filepath.Join(full, ".netrc")},
		"netrc without port":     {home: full, origin: "http://127.0.0.1:6000", token: "without-port", source: filepath.Join(full, ".netrc")},
		"NETRC is a file":        {env: map[string]string{"NETRC": filepath.Join(full, "file")}, home: full, token: "in-file", source: filepath.Join(full, "file")},
		"NETRC is a directory":   {env: map[string]string{"NETRC": filepath.Join(full, "dir")}, home: full, token: "in-dir", source: filepath.Join(full, "dir", ".netrc")},
		"NETRC is absent":        {env: map[string]string{"NETRC": filepath.Join(full, "no")}, home: full, warning: "does not exist"},
		"windows":                {home: full, goos: "windows", token: "on-windows", source: filepath.Join(full, "_netrc")},
		"then the program":       {home: empty, says: "from-cli\n", token: "from-cli", source: "heroku auth:token"},
		"not logged in":          {home: empty, fails: errors.New("exit status 100"), warning: "exit status 100"},
		"program prints a story": {home: empty, says: "please log in", warning: "not a token"},
		"program is for heroku":  {home: empty, origin: "http://127.0.0.1:5999", says: "from-cli"},
		"wrong variable":         {env: map[string]string{"HEROKU_API_TOKEN": "canary"}, home: empty, warning: "HEROKU_API_KEY"},
		"encrypted":              {home: home(t, map[string]string{".netrc.gpg": "x"}), warning: "does not decrypt"},
		"default is not for us":  {home: home(t, map[string]string{".netrc": "default login a password canary"})},
		"broken key":             {env: map[string]string{"HEROKU_API_KEY": "canary\nX-Evil: 1"}, home: full},
		"broken netrc":           {home: home(t, map[string]string{".netrc": "machine api.heroku.com password good\nmachine x password \"canary"}), token: "good", source: "any", warning: "line 2"},
		"broken password":        {home: home(t, map[string]string{".netrc": "machine api.heroku.com password \"canary\nx\""}), warning: "no token has"},
		"no home":                {},
		"huge netrc":             {home: home(t, map[string]string{".netrc": strings.Repeat("#\n", 1<<20)}), warning: "larger than"},
		"netrc is a directory":   {home: home(t, map[string]string{".netrc/x": ""}), warning: "not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := map[string]string{"PATH": bin}
			for k, v := range c.env {
				env[k] = v
			}
			token, source, warnings, err := heroku.Credentials(t.Context(), heroku.CredentialOptions{
				Env: env, Home: c.home, Origin: c.origin, GOOS: c.goos,
				Run: func(_ context.Context, name string, args ...string) ([]byte, error) {
					if name != cli || !slices.Equal(args, []string{"auth:token"}) {
						t.Errorf("ran %s %q", name, args)
					}
					return []byte(c.says), c.fails
				},
			})
			if c.says == "" && c.fails == nil {
				warnings = slices.DeleteFunc(warnings, func(w string) bool { return strings.Contains(w, "auth:token printed") })
			}
			if token.Reveal() != c.token || c.source != "any" && source != c.source {
				t.Errorf("token %q from %q, want %q from %q", token.Reveal(), source, c.token, c.source)
			}
			if all := strings.Join(warnings, "\n"); c.warning == "" && all != "" || !strings.Contains(all, c.warning) || strings.Contains(all, "canary") {
				t.Errorf("warnings %q, want %q", all, c.warning)
			}
			if (err == nil) != (c.token != "") || err != nil && (!errors.Is(err, platform.ErrUnauthorized) || strings.Contains(err.Error(), "canary")) {
				t.Errorf("error %v", err)
			}
			if err != nil && name != "broken key" {
				var none *heroku.NoTokenError
				if !errors.As(err, &none) {
					t.Fatalf("error %v", err)
				}
				for _, way := range []string{"HEROKU_API_KEY", "machine " + none.Host, "heroku login"} {
					own := way == "heroku login" && none.Host != "api.heroku.com"
					if strings.Contains(none.Hint(), way) == own {
						t.Errorf("hint %q: %q", none.Hint(), way)
					}
				}
			}
		})
	}
}

func TestCredentials_runNoProgramOfTheWorkingDirectory(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", ".", "bin", string(filepath.ListSeparator), "." + string(filepath.ListSeparator) + "bin"} {
		_, _, _, err := heroku.Credentials(t.Context(), heroku.CredentialOptions{
			Env: map[string]string{"PATH": path}, Home: t.TempDir(),
			Run: func(_ context.Context, name string, _ ...string) ([]byte, error) {
				t.Errorf("PATH=%q ran %s", path, name)
				return nil, nil
			},
		})
		if !errors.Is(err, platform.ErrUnauthorized) {
			t.Errorf("PATH=%q: %v", path, err)
		}
	}
}

func TestCredentials_askTheRealProgram(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("the program of this test is a shell script")
	}
	bin := t.TempDir()
	script := "#!/bin/sh\necho warning >&2\n[ \"$1\" = auth:token ] && [ \"$MARK\" = yes ] && echo from-script\n"
	if err := os.WriteFile(filepath.Join(bin, "heroku"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	token, source, _, err := heroku.Credentials(t.Context(), heroku.CredentialOptions{Env: map[string]string{"PATH": bin, "MARK": "yes"}, Home: t.TempDir()})
	if err != nil || token.Reveal() != "from-script" || source != "heroku auth:token" {
		t.Errorf("%q from %q, %v", token.Reveal(), source, err)
	}
}

func TestCredentials_lookAtWhoMayReadNetrc(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("modes are not checked on Windows")
	}
	const rc = "machine api.heroku.com password tok"
	find := func(home string) (string, string) {
		token, _, warnings, _ := heroku.Credentials(t.Context(), heroku.CredentialOptions{Home: home})
		return token.Reveal(), strings.Join(warnings, "\n")
	}
	for mode, warns := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o640: true, 0o644: true, 0o604: true, 0o620: true} {
		for _, linked := range []bool{false, true} {
			dir := home(t, map[string]string{"real": rc})
			file := filepath.Join(dir, "real")
			if err := os.Chmod(file, mode); err != nil {
				t.Fatal(err)
			}
			at := filepath.Join(dir, ".netrc")
			move := os.Rename
			if linked {
				move = os.Symlink
			}
			if err := move(file, at); err != nil {
				t.Fatal(err)
			}
			if token, w := find(dir); token != "tok" || strings.Contains(w, "chmod 600") != warns {
				t.Errorf("mode %o, link %t: token %q, warnings %q", mode, linked, token, w)
			}
		}
	}
	t.Run("anotherOwner", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("only root can give a file away")
		}
		for _, linked := range []bool{false, true} {
			dir := home(t, map[string]string{".netrc": rc})
			p := filepath.Join(dir, ".netrc")
			if linked {
				if err := os.Rename(p, p+"-real"); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(p+"-real", p); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chown(p, 65534, 65534); err != nil {
				t.Fatal(err)
			}
			if token, w := find(dir); token != "" || !strings.Contains(w, "belongs to another user") {
				t.Errorf("link %t: token %q, warnings %q", linked, token, w)
			}
		}
	})
}
