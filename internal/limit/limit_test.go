package limit_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/internal/limit"
)

// clock is a time that stands still until a test moves it.
type clock struct{ now time.Time }

func newClock() *clock { return &clock{time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)} }

func (c *clock) time() time.Time { return c.now }

func (c *clock) pass(d time.Duration) { c.now = c.now.Add(d) }

func parse(t testing.TB, text string) limit.Rate {
	t.Helper()
	r, err := limit.ParseRate(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestParseRate(t *testing.T) {
	for _, c := range []struct {
		text  string
		calls int
		per   time.Duration
		shown string
	}{
		{"1000/h", 1000, time.Hour, "1000/h"},
		{"50/s", 50, time.Second, "50/s"},
		{"300/15m", 300, 15 * time.Minute, "300/15m"},
		{"1/90m", 1, 90 * time.Minute, "1/1h30m"},
		{"7/10h", 7, 10 * time.Hour, "7/10h"},
		{"60/1m", 60, time.Minute, "60/m"},
		{"0", 0, 0, "0"},
	} {
		got, err := limit.ParseRate(c.text)
		if err != nil || got != (limit.Rate{Calls: c.calls, Per: c.per}) || got.String() != c.shown {
			t.Errorf("ParseRate(%q) = %+v (%s), %v", c.text, got, got, err)
		}
	}
	for _, text := range []string{"", "1000", "/h", "0/h", "-1/h", "x/h", "1/", "1/h/h", "1/-1h", "1/x", "1/0s", "1/48h", "2000000000/h", "1/1us", "1e3/h"} {
		if got, err := limit.ParseRate(text); err == nil {
			t.Errorf("ParseRate(%q) = %v", text, got)
		}
	}
}

// In no stretch of time of the rate's length are there more calls than it says, however
// they come; and whoever waits as long as they are told is admitted.
func TestNoStretchOfTimeHasMoreCallsThanTheRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := limit.Rate{Calls: rapid.IntRange(1, 60).Draw(t, "calls"), Per: time.Duration(rapid.IntRange(1, 100).Draw(t, "seconds")) * time.Second}
		clock := newClock()
		l := limit.New(limit.Config{Rates: limit.Rates{Tenant: rate}, Now: clock.time})
		var admitted []time.Time
		for range rapid.IntRange(1, 300).Draw(t, "tries") {
			refused := l.Admit(limit.Call{Tenant: "main"})
			if refused.Wait == 0 {
				admitted = append(admitted, clock.now)
			}
			switch rapid.IntRange(0, 2).Draw(t, "then") {
			case 0:
				clock.pass(time.Duration(rapid.Int64Range(0, int64(rate.Per)).Draw(t, "pause")))
			case 1:
				clock.pass(refused.Wait)
				if refused.Wait > 0 && l.Admit(limit.Call{Tenant: "main"}).Wait > 0 {
					t.Fatalf("%s: refused after the wait", rate)
				}
				if refused.Wait > 0 {
					admitted = append(admitted, clock.now)
				}
			}
		}
		for i, from := range admitted {
			n := slices.IndexFunc(admitted[i:], func(at time.Time) bool { return at.Sub(from) >= rate.Per })
			if n < 0 {
				n = len(admitted) - i
			}
			if n > rate.Calls {
				t.Fatalf("%s admitted %d calls within %v", rate, n, rate.Per)
			}
		}
	})
}

// A full hour at the greatest pace gets all that the rate says, not only most of it.
func TestTheWholeRateIsAdmitted(t *testing.T) {
	clock, n := newClock(), 0
	l := limit.New(limit.Config{Rates: limit.Rates{User: parse(t, "1000/h")}, Now: clock.time})
	for range 3600 {
		for l.Admit(limit.Call{Tenant: "main", Principal: "ann", Person: true}).Wait == 0 {
			n++
		}
		clock.pass(time.Second)
	}
	if n != 1000 {
		t.Errorf("%d calls were admitted in an hour", n)
	}
}

func TestEachLimitCountsForItself(t *testing.T) {
	clock := newClock()
	rates := limit.Rates{User: parse(t, "10/h"), Key: parse(t, "5/h"), Tenant: parse(t, "40/h")}
	ann := limit.Call{Tenant: "main", Principal: "ann", Person: true, Key: "1"}
	var eight []limit.Call // of as many
	for i := range 8 {
		eight = append(eight, limit.Call{Tenant: "main", Principal: fmt.Sprint("bot", i), Key: fmt.Sprint(i)})
	}
	for _, c := range []struct {
		name   string
		first  []limit.Call // what comes before, each once
		then   limit.Call
		expect string
	}{
		{"a key", []limit.Call{ann}, ann, "key"},
		{"another session of the same person", []limit.Call{ann}, limit.Call{Tenant: "main", Principal: "ann", Person: true, Key: "2"}, ""},
		{"a person with many sessions", []limit.Call{ann, {Tenant: "main", Principal: "ann", Person: true, Key: "2"}},
			limit.Call{Tenant: "main", Principal: "ann", Person: true, Key: "3"}, "user"},
		{"a service of that name", []limit.Call{ann, {Tenant: "main", Principal: "ann", Person: true, Key: "2"}},
			limit.Call{Tenant: "main", Principal: "ann", Key: "3"}, ""},
		{"a person after such a service", []limit.Call{{Tenant: "main", Principal: "ann", Key: "3"}, {Tenant: "main", Principal: "ann", Key: "4"}}, ann, ""},
		{"a person of the same name in another tenant", []limit.Call{ann, ann}, limit.Call{Tenant: "other", Principal: "ann", Person: true, Key: "1"}, ""},
		{"a tenant", eight, limit.Call{Tenant: "main", Principal: "cab", Key: "c"}, "tenant"},
		{"another tenant", eight, limit.Call{Tenant: "other", Principal: "cab", Key: "c"}, ""},
	} {
		l := limit.New(limit.Config{Rates: rates, Now: clock.time})
		for _, call := range c.first {
			l.Admit(call)
		}
		if got := l.Admit(c.then); got.Limit != c.expect || (got.Wait > 0) != (c.expect != "") {
			t.Errorf("%s: %+v, want %q", c.name, got, c.expect)
		}
	}
}

// What one person is refused must not use up what the tenant may.
// TestATenantsOwnRates are in the place of the server's, but that of the tenant.
func TestATenantsOwnRates(t *testing.T) {
	server := limit.Rates{User: parse(t, "10/h"), Key: parse(t, "10/h"), Tenant: parse(t, "50/h")}
	five, none, many := parse(t, "5/h"), parse(t, "0"), parse(t, "1000/h")
	for _, c := range []struct {
		name  string
		own   limit.Own
		burst int
		by    string
	}{
		{"none", limit.Own{}, 2, "key"},
		{"a user's", limit.Own{User: &five}, 1, "user"},
		{"a key's", limit.Own{Key: &five}, 1, "key"},
		{"no limit of a key and a high one of a user", limit.Own{Key: &none, User: &many}, 10, "tenant"},
		{"a tenant's", limit.Own{Tenant: &five}, 1, "tenant"},
		{"a high one of a tenant", limit.Own{Key: &none, User: &none, Tenant: &many}, 10, "tenant"},
	} {
		l := limit.New(limit.Config{Rates: server, Now: newClock().time})
		admitted, by := 0, ""
		for by == "" && admitted < 100 {
			if by = l.Admit(limit.Call{Tenant: "t", Principal: "p", Person: true, Key: "k", Own: c.own}).Limit; by == "" {
				admitted++
			}
		}
		if admitted != c.burst || by != c.by {
			t.Errorf("%s: %d calls, then refused by %q, want %d by %q", c.name, admitted, by, c.burst, c.by)
		}
	}
}

func TestARefusedCallTakesNothingFromTheTenant(t *testing.T) {
	l := limit.New(limit.Config{Rates: limit.Rates{User: parse(t, "1/h"), Tenant: parse(t, "10/h")}, Now: newClock().time})
	for range 100 {
		l.Admit(limit.Call{Tenant: "main", Principal: "ann", Person: true})
	}
	if got := l.Admit(limit.Call{Tenant: "main", Principal: "bob", Person: true}); got.Limit != "" {
		t.Errorf("refused: %+v", got)
	}
}

// good and failed are calls that are over.
func good(l *limit.Limiter, address netip.Addr, credential string) {
	visit, _ := l.Enter(address, credential)
	visit.Good()
}

func failed(l *limit.Limiter, address netip.Addr, credential string) {
	visit, _ := l.Enter(address, credential)
	visit.Failed()
}

func TestAddressesWithoutGoodCredentials(t *testing.T) {
	clock := newClock()
	l := limit.New(limit.Config{Rates: limit.Rates{Address: parse(t, "5/m")}, Now: clock.time})
	good(l, netip.MustParseAddr("2001:db8::1"), "good")
	good(l, netip.MustParseAddr("2001:db8::1"), "revoked")
	failed(l, netip.MustParseAddr("2001:db8::1"), "revoked")
	for range 3 {
		failed(l, netip.MustParseAddr("2001:db8::1"), "guess")
	}
	for _, c := range []struct {
		address, credential string
		refused             bool
	}{
		{"2001:db8::1", "guess", true},
		{"2001:db8::1", "", true},
		{"2001:db8::ffff:ffff:ffff:ffff", "guess", true}, // the same /64
		{"2001:db8:0:1::1", "guess", false},
		{"192.0.2.1", "guess", false},
		{"2001:db8::1", "good", false},
		{"2001:db8::1", "revoked", true},
	} {
		if _, got := l.Enter(netip.MustParseAddr(c.address), c.credential); (got.Wait > 0) != c.refused || c.refused && got.Limit != "address" {
			t.Errorf("%s with %q: %+v", c.address, c.credential, got)
		}
	}
	failed(l, netip.MustParseAddr("192.0.2.7"), "guess")
	if _, got := l.Enter(netip.MustParseAddr("::ffff:192.0.2.7"), "guess"); got.Wait == 0 {
		t.Error("an IPv4 address is another one when it is written as IPv6")
	}
	failed(l, netip.Addr{}, "")
	if _, got := l.Enter(netip.Addr{}, ""); got.Wait == 0 {
		t.Error("an address that is not known is not counted")
	}
	clock.pass(time.Minute)
	if _, got := l.Enter(netip.MustParseAddr("2001:db8::1"), "guess"); got.Wait > 0 {
		t.Errorf("still refused after the time: %+v", got)
	}
}

// Who has many credentials looked at at once is charged for all of them.
func TestACallIsChargedBeforeItsCredentialIsLookedAt(t *testing.T) {
	address := netip.MustParseAddr("192.0.2.1")
	for name, c := range map[string]struct {
		ends func(limit.Visit)
		left int // of two
	}{
		"under way": {func(limit.Visit) {}, 0},
		"failed":    {limit.Visit.Failed, 0},
		"good":      {limit.Visit.Good, 2},
		"spared":    {limit.Visit.Spare, 2},
	} {
		l := limit.New(limit.Config{Rates: limit.Rates{Address: parse(t, "10/m")}, Now: newClock().time})
		for i := range 2 {
			visit, refused := l.Enter(address, fmt.Sprint("key", i))
			if refused.Wait > 0 {
				t.Fatalf("%s: call %d is refused", name, i)
			}
			c.ends(visit)
		}
		left := 0
		for left < 9 {
			if _, refused := l.Enter(address, "other"); refused.Wait > 0 {
				break
			}
			left++
		}
		if left != c.left {
			t.Errorf("%s: %d more calls, want %d", name, left, c.left)
		}
	}
}

// A flood of addresses is remembered within bounds, and does not have the limiter
// forget who is refused.
func TestAFloodOfAddressesIsBoundedAndForgivesNobody(t *testing.T) {
	clock := newClock()
	l := limit.New(limit.Config{Rates: limit.Rates{Address: parse(t, "50/m")}, Buckets: 1000, Now: clock.time})
	guesser := netip.MustParseAddr("192.0.2.1")
	for range 20 {
		failed(l, guesser, "guess")
	}
	for i := range 100_000 {
		failed(l, netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), "")
	}
	if got := l.Buckets(); got > 1000 {
		t.Errorf("%d buckets", got)
	}
	if _, got := l.Enter(guesser, "guess"); got.Wait == 0 {
		t.Error("who guessed was forgotten")
	}
}

func TestOldCredentialsAreForgotten(t *testing.T) {
	l := limit.New(limit.Config{Rates: limit.Rates{Address: parse(t, "1/h")}, Now: newClock().time})
	good(l, netip.Addr{}, "first")
	for i := range 100_000 {
		good(l, netip.Addr{}, fmt.Sprint(i))
	}
	failed(l, netip.Addr{}, "")
	if _, got := l.Enter(netip.Addr{}, "first"); got.Wait == 0 {
		t.Error("100,000 credentials are remembered, and one more")
	}
	if _, got := l.Enter(netip.Addr{}, "99999"); got.Wait > 0 {
		t.Error("a credential that was good just now was forgotten")
	}
}

// board is a Share in memory.
type board struct {
	mu     sync.Mutex
	spoken map[limit.Bucket]int64
	err    error
	asked  int
}

func (b *board) Exchange(_ context.Context, tenant string, now time.Time, taken []limit.Taken) ([]time.Time, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	if b.err != nil {
		return nil, b.err
	}
	var all []time.Time
	for _, t := range taken {
		if t.Bucket.Tenant != tenant {
			return nil, errors.New("a bucket of another tenant")
		}
		b.spoken[t.Bucket] = max(b.spoken[t.Bucket], now.UnixNano()) + int64(t.For)
		all = append(all, time.Unix(0, b.spoken[t.Bucket]))
	}
	return all, nil
}

// nodes returns two nodes of a cluster.
func nodes(t *testing.T, rate string) (*clock, *board, [2]*limit.Limiter) {
	t.Helper()
	clock, shared := newClock(), &board{spoken: map[limit.Bucket]int64{}}
	config := limit.Config{Rates: limit.Rates{User: parse(t, rate)}, Now: clock.time, Share: shared}
	return clock, shared, [2]*limit.Limiter{limit.New(config), limit.New(config)}
}

var ann = limit.Call{Tenant: "main", Principal: "ann", Person: true}

func TestNodesOfAClusterShareALimit(t *testing.T) {
	clock, shared, cluster := nodes(t, "100/h")
	admitted := 0
	for second := range 3600 {
		node := cluster[second%2]
		for node.Admit(ann).Wait == 0 {
			admitted++
		}
		for _, node := range cluster {
			if err := node.Tell(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		clock.pass(limit.ShareEvery)
	}
	// A node that has not heard of the others' calls yet lets its burst through.
	if admitted < 100 || admitted > 120 {
		t.Errorf("%d calls were admitted in an hour, want 100 and at most a burst of 20 more", admitted)
	}
	if shared.asked > 250 {
		t.Errorf("%d exchanges for %d calls: nodes with nothing to tell are to be silent", shared.asked, admitted)
	}
}

func TestWhatCouldNotBeToldIsToldLater(t *testing.T) {
	_, shared, cluster := nodes(t, "100/h")
	shared.err = errors.New("away")
	for range 20 {
		cluster[0].Admit(ann)
	}
	if err := cluster[0].Tell(t.Context()); err == nil {
		t.Fatal("nothing said that it failed")
	}
	if cluster[0].Admit(ann).Wait == 0 {
		t.Error("a node that is alone has no limit")
	}
	shared.err = nil
	for range 1 {
		cluster[1].Admit(ann)
	}
	for _, node := range cluster {
		if err := node.Tell(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if cluster[1].Admit(ann).Wait == 0 {
		t.Error("the other node did not hear of it")
	}
}

func TestAddressesAreToldToNobody(t *testing.T) {
	clock, shared := newClock(), &board{spoken: map[limit.Bucket]int64{}}
	l := limit.New(limit.Config{Rates: limit.Rates{Address: parse(t, "5/h")}, Now: clock.time, Share: shared})
	failed(l, netip.MustParseAddr("192.0.2.1"), "guess")
	if err := l.Tell(t.Context()); err != nil || shared.asked > 0 {
		t.Errorf("asked %d times, %v", shared.asked, err)
	}
}

// BenchmarkAdmit is what limits add to each call of a person: all three of them.
func BenchmarkAdmit(b *testing.B) {
	rate := limit.Rate{Calls: 1_000_000_000, Per: time.Second}
	l := limit.New(limit.Config{Rates: limit.Rates{User: rate, Key: rate, Tenant: rate, Address: rate}})
	address := netip.MustParseAddr("192.0.2.1")
	call := limit.Call{Tenant: "main", Principal: "ann", Person: true, Key: "0123456789abcdef"}
	for b.Loop() {
		visit, refused := l.Enter(address, "usk_main_x")
		if refused.Wait+l.Admit(call).Wait > 0 {
			b.Fatal("refused")
		}
		visit.Good()
	}
}
