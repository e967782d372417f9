package actors

import (
	"github.com/troupe-mq/troupe/wire"
)

// barrier holds replies back until the partitions that they speak of can be used.
type barrier struct {
	partitions int
	replies    []func()
}

// await has replies held back until a partition is ready.
func (b *brokerActor) await(tp wire.TopicPartition) {
	if _, waiting := b.expected[tp]; !waiting {
		b.expected[tp] = nil
		b.fresh = append(b.fresh, tp)
	}
}

// replyWhenReady answers those who caused a change once the partitions that it made can be used.
func (b *brokerActor) replyWhenReady(msg *imageApplied) {
	waiting := &barrier{replies: msg.replies}
	for _, tp := range b.fresh {
		if waiters, expected := b.expected[tp]; expected {
			b.expected[tp] = append(waiters, waiting)
			waiting.partitions++
		}
	}
	b.fresh = nil
	if waiting.partitions == 0 {
		waiting.release()
	}
}

func (w *barrier) release() {
	for _, reply := range w.replies {
		reply()
	}
	w.replies = nil
}

// releaseSettled lets those go on who waited for partitions that the image, which they see by now, has
// taken from this broker or given to nobody.
func (b *brokerActor) releaseSettled() {
	for _, tp := range b.settled {
		b.onPartitionReady(tp)
	}
	b.settled = nil
}

func (b *brokerActor) onPartitionReady(tp wire.TopicPartition) {
	waiting := b.expected[tp]
	delete(b.expected, tp)
	for _, w := range waiting {
		w.partitions--
		if w.partitions == 0 {
			w.release()
		}
	}
	b.noteRecovery()
}

// noteRecovery notes when the logs of all that this broker had replicas of as it began are open, or
// known to be of no use: before that it must not be elected.
func (b *brokerActor) noteRecovery() {
	if b.registered && len(b.expected) == 0 {
		b.recovered.Store(true)
	}
}
