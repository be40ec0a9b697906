package fetch

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// AddressError says that an address is not one of the public internet. A slug.yaml must not
// be able to make a machine in a private network ask its neighbours.
type AddressError struct {
	// Address is the IP that was about to be dialled, or the host that the URL names.
	Address string
	// Kind says what it is: "a loopback address".
	Kind string
}

func (e *AddressError) Error() string {
	return fmt.Sprintf("%s is %s, which is never downloaded from", e.Address, e.Kind)
}

// Hint says how a private server is allowed.
func (e *AddressError) Hint() string {
	return "if this server is meant, name it: --mirror https://ORIGIN=http://SERVER, or SLUGFILE_MIRRORS"
}

// checkDial refuses addresses that are not public. It sees what is really dialled, after
// every name was resolved, so an answer that changes between two queries changes nothing.
func checkDial(_, address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return &AddressError{Address: address, Kind: "not an IP address"}
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return &AddressError{Address: host, Kind: "not an IP address"}
	}
	if kind := private(ip); kind != "" {
		return &AddressError{Address: ip.String(), Kind: kind}
	}
	return nil
}

// checkLiteral is for requests that go through a proxy, where only the proxy is dialled.
func checkLiteral(u *url.URL) error {
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return &AddressError{Address: host, Kind: "a loopback name"}
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if kind := private(ip); kind != "" {
			return &AddressError{Address: host, Kind: kind}
		}
		return nil
	}
	// What resolvers also take for an IPv4 address: 2130706433, 0x7f.1, 127.1.
	if last := host[strings.LastIndexByte(host, '.')+1:]; last != "" && strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		return &AddressError{Address: host, Kind: "an unusual form of an IP address"}
	}
	return nil
}

// Ranges that netip has no word for. Source: the IANA special-purpose address registries.
var special = []struct {
	prefix netip.Prefix
	kind   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "an address of this network"},
	{netip.MustParsePrefix("100.64.0.0/10"), "a shared address of a provider"},
	{netip.MustParsePrefix("192.0.0.0/24"), "a reserved address"},
	{netip.MustParsePrefix("192.0.2.0/24"), "an address for documentation"},
	{netip.MustParsePrefix("198.18.0.0/15"), "an address for benchmarks"},
	{netip.MustParsePrefix("198.51.100.0/24"), "an address for documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), "an address for documentation"},
	{netip.MustParsePrefix("240.0.0.0/4"), "a reserved address"},
	{netip.MustParsePrefix("::/96"), "a reserved address"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "an address of a local translator"},
	{netip.MustParsePrefix("100::/64"), "a reserved address"},
	{netip.MustParsePrefix("2001::/32"), "a Teredo address"},
	{netip.MustParsePrefix("2001:db8::/32"), "an address for documentation"},
	{netip.MustParsePrefix("fec0::/10"), "a site-local address"},
}

var (
	nat64  = netip.MustParsePrefix("64:ff9b::/96")
	sixto4 = netip.MustParsePrefix("2002::/16")
)

// private says what kind of address ip is when it is not one of the public internet.
func private(ip netip.Addr) string {
	ip = ip.Unmap().WithZone("")
	switch {
	case !ip.IsValid(), ip.IsUnspecified():
		return "an unspecified address"
	case ip.IsLoopback():
		return "a loopback address"
	case ip.IsPrivate():
		return "a private address"
	case ip.IsLinkLocalUnicast():
		return "a link-local address"
	case ip.IsMulticast():
		return "a multicast address"
	}
	for _, s := range special {
		if s.prefix.Contains(ip) {
			return s.kind
		}
	}
	b := ip.As16()
	var inner netip.Addr
	switch {
	case nat64.Contains(ip):
		inner = netip.AddrFrom4([4]byte(b[12:16]))
	case sixto4.Contains(ip):
		inner = netip.AddrFrom4([4]byte(b[2:6]))
	default:
		return ""
	}
	if kind := private(inner); kind != "" {
		return kind + " inside an IPv6 address"
	}
	return ""
}
