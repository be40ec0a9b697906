package heroku

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/transport"
)

// CredentialOptions say where a token may be looked for.
type CredentialOptions struct {
	// Env is the environment: HEROKU_API_KEY, HEROKU_API_TOKEN, NETRC, PATH.
	Env map[string]string
	// Home is the user's home directory.
	Home string
	// Origin is where the token will be sent: scheme://host[:port]. Default: DefaultURL.
	Origin string
	// Run runs a program by its absolute path and returns its standard output. Default: os/exec with Env.
	Run func(ctx context.Context, name string, args ...string) ([]byte, error)
	// GOOS is the system whose file names are used. Default: this one.
	GOOS string
}

// maxNetrc is far above any honest netrc file.
const maxNetrc = 1 << 20

// Credentials finds the token for an origin: HEROKU_API_KEY, then netrc, then what
// `heroku auth:token` prints. It returns where the token came from and what the user should
// know. When there is none the error is a platform.ErrUnauthorized that says how to log in.
func Credentials(ctx context.Context, o CredentialOptions) (token transport.Secret, source string, warnings []string, err error) {
	if o.Origin == "" {
		o.Origin = DefaultURL
	}
	if o.GOOS == "" {
		o.GOOS = runtime.GOOS
	}
	u, err := parseBase(o.Origin)
	if err != nil {
		return "", "", nil, err
	}
	if key := strings.TrimSpace(o.Env["HEROKU_API_KEY"]); key != "" {
		if !headerSafe(key) {
			return "", "", nil, fmt.Errorf("%w: HEROKU_API_KEY holds blanks or characters that no token has", platform.ErrUnauthorized)
		}
		return transport.Secret(key), "HEROKU_API_KEY", nil, nil
	}
	if o.Env["HEROKU_API_TOKEN"] != "" {
		warnings = append(warnings, "HEROKU_API_TOKEN is set, but the variable that is used is HEROKU_API_KEY")
	}

	key, path, more := o.fromNetrc(u)
	warnings = append(warnings, more...)
	if key != "" {
		return transport.Secret(key), path, warnings, nil
	}

	// What the heroku program prints is a token of the real platform, for that alone.
	if h := u.Hostname(); u.Scheme == "https" && strings.EqualFold(h, "api.heroku.com") {
		key, more := o.fromProgram(ctx)
		warnings = append(warnings, more...)
		if key != "" {
			return transport.Secret(key), "heroku auth:token", warnings, nil
		}
	}
	if err := ctx.Err(); err != nil {
		return "", "", warnings, err
	}
	return "", "", warnings, &NoTokenError{Host: u.Host, Netrc: o.netrcPath()}
}

// NoTokenError says that no credentials were found. It is a platform.ErrUnauthorized.
type NoTokenError struct {
	// Host is where the token would have been sent; it has a port when that is not the usual one.
	Host string
	// Netrc is the file that was read, or would have been.
	Netrc string
}

func (e *NoTokenError) Error() string {
	return fmt.Sprintf("%v: no token for %s was found, neither in HEROKU_API_KEY nor in %s", platform.ErrUnauthorized, e.Host, e.Netrc)
}

// Unwrap makes it a platform.ErrUnauthorized.
func (e *NoTokenError) Unwrap() error { return platform.ErrUnauthorized }

// Hint names every way to log in. That of the heroku program is a token for Heroku alone.
func (e *NoTokenError) Hint() string {
	h := fmt.Sprintf("set HEROKU_API_KEY, or add \"machine %s\" to %s", e.Host, e.Netrc)
	if strings.EqualFold(e.Host, "api.heroku.com") {
		return h + ", or run \"heroku login\""
	}
	return h + "; \"slugfile platform\" prints the token of the embedded platform"
}

// headerSafe reports whether a token can stand in a header.
func headerSafe(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != ""
}

// netrcPath is the file that is read: what NETRC names, a file or its directory, else the one in the home directory.
func (o CredentialOptions) netrcPath() string {
	name := ".netrc"
	if o.GOOS == "windows" {
		name = "_netrc"
	}
	p := o.Env["NETRC"]
	if p == "" {
		return filepath.Join(o.Home, name)
	}
	if fi, err := os.Stat(p); err == nil && fi.IsDir() {
		return filepath.Join(p, name)
	}
	return p
}

func (o CredentialOptions) fromNetrc(u *url.URL) (key, path string, warnings []string) {
	if o.Env["NETRC"] == "" && o.Home == "" {
		return "", "", nil
	}
	path = o.netrcPath()
	text, warning, err := readNetrc(path)
	if warning != "" {
		warnings = append(warnings, warning)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if o.Env["NETRC"] != "" {
			warnings = append(warnings, fmt.Sprintf("NETRC names %s, which does not exist", path))
		}
		if _, err := os.Stat(path + ".gpg"); err == nil {
			warnings = append(warnings, fmt.Sprintf("%s.gpg is there, but slugfile does not decrypt it", path))
		}
		return "", "", warnings
	case err != nil:
		return "", "", append(warnings, err.Error())
	}
	entries, err := parseNetrc(text)
	if err != nil {
		warnings = append(warnings, fmt.Sprintf("%s: %v; what stands before it is used", path, err))
	}
	e, ok := findNetrc(entries, u.Host, u.Hostname())
	switch {
	case !ok || e.password == "":
		return "", "", warnings
	case !headerSafe(e.password):
		return "", "", append(warnings, fmt.Sprintf("%s: the password of machine %s holds blanks or characters that no token has", path, e.machine))
	}
	return e.password, path, warnings
}

// readNetrc reads a file that holds passwords: a regular one, not somebody else's, and with a warning if
// others can read it. What is checked is the open file, so that it cannot be exchanged in between.
func readNetrc(path string) (text, warning string, err error) {
	if fi, err := os.Stat(path); err != nil {
		return "", "", err
	} else if !fi.Mode().IsRegular() {
		// A pipe would hold the program up for ever when it is opened.
		return "", "", fmt.Errorf("%s is not a regular file and is not used", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", "", fmt.Errorf("netrc is not used: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	fi, err := f.Stat()
	if err != nil {
		return "", "", fmt.Errorf("netrc is not used: %w", err)
	}
	if !fi.Mode().IsRegular() {
		return "", "", fmt.Errorf("%s is not a regular file and is not used", path)
	}
	if who, ok := otherOwner(fi); ok {
		return "", "", fmt.Errorf("%s belongs to another user (%s) and is not used", path, who)
	}
	if othersCanRead(fi) {
		warning = fmt.Sprintf("others can read %s; run: chmod 600 %s", path, path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxNetrc+1))
	if err != nil {
		return "", warning, fmt.Errorf("netrc is not used: %w", err)
	}
	if len(b) > maxNetrc {
		return "", warning, fmt.Errorf("%s is larger than %d KiB and is not used", path, maxNetrc>>10)
	}
	return string(b), warning, nil
}

// programLimit is ample: the heroku program answers in a second or two.
const programLimit = 30 * time.Second

func (o CredentialOptions) fromProgram(ctx context.Context) (key string, warnings []string) {
	path := o.lookPath("heroku")
	if path == "" {
		return "", nil
	}
	run := o.Run
	if run == nil {
		run = o.run
	}
	ctx, cancel := context.WithTimeout(ctx, programLimit)
	defer cancel()
	out, err := run(ctx, path, "auth:token")
	if err != nil {
		return "", []string{fmt.Sprintf("%s auth:token: %v", path, err)}
	}
	key = strings.TrimSpace(string(out))
	if !headerSafe(key) {
		return "", []string{path + " auth:token printed something that is not a token"}
	}
	return key, nil
}

func (o CredentialOptions) run(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = make([]string, 0, len(o.Env))
	for k, v := range o.Env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cmd.Dir = o.Home
	// A grandchild that keeps the pipe open must not keep us.
	cmd.WaitDelay = time.Second
	return cmd.Output()
}

// lookPath finds a program in the absolute directories of PATH. Relative ones are passed over: a
// checkout must not bring the program that is asked for the token.
func (o CredentialOptions) lookPath(name string) string {
	names := []string{name}
	if o.GOOS == "windows" {
		names = []string{name + ".exe", name + ".cmd"}
	}
	for _, dir := range filepath.SplitList(o.Env["PATH"]) {
		if !filepath.IsAbs(dir) {
			continue
		}
		for _, n := range names {
			p := filepath.Join(dir, n)
			if fi, err := os.Stat(p); err == nil && fi.Mode().IsRegular() && (o.GOOS == "windows" || fi.Mode()&0o111 != 0) {
				return p
			}
		}
	}
	return ""
}
