package local

import (
	"net/http"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
)

// clockPath is no part of Heroku's API: it moves the time that resources are written with, that
// URLs expire by, and that the retention goes by. Dynos and their timers do not see it.
const clockPath = "/_clock"

// clock is the machine's time, moved.
type clock struct {
	base   func() time.Time
	offset atomic.Int64
}

func (k *clock) now() time.Time { return k.base().Add(time.Duration(k.offset.Load())) }

// clockState is the answer of /_clock.
type clockState struct {
	Now    time.Time `json:"now"`
	Offset string    `json:"offset"`
}

func (p *Platform) clockState() clockState {
	return clockState{p.now(), time.Duration(p.clock.offset.Load()).String()}
}

// MoveClock puts the clock by that much ahead of where it stands, or back when by is below
// zero, and carries out what the retention asks for at the new time. The data directory keeps
// it: what has expired stays so after a restart.
func (p *Platform) MoveClock(by time.Duration) error {
	return p.setClock(func(offset time.Duration) time.Duration { return offset + by })
}

func (p *Platform) setClock(move func(offset time.Duration) time.Duration) error {
	err := p.db.Update(func(tx *bolt.Tx) error {
		var m metaRecord
		if _, err := get(tx, bucketMeta, []byte("meta"), &m); err != nil {
			return err
		}
		m.ClockOffset = move(m.ClockOffset)
		if err := put(tx, bucketMeta, []byte("meta"), m); err != nil {
			return err
		}
		// In the transaction, so that two moves at once do not leave the older one in force.
		p.clock.offset.Store(int64(m.ClockOffset))
		return nil
	})
	if err != nil {
		return err
	}
	return p.retain("")
}

// serveClock is the /_clock endpoint: GET tells the time, POST moves it by {"advance": "720h"}
// or to {"set": "2030-01-31T12:00:00Z"}, DELETE goes back to the machine's.
func (p *Platform) serveClock(c *call) (answer, error) {
	switch c.Method {
	case http.MethodGet:
		return ok(p.clockState())
	case http.MethodDelete:
		if err := p.setClock(func(time.Duration) time.Duration { return 0 }); err != nil {
			return answer{}, err
		}
		return ok(p.clockState())
	case http.MethodPost:
	default:
		return answer{}, noEndpoint()
	}
	var in struct {
		Advance string     `json:"advance"`
		Set     *time.Time `json:"set"`
	}
	if err := c.decode(&in, "advance", "set"); err != nil {
		return answer{}, err
	}
	var err error
	switch {
	case in.Set != nil && in.Advance == "":
		err = p.setClock(func(time.Duration) time.Duration { return in.Set.Sub(p.clock.base()) })
	case in.Set == nil && in.Advance != "":
		by, parseErr := time.ParseDuration(in.Advance)
		if parseErr != nil {
			return answer{}, invalid("advance must be a duration such as 720h or -1h30m, got %q.", in.Advance)
		}
		err = p.MoveClock(by)
	default:
		return answer{}, invalid("Give advance, a duration, or set, a time.")
	}
	if err != nil {
		return answer{}, err
	}
	return ok(p.clockState())
}
