// Floor is the least that Kafka clients can produce to and consume from: the line below which a
// Go broker does not get on a given machine. It is a measuring rod, not a broker: nothing is
// replicated, replayed or recovered, there are no groups, and it trusts whoever connects.
//
//	frame ── parsed in place ── CRC-32C ── one pwrite per batch ── answer     one goroutine per
//	                                              fetch: header + sendfile    connection
//
// What is left out is what is being priced: no actors, no mailboxes, no rules, no metrics, no
// limits. What it does do is done as a broker has to: the checksum is checked, base offset and
// leader epoch are patched, a sparse index finds a fetch offset, a fetch that finds nothing waits.
//
// With -durability none an answer means that the page cache has the batch. With -durability
// group it means that an fdatasync has covered it, which all who wait share; but a consumer sees
// a batch before that sync, which a real broker must not allow.
//
//	main.go       flags and listener
//	conn.go       frames in and out; in what order answers leave
//	produce.go    append, and what acks means
//	fetch.go      find, sendfile, long poll
//	admin.go      ApiVersions, Metadata, ListOffsets, topics
//	partition.go  one log in one file
//
// Run it with "go run ./bench/floor"; bench/load starts it by itself.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on and to advertise; port 0 takes a free one")
	data := flag.String("data", "", "data directory, emptied of nothing (default: a temporary one, removed at the end)")
	durability := flag.String("durability", "none", "none: answered from the page cache; group: after a shared fdatasync")
	flag.Parse()
	if err := run(*listen, *data, *durability); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run(listen, data, durability string) error {
	if durability != "none" && durability != "group" {
		return fmt.Errorf("durability %q: want none or group", durability)
	}
	if data == "" {
		temporary, err := os.MkdirTemp("", "floor-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temporary) //nolint:errcheck // the process ends, and there is nobody left to tell
		data = temporary
	} else if err := os.MkdirAll(data, 0o755); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt, syscall.SIGTERM)

	b := newBroker(data, durability == "group", listener.Addr().(*net.TCPAddr))
	fmt.Printf("ready kafka=%s data=%s\n", listener.Addr(), data)
	go b.serve(listener)
	<-end
	return nil
}

// serve accepts connections until the listener is closed.
func (b *broker) serve(listener net.Listener) {
	for {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		go newConn(b, c.(*net.TCPConn)).serve()
	}
}
