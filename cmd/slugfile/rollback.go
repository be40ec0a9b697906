package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/journal"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/local"
	"github.com/slugfile/slugfile/pipeline/release"
	"github.com/slugfile/slugfile/pipeline/store"
)

type rollbackCmd struct {
	projectFlags
	appFlag
	lockFlag
	platformFlags
	progressFlags
	jsonFlag
	yesFlag
	Version string `arg:"" optional:"" name:"version" help:"The release to go back to, such as v10. Default: the newest one before the current that ran another slug."`
}

// Help is shown with --help.
func (c *rollbackCmd) Help() string {
	return `It makes a new release of the slug and the config vars of an earlier one. Without a version it goes to what ran before, as heroku rollback does: a second rollback undoes the first, so name a version to go further back.

When the platform has removed the slug, it is uploaded again from the store of this machine; the config vars stay as they are then.`
}

// Run rolls back once, like apply: under the app's lock, and with a journal.
func (c *rollbackCmd) Run(ctx context.Context, app *App) (err error) {
	if c.Version != "" && !rollbackVersion.MatchString(c.Version) {
		return &usageError{msg: fmt.Sprintf("%q is no version: it is a number, such as v10", c.Version), command: "slugfile rollback"}
	}
	s := &session{app: app, lockTimeout: c.LockTimeout}
	if s.name, err = app.named(ctx, c.projectFlags, c.appFlag, "slugfile rollback"); err != nil {
		return err
	}
	if s.dirs, err = app.dirs(); err != nil {
		return err
	}
	if s.store, err = openStore(s.dirs); err != nil {
		return err
	}
	s.view = c.view(app, c.JSON)
	defer closing(s.view, &err)
	conn, unlock, err := s.enter(ctx, c.platformFlags, local.Options{Private: true})
	if err != nil {
		return err
	}
	defer func() { err = firstError(err, conn.close(ctx)) }()
	defer unlock()
	b, err := s.lookBack(ctx, conn, c.Version)
	if err != nil {
		return err
	}
	done := view.RolledBack{App: b.app.Name, From: b.current.Version, To: b.to.Version, Release: view.AppliedRelease{ID: b.current.ID, Version: b.current.Version}}
	if b.app.WebURL != nil {
		done.WebURL = *b.app.WebURL
	}
	done.Slug = view.AppliedSlug{ID: b.slugID, Size: b.size}
	if !b.checksum.IsZero() {
		done.Slug.Checksum = b.checksum.Checksum()
	}
	if !b.runs() {
		if !c.JSON && !c.Quiet {
			if err := view.Rollback(app.Out, b.shown(ctx, conn), app.Now(), app.outStyle()); err != nil {
				return err
			}
		}
		if !c.Local && !c.Yes {
			if err := app.confirm(ctx, fmt.Sprintf("Roll %s back to v%d?", b.app.Name, b.to.Version), "slugfile rollback"); err != nil {
				return err
			}
		}
		rel, slugID, err := s.goBack(ctx, conn, b)
		if err != nil {
			return err
		}
		done.Changed, done.Uploaded, done.Slug.ID = true, b.gone, slugID
		done.Release = view.AppliedRelease{ID: rel.ID, Version: rel.Version}
	} else {
		s.leave()
	}
	unlock() // others need not wait while this one boots
	if conn.local {
		if err := conn.awaitWeb(ctx, b.app.ID); err != nil {
			return err
		}
	}
	if err := s.view.Close(); err != nil {
		return err
	}
	if c.JSON {
		return view.WriteLine(app.Out, done)
	}
	return view.WriteRolledBack(app.Out, done, app.outStyle())
}

var rollbackVersion = regexp.MustCompile(`^v?[1-9][0-9]{0,8}$`)

// backward is a rollback before it is made.
type backward struct {
	app         platform.App
	current, to platform.Release
	latest      int
	slugID      string
	checksum    digest.Digest
	size        int64
	// gone says that the platform has the slug no more; kept is then how it was made.
	gone bool
	kept keptRelease
}

// runs reports whether the release to go back to is what runs: itself, or a rollback to it with no
// change since.
func (b backward) runs() bool {
	if b.to.ID == b.current.ID {
		return true
	}
	text, _, _ := plan.ParseMark(b.current.Description)
	return text == rollbackText(b.to.Version) && (b.gone || b.current.Slug.ID == b.slugID)
}

// rollbackText is how the platform describes a rollback.
func rollbackText(version int) string { return "Rollback to v" + strconv.Itoa(version) }

// lookBack finds the release to go back to, and what is there of it.
func (s *session) lookBack(ctx context.Context, c *connection, version string) (b backward, err error) {
	fail := func(why, hint string) (backward, error) { return b, &rollbackError{s.name, why, hint} }
	if b.app, err = c.platform.App(ctx, s.name); err != nil {
		return b, err
	}
	s.name = b.app.Name
	list, err := c.platform.Releases(ctx, b.app.ID, 0)
	if err != nil {
		return b, err
	}
	at := slices.IndexFunc(list, func(r platform.Release) bool { return r.Current })
	if at < 0 || list[at].Slug == nil {
		return fail("it runs no release that a deploy made", `"slugfile releases" lists what there is`)
	}
	b.current, b.latest = list[at], list[0].Version
	if version == "" {
		i := slices.IndexFunc(list[at+1:], func(r platform.Release) bool {
			return r.Slug != nil && r.Slug.ID != b.current.Slug.ID && (r.Status == platform.Succeeded || r.Status == platform.Expired)
		})
		if i < 0 {
			return fail(fmt.Sprintf("no release before v%d ran another slug", b.current.Version), `"slugfile releases" lists what there is`)
		}
		b.to = list[at+1+i]
	} else {
		n, _ := strconv.Atoi(strings.TrimPrefix(version, "v")) // a number, by its pattern
		i := slices.IndexFunc(list, func(r platform.Release) bool { return r.Version == n })
		if i < 0 {
			return fail(fmt.Sprintf("there is no release v%d", n), fmt.Sprintf("the app has v%d to v%d", list[len(list)-1].Version, b.latest))
		}
		b.to = list[i]
	}
	shown := fmt.Sprintf("v%d", b.to.Version)
	switch b.to.Status {
	case platform.Pending:
		return fail(shown+" is in its release phase", "wait for it to end")
	case platform.Failed:
		return fail(shown+" failed in its release phase, and never ran", "name another one, or leave the version out")
	}
	kept, err := s.kept()
	if err != nil {
		return b, err
	}
	if i := slices.IndexFunc(kept.Releases, func(k keptRelease) bool {
		return k.ID == b.to.ID || b.to.Slug != nil && k.SlugID == b.to.Slug.ID
	}); i >= 0 {
		b.kept = kept.Releases[i]
		b.slugID, b.checksum, b.size = b.kept.SlugID, b.kept.Slug, b.kept.Size
	}
	b.gone = b.to.Slug == nil || b.to.Status == platform.Expired
	if !b.gone {
		b.slugID = b.to.Slug.ID
		slug, err := c.platform.Slug(ctx, b.app.ID, b.slugID)
		switch {
		case errors.Is(err, platform.ErrNotFound):
			b.gone = true
		case err != nil:
			return b, err
		default:
			if slug.Checksum != nil {
				b.checksum, _ = digest.Parse(*slug.Checksum) // another tool's may be of another kind
			}
			if slug.Size != nil {
				b.size = *slug.Size
			}
		}
	}
	if b.gone && !b.runs() {
		return b, s.haveKept(b)
	}
	return b, nil
}

// haveKept says what is missing for a release whose slug the platform has removed.
func (s *session) haveKept(b backward) error {
	shown := fmt.Sprintf("v%d", b.to.Version)
	commit := b.kept.Commit
	if m := deployedCommit.FindStringSubmatch(b.to.Description); commit == "" && m != nil {
		commit = m[1]
	}
	hint := `check its source out and run "slugfile apply", which makes the slug again`
	if commit != "" {
		hint = fmt.Sprintf(`run "git checkout %s" and "slugfile apply", which makes the slug again`, commit)
	}
	if b.kept.ID == "" {
		if b.to.Slug == nil && b.to.Status != platform.Expired {
			return &rollbackError{s.name, shown + " has no slug", "name a release that a deploy made"}
		}
		return &rollbackError{s.name, "the platform has removed the slug of " + shown + ", and it was not released from this machine", hint}
	}
	f, err := s.store.Open(b.kept.Slug)
	if errors.Is(err, store.ErrNotFound) {
		return &rollbackError{s.name, fmt.Sprintf("the platform has removed the slug of %s, and its archive (sha256 %s) is not in the store of this machine any more", shown, b.kept.Slug.Short()), hint}
	}
	if err != nil {
		return err
	}
	return f.Close()
}

var deployedCommit = regexp.MustCompile(`^Deploy ([0-9a-f]{7,40})\b`)

// rollbackError says why there is nothing to go back to.
type rollbackError struct{ app, why, hint string }

func (e *rollbackError) Error() string { return "roll back app " + e.app + ": " + e.why }

// Hint says what to do.
func (e *rollbackError) Hint() string { return e.hint }

// goBack makes the release.
func (s *session) goBack(ctx context.Context, c *connection, b backward) (artifact.Release, string, error) {
	run := s.pipeline(c.platform)
	step := plan.Release{App: b.app.ID, AppName: b.app.Name, Baseline: b.current.ID, BaselineVersion: b.latest}
	slugID := b.slugID
	var rel artifact.Release
	var err error
	if b.gone {
		step.Description = rollbackText(b.to.Version)
		k := b.kept
		up := plan.Upload{App: b.app.ID, ProcessTypes: k.ProcessTypes, Stack: k.Stack, Commit: k.Commit, CommitDescription: k.CommitDescription}
		var sent artifact.Upload
		sent, rel, err = run.Publish(ctx, plan.Work{Upload: up, Release: step}, artifact.Slug{Path: s.store.Path(k.Slug), Digest: k.Slug, Size: k.Size, PlanKey: k.PlanKey})
		slugID = sent.SlugID
	} else {
		rel, err = run.Release.Rollback(ctx, step, release.Back{
			To: journal.Release{ID: b.to.ID, Version: b.to.Version}, SlugID: b.slugID, SameSlug: b.slugID == b.current.Slug.ID,
			Size: b.size,
		})
	}
	if err != nil {
		return rel, "", err
	}
	if k := b.kept; k.ID != "" {
		k.AppID, k.ID, k.Version, k.SlugID = b.app.ID, rel.ID, rel.Version, slugID
		s.keep(k)
	}
	return rel, slugID, nil
}

// shown is what the user is told before.
func (b backward) shown(ctx context.Context, c *connection) view.RollbackPlan {
	p := view.RollbackPlan{App: b.app.Name, From: b.current, To: b.to, Checksum: b.checksum, Size: b.size, SameSlug: !b.gone && b.slugID == b.current.Slug.ID, Again: b.gone}
	configs, ok := c.platform.(platform.Configs)
	if !ok || b.gone {
		return p
	}
	// A courtesy: an account may release and not read config vars.
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	now, err := configs.ReleaseConfigNames(ctx, b.app.ID, b.current.ID)
	if err != nil {
		return p
	}
	then, err := configs.ReleaseConfigNames(ctx, b.app.ID, b.to.ID)
	if err != nil {
		return p
	}
	for _, n := range then {
		if !slices.Contains(now, n) {
			p.Added = append(p.Added, n)
		}
	}
	for _, n := range now {
		if !slices.Contains(then, n) {
			p.Removed = append(p.Removed, n)
		}
	}
	return p
}
