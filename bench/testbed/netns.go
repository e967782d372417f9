package testbed

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Network is a host for each broker, made of network namespaces around a bridge: what one host sends
// to another can be lost on the way, in one direction or both. We ourselves are one more host.
//
//	ns 1 --veth--.
//	ns 2 --veth--- bridge, in a namespace of its own --veth-- our namespace
//	ns 3 --veth--'
//
// A cut is a routing rule that loses packets on arrival: connections stay open and nobody is told. It
// needs root and the command ip, and neither nft nor tc, whose filters not every kernel has.
type Network struct {
	name  string // of the namespaces, before a number
	hosts int
}

// The order of the routing rules of a host.
const (
	cutPref     = 10 // and the host that is cut off
	deliverPref = 1000
)

// Host is where a broker may run.
type Host struct {
	Address string   // IP
	Inside  []string // the command that runs another there
}

// NewNetwork makes so many hosts.
func NewNetwork(hosts int) (*Network, error) {
	n := &Network{name: fmt.Sprintf("trp%d", os.Getpid()), hosts: hosts}
	if err := n.make(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Network) make() error {
	if os.Getuid() != 0 {
		return errors.New("network namespaces need root")
	}
	bridge := n.namespace(0)
	if err := shell(
		"ip netns add "+bridge,
		"ip -n "+bridge+" link add br0 type bridge",
		"ip -n "+bridge+" link set br0 up",
	); err != nil {
		return err
	}
	for i := 1; i <= n.hosts; i++ {
		host := n.namespace(i)
		if err := shell(
			"ip netns add "+host,
			"ip -n "+host+" link set lo up",
			fmt.Sprintf("ip link add eth0 netns %s type veth peer name v%d netns %s", host, i, bridge),
			fmt.Sprintf("ip -n %s link set v%d master br0 up", bridge, i),
			fmt.Sprintf("ip -n %s addr add %s/24 dev eth0", host, n.address(i)),
			"ip -n "+host+" link set eth0 up",
			// Rules that lose packets on arrival have to come before the one that delivers them.
			fmt.Sprintf("ip -n %s rule add pref %d lookup local", host, deliverPref),
			"ip -n "+host+" rule del pref 0",
		); err != nil {
			return err
		}
	}
	return shell(
		fmt.Sprintf("ip link add %s type veth peer name v0 netns %s", n.name, bridge),
		"ip -n "+bridge+" link set v0 master br0 up",
		fmt.Sprintf("ip addr add %s/24 dev %s", n.address(254), n.name),
		"ip link set "+n.name+" up",
	)
}

func (n *Network) namespace(i int) string { return fmt.Sprintf("%s-%d", n.name, i) }

// address lies in a net that is set aside for benchmarks.
func (n *Network) address(i int) string { return fmt.Sprintf("198.18.%d.%d", os.Getpid()%250, i) }

// Hosts are where the brokers may run.
func (n *Network) Hosts() []Host {
	var hosts []Host
	for i := 1; i <= n.hosts; i++ {
		hosts = append(hosts, Host{n.address(i), []string{"ip", "netns", "exec", n.namespace(i)}})
	}
	return hosts
}

// Cut loses everything that one host sends to another. Hosts are counted from 0.
func (n *Network) Cut(from, to int) error {
	return shell(fmt.Sprintf("ip -n %s rule add pref %d from %s blackhole", n.namespace(to+1), cutPref+from, n.address(from+1)))
}

// Heal ends all cuts.
func (n *Network) Heal() error {
	for to := range n.hosts {
		rules, err := exec.Command("ip", "-n", n.namespace(to+1), "rule", "list").CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip rule list: %w: %s", err, rules)
		}
		for from := range n.hosts {
			pref := fmt.Sprintf("%d:", cutPref+from)
			if !strings.Contains("\n"+string(rules), "\n"+pref) {
				continue
			}
			if err := shell(fmt.Sprintf("ip -n %s rule del pref %d", n.namespace(to+1), cutPref+from)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close takes everything down. Nothing may run in the namespaces any more.
func (n *Network) Close() error {
	var errs []error
	for i := range n.hosts + 1 {
		if _, err := os.Stat("/run/netns/" + n.namespace(i)); err == nil {
			errs = append(errs, shell("ip netns del "+n.namespace(i)))
		}
	}
	return errors.Join(errs...) // a veth goes with its peer
}

// shell runs commands, one after the other.
func shell(lines ...string) error {
	for _, line := range lines {
		words := strings.Fields(line)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", line, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}
