package compile

import (
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/slugfile/slugfile/config/diag"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/plan"
)

// network are the variables of this machine that every step gets, so that package managers
// reach the world through its proxy and trust its certificates.
var network = []string{
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
	"http_proxy", "https_proxy", "no_proxy", "all_proxy",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO",
}

// credential reports whether a variable holds a credential of a platform. No step gets it, not
// even one that asks: what runs in a step was downloaded.
func credential(name string) bool {
	return strings.HasPrefix(name, "HEROKU_API") || strings.HasPrefix(name, "SLUGFILE_")
}

// environment is the whole environment of a step, sorted, and the values in it that output
// must not show.
func (r *run) environment(p *place, step plan.Step, seen []artifact.Runtime) (env, secrets []string) {
	vars := map[string]string{
		"PATH":              searchPath(p, seen),
		"HOME":              p.seenHome,
		"TMPDIR":            p.seenTmp,
		"LANG":              "C.UTF-8",
		"TZ":                "UTC",
		"SOURCE_DATE_EPOCH": strconv.FormatInt(step.Epoch, 10),
	}
	for _, name := range network {
		value, ok := r.Env[name]
		if !ok {
			continue
		}
		vars[name] = value
		if u, err := url.Parse(value); err == nil && u.User != nil {
			if password, ok := u.User.Password(); ok {
				secrets = append(secrets, password)
			}
		}
		// As it is written, which may be no address at all.
		if password := diag.Password(value); password != "" {
			secrets = append(secrets, password)
		}
	}
	for name, value := range step.Env {
		vars[name] = value
	}
	for _, name := range step.PassEnv {
		if credential(name) {
			r.warn(step.Name, name+" is not passed to the step: it holds a credential of the platform", "remove it from pass_env")
			continue
		}
		value, ok := r.Env[name]
		if !ok {
			r.warn(step.Name, name+" is not set, so the step runs without it", "set it, or remove it from pass_env")
			continue
		}
		vars[name] = value
		secrets = append(secrets, value)
	}
	for name, value := range vars {
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	return env, secrets
}

// searchPath is PATH: the runtimes and tools in the step's order, then the system.
func searchPath(p *place, seen []artifact.Runtime) string {
	var dirs []string
	for _, a := range seen {
		if a.Tool != "" {
			dirs = append(dirs, filepath.Join(p.seenTools, a.Name))
		} else {
			dirs = append(dirs, binDir(p.root, a))
		}
	}
	return strings.Join(append(dirs, systemPath), string(filepath.ListSeparator))
}
