// Package wire is the vocabulary of Troupe: the identifiers, messages and error codes that its
// parts say to each other, and the msgpack form in which they travel between brokers and to
// the native client. It decides nothing and performs nothing.
//
//	ids.go          brokers, topics, partitions, epochs, offsets, producers
//	errors.go       Kafka's error codes; an ErrorCode is an error
//	replication.go  what a replica is asked and answers: Produce, Fetch, DeleteRecords, ...
//	records.go      a stretch of record batches on disk, lent to a listener
//	buffer.go       a frame's bytes, pooled and counted
//	metadata.go     what a listener may know of the cluster, and what the controller is asked
//	cluster.go      what an operator asks of a cluster, and is told; quorum.go, who keeps its metadata
//	groups.go       what the coordinator of a group is asked, and answers; groups_consumer.go, the
//	                protocol of KIP-848 and what is told of groups; group_partition.go, who coordinates
//	parking.go      who waits for partitions to move
//	peering.go      what brokers say to each other
//	codec.go        the msgpack form: Append and Parse; codec_frame.go, frames; codec_lists.go, lists;
//	                a codec_*.go per family of messages; PROTOCOL.md, the same for somebody who
//	                writes a client
//
// Messages are immutable once sent: a receiver may keep what it was given, and a sender must
// not touch it again. Where a message lends memory (a Buffer, Records) its comment says who
// gives it back.
//
// Half-open ranges everywhere: an offset that ends something is the first one outside it.
// Begin with ids.go. This package imports nothing of ours.
package wire
