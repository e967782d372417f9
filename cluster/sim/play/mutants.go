package play

// Mutant names a rule that is dropped. The rules themselves know of no mutants: what a mutant does wrong, the shell around
// them does, by what it tells them and what it makes of their effects.
type Mutant string

// None drops no rule.
const None Mutant = "none"

// Mutants are all that a simulator has.
type Mutants[Profile any] []Description[Profile]

// Description says what a mutant does, and how its seeds are chosen.
type Description[Profile any] struct {
	Name Mutant
	Does string
	// Focus turns on what the mutant needs to show itself, and off what hides it. Nil: any seed will do.
	Focus func(p *Profile)
}

// Focus makes a profile one that a mutant shows itself in.
func (all Mutants[Profile]) Focus(m Mutant, p *Profile) {
	for _, d := range all {
		if d.Name == m && d.Focus != nil {
			d.Focus(p)
		}
	}
}
