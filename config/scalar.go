package config

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/slugfile/slugfile/config/yamlnode"
)

// UnmarshalYAML keeps the order of the mapping.
func (r *Runtimes) UnmarshalYAML(n *yamlnode.Node) error {
	if n.Kind != yamlnode.MappingNode {
		return yamlnode.DecodeError(n, "runtimes must be a mapping")
	}
	*r = make(Runtimes, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		rt := Runtime{Name: n.Content[i].Value}
		// A part that cannot be decoded is a fault of the schema already; the rest of the runtime counts.
		_ = n.Content[i+1].Decode(&rt)
		*r = append(*r, rt)
	}
	return nil
}

// Find returns the runtime with a name.
func (r Runtimes) Find(name string) (Runtime, bool) {
	for _, rt := range r {
		if rt.Name == name {
			return rt, true
		}
	}
	return Runtime{}, false
}

// UnmarshalYAML reads a span such as 90s or 1h30m.
func (d *Duration) UnmarshalYAML(n *yamlnode.Node) error {
	v, err := parseDuration(n.Value)
	if err != nil {
		return yamlnode.DecodeError(n, err.Error())
	}
	*d = v
	return nil
}

func parseDuration(s string) (Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is no time span such as 90s or 10m", s)
	}
	return Duration(d), nil
}

// String writes the span as slug.yaml does, without parts that are zero.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// UnmarshalYAML reads a size such as 500MB or 300MiB.
func (z *Size) UnmarshalYAML(n *yamlnode.Node) error {
	v, err := parseSize(n.Value)
	if err != nil {
		return yamlnode.DecodeError(n, err.Error())
	}
	*z = v
	return nil
}

// units are in the order in which they are tried: KiB and kB end in B too.
var units = []struct {
	name  string
	bytes int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9},
	{"B", 1},
}

var errSize = errors.New("is no size such as 500MB, 1GB or 300MiB")

func parseSize(s string) (Size, error) {
	for _, u := range units {
		number, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		number = strings.TrimSuffix(number, " ")
		if number == "" || len(number) > 20 || strings.Trim(number, "0123456789.") != "" {
			break
		}
		r, ok := new(big.Rat).SetString(number)
		if !ok {
			break
		}
		r.Mul(r, new(big.Rat).SetInt64(u.bytes))
		n := new(big.Int).Quo(r.Num(), r.Denom())
		if !n.IsInt64() {
			break
		}
		return Size(n.Int64()), nil
	}
	return 0, fmt.Errorf("%q %w", s, errSize)
}

// String writes the size in the largest unit that divides it.
func (z Size) String() string {
	best := units[len(units)-1]
	for _, u := range units {
		if u.bytes > best.bytes && z != 0 && int64(z)%u.bytes == 0 {
			best = u
		}
	}
	return fmt.Sprintf("%d%s", int64(z)/best.bytes, best.name)
}
