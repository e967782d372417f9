package groups

import "reflect"

// Stats tell what a run has been through, so that a test can see that nothing was passed over.
type Stats struct {
	Events, Simulated                                     int64 // Simulated in milliseconds
	Handled, Answered, Cancelled, Ticks                   int64
	Misdirected, AskedWhileLoading                        int64
	Committed, Acknowledged, Fetched, CommitsRefused      int64
	Tombstones, Expired, Given, Folds                     int64
	Rebalances, SlowRebalances, Drills                    int64
	Moves, Loads, Dropped, Restarts, Tails, Lost          int64
	Fenced, FailedAppends, Compactions                    int64
	Kills, Pauses, ClientPauses, Crashes, Leaves, Zombies int64
	Disconnects, Duplicates, SlowPolls, SlowCallbacks     int64
	TopicChanges, Tools                                   int64
}

// Add sums up.
func (s *Stats) Add(o Stats) {
	to, from := reflect.ValueOf(s).Elem(), reflect.ValueOf(o)
	for i := range to.NumField() {
		to.Field(i).SetInt(to.Field(i).Int() + from.Field(i).Int())
	}
}
