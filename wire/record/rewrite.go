package record

// Rewriter makes a batch anew with some of its records left out, as compaction does. The batch stays
// where it is: its offsets, sequences, epochs and codec are kept, and the records that stay keep
// their offsets and timestamps. The zero Rewriter is ready; it uses its memory again.
type Rewriter struct {
	header       Header
	records      []byte
	count        int32
	maxTimestamp int64
	batch        []byte
}

// Reset begins to rewrite the batch whose header is h. A deleteHorizon other than NoTimestamp, in
// milliseconds since 1970, is the time from which compaction may drop its tombstones (KIP-534);
// without one the batch keeps the horizon that it has.
func (w *Rewriter) Reset(h Header, deleteHorizon int64) {
	w.header, w.records, w.count, w.maxTimestamp = h, w.records[:0], 0, NoTimestamp
	if deleteHorizon != NoTimestamp {
		w.header.Attributes |= AttributeDeleteHorizon
		w.header.BaseTimestamp = deleteHorizon
	}
}

// Keep adds a record of the batch. Records are added in the order of their offsets.
func (w *Rewriter) Keep(rec *Record) {
	h, delta := &w.header, int64(0)
	if !h.LogAppendTime() { // else the timestamp is the batch's
		delta = rec.Timestamp - h.BaseTimestamp
	}
	offset := int32(rec.Offset - h.BaseOffset)
	size := bodyBytes(delta, offset, rec.Key, rec.Value, rec.Headers)
	w.records = appendRecord(w.records, size, delta, offset, rec.Key, rec.Value, rec.Headers)
	w.maxTimestamp = max(w.maxTimestamp, rec.Timestamp)
	w.count++
}

// Finish returns the batch, which is the Rewriter's until the next Reset. Without records it is a
// header that holds the place of its offsets and sequences; it keeps its largest timestamp.
func (w *Rewriter) Finish() []byte {
	h := w.header
	h.Count = w.count
	switch {
	case w.count == 0:
		h.Attributes &^= AttributeCodec | AttributeDeleteHorizon
		h.BaseTimestamp = NoTimestamp
	case !h.LogAppendTime():
		h.MaxTimestamp = w.maxTimestamp
	}
	w.batch = encode(w.batch[:0], &h, 0, w.records)
	return w.batch
}
