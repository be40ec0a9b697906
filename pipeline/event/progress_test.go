package event_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/slugfile/slugfile/pipeline/event"
)

func TestThin_tellsTheFirstTheLastAndAFewBetween(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got []event.Progress
		told := event.Thin(event.Func(func(e event.Event) { got = append(got, e.(event.Progress)) }), event.Upload, "slug")
		for n := int64(0); n <= 1000; n++ {
			told(n, 1000)
			time.Sleep(time.Millisecond)
		}
		if len(got) != 6 || got[0].Done != 0 || got[5] != (event.Progress{Stage: event.Upload, Subject: "slug", Done: 1000, Total: 1000}) {
			t.Errorf("told: %+v", got)
		}
		got = nil
		time.Sleep(time.Second)
		told(5, -1)
		if len(got) != 1 || got[0].Total != 0 {
			t.Errorf("with an unknown total: %+v", got)
		}
	})
}
