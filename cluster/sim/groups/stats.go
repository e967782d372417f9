package groups

// Stats tell what a run has been through, so that a test can see that nothing was passed over.
type Stats struct {
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
