//go:build linux

package main

import (
	"strings"
	"syscall"
	"testing"
)

func TestRollback_onATerminalAsks(t *testing.T) {
	t.Parallel()
	r, first, _ := backRig(t, false, "")
	r.Env["NO_COLOR"] = "1"
	const question = "Roll faulty back to v3? [y/N] "
	for _, answer := range []string{"\r", "n\r", "v3\r"} {
		screen, code := r.dialogue(t, r.dir, [][2]string{{question, answer}}, "rollback")
		if code != exitFailed || !strings.Contains(screen, "nothing was done: the answer was not yes") {
			t.Errorf("answer %q: exit code %d, screen %q", answer, code, screen)
		}
	}
	if screen, code := r.dialogue(t, r.dir, [][2]string{{question, "\x03"}}, "rollback"); code != exitInterrupted {
		t.Errorf("Ctrl-C at the question: exit code %d, screen %q", code, screen)
	}
	if n := len(r.releases(t)) - r.base; n != 0 {
		t.Errorf("%d releases were made without a yes", n)
	}
	screen, code := r.dialogue(t, r.dir, [][2]string{{question, "y\r"}}, "rollback")
	if list := r.releases(t); code != exitDone || len(list) != r.base+1 || !list[0].Current || list[0].Slug.ID != first.Slug.ID {
		t.Errorf("yes: exit code %d, releases %+v, screen %q", code, list, screen)
	}
	// What runs already is not asked about.
	if screen, code := r.dialogue(t, r.dir, nil, "rollback", "v3"); code != exitDone || strings.Contains(screen, "[y/N]") || !strings.Contains(screen, "No changes. faulty runs v5, a rollback to v3.") {
		t.Errorf("once more: exit code %d, screen %q", code, screen)
	}
}

func TestLogs_followedUntilCtrlCEndWithItsExitCode(t *testing.T) {
	t.Parallel()
	r, _, _ := backRig(t, false, "")
	r.Env["NO_COLOR"] = "1"
	const last = "app[api]: Release v4 created by user"
	screen, code := r.dialogue(t, r.dir, [][2]string{{last, "\x03"}}, "logs", "--tail")
	if code != exitInterrupted || strings.Contains(screen, name+": ") {
		t.Errorf("Ctrl-C on a terminal: exit code %d, screen %q", code, screen)
	}
	for _, format := range [][]string{nil, {"--json"}} {
		p := r.prepareStart(t, append([]string{"logs", "--tail"}, format...)...)
		shown := p.out.shows("Release v4 created by user")
		p.begin(t)
		p.until(t, "the log", shown)
		p.signal(t, syscall.SIGINT)
		if got := p.wait(t, timely); got.Code != exitInterrupted || got.Err != "" {
			t.Errorf("SIGINT %v: exit code %d\n%s", format, got.Code, got.Err)
		}
	}
}
