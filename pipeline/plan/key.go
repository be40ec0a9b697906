package plan

import (
	"path"
	"slices"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// slugFormat changes when the same inputs would be packed into other members, in another
// order or with other headers. A compressor's new version is no such change.
const slugFormat = 1

// Key is the plan key: the digest of every input of the slug, and of nothing else. What the
// release says, git, limits, the app, this program's version, caches and the platform's
// state are no part of it. It is zero as long as the stack or the bytes of a runtime are
// not known.
func Key(in Inputs, stack string, seen Observed) digest.Digest {
	runtimes, _ := resolve(in, seen)
	return key(in, stack, runtimes)
}

type runtimeKey struct {
	Name      string        `json:"name"`
	Digest    digest.Digest `json:"digest"`
	Strip     int           `json:"strip"`
	Into      string        `json:"into"`
	Only      []string      `json:"only"`
	BuildOnly bool          `json:"build_only"`
	Command   string        `json:"command,omitempty"`
}

type stepDefinition struct {
	Run      string            `json:"run"`
	Runtimes []string          `json:"runtimes"`
	Inputs   []string          `json:"inputs"`
	Outputs  []string          `json:"outputs"`
	Env      map[string]string `json:"env"`
}

func key(in Inputs, stack string, runtimes []Runtime) digest.Digest {
	if stack == "" || in.File == nil {
		return digest.Digest{}
	}
	k := struct {
		Format       int                `json:"format"`
		Compression  string             `json:"compression"`
		Epoch        int64              `json:"mtime"`
		Stack        string             `json:"stack"`
		Runtimes     []runtimeKey       `json:"runtimes"`
		Steps        []stepDefinition   `json:"steps"`
		Files        []config.FileEntry `json:"files"`
		Source       digest.Digest      `json:"source"`
		ProcessTypes map[string]string  `json:"process_types"`
	}{
		Format: slugFormat, Compression: level(in.File), Epoch: in.Epoch, Stack: stack,
		Runtimes: []runtimeKey{}, Steps: []stepDefinition{},
		Files: in.File.Files, Source: in.prepare().reachable.digest, ProcessTypes: in.File.ProcessTypes,
	}
	for _, r := range runtimes {
		if r.Digest.IsZero() {
			return digest.Digest{}
		}
		k.Runtimes = append(k.Runtimes, r.key())
	}
	for _, s := range in.File.Build {
		k.Steps = append(k.Steps, definition(in.File, s))
	}
	return digest.OfJSON(k)
}

func (r Runtime) key() runtimeKey {
	return runtimeKey{r.Name, r.Digest, r.Strip, r.Into, append([]string{}, r.Only...), r.BuildOnly, r.Command}
}

// definition is what slug.yaml says of a step, as far as its output depends on it.
func definition(f *config.File, s config.Step) stepDefinition {
	d := stepDefinition{
		Run: s.Run, Runtimes: stepRuntimes(f, s), Env: s.Env,
		Inputs: append([]string{}, s.Inputs...), Outputs: append([]string{}, s.Outputs...),
	}
	if d.Env == nil {
		d.Env = map[string]string{}
	}
	return d
}

func level(f *config.File) string {
	if f.Compression == "" {
		return "default"
	}
	return f.Compression
}

// stepRuntimes are the runtimes that a step sees: by default all, in the file's order.
func stepRuntimes(f *config.File, s config.Step) []string {
	names := []string{}
	if s.Runtimes != nil {
		return append(names, s.Runtimes...)
	}
	for _, r := range f.Runtimes {
		names = append(names, r.Name)
	}
	return names
}

// stepInputs is the part of the source tree that a step sees.
func stepInputs(s config.Step, source tree.Manifest, secrets map[string]bool) tree.Manifest {
	m := source
	if len(s.Inputs) > 0 {
		m = tree.Select(m, s.Inputs)
	}
	if len(secrets) == 0 {
		return m
	}
	return m.Filter(func(e tree.Entry) bool { return !secrets[e.Path] })
}

// Runtimes are the runtimes of slug.yaml with the digests that their bytes must have, zero
// where nothing pins them.
func Runtimes(in Inputs, seen Observed) []Runtime {
	runtimes, _ := resolve(in, seen)
	return runtimes
}

// resolve turns the runtimes of slug.yaml into what fetch has to get, each with the digest
// that its bytes must have; that is zero where nothing pins them.
func resolve(in Inputs, seen Observed) ([]Runtime, []Problem) {
	var out []Runtime
	var problems []Problem
	if in.File == nil {
		return nil, nil
	}
	for _, c := range in.File.Runtimes {
		r := Runtime{
			Name: c.Name, Size: -1, Strip: c.Strip, Into: c.Into, Only: c.Only, BuildOnly: c.BuildOnly,
			Unpack: slices.ContainsFunc(in.File.Build, func(s config.Step) bool {
				return slices.Contains(stepRuntimes(in.File, s), c.Name)
			}),
		}
		if r.Into == "" {
			r.Into = c.Name
		}
		r.Into = cleanInto(r.Into)
		pinned, size := pin(in, c)
		switch {
		case c.Host != "":
			r.BuildOnly, r.Into, r.Strip, r.Only = true, "", 0, nil
			tool, ok := seen.Tools[c.Name]
			if !ok {
				problems = append(problems, Problem{
					Subject: partRuntime(c.Name),
					Message: "there is no tool " + c.Host + " on PATH",
					Hint:    "install it, or fetch it as an archive with url: and sha256:",
				})
			}
			r.Tool, r.Command, r.Digest, r.Size = tool.Path, c.Host, tool.Digest, tool.Size
		case c.Path != "":
			r.Path = in.Source.Dir + "/" + path.Clean(c.Path)
			r.Digest, r.Size = pinned, size
			if a, ok := seen.Archives[c.Name]; ok {
				r.Path, r.Size = a.Path, a.Size
				if pinned.IsZero() {
					r.Digest = a.Digest
				}
			}
		default:
			r.URL, r.Digest, r.Size = c.URL, pinned, size
		}
		if r.Digest.IsZero() && c.Host == "" {
			problems = append(problems, Problem{
				Subject: partRuntime(c.Name),
				Message: "nothing pins its bytes",
				Hint:    `run "slugfile lock", or add sha256:`,
			})
		}
		out = append(out, r)
	}
	return out, problems
}

// pin is the digest that slug.yaml or slug.lock promises, and the size, -1 when unknown.
func pin(in Inputs, c config.Runtime) (digest.Digest, int64) {
	from := c.URL
	if c.Path != "" {
		from = c.Path
	}
	p, locked := in.Lock.Find(c.Name, from)
	if c.SHA256 != "" {
		d, err := digest.Parse(c.SHA256)
		if err != nil {
			return digest.Digest{}, -1
		}
		if locked && p.SHA256 == d {
			return d, p.Size
		}
		return d, -1
	}
	if locked {
		return p.SHA256, p.Size
	}
	return digest.Digest{}, -1
}

// steps are the steps with what each sees. What is known of their results is in the
// decisions: an output that is there, or why there is none and after which step that can
// be told.
func steps(in Inputs, stack string, runtimes []Runtime, seen Observed) []plannedStep {
	f := in.File
	given := make([]artifact.Runtime, len(runtimes))
	strip := map[string]int{}
	for i, r := range runtimes {
		given[i] = artifact.Runtime{Name: r.Name, Into: r.Into, Digest: r.Digest}
		strip[r.Name] = r.Strip
	}
	var out []plannedStep
	var earlier []artifact.Output
	after := "" // the first step whose output is not known
	known := in.prepare().steps
	for i, c := range f.Build {
		s := plannedStep{Step: Step{
			Name: c.Name, Run: c.Run, Runtimes: stepRuntimes(f, c), Strip: strip,
			Inputs: known[i].tree, InputsDigest: known[i].digest, Outputs: c.Outputs,
			Env: c.Env, PassEnv: c.PassEnv, Timeout: c.Timeout, Stack: stack, Epoch: in.Epoch,
		}, after: after}
		if after == "" && stack != "" && pinnedAll(s.Runtimes, runtimes) {
			s.key = StepKey(s.Step, given, earlier)
			if o, ok := seen.Outputs[s.key]; ok {
				o.Step, o.Key = c.Name, s.key
				s.Known = &o
				earlier = append(earlier, o)
			}
		}
		if s.Known == nil && after == "" {
			after = c.Name
		}
		out = append(out, s)
	}
	return out
}

type plannedStep struct {
	Step
	// key is zero when it cannot be known yet.
	key digest.Digest
	// after names the step that has to run before anything can be said of this one.
	after string
}

func pinnedAll(names []string, runtimes []Runtime) bool {
	for _, n := range names {
		for _, r := range runtimes {
			if r.Name == n && r.Digest.IsZero() {
				return false
			}
		}
	}
	return true
}

// Keys names the open questions: the step keys that can be computed from what is known and
// whose output is not in it. Looking up one may open the next; an answer of "not there"
// closes the question, so whoever asks stops when no key is new.
func Keys(in Inputs, stack string, known Observed) []digest.Digest {
	if in.File == nil {
		return nil
	}
	runtimes, _ := resolve(in, known)
	var wanted []digest.Digest
	for _, s := range steps(in, stack, runtimes, known) {
		if s.Known == nil && !s.key.IsZero() {
			wanted = append(wanted, s.key)
		}
	}
	return wanted
}

// TargetStack is the stack that the slug is made for: slug.yaml's, else that of the app's
// next build, else the default for new apps. It is empty when nobody says.
func TargetStack(in Inputs, seen Observed) string {
	switch {
	case in.File != nil && in.File.Stack != "":
		return in.File.Stack
	case seen.Target == nil:
		return ""
	case seen.Target.App != nil && seen.Target.App.BuildStack.Name != "":
		return seen.Target.App.BuildStack.Name
	case seen.Target.App != nil:
		return seen.Target.App.Stack.Name
	}
	name := ""
	for _, s := range seen.Target.Stacks {
		if s.Default {
			name = max(name, s.Name) // there is one; if not, the order of the list must not count
		}
	}
	return name
}
