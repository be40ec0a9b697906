package tree

import "strings"

// chunks cuts short strings from long ones, so that a tree of many paths is few allocations.
type chunks struct{ b strings.Builder }

// join is the path of a name in a directory.
func (c *chunks) join(dir string, name []byte) string {
	if n := len(dir) + 1 + len(name); n > c.b.Cap()-c.b.Len() {
		const least, most = 4 << 10, 64 << 10
		size := max(n, least, min(2*c.b.Cap(), most))
		c.b.Reset()
		c.b.Grow(size)
	}
	start := c.b.Len()
	if dir != "" {
		c.b.WriteString(dir)
		c.b.WriteByte('/')
	}
	c.b.Write(name)
	return c.b.String()[start:]
}
