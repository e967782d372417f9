package node

import (
	"context"
	"fmt"
	"net"
	"strings"
)

// listen takes the ports first: a port that is taken is found out before anything is touched.
func (n *Node) listen(ctx context.Context) error {
	n.cluster, n.packets = n.opts.Cluster, n.opts.ClusterPackets
	for _, l := range []struct {
		at      *net.Listener
		key     string
		address string
	}{{&n.clients, KeyListen, n.cfg.Listen}, {&n.admin, KeyAdmin, n.cfg.Admin}} {
		if l.key == KeyAdmin && l.address == AdminOff {
			continue
		}
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", l.address)
		if err != nil {
			return taken(l.key, err)
		}
		*l.at = listener
	}
	if n.cluster != nil {
		return nil
	}
	var err error
	n.cluster, n.packets, err = listenCluster(ctx, n.cfg.Cluster)
	return err
}

func taken(key string, err error) error {
	return fmt.Errorf("%s: %w; choose another address or stop the process that has it", key, err)
}

// clusterPortAttempts is how often a free port is asked for whose number is free for UDP too.
const clusterPortAttempts = 20

// listenCluster takes the cluster port: one number, for connections and for packets.
func listenCluster(ctx context.Context, address string) (l net.Listener, packets net.PacketConn, err error) {
	var lc net.ListenConfig
	for range clusterPortAttempts {
		l, err = lc.Listen(ctx, "tcp", address)
		if err != nil {
			return nil, nil, taken(KeyCluster, err)
		}
		packets, err = lc.ListenPacket(ctx, "udp", l.Addr().String())
		if err == nil {
			return l, packets, nil
		}
		_ = l.Close()
		if !strings.HasSuffix(address, ":0") {
			break
		}
	}
	return nil, nil, taken(KeyCluster, err)
}
