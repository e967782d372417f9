// Package peer links the brokers of a cluster, so that an actor of one can send messages to an
// actor of another.
//
// Between two brokers stand two TCP connections, the links: bulk carries what may be large and
// control what must not wait behind it. They begin and end together, as a pair:
//
//	broker 1                                                      broker 2
//	keep --dial--> preface, greeting (control), greeting (bulk) --> Serve
//	               <------------------------- welcome on both ----- (or a refusal)
//	               confirm on both ------------------------------>
//	LinkUp                                                        LinkUp
//	Send --> queue --> writer ====== frames, pings ======> reader --> Deliver
//
// What holds:
//
//   - At most one pair stands between two brokers. Both may dial; the broker with the lower id
//     decides which pair it is, since it has one slot for the other broker and claims it before it
//     says yes, whoever has dialled (broker.go).
//   - A pair begins after the one before it has ended altogether: LinkUp, deliveries, LinkDown, and
//     only then the next LinkUp. Nothing that was queued survives a pair.
//   - A link delivers in order, or ends. Nothing is sent twice and nothing is sent again.
//   - While a process is linked as a broker, no other one is, unless the cluster has registered it.
//     A process whose place another has taken does not come back.
//   - Send never blocks: a queue is bounded in bytes and says ErrFull. A reader waits for nothing
//     but its connection.
//   - Whatever comes over the network is bounded before memory is taken for it, and a bug in
//     reading it ends the link and not the process.
//
// Begin with handler.go, what the links tell; then links.go, what they are asked. broker.go has the
// rules about who may be linked, dial.go and accept.go the two sides of the handshake, pair.go the
// life of a pair, link.go its two connections, queue.go what waits. The bytes are described in
// wire/PROTOCOL.md.
//
// What is not here: which message goes on which link, what an actor's address is, and what a link
// that is down means for replication. Package actors knows that.
package peer
