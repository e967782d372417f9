package testbed

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// The ports that are tried lie below those that Linux gives to connections (32768 and up): a
// broker that is down must not lose its port to a client's socket.
const (
	firstPort = 20_000
	lastPort  = 32_000
)

// FreeAddresses returns n addresses of the loopback interface that nobody listens on, over TCP or
// UDP. They are only likely to be free afterwards.
func FreeAddresses(n int) ([]string, error) {
	addresses := make([]string, 0, n)
	begin := rand.IntN(lastPort - firstPort)
	for i := range lastPort - firstPort {
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+(begin+i)%(lastPort-firstPort))
		if !isFree(address) {
			continue
		}
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
