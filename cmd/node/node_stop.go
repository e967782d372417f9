package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Stop lets what is in flight be answered and closes everything, clients first and disks last.
// It returns when nothing is left, or when ctx ends.
func (n *Node) Stop(ctx context.Context) error {
	n.stopOnce.Do(func() { n.stopErr = n.stop(ctx) })
	return n.stopErr
}

// handOverTimeout bounds how long other brokers may take to take over: clients are served meanwhile.
const handOverTimeout = 5 * time.Second

func (n *Node) stop(ctx context.Context) error {
	var errs []error
	if n.broker != nil && n.serving.Load() && n.left.error() == nil { // else there is nobody to take over
		n.handOver(ctx)
	}
	n.serving.Store(false)
	if n.mux != nil {
		n.stopClients(ctx)
	}
	n.end()
	errs = append(errs, n.leaveCluster(ctx))
	if n.broker != nil {
		errs = append(errs, n.broker.Stop(ctx))
	}
	errs = append(errs, n.disconnect(ctx))
	errs = append(errs, n.yield())
	errs = append(errs, within(ctx, "close the log directories", n.closeDirectories))
	if n.console != nil {
		errs = append(errs, n.console.Shutdown(ctx))
	}
	for _, l := range []io.Closer{n.clients, n.cluster, n.packets, n.admin} {
		if l != nil {
			_ = l.Close()
		}
	}
	errs = append(errs, within(ctx, "stop", func() error {
		n.tasks.Wait()
		return nil
	}))
	return errors.Join(errs...)
}

// handOver has other brokers take over what this one leads, while it still serves. Half of the time
// there is must be left for the rest.
func (n *Node) handOver(ctx context.Context) {
	patience := handOverTimeout
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline)/2)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := n.broker.HandOver(ctx); err != nil {
		n.log.Warn("stopping although others have not taken over all", "err", err)
	}
}

// disconnect ends what connects this broker to others.
func (n *Node) disconnect(ctx context.Context) error {
	var errs []error
	if n.links != nil {
		if err := n.links.Close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("close the links: %w", err))
		}
	}
	if n.port != nil {
		n.port.close()
		if err := n.port.wait(ctx); err != nil {
			errs = append(errs, fmt.Errorf("close the cluster port: %w", err))
		}
	}
	return errors.Join(errs...)
}

func (n *Node) closeDirectories() error {
	var errs []error
	for _, d := range n.dirs {
		errs = append(errs, d.Close())
	}
	return errors.Join(errs...)
}

// within runs f, and leaves it behind when ctx ends: a disk that hangs must not keep the process.
func within(ctx context.Context, what string, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
}

// stopClients has the clients answered and gone. One that does not read its answers is cut off after
// half of the time there is: it must not keep the logs from being closed in the other half.
func (n *Node) stopClients(ctx context.Context) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	n.mux.close()
	var servers sync.WaitGroup
	errs := make([]error, 2)
	servers.Go(func() { errs[0] = n.kafka.Shutdown(ctx) })
	servers.Go(func() { errs[1] = n.native.Shutdown(ctx) })
	servers.Wait()
	if err := errors.Join(errs[0], errs[1], n.mux.wait(ctx)); err != nil {
		n.log.Warn("clients that did not take their answers were cut off", "err", err)
	}
}
