package main

import (
	"errors"
	"io/fs"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/slugfile/slugfile/pipeline/platform/local"
	"github.com/slugfile/slugfile/pipeline/store"
)

// dirs are where slugfile keeps things of its own, absolute.
type dirs struct {
	// Cache can be deleted at any time: runtimes, outputs of steps, slugs.
	Cache string
	// State is what should survive a restart and is worth nothing elsewhere: locks, journals.
	State string
	// Data is the user's: the apps of the embedded platform.
	Data string
}

// errNoHome is returned where neither HOME nor the XDG variables say where to write.
var errNoHome = errors.New("find the cache directory: HOME is not set, nor are XDG_CACHE_HOME, XDG_STATE_HOME and XDG_DATA_HOME")

// dirs follows the XDG Base Directory Specification on every system: a variable that is not
// an absolute path is ignored (https://specifications.freedesktop.org/basedir/latest/). Without
// the variables the places are those that the system's own programs use.
func (a *App) dirs() (dirs, error) { return findDirs(a.Env, runtime.GOOS) }

func findDirs(env map[string]string, goos string) (dirs, error) {
	native, ok := nativeDirs(env, goos)
	d := dirs{
		Cache: xdg(env["XDG_CACHE_HOME"], native.Cache),
		State: xdg(env["XDG_STATE_HOME"], native.State),
		Data:  xdg(env["XDG_DATA_HOME"], native.Data),
	}
	if !ok && (d.Cache == "" || d.State == "" || d.Data == "") {
		return dirs{}, errNoHome
	}
	return d, nil
}

func xdg(value, native string) string {
	if filepath.IsAbs(value) {
		return filepath.Join(value, name)
	}
	return native
}

func nativeDirs(env map[string]string, goos string) (dirs, bool) {
	home := env["HOME"]
	switch goos {
	case "windows":
		local := env["LOCALAPPDATA"]
		if local == "" {
			return dirs{}, false
		}
		base := filepath.Join(local, name)
		return dirs{filepath.Join(base, "cache"), filepath.Join(base, "state"), filepath.Join(base, "data")}, true
	case "darwin":
		if !filepath.IsAbs(home) {
			return dirs{}, false
		}
		support := filepath.Join(home, "Library", "Application Support", name)
		return dirs{filepath.Join(home, "Library", "Caches", name), filepath.Join(support, "state"), filepath.Join(support, "data")}, true
	}
	if !filepath.IsAbs(home) {
		return dirs{}, false
	}
	return dirs{
		filepath.Join(home, ".cache", name),
		filepath.Join(home, ".local", "state", name),
		filepath.Join(home, ".local", "share", name),
	}, true
}

// dirError is a directory of slugfile's own that cannot be used. what it holds, and the
// variable that names another, tell the user more than who owns it.
type dirError struct {
	err            error
	what, variable string
}

func (e *dirError) Error() string { return e.err.Error() }
func (e *dirError) Unwrap() error { return e.err }

// Hint is empty where another directory would not help.
func (e *dirError) Hint() string {
	if !errors.Is(e.err, fs.ErrPermission) && !errors.Is(e.err, syscall.EROFS) {
		return ""
	}
	return "slugfile keeps its " + e.what + " there: make it writable, or name another directory with " + e.variable
}

// openStore opens the cache.
func openStore(d dirs) (*store.Store, error) {
	s, err := store.Open(d.Cache)
	if err != nil {
		return nil, &dirError{err, "cache", "XDG_CACHE_HOME"}
	}
	return s, nil
}

// openPlatform opens the data directory of the embedded platform.
func openPlatform(dir string, o local.Options) (*local.Platform, error) {
	p, err := local.Open(dir, o)
	if err != nil {
		return nil, &dirError{err, "embedded platform", "SLUGFILE_DATA or XDG_DATA_HOME"}
	}
	return p, nil
}
