package local

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// listenApp binds an app's own port; 0 lets the kernel choose.
func (p *Platform) listenApp(port int) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(p.run, "tcp", net.JoinHostPort(p.host, strconv.Itoa(port)))
}

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

// freePort finds a port for a web dyno below the range that kernels hand out by themselves,
// so that no outgoing connection takes it before the dyno binds it.
func (p *Platform) freePort() (int, error) {
	var last error
	for range 200 {
		port := 10_000 + rand.IntN(20_000)
		p.mu.Lock()
		taken := p.ports[port]
		p.ports[port] = true
		p.mu.Unlock()
		if taken {
			continue
		}
		l, err := net.Listen("tcp", ":"+strconv.Itoa(port))
		if err == nil {
			_ = l.Close()
			return port, nil
		}
		last = err
		p.releasePort(port)
	}
	return 0, fmt.Errorf("no free port for a web dyno: %w", last)
}

func (p *Platform) releasePort(port int) {
	p.mu.Lock()
	delete(p.ports, port)
	p.mu.Unlock()
}
