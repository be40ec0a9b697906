//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/platform"
)

// brokenLogs gives one stream after the other: each of its lines, then its error.
type brokenLogs struct {
	streams [][]platform.LogEvent
	asked   []platform.LogSessionCreate
	after   []string
}

var errBroken = errors.New("connection reset")

func (b *brokenLogs) CreateLogSession(_ context.Context, _ string, in platform.LogSessionCreate) (platform.LogSession, error) {
	b.asked = append(b.asked, in)
	if len(b.streams) == 0 {
		return platform.LogSession{}, errors.New("the platform is gone")
	}
	return platform.LogSession{}, nil
}

func (b *brokenLogs) ReadLog(_ context.Context, _ platform.LogSession, after string, each func(platform.LogEvent) error) error {
	b.after = append(b.after, after)
	stream := b.streams[0]
	b.streams = b.streams[1:]
	for _, e := range stream {
		if err := each(e); err != nil {
			return err
		}
	}
	return errBroken
}

func TestFollower_showsEveryLineOnceOverBrokenStreams(t *testing.T) {
	t.Parallel()
	lines := func(ids bool, from, to int) (list []platform.LogEvent) {
		for n := from; n <= to; n++ {
			e := platform.LogEvent{Line: fmt.Sprintf("2026-03-01T12:00:%02d.000000+00:00 app[web.1]: line %d", n, n)}
			if ids {
				e.ID = fmt.Sprint(100 + n)
			}
			list = append(list, e)
		}
		return list
	}
	for _, ids := range []bool{true, false} {
		logs := &brokenLogs{streams: [][]platform.LogEvent{lines(ids, 1, 3), nil, lines(ids, 2, 5), lines(ids, 1, 6)}}
		var got []string
		warned := 0
		f := &follower{
			logs: logs, app: "example", ask: platform.LogSessionCreate{Lines: 3, Tail: true}, wait: time.Microsecond,
			each: func(line string) error { got = append(got, line); return nil },
			warn: func(error) { warned++ },
		}
		err := f.run(t.Context())
		var want []string
		for _, e := range lines(ids, 1, 6) {
			want = append(want, e.Line)
		}
		if diff := cmp.Diff(want, got); diff != "" || err == nil || err.Error() != "the platform is gone" || warned != 4 {
			t.Errorf("ids %v: %v, warned %d times (-want +got):\n%s", ids, err, warned, diff)
		}
		if logs.asked[0].Lines != 3 || logs.asked[1].Lines != mostLogLines {
			t.Errorf("ids %v: asked for %+v", ids, logs.asked)
		}
		if want := []string{"", "103", "103", "105"}; ids && !slices.Equal(logs.after, want) {
			t.Errorf("went on behind %q, want %q", logs.after, want)
		}
	}
}

func TestFollower_endsWithTheStreamWhenNothingIsFollowed(t *testing.T) {
	t.Parallel()
	f := &follower{logs: &brokenLogs{streams: [][]platform.LogEvent{{{ID: "1", Line: "x"}, {ID: "2", Line: "x"}}}}, each: func(string) error { return nil }}
	if err := f.run(t.Context()); !errors.Is(err, errBroken) {
		t.Errorf("%v, want %v", err, errBroken)
	}
}

func TestBelow_staysInTheApp(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"": "https://a.example/", "admin": "https://a.example/admin", "/a b?x=1#y": "https://a.example/a%20b?x=1#y", "//evil.example/": "https://a.example/evil.example/",
	} {
		if got, err := below("https://a.example/", path); err != nil || got != want {
			t.Errorf("%q: %s, %v; want %s", path, got, err, want)
		}
	}
	for _, base := range []string{"", "javascript:alert(1)", "file:///etc/passwd", "-rf"} {
		if got, err := below(base, ""); err == nil {
			t.Errorf("%q leads to %s", base, got)
		}
	}
}

func TestBrowser_isThatOfTheUser(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, n := range []string{"mine", "xdg-open"} {
		write(t, dir+"/"+n, "#!/bin/sh\n")
		if err := os.Chmod(dir+"/"+n, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const address = "http://127.0.0.1:1/"
	for _, c := range []struct {
		env  map[string]string
		want []string
	}{
		{map[string]string{"BROWSER": "mine"}, []string{dir + "/mine", address}},
		{map[string]string{"BROWSER": "absent:mine --to=%s -x"}, []string{dir + "/mine", "--to=" + address, "-x"}},
		{map[string]string{"BROWSER": "absent"}, nil},
		{map[string]string{"DISPLAY": ":0"}, []string{dir + "/xdg-open", address}},
		{nil, nil},
	} {
		env := map[string]string{"PATH": ".:" + dir}
		for k, v := range c.env {
			env[k] = v
		}
		app, _, _ := testApp(t, env)
		if got := app.browser(address); !slices.Equal(got, c.want) {
			t.Errorf("%v: %q, want %q", c.env, got, c.want)
		}
	}
}
