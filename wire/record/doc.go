// Package record is Kafka's record batch of format 2: the same bytes on disk, on every socket and
// in the client. It knows how to read, build, check and find them, and nothing else.
//
//	0        8       12      16    17    21     23       27     35     43        51     53    57     61
//	| base   | length | leader | magic | CRC | attri- | last   | base | max  | producer | epoch | base | count | records ...
//	| offset |        | epoch  |   2   |     | butes  | offset | time | time | id       |       | seq. |       |
//	'------- patched by the leader ----'     '--- under the CRC: everything from here to the end ------------'
//
// The length counts what follows it. A record says its own length, and its offset and timestamp
// as differences to the batch's, in zigzag varints; the codec in the attributes compresses all
// records together and leaves the header readable. So a broker moves batches without opening
// them: it patches the offset and the epoch, which lie outside the CRC.
//
// Invariants: whatever reads or checks bytes does not panic, whichever they are, and does not
// allocate by a length that they claim before that many were seen, or could come of those seen;
// what is decompressed has a limit. The functions that patch a batch take one that was checked.
//
//	header.go    the 61 bytes in front, stepping from batch to batch, patches in place
//	record.go    one record: how it is read; Reader and Iterate
//	check.go     the door: what a producer sent, before it gets near a log
//	varint.go    the numbers in records
//	walk.go      the fast walk over uncompressed records that the door does
//	builder.go   how a client makes a batch
//	codec.go     the compressions; gzip is there, the others are in snappy.go, lz4.go, zstd.go
//	scan.go      the batches of a file, and where they stop being valid
//	lookup.go    which record of a batch belongs to a timestamp
//
// Begin with header.go. What a batch means (who leads, which sequence is due, when a transaction
// ends) is decided in package cluster; this package only says what is in the bytes.
package record
