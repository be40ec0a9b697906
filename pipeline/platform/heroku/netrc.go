package heroku

import (
	"fmt"
	"strings"
)

// netrcEntry is one machine of a netrc file.
type netrcEntry struct {
	machine, login, password string
}

// parseNetrc reads the machines of a netrc file in their order. It knows quoted values,
// comments and macros. The entry "default" ends the list: it names no host, and a token must
// not go to a host that nobody named. Errors tell the line and nothing of its content.
func parseNetrc(text string) ([]netrcEntry, error) {
	var entries []netrcEntry
	s := netrcScanner{text: text, line: 1}
	for {
		word, ok, err := s.word(true)
		if err != nil || !ok {
			return entries, err
		}
		var value *string
		switch word {
		case "machine":
			entries = append(entries, netrcEntry{})
			value = &entries[len(entries)-1].machine
		case "default":
			return entries, nil
		case "macdef":
			s.skipMacro()
			continue
		case "login", "password", "account":
			var ignored string
			value = &ignored
			if n := len(entries); n > 0 && word == "login" {
				value = &entries[n-1].login
			} else if n > 0 && word == "password" {
				value = &entries[n-1].password
			}
		default:
			return entries, fmt.Errorf("line %d: a keyword was expected (machine, login, password, account, macdef, default)", s.line)
		}
		line := s.line
		v, ok, err := s.word(false)
		if err != nil {
			return entries, err
		}
		if !ok {
			return entries, fmt.Errorf("line %d: %s has no value", line, word)
		}
		*value = v
	}
}

// findNetrc returns the first entry of host:port, else the first of host.
func findNetrc(entries []netrcEntry, hosts ...string) (netrcEntry, bool) {
	for _, h := range hosts {
		for _, e := range entries {
			if h != "" && strings.EqualFold(e.machine, h) {
				return e, true
			}
		}
	}
	return netrcEntry{}, false
}

type netrcScanner struct {
	text string
	at   int
	line int
}

// word returns the next word. A comment begins where a keyword may stand: a password may
// begin with "#".
func (s *netrcScanner) word(keyword bool) (word string, ok bool, err error) {
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == '\n':
			s.line++
			s.at++
		case c == ' ' || c == '\t' || c == '\r':
			s.at++
		case c == '#' && keyword:
			s.skipLine()
		case c == '"':
			return s.quoted()
		default:
			end := strings.IndexAny(s.text[s.at:], " \t\r\n")
			if end < 0 {
				end = len(s.text) - s.at
			}
			word = s.text[s.at : s.at+end]
			s.at += end
			return word, true, nil
		}
	}
	return "", false, nil
}

// quoted reads a value in double quotes, in which a backslash takes the next character as it is.
func (s *netrcScanner) quoted() (string, bool, error) {
	line := s.line
	var b strings.Builder
	for s.at++; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; c {
		case '"':
			s.at++
			return b.String(), true, nil
		case '\\':
			if s.at++; s.at < len(s.text) {
				b.WriteByte(s.text[s.at])
			}
		case '\n':
			s.line++
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return "", false, fmt.Errorf("line %d: a quote is not closed", line)
}

func (s *netrcScanner) skipLine() {
	if i := strings.IndexByte(s.text[s.at:], '\n'); i >= 0 {
		s.at += i
		return
	}
	s.at = len(s.text)
}

// skipMacro goes to the first empty line: there a macro ends.
func (s *netrcScanner) skipMacro() {
	for s.at < len(s.text) {
		s.skipLine()
		if s.at < len(s.text) {
			s.at++
			s.line++
		}
		end := strings.IndexByte(s.text[s.at:], '\n')
		if end < 0 {
			end = len(s.text) - s.at
		}
		if strings.TrimRight(s.text[s.at:s.at+end], "\r") == "" {
			return
		}
	}
}
