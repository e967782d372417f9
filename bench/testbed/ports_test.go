package testbed

import "testing"

func TestAnAddressIsGivenOnce(t *testing.T) {
	given := make(map[string]bool)
	for range 100 {
		addresses, err := FreeAddresses(10)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range addresses {
			if given[a] {
				t.Fatalf("%s is given once more", a)
			}
			given[a] = true
		}
	}
}
