package main

import (
	"errors"
	"path/filepath"
	"runtime"
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
