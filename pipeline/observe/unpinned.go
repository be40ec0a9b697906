package observe

import (
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"github.com/slugfile/slugfile/pipeline/plan"
)

// builtins are the commands that bash itself carries out, by its manual.
var builtins = map[string]bool{}

func init() {
	for b := range strings.FieldsSeq(`. : [ alias bg bind break builtin caller cd command compgen complete compopt continue
		declare dirs disown echo enable eval exec exit export false fc fg getopts hash help history jobs kill let local
		logout mapfile popd printf pushd pwd read readarray readonly return set shift shopt source suspend test times
		trap true type typeset ulimit umask unalias unset wait`) {
		builtins[b] = true
	}
}

// unpinned lists, by step, the tools of this machine that its command names word for word
// and that nothing pins. A step that sees a runtime which is not unpacked yet is left out:
// what that runtime brings is not known.
func unpinned(o Options, seen plan.Observed) map[string][]string {
	out := map[string][]string{}
	in := o.Inputs
	runtimes := plan.Runtimes(*in, seen)
	for _, s := range in.File.Build {
		pinned, known := map[string]bool{}, true
		for i, r := range runtimes {
			if s.Runtimes != nil && !slices.Contains(s.Runtimes, r.Name) {
				continue
			}
			if r.Tool != "" {
				pinned[path.Base(strings.ReplaceAll(r.Tool, `\`, "/"))] = true
				pinned[in.File.Runtimes[i].Host] = true
				continue
			}
			names, ok := programs(o, r)
			known = known && ok
			for _, n := range names {
				pinned[n] = true
			}
		}
		if !known {
			continue
		}
		for _, name := range commands(s.Run) {
			if !pinned[name] {
				out[s.Name] = append(out[s.Name], name)
			}
		}
	}
	return out
}

// programs are what an unpacked runtime puts on PATH: the names in its bin, or in its root
// where it has none.
func programs(o Options, r plan.Runtime) ([]string, bool) {
	if o.Store == nil || r.Digest.IsZero() {
		return nil, false
	}
	_, m, ok, err := o.Store.Tree("runtime", r.TreeKey())
	if err != nil || !ok {
		return nil, false
	}
	var bin, root []string
	for _, e := range m {
		switch dir, name := path.Split(e.Path); dir {
		case "bin/":
			bin = append(bin, name)
		case "":
			root = append(root, name)
		}
	}
	if bin != nil {
		return bin, true
	}
	return root, true
}

// commands are the names that a script calls and that are neither paths nor its own
// functions, each once and sorted. A script that does not parse has none: config reports it.
func commands(script string) []string {
	f, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(script), "")
	if err != nil {
		return nil
	}
	own := map[string]bool{}
	called := map[string]bool{}
	syntax.Walk(f, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.FuncDecl:
			if n.Name != nil {
				own[n.Name.Value] = true
			}
		case *syntax.CallExpr:
			if len(n.Args) > 0 {
				if name := n.Args[0].Lit(); name != "" && !strings.ContainsAny(name, `/\~*?[`) {
					called[name] = true
				}
			}
		}
		return true
	})
	var out []string
	for name := range called {
		if !own[name] && !builtins[name] {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
