package view

// Style adds colour, or nothing. The zero value is without colour.
type Style struct{ colour bool }

// NewStyle returns a Style with or without colour.
func NewStyle(colour bool) Style { return Style{colour} }

// Colour decides whether a stream gets colour. The flag is auto, always or never; it wins
// over the environment: NO_COLOR (https://no-color.org, any value that is not empty), then
// CLICOLOR_FORCE, then TERM=dumb, then whether the stream is a terminal.
func Colour(flag string, env map[string]string, terminal bool) bool {
	switch flag {
	case "always":
		return true
	case "never":
		return false
	}
	force := env["CLICOLOR_FORCE"]
	switch {
	case env["NO_COLOR"] != "":
		return false
	case force != "" && force != "0":
		return true
	case env["TERM"] == "dumb":
		return false
	}
	return terminal
}

// The codes of SGR, the one kind of escape sequence that slugfile writes beside the
// cursor movement of live lines.
const (
	sgrReset  = "\x1b[0m"
	sgrBold   = "\x1b[1m"
	sgrDim    = "\x1b[2m"
	sgrRed    = "\x1b[31m"
	sgrGreen  = "\x1b[32m"
	sgrYellow = "\x1b[33m"
	sgrCyan   = "\x1b[36m"
)

func (s Style) paint(code, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return code + text + sgrReset
}

func (s Style) bold(t string) string   { return s.paint(sgrBold, t) }
func (s Style) dim(t string) string    { return s.paint(sgrDim, t) }
func (s Style) red(t string) string    { return s.paint(sgrRed, t) }
func (s Style) green(t string) string  { return s.paint(sgrGreen, t) }
func (s Style) yellow(t string) string { return s.paint(sgrYellow, t) }
func (s Style) cyan(t string) string   { return s.paint(sgrCyan, t) }

// symbol paints one of + - ~ =, which carry the meaning without colour too.
func (s Style) symbol(sym string) string {
	switch sym {
	case "+":
		return s.green(sym)
	case "-", "!":
		return s.red(sym)
	case "~":
		return s.yellow(sym)
	}
	return s.dim(sym)
}
