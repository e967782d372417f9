package node

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Kafka's broker may have many listeners, each with a name and, by listener.security.protocol.map,
// a protocol. Troupe has one for clients, in clear, and speaks to other brokers on a port of its
// own; so of a server.properties the controller's listeners are passed over and one must be left.

// parseListener reads listeners: host:port, :port, [v6]:port, or Kafka's PLAINTEXT://host:port. It
// returns host:port; an empty host stands for every interface.
func parseListener(value string, names listenerNames) (string, error) {
	address, err := names.client(value)
	if err != nil {
		return "", err
	}
	host, port, err := splitAddress(address)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port))), nil
}

// parseAdvertised reads advertised.listeners, which clients are told: a host, host:port, or
// PLAINTEXT://host:port. Without a port, or with port 0, they are told the listener's.
func parseAdvertised(value string, names listenerNames) (string, error) {
	address, err := names.client(value)
	if err != nil {
		return "", err
	}
	if !strings.Contains(address, ":") {
		address += ":0"
	}
	host, port, err := splitAddress(address)
	if err != nil {
		return "", err
	}
	if isWildcard(host) {
		return "", fmt.Errorf("%q is no address that a client can connect to; write the host by which clients reach this machine, as in broker1.example.com:9092", value)
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port))), nil
}

// listenerNames tells what the names in front of :// mean.
type listenerNames struct {
	controllers string // controller.listener.names
	protocols   string // listener.security.protocol.map
}

// client returns the address of the one listener for clients.
func (n listenerNames) client(value string) (string, error) {
	var clients []string
	for entry := range strings.SplitSeq(value, ",") {
		name, _, named := strings.Cut(strings.TrimSpace(entry), "://")
		if named && n.isController(name) {
			continue
		}
		clients = append(clients, strings.TrimSpace(entry))
	}
	if len(clients) != 1 {
		return "", fmt.Errorf("%q has %d listeners for clients; this version has exactly one: write host:port, as in 127.0.0.1:9092", value, len(clients))
	}
	name, address, named := strings.Cut(clients[0], "://")
	if !named {
		return clients[0], nil
	}
	// To serve in clear what was meant to be encrypted would be worse than not to start.
	if protocol := n.protocol(name); protocol != "PLAINTEXT" {
		return "", fmt.Errorf("%q: this version speaks PLAINTEXT only, not %s; write PLAINTEXT://%s", clients[0], protocol, address)
	}
	return address, nil
}

func (n listenerNames) isController(name string) bool {
	for controller := range strings.SplitSeq(n.controllers, ",") {
		if strings.EqualFold(strings.TrimSpace(controller), name) {
			return true
		}
	}
	return false
}

// protocol returns what the listener of this name speaks: without an entry, its name says it.
func (n listenerNames) protocol(name string) string {
	for entry := range strings.SplitSeq(n.protocols, ",") {
		listener, protocol, _ := strings.Cut(strings.TrimSpace(entry), ":")
		if strings.EqualFold(listener, name) {
			return strings.ToUpper(strings.TrimSpace(protocol))
		}
	}
	return strings.ToUpper(name)
}

func splitAddress(address string) (host string, port uint16, err error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("%q is no address; write host:port, as in 127.0.0.1:9092 (port 0 takes a free one)", address)
	}
	n, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("port %q of %q is no port; write a number from 0 to 65535 (0 takes a free one)", portText, address)
	}
	if strings.ContainsAny(host, " \t/,") {
		return "", 0, fmt.Errorf("host %q of %q is no host; write a name or an address, as in 127.0.0.1:9092", host, address)
	}
	return host, uint16(n), nil
}

// isWildcard says that host stands for every interface of the machine.
func isWildcard(host string) bool {
	if host == "" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsUnspecified()
}

// AdvertisedAddress returns what clients are told to connect to, once the listener is bound. The
// port is the bound one where none was given. Without advertised.listeners a wildcard listener
// announces the first of the machine's addresses that is IPv4 and not loopback, because clients
// cannot connect to a wildcard; interfaces is net.InterfaceAddrs.
func (c Config) AdvertisedAddress(bound net.Addr, interfaces func() ([]net.Addr, error)) (host string, port int32, err error) {
	boundTo, err := netip.ParseAddrPort(bound.String())
	if err != nil {
		return "", 0, fmt.Errorf("listener address %q: %w", bound, err)
	}
	advertise := c.Advertise
	if advertise == "" {
		advertise = c.Listen
	}
	host, given, err := splitAddress(advertise)
	if err != nil {
		return "", 0, err
	}
	port = int32(boundTo.Port())
	if c.Advertise != "" && given != 0 {
		port = int32(given)
	}
	if !isWildcard(host) {
		return host, port, nil
	}
	addresses, err := interfaces()
	if err != nil {
		return "", 0, fmt.Errorf("find an address to advertise: %w; say which with --advertise host:port", err)
	}
	return firstIPv4(addresses), port, nil
}

// firstIPv4 returns the first address that another machine could connect to. A machine that has
// none has no other machines to serve: then it is 127.0.0.1.
func firstIPv4(addresses []net.Addr) string {
	for _, address := range addresses {
		prefix, err := netip.ParsePrefix(address.String())
		if err != nil {
			continue
		}
		if ip := prefix.Addr().Unmap(); ip.Is4() && ip.IsGlobalUnicast() {
			return ip.String()
		}
	}
	return "127.0.0.1"
}
