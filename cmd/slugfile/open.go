package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
)

type openCmd struct {
	projectFlags
	appFlag
	platformFlags
	progressFlags
	jsonFlag
	openFlags
	Path string `arg:"" optional:"" name:"path" help:"A path of the app, such as /admin?tab=1."`
}

// Run prints the address of the app, and shows it in a browser when there is one.
func (c *openCmd) Run(ctx context.Context, app *App) (err error) {
	name, err := app.named(ctx, c.projectFlags, c.appFlag, "slugfile open")
	if err != nil {
		return err
	}
	v := c.view(app, false)
	defer closing(v, &err)
	conn, err := app.connectRunning(ctx, c.platformFlags, v, "open app "+name)
	if err != nil {
		return err
	}
	defer func() { err = firstError(err, conn.close(ctx)) }()
	base, err := webURL(ctx, conn.platform, name)
	if err != nil {
		return err
	}
	if base == "" {
		return fmt.Errorf("app %s has no address", name)
	}
	address, err := below(base, c.Path)
	if err != nil {
		return err
	}
	done := view.Opened{App: name, WebURL: address}
	var why error
	if !c.Print {
		why = app.browse(ctx, address)
		done.Browser = why == nil
	}
	if c.JSON {
		return view.WriteLine(app.Out, done)
	}
	if err := view.WriteOpened(app.Out, done); err != nil || why == nil || c.Quiet {
		return err
	}
	return view.NotOpened(app.Err, why, app.errStyle())
}

// below puts a path behind the address of an app. It never leads elsewhere.
func below(base, path string) (string, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", errors.New("the address that the platform gives is none for a browser")
	}
	rest, err := url.Parse("/" + strings.TrimLeft(path, "/"))
	if err != nil || strings.Contains(path, "://") {
		return "", &usageError{msg: fmt.Sprintf("%q is no path of the app, such as /admin", path), command: "slugfile open"}
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/")+rest.Path, ""
	u.RawQuery, u.Fragment = rest.RawQuery, rest.Fragment
	return u.String(), nil
}

// errNoBrowser says that there is nothing to open an address with.
var errNoBrowser = errors.New("no browser was found: set BROWSER to a command")

// browserWait is how long a browser may take to fail; one that stays open is fine.
const browserWait = 3 * time.Second

// browse starts a browser, and does not wait for its end.
func (a *App) browse(ctx context.Context, address string) error {
	argv := a.browser(address)
	if argv == nil {
		return errNoBrowser
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = nil
	for k, v := range a.Env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	slices.Sort(cmd.Env)
	cmd.Dir = a.Dir
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", argv[0], unwrapOpen(err))
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			return fmt.Errorf("%s: %w", argv[0], err)
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(browserWait):
	}
	return nil
}

// browser is the command that shows an address: that of BROWSER, in which %s stands for the
// address, else what the system has. Without a screen there is none.
func (a *App) browser(address string) []string {
	for _, text := range strings.Split(a.Env["BROWSER"], string(filepath.ListSeparator)) {
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		exe := a.lookPath(words[0])
		if exe == "" {
			continue
		}
		argv, placed := []string{exe}, false
		for _, w := range words[1:] {
			placed = placed || strings.Contains(w, "%s")
			argv = append(argv, strings.ReplaceAll(w, "%s", address))
		}
		if !placed {
			argv = append(argv, address)
		}
		return argv
	}
	if a.Env["BROWSER"] != "" {
		return nil
	}
	var names []string
	switch runtime.GOOS {
	case "darwin":
		names = []string{"open"}
	case "windows":
		if exe := a.lookPath("rundll32.exe"); exe != "" {
			return []string{exe, "url.dll,FileProtocolHandler", address}
		}
		return nil
	default:
		if a.Env["WSL_DISTRO_NAME"] != "" {
			names = append(names, "wslview")
		}
		if a.Env["DISPLAY"] != "" || a.Env["WAYLAND_DISPLAY"] != "" {
			names = append(names, "xdg-open")
		}
	}
	for _, n := range names {
		if exe := a.lookPath(n); exe != "" {
			return []string{exe, address}
		}
	}
	return nil
}

// lookPath finds a program in the absolute directories of PATH, and never in the working directory.
func (a *App) lookPath(name string) string {
	isProgram := func(path string) bool {
		info, err := os.Stat(path)
		return err == nil && info.Mode().IsRegular() && (runtime.GOOS == "windows" || info.Mode()&0o111 != 0)
	}
	if filepath.IsAbs(name) {
		if isProgram(name) {
			return name
		}
		return ""
	}
	if strings.ContainsAny(name, `/\`) {
		return ""
	}
	for _, dir := range filepath.SplitList(a.Env["PATH"]) {
		if path := filepath.Join(dir, name); filepath.IsAbs(dir) && isProgram(path) {
			return path
		}
	}
	return ""
}
