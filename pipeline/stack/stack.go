// Package stack holds the facts of Heroku's stacks: what the system that a slug will run on
// is made of, and until when; and it says whether a tree of files runs there.
//
// It is for plan, which warns, for the archive stage, which checks what it packs, and for
// inspect. It looks nothing up: the tables are data, files come as what was read in them, and
// the time is a parameter. What a table does not know is unknown: it is never taken for missing.
package stack

import (
	"slices"
	"time"
)

// Stack is one of Heroku's stacks.
type Stack struct {
	Name string
	// Ubuntu is the release that the stack is built on.
	Ubuntu string
	// State is "ended", "deprecated", "available" or "recommended", as Heroku's pages said when
	// the table was written. The platform has the last word.
	State string
	// EndOfLife is the last day, "2027-04-30", or the last month, "2029-04", where Heroku has
	// not said more. Running apps go on after it; builds on the platform stop.
	EndOfLife string
	// Expected is set where Heroku has not announced the end, and Ubuntu's date stands for it.
	Expected bool
	// GLIBC, GLIBCXX and CXXABI are the highest symbol versions that its C and C++ libraries have.
	GLIBC, GLIBCXX, CXXABI string
	// GCC is the release that libgcc_s and libstdc++ are of.
	GCC string
	// OpenSSL is the release of libssl and libcrypto.
	OpenSSL string
	// Arch are the machines that images are published for. Slugs run on the first.
	Arch []string
}

// The table. Names, Ubuntu releases, states and ends of life:
// https://devcenter.heroku.com/articles/stack. The glibc is that of each Ubuntu release:
// https://launchpad.net/ubuntu/+source/glibc. GLIBCXX and CXXABI belong to the GCC release whose
// libstdc++ the image has (10, 12, 14, 16; https://github.com/heroku/base-images), by the
// list of https://gcc.gnu.org/onlinedocs/libstdc++/manual/abi.html; those of GCC 16 come from
// public build records. OpenSSL is Ubuntu's: https://launchpad.net/ubuntu/+source/openssl.
var stacks = []Stack{
	{
		Name: "heroku-20", Ubuntu: "20.04", State: "ended", EndOfLife: "2025-04-30",
		GLIBC: "2.31", GLIBCXX: "3.4.28", CXXABI: "1.3.12", GCC: "10", OpenSSL: "1.1.1", Arch: []string{"amd64"},
	},
	{
		Name: "heroku-22", Ubuntu: "22.04", State: "deprecated", EndOfLife: "2027-04-30",
		GLIBC: "2.35", GLIBCXX: "3.4.30", CXXABI: "1.3.13", GCC: "12", OpenSSL: "3.0", Arch: []string{"amd64"},
	},
	{
		Name: "heroku-24", Ubuntu: "24.04", State: "available", EndOfLife: "2029-04",
		GLIBC: "2.39", GLIBCXX: "3.4.33", CXXABI: "1.3.15", GCC: "14", OpenSSL: "3.0", Arch: []string{"amd64", "arm64"},
	},
	{
		Name: "heroku-26", Ubuntu: "26.04", State: "recommended", EndOfLife: "2031-04", Expected: true,
		GLIBC: "2.43", GLIBCXX: "3.4.35", CXXABI: "1.3.17", GCC: "16", OpenSSL: "3.5", Arch: []string{"amd64", "arm64"},
	},
}

// Known returns the facts of a stack. Names are Heroku's, such as "heroku-24". A stack that is
// not in the table may still exist: the platform has the last word.
func Known(name string) (Stack, bool) {
	i := slices.IndexFunc(stacks, func(s Stack) bool { return s.Name == name })
	if i < 0 {
		return Stack{}, false
	}
	return stacks[i], true
}

// Names lists the known stacks, the oldest first.
func Names() []string {
	names := make([]string, len(stacks))
	for i, s := range stacks {
		names[i] = s.Name
	}
	return names
}

// Has is an answer of the tables.
type Has uint8

// The answers. Unknown is the zero value, and no reason to complain.
const (
	Unknown Has = iota
	Yes
	No
)

// Support says how a stack stands at some time.
type Support string

// The states of support.
const (
	// Supported for a year or more.
	Supported Support = "supported"
	// Ending within a year.
	Ending Support = "ending"
	// Ended: its last day is over.
	Ended Support = "ended"
)

// Support tells how the stack stands at now, in seconds since 1970.
func (s Stack) Support(now int64) Support {
	end := s.end()
	switch at := time.Unix(now, 0).UTC(); {
	case !at.Before(end):
		return Ended
	case !at.AddDate(1, 0, 0).Before(end):
		return Ending
	}
	return Supported
}

// end is the first moment after the last day, in UTC.
func (s Stack) end() time.Time {
	if day, err := time.Parse(time.DateOnly, s.EndOfLife); err == nil {
		return day.AddDate(0, 0, 1)
	}
	month, err := time.Parse("2006-01", s.EndOfLife)
	if err != nil {
		panic("stack " + s.Name + ": end of life " + s.EndOfLife + " is no date") // a mistake in the table
	}
	return month.AddDate(0, 1, 0)
}
