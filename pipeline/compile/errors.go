package compile

import (
	"fmt"
	"strings"
	"time"
)

// StepError says that a step did not do what it should.
type StepError struct {
	Step    string
	Elapsed time.Duration
	// Code is the exit code of its command, 128+n when signal n ended it; 0 when the command
	// is not what failed.
	Code int
	// Timeout is the limit that the step ran into; else 0.
	Timeout time.Duration
	// Tail holds the last lines of its output, without secrets.
	Tail []string
	// Missing is the declared output that the step did not make; else empty.
	Missing string
	// Found are the names that stand where Missing should, the most similar first.
	Found []string
	// Err is the cause. It may be nil.
	Err error
}

// Error is one line that says what happened, and the last lines of output.
func (e *StepError) Error() string {
	s := e.summary()
	if len(e.Tail) > 0 {
		s += "\nlast output:\n    " + strings.Join(e.Tail, "\n    ")
	}
	return s
}

func (e *StepError) summary() string {
	s := fmt.Sprintf("step %q: ", e.Step)
	after := " after " + round(e.Elapsed).String()
	switch {
	case e.Missing != "" && len(e.Found) > 0:
		s += fmt.Sprintf("it did not make its output %q, ended%s; there is %s", e.Missing, after, strings.Join(e.Found, ", "))
	case e.Missing != "":
		s += fmt.Sprintf("it did not make its output %q, ended%s; nothing stands there", e.Missing, after)
	case e.Timeout > 0:
		s += fmt.Sprintf("not done within its timeout of %s, ended%s", e.Timeout, after)
	case e.Err != nil:
		s += e.Err.Error() + after
	default:
		s += fmt.Sprintf("exit code %d%s", e.Code, after)
	}
	return s
}

// Unwrap returns the cause.
func (e *StepError) Unwrap() error { return e.Err }

// BusyError says that another process ran the same step for longer than LockTimeout.
type BusyError struct {
	Step  string
	After time.Duration
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("another slugfile runs step %q for this directory, still after %s", e.Step, e.After)
}

// Hint says how to go on.
func (e *BusyError) Hint() string {
	return "let the other one end, or wait longer with --lock-timeout"
}

// round drops digits that nobody reads.
func round(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(100 * time.Millisecond)
}
