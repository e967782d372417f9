package play

// Result is what became of a seed: of the world that was drawn from it, and what that has been through.
type Result[Profile, Stats any] struct {
	Outcome
	Profile Profile
	Stats   Stats
}
