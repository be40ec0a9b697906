package fetch

import (
	"net"
	"net/netip"
	"testing"
)

func TestPrivate_knowsEveryAddressThatIsNotPublic(t *testing.T) {
	t.Parallel()
	refused := []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.254", "127.0.0.1", "127.1.2.3",
		"169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.0.1", "192.168.255.255",
		"198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
		"64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::a00:1", "64:ff9b:1::1",
		"2002:7f00:1::1", "2002:a00:1::1", "2002:c0a8:1::1", "2001:0:1::1", "2001:db8::1",
		"fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "100::1",
	}
	public := []string{
		"1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.167.1.1", "198.17.1.1", "223.255.255.255",
		"2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1",
	}
	for _, a := range refused {
		if private(netip.MustParseAddr(a)) == "" {
			t.Errorf("%s passes", a)
		}
		if err := checkDial("tcp", net.JoinHostPort(a, "443")); err == nil {
			t.Errorf("%s may be dialled", a)
		}
	}
	for _, a := range public {
		if kind := private(netip.MustParseAddr(a)); kind != "" {
			t.Errorf("%s is refused as %s", a, kind)
		}
		if err := checkDial("tcp", net.JoinHostPort(a, "443")); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
	for _, a := range []string{"", "1.1.1.1", "example.com:443", "[fe80::1%lo]:1"} {
		if checkDial("tcp", a) == nil {
			t.Errorf("%q may be dialled", a)
		}
	}
}

func TestContentRange_isReadStrictly(t *testing.T) {
	t.Parallel()
	for h, want := range map[string][3]int64{
		"bytes 5-9/10": {5, 10, 1}, "bytes 5-9/*": {5, -1, 1}, "": {}, "bytes": {}, "bytes 5-9": {}, "bytes */10": {}, "bytes -5-9/10": {}, "bytes 12-13/10": {}, "items 5-9/10": {},
	} {
		start, total, ok := contentRange(h)
		if ok != (want[2] == 1) || ok && (start != want[0] || total != want[1]) {
			t.Errorf("%q: %d %d %v", h, start, total, ok)
		}
	}
}
