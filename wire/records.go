package wire

import (
	"errors"
	"io"
)

// Records is a stretch of a log on disk: record batches v2, byte for byte as they were appended.
// It begins at the start of a batch and may end in the middle of one, as Kafka's fetch answers do.
// It holds its file open until Release.
type Records struct {
	File     RecordFile // nil when there are none
	Position int64      // of the first byte in File
	Length   int
}

// RecordFile is a segment file lent to a reader.
type RecordFile interface {
	io.ReaderAt
	// Descriptor returns the file descriptor for sendfile, and false where the file has none.
	// It stays open until Release.
	Descriptor() (fd uintptr, ok bool)
	// Release gives the file back. It is called once for each Records.
	Release()
}

// Release gives the file back; a second call does nothing.
func (r *Records) Release() {
	if r.File != nil {
		r.File.Release()
		r.File, r.Length = nil, 0
	}
}

// ReadInto fills p, which has r.Length bytes.
func (r *Records) ReadInto(p []byte) error {
	n, err := r.File.ReadAt(p[:r.Length], r.Position)
	if n == r.Length {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
