package config

import (
	"maps"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// ofEveryDyno are variables that a process finds set without any config var: those of the dyno
// (https://devcenter.heroku.com/articles/dynos#local-environment-variables) and those that
// bash sets by itself, by its manual.
var ofEveryDyno = map[string]bool{}

func init() {
	for name := range strings.FieldsSeq(`PORT DYNO HOME PATH PWD OLDPWD USER LOGNAME SHELL LANG LC_ALL TZ TERM HOSTNAME TMPDIR PS1 PS2 PS4
		BASH BASHOPTS BASHPID BASH_ARGC BASH_ARGV BASH_COMMAND BASH_ENV BASH_LINENO BASH_REMATCH BASH_SOURCE BASH_SUBSHELL
		BASH_VERSINFO BASH_VERSION DIRSTACK EPOCHREALTIME EPOCHSECONDS EUID FUNCNAME GROUPS HOSTTYPE IFS LINENO MACHTYPE
		OPTARG OPTERR OPTIND OSTYPE PIPESTATUS PPID RANDOM REPLY SECONDS SHELLOPTS SHLVL SRANDOM UID _`) {
		ofEveryDyno[name] = true
	}
}

// Mentioned are the variables that the command of a process type takes from its environment
// and has no default for, sorted: those that the app's config has to bring. It names none for
// a command that it cannot be sure of: one that does not parse, or that reads another script
// first.
func Mentioned(command string) []string {
	f, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(command), "")
	if err != nil {
		return nil
	}
	mentioned, own, sure := map[string]bool{}, map[string]bool{}, true
	syntax.Walk(f, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.ParamExp:
			if n.Param == nil {
				return true
			}
			if n.Exp != nil && hasDefault(n.Exp.Op) {
				return false // what stands in a default may never be needed
			}
			mentioned[n.Param.Value] = true
		case *syntax.Assign:
			if n.Name != nil {
				own[n.Name.Value] = true
			}
		case *syntax.WordIter:
			own[n.Name.Value] = true
		case *syntax.CallExpr:
			if len(n.Args) == 0 {
				return true
			}
			switch n.Args[0].Lit() {
			case ".", "source", "eval":
				sure = false
			case "read", "mapfile", "readarray", "getopts", "printf", "unset":
				for _, a := range n.Args[1:] {
					own[a.Lit()] = true
				}
			}
		}
		return true
	})
	if !sure {
		return nil
	}
	maps.DeleteFunc(mentioned, func(name string, _ bool) bool {
		// Config vars may not begin with HEROKU_: those are the dyno's metadata, where it is on.
		return own[name] || ofEveryDyno[name] || !syntax.ValidName(name) || strings.HasPrefix(name, "HEROKU_")
	})
	return slices.Sorted(maps.Keys(mentioned))
}

// hasDefault reports whether an expansion says what stands for a variable that is not set.
func hasDefault(op syntax.ParExpOperator) bool {
	switch op {
	case syntax.AlternateUnset, syntax.AlternateUnsetOrNull, syntax.DefaultUnset, syntax.DefaultUnsetOrNull,
		syntax.AssignUnset, syntax.AssignUnsetOrNull:
		return true
	}
	return false
}
