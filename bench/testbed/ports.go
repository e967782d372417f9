package testbed

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// The ports that are tried lie below those that Linux gives to connections (32768 and up): a
// broker that is down must not lose its port to a client's socket.
const (
	firstPort = 20_000
	lastPort  = 32_000
)

// given are the ports that this process has had from FreeAddresses. A broker that is down keeps its own.
var (
	given   = make(map[int]bool)
	givenMu sync.Mutex
)

// FreeAddresses returns n addresses of the loopback interface that nobody listens on, over TCP or
// UDP, and that it has not returned before. They are only likely to be free afterwards: another process may take them.
func FreeAddresses(n int) ([]string, error) {
	addresses := make([]string, 0, n)
	givenMu.Lock()
	defer givenMu.Unlock()
	begin := rand.IntN(lastPort - firstPort)
	for i := range lastPort - firstPort {
		port := firstPort + (begin+i)%(lastPort-firstPort)
		address := fmt.Sprintf("127.0.0.1:%d", port)
		if given[port] || !isFree(address) {
			continue
		}
		given[port] = true
		if addresses = append(addresses, address); len(addresses) == n {
			return addresses, nil
		}
	}
	return nil, errors.New("there are not enough free ports")
}

func isFree(address string) bool {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	_ = l.Close() // it was only tried
	p, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	_ = p.Close() // it was only tried
	return true
}
