package pipeline_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// fault is what befalls one call of the platform, or one write of the journal.
type fault string

const (
	none fault = ""
	// The process is killed. On the way, a request may act by itself later.
	killedBefore fault = "killed-before"
	killedAfter  fault = "killed-after"
	killedLate1  fault = "killed-acts-1s-later"
	killedLate20 fault = "killed-acts-20s-later"
	killedLate59 fault = "killed-acts-59s-later"
	killedLate61 fault = "killed-acts-61s-later"
	killedLate90 fault = "killed-acts-90s-later"
	// The process lives, and gets no answer.
	requestLost fault = "request-lost"
	answerLost  fault = "answer-lost"
	late1       fault = "acts-1s-later"
	late20      fault = "acts-20s-later"
	late59      fault = "acts-59s-later"
	late61      fault = "acts-61s-later"
	late90      fault = "acts-90s-later"
	// The process is asked to stop while the call is under way.
	interrupted fault = "interrupted"
	// The answer is no, or a yes that is not true.
	serverError fault = "server-error"
	rateLimited fault = "rate-limited"
	expired     fault = "address-expired"
	damaged     fault = "blob-damaged"
	phaseFails  fault = "release-phase-fails"
	// Another machine releases a slug of its own just before the call.
	otherMachine fault = "other-machine-releases"
	// Writes of the journal only.
	torn     fault = "killed-half-written"
	diskFull fault = "disk-full"
	// Between two runs of apply the user edits slug.yaml, and other bytes or the same come of it.
	edited  fault = "slug-yaml-edited"
	retyped fault = "process-types-edited"
	// The other of two applies goes on, until it ends or the schedule says so.
	switched fault = "other-apply-goes-on"
)

// choice is a fault and the number of the point that it strikes, counted from 0.
type choice struct {
	at    int
	fault fault
}

// schedule is the faults of one run: at every point not named, all goes well. What follows is
// then determined, so that a schedule can be run again.
type schedule struct {
	faults []choice
	// points are the faults that were possible at each point so far.
	points [][]fault
	// met is how many of the faults have struck.
	met int
	// log is told of every point, when it is not nil.
	log func(format string, args ...any)
}

// ask returns what happens at this point.
func (s *schedule) ask(what string, possible []fault) fault {
	f, n := none, len(s.points)
	if s.met < len(s.faults) && s.faults[s.met].at == n {
		f = s.faults[s.met].fault
		s.met++
	}
	s.points = append(s.points, possible)
	if s.log != nil && (what != "" || f != none) {
		s.log("%-28s %s", what, strings.ReplaceAll(string(f), "-", " "))
	}
	return f
}

// seed is the schedule as SLUGFILE_SEED takes it.
func seed(faults []choice) string {
	var b strings.Builder
	for i, c := range faults {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%d:%s", c.at, c.fault)
	}
	return b.String()
}

func parseSeed(text string) (faults []choice, err error) {
	for part := range strings.SplitSeq(text, ",") {
		at, f, _ := strings.Cut(part, ":")
		if at == "" {
			continue
		}
		n, err := strconv.Atoi(at)
		if err != nil {
			return nil, fmt.Errorf("schedule %q: %w", text, err)
		}
		faults = append(faults, choice{n, fault(f)})
	}
	return faults, nil
}

// levels says which faults are tried as the first one, the second one and so on; nil is all. There
// are as many faults in a schedule as there are levels, at most.
type levels [][]fault

// hard are faults of which the others are weaker forms: what those leave behind, one of these does
// too. worst and deadly are the ones that a protocol fails on first.
var (
	hard = []fault{
		killedBefore, killedAfter, killedLate20, killedLate61, requestLost, answerLost, late59, late61,
		rateLimited, torn, otherMachine, edited, retyped, switched,
	}
	worst  = []fault{killedBefore, killedAfter, killedLate20, answerLost, otherMachine, switched}
	deadly = []fault{killedAfter, killedLate20, answerLost, switched}
)

// walk runs every schedule that begins with the given faults, depth first: each run says at which
// points after the last fault another one is possible. A schedule is run once, since its faults come in
// the order of their points. It stops when run says so.
func (l levels) walk(faults []choice, run func([]choice) (points [][]fault, goOn bool)) bool {
	points, goOn := run(faults)
	if !goOn {
		return false
	}
	for _, c := range l.branches(faults, points) {
		if !l.walk(append(faults[:len(faults):len(faults)], c), run) {
			return false
		}
	}
	return true
}

// branches are the faults that may come after the last one.
func (l levels) branches(faults []choice, points [][]fault) (out []choice) {
	n, from := len(faults), 0
	if n == len(l) {
		return nil
	}
	if n > 0 {
		from = faults[n-1].at + 1
	}
	for at := from; at < len(points); at++ {
		for _, f := range points[at] {
			if l[n] == nil || slices.Contains(l[n], f) {
				out = append(out, choice{at, f})
			}
		}
	}
	return out
}
