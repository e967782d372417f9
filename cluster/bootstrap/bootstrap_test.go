package bootstrap

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/troupe-mq/troupe/wire"
)

// me is the broker that decides, at a:1 where it is on the list.
func me(join ...string) Self { return Self{Directory: "mine", Incarnation: 7, Join: join} }

func mine(address string, join ...string) Answer {
	return Answer{Address: address, Own: true, Hello: wire.Hello{Directory: "mine", Incarnation: 7, Seeds: SeedHash(join)}}
}

func blank(address string, join ...string) Answer {
	return Answer{Address: address, Hello: wire.Hello{Directory: "of " + address, Incarnation: 9, Seeds: SeedHash(join)}}
}

func member(address, cluster string) Answer {
	a := blank(address)
	a.Hello.ClusterID = cluster
	return a
}

func silent(address string) Answer {
	return Answer{Address: address, Err: errors.New("connection refused")}
}

func expect(t *testing.T, d Decision, want Action, why string) {
	t.Helper()
	if d.Action != want || !strings.Contains(d.Why, why) {
		t.Errorf("decided %+v, want action %d with %q", d, want, why)
	}
}

func TestB1WhoHasAClusterNeverFounds(t *testing.T) {
	self := me("a:1", "b:1")
	self.ClusterID = "ours"
	for name, answers := range map[string][]Answer{
		"nobody there":       {silent("a:1"), silent("b:1")},
		"all others blank":   {mine("a:1", "a:1", "b:1"), blank("b:1", "a:1", "b:1")},
		"others are members": {member("a:1", "ours"), member("b:1", "ours")},
		"no list":            nil,
	} {
		t.Run(name, func(t *testing.T) { expect(t, Decide(self, answers), Return, "") })
	}
}

func TestB2ABlankBrokerWithoutAListFoundsAtOnce(t *testing.T) {
	expect(t, Decide(me(), nil), Found, "")
}

func TestAFoundingThatWasCutOffGoesOn(t *testing.T) {
	self := me("a:1", "b:1")
	self.Founding = true
	expect(t, Decide(self, []Answer{mine("a:1"), silent("b:1")}), Found, "")
}

func TestB2AFounderThatNobodyHasUsedYieldsToTheClusterThatKnowsIt(t *testing.T) {
	for _, c := range []struct {
		own, claimant   string
		brokers, topics int
		want            Claim
	}{
		{"new", "old", 1, 0, Yield},
		{"new", "old", 1, 1, Contest},
		{"new", "old", 2, 0, Contest},
		{"old", "old", 1, 0, Unclaimed},
		{"", "old", 0, 0, Unclaimed},
		{"new", "", 1, 0, Unclaimed},
	} {
		if got := DecideClaim(c.own, c.claimant, c.brokers, c.topics); got != c.want {
			t.Errorf("%+v: decided %d", c, got)
		}
	}
}

func TestB3ABlankBrokerThatIsNotOnItsListOnlyJoins(t *testing.T) {
	self := me("b:1", "c:1")
	expect(t, Decide(self, []Answer{silent("b:1"), silent("c:1")}), Wait, "no answer from b:1, c:1")
	expect(t, Decide(self, []Answer{blank("b:1", "b:1", "c:1"), blank("c:1", "b:1", "c:1")}), Wait, "founds none")
	d := Decide(self, []Answer{silent("b:1"), member("c:1", "theirs")})
	expect(t, d, Join, "")
	if d.ClusterID != "theirs" || !slices.Equal(d.At, []string{"c:1"}) {
		t.Errorf("it joins %s by %v", d.ClusterID, d.At)
	}
}

func TestB4TheSmallestAddressFoundsOnceAllOthersAreBlankWithTheSameList(t *testing.T) {
	list := []string{"a:1", "b:1", "c:1"}
	self := me("c:1", "a:1", "b:1") // the order of the list says nothing
	all := []Answer{mine("a:1", list...), blank("b:1", list...), blank("c:1", list...)}
	expect(t, Decide(self, all), Found, "")

	for i, c := range []struct {
		instead Answer
		want    Action
		why     string
	}{
		{silent("c:1"), Wait, "no answer from c:1"},
		{blank("c:1", "a:1", "c:1"), Wait, "another --join list"},
		{blank("c:1"), Wait, "another --join list"},
		{member("c:1", "theirs"), Join, ""},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			expect(t, Decide(self, []Answer{all[0], all[1], c.instead}), c.want, c.why)
		})
	}
}

func TestB4WhoIsNotTheSmallestWaitsForWhoIs(t *testing.T) {
	list := []string{"a:1", "b:1"}
	expect(t, Decide(me(list...), []Answer{blank("a:1", list...), mine("b:1", list...)}), Wait, "a:1, the first of the list")
}

func TestB4AnAddressThatOnlyLeadsHereIsNotOurs(t *testing.T) {
	list := []string{"a:1", "b:1"}
	balancer := mine("a:1", list...)
	balancer.Own = false
	expect(t, Decide(me(list...), []Answer{balancer, blank("b:1", list...)}), Wait, "founds none")

	// Nor is it one that looks like ours and is another's.
	taken := blank("a:1", list...)
	taken.Own = true
	expect(t, Decide(me(list...), []Answer{taken, blank("b:1", list...)}), Wait, "founds none")

	// And it speaks for nobody else.
	list = []string{"a:1", "v:1"}
	balancer = mine("v:1", list...)
	balancer.Own = false
	d := Decide(me(list...), []Answer{mine("a:1", list...), balancer})
	expect(t, d, Wait, "v:1 leads to this broker")
	if !d.Mistake {
		t.Error("it waits as if that passed")
	}
}

func TestB4AListOfOneselfFoundsAtOnce(t *testing.T) {
	expect(t, Decide(me("a:1"), []Answer{mine("a:1", "a:1")}), Found, "")
}

func TestB5TwoClustersOnOneListAreRefused(t *testing.T) {
	expect(t, Decide(me("a:1", "b:1"), []Answer{member("a:1", "x"), member("b:1", "y")}), Refuse, "a broker joins one cluster")
}

func TestB6AWipedBrokerJoinsTheClusterOfTheOthers(t *testing.T) {
	list := []string{"a:1", "b:1"}
	expect(t, Decide(me(list...), []Answer{mine("a:1", list...), member("b:1", "ours")}), Join, "")
	for refusal, want := range map[error]bool{
		wire.Errorf(wire.DuplicateBrokerRegistration, "broker 3 is not fenced yet"): true,
		wire.Errorf(wire.NotController, "who is?"):                                  true,
		wire.Errorf(wire.InvalidRegistration, "a directory was removed"):            false,
	} {
		if Passes(refusal) != want {
			t.Errorf("%v passes: %v", refusal, !want)
		}
	}
}

func TestB10ABrokerOfAnotherClusterIsRefusedWhenAllSaySo(t *testing.T) {
	self := me("b:1", "c:1")
	self.ClusterID = "ours"
	d := Decide(self, []Answer{member("b:1", "theirs"), member("c:1", "theirs")})
	expect(t, d, Refuse, "this broker belongs to cluster ours, but who is to be joined (b:1, c:1) to cluster theirs")

	d = Decide(self, []Answer{member("b:1", "theirs"), silent("c:1")})
	expect(t, d, Return, "")
	if !slices.Equal(d.Foreign, []string{"b:1"}) {
		t.Errorf("foreign are %v", d.Foreign)
	}
	expect(t, Decide(self, []Answer{member("b:1", "theirs"), member("c:1", "ours")}), Return, "")
}

func TestTheOrderAndRepetitionsOfAListDoNotMatter(t *testing.T) {
	if SeedHash([]string{"a", "b"}) != SeedHash([]string{"b", "a", "b"}) {
		t.Error("the same list looks different")
	}
	if SeedHash([]string{"a", "b"}) == SeedHash([]string{"a", "c"}) || SeedHash([]string{"a"}) == 0 || SeedHash(nil) != 0 {
		t.Error("different lists look the same")
	}
}

// Brokers that start at once ask each other in any order, again and again, and are sometimes not
// heard. However that goes, there is one cluster at most, and one in the end when all are heard.
func TestB4BrokersWithOneListFormExactlyOneCluster(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "brokers")
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf("host%d:1", i))
		}
		clusters := make([]string, n)
		step := func(i int, hears func(int) bool) {
			self := Self{Directory: fmt.Sprint(i), Incarnation: wire.Incarnation(i), Join: list}
			var answers []Answer
			for j, address := range list {
				if i != j && !hears(j) {
					answers = append(answers, silent(address))
					continue
				}
				answers = append(answers, Answer{Address: address, Own: i == j, Hello: wire.Hello{
					Directory: fmt.Sprint(j), Incarnation: wire.Incarnation(j), ClusterID: clusters[j], Seeds: SeedHash(list),
				}})
			}
			switch d := Decide(self, answers); d.Action {
			case Found:
				clusters[i] = "founded by " + fmt.Sprint(i)
			case Join:
				clusters[i] = d.ClusterID
			case Wait:
			default:
				t.Fatalf("decided %+v", d)
			}
		}
		for range rapid.IntRange(0, 20).Draw(t, "steps") {
			i := rapid.IntRange(0, n-1).Draw(t, "who")
			heard := rapid.SliceOfN(rapid.Bool(), n, n).Draw(t, "heard")
			if clusters[i] == "" {
				step(i, func(j int) bool { return heard[j] })
			}
			if seen := slices.Compact(slices.Sorted(slices.Values(clusters))); len(slices.DeleteFunc(seen, func(s string) bool { return s == "" })) > 1 {
				t.Fatalf("clusters %v", clusters)
			}
		}
		for range 2 {
			for i := range n {
				if clusters[i] == "" {
					step(i, func(int) bool { return true })
				}
			}
		}
		if one := slices.Compact(slices.Clone(clusters)); len(one) != 1 || one[0] == "" {
			t.Fatalf("in the end clusters %v", clusters)
		}
	})
}

// inEpoch is an answer of a broker whose cluster was recovered that often.
func inEpoch(a Answer, epoch uint64) Answer {
	a.Hello.RecoveryEpoch = epoch
	return a
}

func TestB12WhoWasLeftBehindByARecoveryStartsOver(t *testing.T) {
	self := me("a:1", "b:1", "c:1")
	self.ClusterID, self.RecoveryEpoch = "ours", 1
	for name, c := range map[string]struct {
		answers []Answer
		want    Action
		epoch   uint64
	}{
		"by one":                       {[]Answer{silent("a:1"), inEpoch(member("b:1", "ours"), 2), silent("c:1")}, StartOver, 2},
		"by one twice, by one once":    {[]Answer{inEpoch(member("b:1", "ours"), 3), inEpoch(member("c:1", "ours"), 2)}, StartOver, 3},
		"not by its like":              {[]Answer{silent("a:1"), inEpoch(member("b:1", "ours"), 1)}, Return, 0},
		"not by whom it left behind":   {[]Answer{inEpoch(member("b:1", "ours"), 0)}, Return, 0},
		"not by another cluster":       {[]Answer{inEpoch(member("b:1", "theirs"), 2), member("c:1", "ours")}, Return, 0},
		"not by one that is blank":     {[]Answer{inEpoch(blank("b:1"), 2)}, Return, 0},
		"not where it does not belong": {[]Answer{inEpoch(member("b:1", "theirs"), 2)}, Refuse, 0},
	} {
		if d := Decide(self, c.answers); d.Action != c.want || d.RecoveryEpoch != c.epoch {
			t.Errorf("%s: decided %+v", name, d)
		}
	}
}

func TestB12ABlankBrokerJoinsThoseWhoWereNotLeftBehind(t *testing.T) {
	answers := []Answer{member("b:1", "ours"), inEpoch(member("c:1", "ours"), 2), inEpoch(member("d:1", "ours"), 1), inEpoch(member("e:1", "ours"), 2)}
	d := Decide(me("b:1", "c:1", "d:1", "e:1"), answers)
	if d.Action != Join || d.RecoveryEpoch != 2 || !slices.Equal(d.At, []string{"c:1", "e:1"}) {
		t.Errorf("decided %+v", d)
	}
	if d := Decide(me("b:1"), answers[:1]); d.Action != Join || d.RecoveryEpoch != 0 {
		t.Errorf("decided %+v", d)
	}
}
