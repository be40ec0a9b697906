package journal

import "testing"

// Line is a line whose checksum is right, whatever it says.
func Line(t testing.TB, body string) []byte {
	t.Helper()
	return []byte(lineOpen + sum([]byte(body)) + lineMid + body + lineClose)
}
