package plan_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/plan"
)

func TestRuntimes_unpacksThoseThatStepsSee(t *testing.T) {
	t.Parallel()
	runtimes := config.Runtimes{
		{Name: "node", URL: "https://a.example/n.tgz"}, {Name: "ruby", URL: "https://a.example/r.tgz"},
		{Name: "java", URL: "https://a.example/j.tgz", BuildOnly: true},
	}
	for name, c := range map[string]struct {
		steps []config.Step
		want  []string
	}{
		"no step":               {nil, nil},
		"a step sees all":       {[]config.Step{{Name: "a"}}, []string{"node", "ruby", "java"}},
		"a step sees none":      {[]config.Step{{Name: "a", Runtimes: []string{}}}, nil},
		"each step sees others": {[]config.Step{{Name: "a", Runtimes: []string{"java"}}, {Name: "b", Runtimes: []string{"node"}}}, []string{"node", "java"}},
	} {
		in := plan.Inputs{File: &config.File{Runtimes: runtimes, Build: c.steps}}
		var got []string
		for _, r := range plan.Runtimes(in, plan.Observed{}) {
			if r.Unpack {
				got = append(got, r.Name)
			}
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}
