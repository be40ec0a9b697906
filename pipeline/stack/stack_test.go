package stack_test

import (
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/stack"
)

func TestSupport_turnsOnTheDayAfterTheLast(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		stack, at string
		want      stack.Support
	}{
		{"heroku-20", "2024-04-30T23:59:59Z", stack.Supported},
		{"heroku-20", "2024-05-01T00:00:00Z", stack.Ending},
		{"heroku-20", "2025-04-30T23:59:59Z", stack.Ending},
		{"heroku-20", "2025-05-01T00:00:00Z", stack.Ended},
		{"heroku-22", "2026-04-30T12:00:00Z", stack.Supported},
		{"heroku-22", "2026-06-01T00:00:00Z", stack.Ending},
		{"heroku-24", "2026-06-01T00:00:00Z", stack.Supported},
		{"heroku-24", "2029-04-30T23:59:59Z", stack.Ending}, // only the month is known
		{"heroku-24", "2029-05-01T00:00:00Z", stack.Ended},
		{"heroku-26", "2031-05-01T00:00:00Z", stack.Ended},
	} {
		s, ok := stack.Known(c.stack)
		if !ok {
			t.Fatalf("%s is not known", c.stack)
		}
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Support(at.Unix()); got != c.want {
			t.Errorf("%s at %s: %s, want %s", c.stack, c.at, got, c.want)
		}
	}
}

func TestKnown_everyFactIsThere(t *testing.T) {
	t.Parallel()
	version := regexp.MustCompile(`^\d+(\.\d+)+$`)
	for _, name := range stack.Names() {
		s, ok := stack.Known(name)
		if !ok || s.Name != name {
			t.Fatalf("Known(%q) = %+v, %v", name, s, ok)
		}
		for _, v := range []string{s.Ubuntu, s.GLIBC, s.GLIBCXX, s.CXXABI, s.OpenSSL, s.GCC + ".0"} {
			if !version.MatchString(v) {
				t.Errorf("%s: %q is no version", name, v)
			}
		}
		// An end of life that is no date would panic here.
		if s.Support(0) != stack.Supported {
			t.Errorf("%s had ended in 1970", name)
		}
	}
	if !slices.IsSorted(stack.Names()) {
		t.Errorf("the oldest does not come first: %v", stack.Names())
	}
	if _, ok := stack.Known("cedar-14"); ok {
		t.Error("a stack without facts is known")
	}
}
