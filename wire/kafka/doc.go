// Package kafka is the listener for Kafka clients: sockets, frames, versions. It decides nothing
// about data; whatever is asked goes to a Backend and whatever it says is encoded.
//
//	socket -> frames.go   cuts the stream into frames, which lie in pooled wire.Buffers
//	       -> conn.go     reads the request header, finds the API in versions.go, serves it
//	       -> produce.go  Produce: checked here, handed to the Backend, answered later
//	       |  fetch.go    Fetch: answered from files by sendfile, or parked until there is more;
//	       |              fetch_session.go has what a client fetches from, from request to request
//	       |  <api>.go    everything else: decoded and encoded by kmsg, one file for each API
//	       -> answers.go  the order of answers, and who writes them
//
// One goroutine reads a connection and serves its requests in order. A Produce does not hold it
// up: the request joins a queue and the next frame is read, so that the requests of one connection
// share an fsync. Any other request first waits until that queue is empty; it therefore sees what
// the client produced before it, as in Kafka, and is answered by the reading goroutine itself. JoinGroup and
// SyncGroup hold their connection up until the rebalance is over, so clients use one of their own.
// Only answers to Produce that come after the reader has gone on are written by a second
// goroutine, which such a connection starts at the first one.
//
// Invariants:
//   - Answers leave in the order of their requests; a Produce with acks=0 has none.
//   - Whatever a length or a count claims, memory is taken only for bytes that have arrived, times
//     a small factor: frames.go grows large frames as they fill, shape.go walks a request before
//     kmsg may decode it.
//   - A completion, called by an actor, takes a short lock and never touches the socket.
//   - The bytes of a Produce are counted against the connection and the server from their arrival
//     until the Backend has completed them; what a wide Fetch takes until it is answered (share.go).
//
// Begin with conn.go; groups.go is how the coordinators of groups are asked. What is not here:
// transactions and SASL are not advertised, as they do not exist yet; TLS is the business of whoever
// hands the connection to ServeConn.
package kafka
