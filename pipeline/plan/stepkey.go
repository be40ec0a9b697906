package plan

import (
	"slices"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
)

// stepFormat changes when the way a step runs changes in a manner that a step can see.
const stepFormat = 1

// StepKey is the digest of all that a step's output depends on. Its time limit, its name,
// the values of pass_env and the version of this program are no part of it.
//
// Of runtimes, those that the step names count, in the step's order; others may be there.
// earlier are the outputs of the steps before it.
func StepKey(s Step, runtimes []artifact.Runtime, earlier []artifact.Output) digest.Digest {
	type runtime struct {
		Name   string        `json:"name"`
		Into   string        `json:"into"`
		Strip  int           `json:"strip"`
		Digest digest.Digest `json:"digest"`
		// Command is the name that a tool of this machine is called by.
		Command string `json:"command,omitempty"`
	}
	key := struct {
		Format   int               `json:"format"`
		Run      string            `json:"run"`
		Env      map[string]string `json:"env"`
		Epoch    int64             `json:"epoch"` // the step sees it as SOURCE_DATE_EPOCH
		Runtimes []runtime         `json:"runtimes"`
		Inputs   digest.Digest     `json:"inputs"`
		Earlier  []digest.Digest   `json:"earlier"`
		Outputs  []string          `json:"outputs"`
		Stack    string            `json:"stack"`
	}{
		Format:   stepFormat,
		Run:      s.Run,
		Env:      s.Env,
		Epoch:    s.Epoch,
		Runtimes: []runtime{},
		Inputs:   s.InputsDigest,
		Earlier:  []digest.Digest{},
		Outputs:  append([]string{}, s.Outputs...),
		Stack:    s.Stack,
	}
	if key.Inputs.IsZero() {
		key.Inputs = s.Inputs.BareDigest()
	}
	if key.Env == nil {
		key.Env = map[string]string{}
	}
	slices.Sort(key.Outputs)
	for _, name := range s.Runtimes {
		for _, r := range runtimes {
			if r.Name == name {
				key.Runtimes = append(key.Runtimes, runtime{r.Name, r.Into, s.Strip[name], r.Digest, r.Command})
			}
		}
	}
	for _, o := range earlier {
		key.Earlier = append(key.Earlier, o.Tree.BareDigest())
	}
	return digest.OfJSON(key)
}
