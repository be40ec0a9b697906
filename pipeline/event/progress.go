package event

import (
	"sync"
	"time"
)

// Thin returns a function that tells s how far a task is, a few times a second however often
// it is called. The first call passes, and so does one that reaches the total. A total that
// is not known is 0, or less. It may be called from several goroutines.
func Thin(s Sink, stage, subject string) func(done, total int64) {
	const every = 200 * time.Millisecond
	var mu sync.Mutex
	var last time.Time
	return func(done, total int64) {
		mu.Lock()
		now := time.Now()
		pass := done == total || now.Sub(last) >= every
		if pass {
			last = now
		}
		mu.Unlock()
		if pass {
			s.Emit(Progress{Stage: stage, Subject: subject, Done: done, Total: max(0, total)})
		}
	}
}
