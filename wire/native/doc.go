// Package native listens to Troupe's own clients. It is sockets and bytes: it decides nothing.
// wire/PROTOCOL.md is the protocol as somebody would implement it in another language.
//
//	socket --> reader --------------------------> Backend        one goroutine: decodes, checks batches,
//	             |  looks, finds nothing new        |            asks; answers what needs no waiting
//	             '--> parked fetch (own goroutine)  |
//	                        |                       | ProduceDone, on the replica's goroutine
//	                        v                       v
//	socket <-- writer <------------ outbox <--------'            one goroutine: encodes and writes
//	                                                             all answers that are ready at once
//
// Answers go out in the order in which they become ready; the correlation id tells the client
// which is which. Requests to append to one partition reach its replica in the order of the
// connection, because the reader hands each one over before it reads the next.
//
// Everything a client can make grow has a bound: the length of a frame (the buffer grows with what
// arrives, not with what is announced), requests and bytes in flight (the reader stops reading),
// fetches that wait, calls that wait for the controller. What a client does wrong is answered with
// a Kafka code and a sentence where it can be, and closes the connection where the stream of
// frames can no longer be trusted; nobody else notices.
//
// Begin with server.go, then conn.go. backend.go is what is needed of the broker; errors.go is where
// its errors become the client's.
package native
