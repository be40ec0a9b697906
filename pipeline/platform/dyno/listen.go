package dyno

import (
	"bufio"
	"encoding/hex"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Listeners are the addresses on which something of this machine listens on a port, as the
// kernel tells in /proc/net. None are known on systems without it.
func Listeners(port int) []netip.Addr {
	var list []netip.Addr
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(name)
		if err != nil {
			continue // a kernel without IPv6 has no tcp6
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			if a, ok := listener(lines.Text(), port); ok && !slices.Contains(list, a) {
				list = append(list, a)
			}
		}
		_ = f.Close() // it was only read
	}
	return list
}

// LoopbackOnly says that something listens on the port, and nothing that another machine, such
// as the router of a real platform, could reach.
func LoopbackOnly(port int) bool {
	list := Listeners(port)
	return len(list) > 0 && !slices.ContainsFunc(list, func(a netip.Addr) bool { return !a.Unmap().IsLoopback() })
}

// listener reads a line such as "  0: 0100007F:1F90 00000000:0000 0A …": the number of the
// line, the local and the remote address, and the state, which is 0A for a listener. Addresses
// are words of four bytes, each in the order of this machine's processor, which for slugs is
// the little-endian one.
func listener(line string, port int) (netip.Addr, bool) {
	fields := strings.Fields(line)
	if len(fields) < 4 || fields[3] != "0A" {
		return netip.Addr{}, false
	}
	address, digits, _ := strings.Cut(fields[1], ":")
	if n, err := strconv.ParseUint(digits, 16, 16); err != nil || int(n) != port {
		return netip.Addr{}, false
	}
	b, err := hex.DecodeString(address)
	if err != nil || len(b)%4 != 0 {
		return netip.Addr{}, false
	}
	for word := range slices.Chunk(b, 4) {
		slices.Reverse(word)
	}
	return netip.AddrFromSlice(b)
}
