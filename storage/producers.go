package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/troupe-mq/troupe/wire"
)

// A producer snapshot is Kafka's version 1: what the partition knew of its idempotent producers
// at the offset that is the file's name.
//
//	| version int16 | crc uint32 | count int32 | count x entry |      the CRC-32C covers count and entries
//	entry: producer int64, epoch int16, last sequence int32, last offset int64, offset delta int32,
//	       timestamp int64, coordinator epoch int32, current transaction's first offset int64
//
// Kafka: a producer has one entry there. Here it has one for each batch remembered, oldest first;
// Kafka's loader lets the last one of a producer win, which is what it would have written.
const (
	snapshotVersion     = 1
	snapshotHeaderBytes = 2 + 4 + 4
	snapshotEntryBytes  = 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8
	maxSnapshotBytes    = 512 << 20
)

var errSnapshot = errors.New("malformed producer snapshot")

// castagnoli is the polynomial of every checksum in this package.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encodeProducers(batches []wire.ProducerBatch) []byte {
	b := make([]byte, 6, snapshotHeaderBytes+snapshotEntryBytes*len(batches))
	binary.BigEndian.PutUint16(b, snapshotVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(len(batches)))
	for i := range batches {
		p := &batches[i]
		b = binary.BigEndian.AppendUint64(b, uint64(p.Producer))
		b = binary.BigEndian.AppendUint16(b, uint16(p.Epoch))
		b = binary.BigEndian.AppendUint32(b, uint32(p.LastSequence))
		b = binary.BigEndian.AppendUint64(b, uint64(p.LastOffset))
		b = binary.BigEndian.AppendUint32(b, uint32(p.OffsetDelta))
		b = binary.BigEndian.AppendUint64(b, uint64(p.Timestamp))
		b = binary.BigEndian.AppendUint32(b, uint32(p.CoordinatorEpoch))
		b = binary.BigEndian.AppendUint64(b, uint64(p.CurrentTxnStart))
	}
	binary.BigEndian.PutUint32(b[2:], crc32.Checksum(b[6:], castagnoli))
	return b
}

func parseProducers(b []byte) ([]wire.ProducerBatch, error) {
	if len(b) < snapshotHeaderBytes {
		return nil, fmt.Errorf("%w: %d bytes", errSnapshot, len(b))
	}
	if version := binary.BigEndian.Uint16(b); version != snapshotVersion {
		return nil, fmt.Errorf("%w: version %d", errSnapshot, version)
	}
	if crc32.Checksum(b[6:], castagnoli) != binary.BigEndian.Uint32(b[2:]) {
		return nil, fmt.Errorf("%w: wrong checksum", errSnapshot)
	}
	count, entries := int64(int32(binary.BigEndian.Uint32(b[6:]))), b[snapshotHeaderBytes:]
	if count < 0 || count*snapshotEntryBytes != int64(len(entries)) {
		return nil, fmt.Errorf("%w: %d entries in %d bytes", errSnapshot, count, len(entries))
	}
	batches := make([]wire.ProducerBatch, count)
	for i := range batches {
		e := entries[i*snapshotEntryBytes:][:snapshotEntryBytes]
		batches[i] = wire.ProducerBatch{
			Producer:         wire.ProducerID(binary.BigEndian.Uint64(e)),
			Epoch:            wire.ProducerEpoch(binary.BigEndian.Uint16(e[8:])),
			LastSequence:     wire.Sequence(binary.BigEndian.Uint32(e[10:])),
			LastOffset:       wire.Offset(binary.BigEndian.Uint64(e[14:])),
			OffsetDelta:      int32(binary.BigEndian.Uint32(e[22:])),
			Timestamp:        int64(binary.BigEndian.Uint64(e[26:])),
			CoordinatorEpoch: int32(binary.BigEndian.Uint32(e[34:])),
			CurrentTxnStart:  wire.Offset(binary.BigEndian.Uint64(e[38:])),
		}
	}
	return batches, nil
}
