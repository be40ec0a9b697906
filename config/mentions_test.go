package config_test

import (
	"slices"
	"testing"

	"github.com/slugfile/slugfile/config"
)

func TestMentioned_namesWhatTheConfigHasToBring(t *testing.T) {
	t.Parallel()
	for command, want := range map[string][]string{
		"node web.js":                                      nil,
		"node web.js $B $A $B":                             {"A", "B"},
		"web -p $PORT --db ${DATABASE_URL}":                {"DATABASE_URL"},
		`web "--db=$DATABASE_URL" '$NOT_THIS' \$NOR_THIS`:  {"DATABASE_URL"},
		"web ${A:-a} ${B:=b} ${C+c} ${D-d} ${E=e} ${F:+f}": nil,
		"web ${A:-$B}":                                     nil,
		"web ${A:?} ${B%/x} ${#C} ${D//a/b} ${E:1:2}":      {"A", "B", "C", "D", "E"},
		"A=1 B=$C web $A $B":                               {"C"},
		"export A=1; web $A":                               nil,
		"for f in $LIST; do web $f; done":                  {"LIST"},
		"read -r LINE < x; echo $LINE":                     nil,
		"web $1 $? $$ $@ $# $! $_ ${2}":                    nil,
		"web $HEROKU_APP_NAME $HOME $DYNO $RANDOM":         nil,
		"web $(cat $KEY_FILE) `echo $OLD`":                 {"KEY_FILE", "OLD"},
		"web <<X\n$IN_HERE\nX":                             {"IN_HERE"},
		"web $((A + $B))":                                  {"B"},
		". ./env.sh && web $SET_THERE":                     nil,
		"eval \"$(./env)\"; web $SET_THERE":                nil,
		"web $A 'unclosed":                                 nil,
		"web ${!A}":                                        {"A"},
		"web ${A[0]}":                                      {"A"},
		"":                                                 nil,
	} {
		if got := config.Mentioned(command); !slices.Equal(got, want) {
			t.Errorf("%q mentions %v, want %v", command, got, want)
		}
	}
}

func FuzzMentioned(f *testing.F) {
	f.Add("web ${A:-$B} $C <(x $D)")
	f.Fuzz(func(t *testing.T, command string) {
		names := config.Mentioned(command)
		if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
			t.Errorf("%q mentions %q", command, names)
		}
	})
}
