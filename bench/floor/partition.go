package main

import (
	"encoding/binary"
	"hash/crc32"
	"log"
	"os"
	"slices"
	"sort"
	"sync"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Where the fields of a record batch v2 lie. The checksum covers all from attributes on, so base
// offset and leader epoch can be written into a batch without touching it.
const (
	atLength      = 8
	atLeaderEpoch = 12
	atMagic       = 16
	atCRC         = 17
	atAttributes  = 21
	atLastDelta   = 23
	headerBytes   = 61
	beforeLength  = 12 // bytes that the length field does not count
)

const bytesPerIndexEntry = 4096

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// partition is one log in one file. The mutex guards all but the file's content.
type partition struct {
	file  *os.File
	syncs chan chan struct{} // to the syncer; nil without group commit

	mu      sync.Mutex
	size    int64 // of the file: where the next batch goes
	next    int64 // log end offset
	index   []indexEntry
	waiters []chan struct{} // parked fetches, woken and forgotten by the next append
}

type indexEntry struct{ offset, position int64 }

// append checks a batch, gives it its offset and writes it. It changes the batch.
func (p *partition) append(batch []byte) (base int64, err *kerr.Error) {
	if len(batch) < headerBytes || batch[atMagic] != 2 ||
		crc32.Checksum(batch[atAttributes:], castagnoli) != binary.BigEndian.Uint32(batch[atCRC:]) {
		return -1, kerr.CorruptMessage
	}
	records := int64(binary.BigEndian.Uint32(batch[atLastDelta:])) + 1
	binary.BigEndian.PutUint32(batch[atLeaderEpoch:], 0)

	p.mu.Lock()
	base = p.next
	binary.BigEndian.PutUint64(batch, uint64(base))
	if _, failed := p.file.WriteAt(batch, p.size); failed != nil {
		p.mu.Unlock()
		return -1, kerr.KafkaStorageError
	}
	if len(p.index) == 0 || p.size-p.index[len(p.index)-1].position >= bytesPerIndexEntry {
		p.index = append(p.index, indexEntry{base, p.size})
	}
	p.size += int64(len(batch))
	p.next += records
	waiters := p.waiters
	p.waiters = nil
	p.mu.Unlock()

	for _, w := range waiters {
		wake(w)
	}
	return base, nil
}

// synced returns a channel that is closed once all that was appended before is on the disk.
func (p *partition) synced() chan struct{} {
	done := make(chan struct{})
	p.syncs <- done
	return done
}

// syncer is group commit: one fdatasync at a time, and all who came meanwhile share the next.
func (p *partition) syncer() {
	var group []chan struct{}
	for first := range p.syncs {
		group = append(group[:0], first)
		for more := true; more; {
			select {
			case another := <-p.syncs:
				group = append(group, another)
			default:
				more = false
			}
		}
		if err := syscall.Fdatasync(int(p.file.Fd())); err != nil {
			log.Fatal(err) // a failed sync is never survived
		}
		for _, done := range group {
			close(done)
		}
	}
}

// find returns where the batch that holds offset begins, and where the log ends. They are equal
// when there is no such batch yet.
func (p *partition) find(offset int64) (position, end, logEndOffset int64) {
	p.mu.Lock()
	end, logEndOffset = p.size, p.next
	after := sort.Search(len(p.index), func(i int) bool { return p.index[i].offset > offset })
	if after > 0 {
		position = p.index[after-1].position
	}
	p.mu.Unlock()
	if offset >= logEndOffset {
		return end, end, logEndOffset
	}
	var header [headerBytes]byte
	for position < end {
		if _, err := p.file.ReadAt(header[:], position); err != nil {
			return end, end, logEndOffset
		}
		last := int64(binary.BigEndian.Uint64(header[:])) + int64(binary.BigEndian.Uint32(header[atLastDelta:]))
		if offset <= last {
			break
		}
		position += beforeLength + int64(binary.BigEndian.Uint32(header[atLength:]))
	}
	return position, end, logEndOffset
}

// batchBytes returns the length of the batch at position.
func (p *partition) batchBytes(position int64) int64 {
	var header [beforeLength]byte
	if _, err := p.file.ReadAt(header[:], position); err != nil {
		return 0
	}
	return beforeLength + int64(binary.BigEndian.Uint32(header[atLength:]))
}

func (p *partition) logEndOffset() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next
}

// park has w woken by the next append. It says whether offset has been reached already.
func (p *partition) park(offset int64, w chan struct{}) (reached bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiters = append(p.waiters, w)
	return p.next > offset
}

func (p *partition) unpark(w chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiters = slices.DeleteFunc(p.waiters, func(other chan struct{}) bool { return other == w })
}

func wake(w chan struct{}) {
	select {
	case w <- struct{}{}:
	default:
	}
}
