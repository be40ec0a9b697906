package main

import (
	"context"
	"path/filepath"
	"regexp"
	"time"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/journal"
	"github.com/slugfile/slugfile/pipeline/platform/local"
	"github.com/slugfile/slugfile/pipeline/release"
)

// enter connects to the platform, takes the app's lock, and settles what an earlier run left open.
// On the embedded platform of this process only the session's app boots. The caller unlocks, and
// closes the connection.
func (s *session) enter(ctx context.Context, f platformFlags, o local.Options) (conn *connection, unlock func(), err error) {
	o.BootTimeout = bootTime
	o.Boots = func(id, name string) bool { return s.name == id || s.name == name }
	if conn, err = s.app.connect(ctx, f, o, s.lockTimeout, s.view); err != nil {
		return nil, nil, err
	}
	if unlock, err = s.lockApp(ctx, conn); err == nil {
		if err = s.recover(ctx, conn); err == nil {
			return conn, unlock, nil
		}
		unlock()
	}
	return nil, nil, firstError(err, conn.close(ctx))
}

// lockApp makes two applies of one app on this machine come one after the other, and opens the
// journal that they share.
func (s *session) lockApp(ctx context.Context, c *connection) (unlock func(), err error) {
	if s.name == "" {
		return func() {}, nil // plan says what is wrong
	}
	if s.key, err = s.appKey(ctx, c); err != nil {
		return nil, err
	}
	dir := filepath.Join(s.dirs.State, "apps", s.key)
	unlock, err = release.Lock(ctx, filepath.Join(dir, "lock"), release.LockOptions{
		Timeout: s.lockTimeout,
		Waiting: func(holder string) {
			s.view.Emit(event.Warning{Stage: event.Release, Subject: s.name, Message: holder + " applies to this app; waiting for it to end"})
		},
	})
	if is[*release.BusyError](err) {
		return nil, err
	}
	if err != nil {
		return nil, &dirError{err, "locks", "XDG_STATE_HOME"}
	}
	s.journal, err = journal.Open(journal.Disk(filepath.Join(dir, "journal.jsonl")), journal.Options{Now: s.app.Now})
	if err != nil {
		unlock()
		if is[*journal.DamagedError](err) {
			return nil, err
		}
		return nil, &dirError{err, "journals", "XDG_STATE_HOME"}
	}
	return unlock, nil
}

// appID is how an app looks that is named by its id.
var appID = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// appKey names the app of a platform in files, however the user named it. Its id would be better,
// but an app that is not there yet has none. The embedded platform has another address in each
// process, and is known by its directory.
func (s *session) appKey(ctx context.Context, c *connection) (string, error) {
	name, where := s.name, c.api
	if appID.MatchString(name) {
		// One that cannot be read is named as it is: plan says what is wrong with it.
		if app, err := c.platform.App(ctx, name); err == nil {
			name = app.Name
		}
	}
	if c.local {
		dir, err := s.app.platformDir("")
		if err != nil {
			return "", err
		}
		where = dir
	}
	return digest.Of([]byte(where + " " + name)).String()[:32], nil
}

// recover clears up what an apply that was killed left open, so that the plan sees it.
func (s *session) recover(ctx context.Context, c *connection) error {
	stage := s.pipeline(c.platform).Release
	if c.own != nil {
		// Whatever process had this platform before has ended, and every request to it as well.
		stage.Settle = time.Second
	}
	return stage.Recover(ctx)
}

// leave closes what an earlier apply left open when there is nothing to release any more.
func (s *session) leave() {
	if s.journal == nil {
		return
	}
	if err := s.journal.Abandon("nothing is to be released any more"); err != nil {
		s.view.Emit(event.Warning{Stage: event.Release, Subject: s.name, Message: err.Error()})
	}
}
