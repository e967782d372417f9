// Package clients tests the broker with Kafka clients that we did not write: what one of them
// produces, every other must read back, byte for byte and in order.
//
//	         JSON lines on stdin and stdout            Kafka protocol
//	test ────────────────────────────────── driver ────────────────── troupe broker
//
// A driver is a small program around one client library. The tests know only the drivers:
//
//	gomod/     sarama and segmentio/kafka-go, in a Go module of their own
//	java/      the Java client, and the command line tools of Apache Kafka
//	python/    kafka-python, and confluent-kafka, which brings its own librdkafka
//	kafkajs/   kafkajs; it consumes only in groups
//	kcat       is run as it is, without a driver
//	franz-go   is in this module; it is also what the others are compared with
//
// A driver is started with the bootstrap address as its argument and says first what it is:
//
//	{"client": "sarama", "version": "1.61.1"}
//
// Then it answers one line with one line, until its input ends:
//
//	{"op": "produce", "topic", "codec", "acks", "idempotent", "records": [...]}   {}
//	{"op": "consume", "topic", "partition", "from", "at", "count"}               {"records": [...]}
//	{"op": "create",  "topic", "partitions", "configs": {...}}                   {}
//	{"op": "describe", "topic"}                                                  {"partitions", "configs": {...}}
//	{"op": "alter",   "topic", "configs": {...}}                                 {}
//	{"op": "grow",    "topic", "partitions"}                                     {}
//	{"op": "delete",  "topic"}                                                   {}
//	{"op": "join",    "topic", "group", "assignor", "instance", "protocol"}      {}
//	{"op": "poll",    "count", "millis"}                                         {"records": [...]}
//	{"op": "leave"}                                                              {}
//	{"op": "remove",  "group", "instances"}                                      {}
//
// or with {"error": "..."}. A record is {"partition", "offset", "timestamp", "key", "value",
// "headers": [{"key", "value"}]}, bytes in base64, null where there are none. "from" is
// beginning, end, offset or timestamp, the last two with "at"; consume reads "count" records.
//
// A driver that has joined is a member of a group, with sessions of 6 s. It polls for a while, commits what it has
// read, and tells both the records and what was wrong with the commit, unless that only came too late. "protocol" is
// consumer for the protocol of KIP-848. kcat commits by itself. crew_test.go has members work, side by side. The Java
// client also removes members of others, those with the instance ids or, without any, all.
//
// A client that is not installed is named and skipped; with TROUPE_CLIENTS=require that is a
// failure. ".ci/run clients" installs them all and requires them. With TROUPE_CLIENTS_BOOTSTRAP
// the same tests run against another broker, such as Apache Kafka, to test the tests.
package clients
