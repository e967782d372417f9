package replica

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/troupe-mq/troupe/wire"
)

// What comes from another broker may be anything: the rules panic for none of it, and their
// invariants hold.
func TestALeaderWithstandsWhateverFollowersSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		own := log(3, 5, 5, 4)
		l, _ := NewLeader(three(1, 2), LogState{Start: 2, End: own.end, Flushed: own.end, HighWatermark: 4}, t0)
		offset := func(name string) wire.Offset { return wire.Offset(rapid.Int64Range(-2, 15).Draw(t, name)) }
		now := t0
		for range rapid.IntRange(1, 40).Draw(t, "messages") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(4*time.Second)).Draw(t, "later")))
			sender := wire.BrokerID(rapid.Int32Range(0, 4).Draw(t, "sender"))
			epoch := wire.LeaderEpoch(rapid.Int32Range(6, 8).Draw(t, "epoch"))
			run := rapid.Uint64Range(1, 2).Draw(t, "run")
			before := l.HighWatermark()
			switch rapid.IntRange(0, 4).Draw(t, "kind") {
			case 0:
				l.Positioned(&wire.Position{
					Sender: sender, LeaderEpoch: epoch, Incarnation: 12, Run: run,
					LastEpoch:      wire.LeaderEpoch(rapid.Int32Range(-3, 9).Draw(t, "last epoch")),
					LogStartOffset: offset("start"), LogEndOffset: offset("end"), FlushedOffset: offset("flushed"),
					Confirmed: rapid.Bool().Draw(t, "confirmed"),
				}, own, now)
			case 1:
				l.Acknowledged(&wire.Appended{
					Sender: sender, LeaderEpoch: epoch, Incarnation: 12, Run: run,
					LogEndOffset: offset("end"), FlushedOffset: offset("flushed"), Confirmed: rapid.Bool().Draw(t, "confirmed"),
				}, now)
			case 2:
				if from, _, due := l.Due(2); due {
					l.Sent(2, from+1, 5)
				}
			case 3:
				l.Tick(now)
			case 4:
				l.LinkUp(sender, now)
			}
			if hw := l.HighWatermark(); hw < before || hw > own.end {
				t.Fatalf("high watermark %d after %d", hw, before)
			}
			if end, flushed, matched := l.Follower(2); matched && (flushed > end || end > own.end) {
				t.Fatalf("the follower is taken to have %d, flushed %d", end, flushed)
			}
		}
	})
}

func TestAFollowerWithstandsWhateverALeaderSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		own := log(3, 5, 5, 4)
		f := following(7, own, 4)
		offset := func(name string) wire.Offset { return wire.Offset(rapid.Int64Range(-2, 15).Draw(t, name)) }
		end, last := own.end, own.last()
		for range rapid.IntRange(1, 40).Draw(t, "messages") {
			epoch := wire.LeaderEpoch(rapid.Int32Range(6, 8).Draw(t, "epoch"))
			var effects FollowerEffects
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				effects = f.Probe(&wire.Probe{LeaderEpoch: epoch})
			case 1:
				effects = f.Truncate(&wire.Truncate{
					LeaderEpoch: epoch, Incarnation: 12, Run: 1, To: offset("to"),
					LastEpoch: wire.LeaderEpoch(rapid.Int32Range(-3, 9).Draw(t, "last epoch")),
					Reset:     rapid.Bool().Draw(t, "reset"), Unclean: true,
				}, own)
			case 2:
				m := &wire.Append{
					LeaderEpoch: epoch, Incarnation: 12, Run: 1, PrevOffset: end, PrevEpoch: last,
					HighWatermark: offset("high watermark"), LogStartOffset: offset("log start"),
				}
				if rapid.Bool().Draw(t, "elsewhere") {
					m.PrevOffset = offset("previous")
				}
				_, effects = f.Append(m)
			case 3:
				effects = f.Synced(offset("synced"))
			}
			if cut := effects.Cut; cut != nil {
				log := FollowerLog{End: min(end, cut.To), LastEpoch: 3}
				if cut.Reset {
					log = FollowerLog{Start: cut.To, End: cut.To, Flushed: cut.To, LastEpoch: wire.NoEpoch}
				}
				f.Cut(log)
				end, last = log.End, log.LastEpoch
			}
			if hw := f.HighWatermark(); hw > end {
				t.Fatalf("high watermark %d, and the log ends at %d", hw, end)
			}
		}
	})
}
