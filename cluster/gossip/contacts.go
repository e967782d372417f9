package gossip

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"
)

// contacts are the addresses at which there should be members.
type contacts struct {
	mu        sync.Mutex
	addresses []string
	changed   chan struct{} // capacity 1
}

// SetContacts says at which addresses there should be members. Where there is none, it is called
// again and again, at once the first time. An address that is this process's own may be among them.
func (g *Gossip) SetContacts(addresses []string) {
	g.contacts.mu.Lock()
	defer g.contacts.mu.Unlock()
	if slices.Equal(g.contacts.addresses, addresses) {
		return
	}
	g.contacts.addresses = slices.Clone(addresses)
	select {
	case g.contacts.changed <- struct{}{}:
	default:
	}
}

func (g *Gossip) callContacts(ctx context.Context) {
	ticker := time.NewTicker(g.cfg.ContactInterval)
	defer ticker.Stop()
	for {
		g.callMissing(ctx)
		select {
		case <-ticker.C:
		case <-g.contacts.changed:
		case <-ctx.Done():
			return
		}
	}
}

// callMissing calls every contact that is no member now.
func (g *Gossip) callMissing(ctx context.Context) {
	g.contacts.mu.Lock()
	addresses := slices.Clone(g.contacts.addresses)
	g.contacts.mu.Unlock()

	known := map[string]bool{g.cfg.Self.Address: true, g.cfg.Advertise.String(): true}
	for _, p := range g.others.all() {
		known[p.seenAt], known[p.Address] = true, true
	}
	var calling sync.WaitGroup
	defer calling.Wait()
	atOnce := make(chan struct{}, maxCalls)
	for _, address := range addresses {
		if known[address] {
			continue
		}
		select {
		case atOnce <- struct{}{}:
		case <-ctx.Done():
			return
		}
		calling.Go(func() {
			g.call(ctx, address, known)
			<-atOnce
		})
	}
}

// maxCalls bounds the contacts that are called at once. One that does not answer takes streamTimeout,
// and must not keep the others waiting.
const maxCalls = 16

// call calls one contact, at every number that is not a member's.
func (g *Gossip) call(ctx context.Context, address string, known map[string]bool) {
	for _, resolved := range resolve(ctx, address) {
		if known[resolved] {
			continue
		}
		if _, err := g.list.Join([]string{resolved}); err != nil {
			g.log.Debug("a contact does not answer", "address", resolved, "err", err)
		}
	}
}

// resolve returns host:port with every number that host stands for. Memberlist is given numbers
// only: it would ask name servers in ways of its own.
func resolve(ctx context.Context, address string) []string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, streamTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return nil
	}
	resolved := make([]string, len(ips))
	for i, ip := range ips {
		resolved[i] = net.JoinHostPort(ip, port)
	}
	return resolved
}
