package view

import (
	"testing"
	"time"
)

func TestSize_isDecimalAndNeverShowsAThousandOfAUnit(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{
		0: "0 B", 950: "950 B", 999: "999 B", 1000: "1.0 kB", 1234: "1.2 kB",
		999_949: "999.9 kB", 999_950: "1.0 MB", 27_812_345: "27.8 MB",
		999_999_999: "1.0 GB", 1_500_000_000_000: "1.5 TB", 5e15: "5000.0 TB", -1200: "-1.2 kB",
	} {
		if got := Size(n); got != want {
			t.Errorf("Size(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestElapsed_rollsOverIntoTheNextUnit(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "0ms", 12 * time.Millisecond: "12ms", 2140 * time.Millisecond: "2.1s",
		59940 * time.Millisecond: "59.9s", 59960 * time.Millisecond: "1m00s", 64 * time.Second: "1m04s",
		59*time.Minute + 59*time.Second + 600*time.Millisecond: "1h00m", 62 * time.Minute: "1h02m",
	} {
		if got := Elapsed(d); got != want {
			t.Errorf("Elapsed(%s) = %q, want %q", d, got, want)
		}
	}
}

func TestAge_isToldInOneUnit(t *testing.T) {
	t.Parallel()
	for ago, want := range map[time.Duration]string{
		-time.Hour: "just now", 0: "just now", 5 * time.Minute: "5 min ago",
		2*time.Hour + 59*time.Minute: "2 h ago", 3 * 24 * time.Hour: "3 d ago", 400 * 24 * time.Hour: "400 d ago",
	} {
		if got := Age(ago); got != want {
			t.Errorf("Age(%s) = %q, want %q", ago, got, want)
		}
	}
}
