package view

import "testing"

func TestColour_isDecidedByFlagThenEnvironmentThenTerminal(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, flag string
		env        map[string]string
		terminal   bool
		want       bool
	}{
		{"terminal", "auto", nil, true, true},
		{"pipe", "auto", nil, false, false},
		{"always beats NO_COLOR", "always", map[string]string{"NO_COLOR": "1"}, false, true},
		{"never beats CLICOLOR_FORCE", "never", map[string]string{"CLICOLOR_FORCE": "1"}, true, false},
		{"NO_COLOR", "auto", map[string]string{"NO_COLOR": "1"}, true, false},
		{"empty NO_COLOR", "auto", map[string]string{"NO_COLOR": ""}, true, true},
		{"NO_COLOR beats CLICOLOR_FORCE", "auto", map[string]string{"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, true, false},
		{"CLICOLOR_FORCE", "auto", map[string]string{"CLICOLOR_FORCE": "1"}, false, true},
		{"CLICOLOR_FORCE=0", "auto", map[string]string{"CLICOLOR_FORCE": "0"}, false, false},
		{"CLICOLOR_FORCE beats TERM=dumb", "auto", map[string]string{"CLICOLOR_FORCE": "1", "TERM": "dumb"}, false, true},
		{"TERM=dumb", "auto", map[string]string{"TERM": "dumb"}, true, false},
	} {
		if got := Colour(tt.flag, tt.env, tt.terminal); got != tt.want {
			t.Errorf("%s: colour is %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestChoose_movesNoCursorInCIOrOnDumbTerminals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		r    Request
		want Kind
	}{
		{"terminal", Request{Progress: "auto", Terminal: true}, KindTerminal},
		{"pipe", Request{Progress: "auto"}, KindPlain},
		{"CI", Request{Progress: "auto", Terminal: true, Env: map[string]string{"CI": "true"}}, KindPlain},
		{"CI=false", Request{Progress: "auto", Terminal: true, Env: map[string]string{"CI": "false"}}, KindTerminal},
		{"dumb", Request{Progress: "auto", Terminal: true, Env: map[string]string{"TERM": "dumb"}}, KindPlain},
		{"plain", Request{Progress: "plain", Terminal: true}, KindPlain},
		{"none", Request{Progress: "none", Terminal: true}, KindNone},
		{"quiet", Request{Progress: "auto", Terminal: true, Quiet: true}, KindNone},
		{"JSON", Request{Progress: "none", Terminal: true, Quiet: true, JSON: true}, KindJSON},
	} {
		if got := Choose(tt.r); got != tt.want {
			t.Errorf("%s: view %d, want %d", tt.name, got, tt.want)
		}
	}
}
