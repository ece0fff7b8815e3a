// Package limit bounds how often somebody calls: a principal, an API key, a tenant, and an
// address that shows no credential that is good.
//
// A bucket is one number, the time up to which the calls of the past speak for its rate,
// so that a limit costs no list of calls and no timer. The Limiter holds so many buckets
// and no more. Where it has to forget one, that is the one closest to being full, which
// forgives least: who is refused stays refused, however many others call.
//
// Nodes of a cluster tell each other once a second what each has admitted (Share), all
// of it in one go: a call waits for nobody. What is admitted too much is bounded by what
// the others' bursts allow within that second.
package limit

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Rates say how often each may call; the zero Rate is no limit.
type Rates struct {
	User    Rate // a principal, with all their API keys together
	Key     Rate // one API key, whoever's it is
	Tenant  Rate // everybody of a tenant together
	Address Rate // calls without a good credential, by IPv4 address or IPv6 /64
	SignIn  Rate // signing in to one account from one address, and four times as often from all
}

// Config says how a Limiter works.
type Config struct {
	Rates Rates
	// Buckets bounds how many principals, keys, tenants and addresses are told apart.
	// Default 100,000, about 20 MB.
	Buckets int
	Now     func() time.Time // nil: time.Now
	Share   Share            // nil: this node is alone
}

// Call says who calls, having shown a good credential.
type Call struct {
	Tenant    string
	Principal string
	Key       string // id of the API key
	Own       Own    // rates of the tenant's own
}

// Own are rates that a tenant has for itself; nil: none. Those of a principal and of a key
// are in the place of the server's. That of the tenant is one more, so that no tenant lifts
// what the server admits of it.
type Own struct{ User, Key, Tenant *Rate }

// or returns the rate that a tenant has for itself, or the server's.
func (r Rate) or(own *Rate) Rate {
	if own != nil {
		return *own
	}
	return r
}

// Refused says which limit a call would exceed, and for how long still.
type Refused struct {
	Limit string // "user", "key", "tenant", "address" or "sign_in"; empty: the call is admitted
	Wait  time.Duration
}

// Bucket names what a limit is for.
type Bucket struct {
	Tenant string // empty for addresses
	Limit  string // as in Refused
	Name   string
}

// bucket is what is known of one.
type bucket struct {
	spoken int64         // see Rate.take
	taken  int64         // of it, what this node has not told the others yet
	most   time.Duration // that it can speak ahead
}

// Limiter decides which calls are admitted. It is safe for concurrent use.
type Limiter struct {
	config Config
	seed   maphash.Seed

	mu      sync.Mutex // guards what follows
	buckets map[Bucket]*bucket
	untold  map[Bucket]*bucket // those with something taken; nil: nobody is to be told

	good generations
}

// New returns a Limiter that has seen nobody.
func New(c Config) *Limiter {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Buckets == 0 {
		c.Buckets = 100_000
	}
	l := &Limiter{config: c, seed: maphash.MakeSeed(), buckets: map[Bucket]*bucket{}}
	if c.Share != nil {
		l.untold = map[Bucket]*bucket{}
	}
	return l
}

// Admit takes a call of each limit that it falls under, or says which one refuses. The
// narrowest comes first, so that what one principal is refused takes nothing from the
// tenant.
func (l *Limiter) Admit(c Call) Refused {
	rates := l.config.Rates
	if wait := l.take(rates.Key.or(c.Own.Key), Bucket{c.Tenant, "key", c.Key}); wait > 0 {
		return Refused{"key", wait}
	}
	if wait := l.take(rates.User.or(c.Own.User), Bucket{c.Tenant, "user", c.Principal}); wait > 0 {
		return Refused{"user", wait}
	}
	if wait := l.take(Rate{}.or(c.Own.Tenant), Bucket{c.Tenant, "tenant", "own"}); wait > 0 {
		return Refused{"tenant", wait}
	}
	if wait := l.take(rates.Tenant, Bucket{c.Tenant, "tenant", ""}); wait > 0 {
		return Refused{"tenant", wait}
	}
	return Refused{}
}

func (l *Limiter) take(r Rate, name Bucket) time.Duration {
	if r.Calls == 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.config.Now().UnixNano()
	b := l.bucket(name, now)
	next, wait := r.take(b.spoken, now)
	if wait > 0 {
		return wait
	}
	b.spoken = next
	if l.untold != nil && name.Tenant != "" {
		b.taken, b.most = b.taken+int64(r.every()), r.Per
		l.untold[name] = b
	}
	return 0
}

// bucket finds or makes a bucket.
func (l *Limiter) bucket(name Bucket, now int64) *bucket {
	b := l.buckets[name]
	if b == nil {
		if len(l.buckets) >= l.config.Buckets {
			l.forget(now)
		}
		b = &bucket{}
		l.buckets[name] = b
	}
	return b
}

// forget makes room: buckets that are full are as good as none; if these are too few,
// a quarter goes, of those that refuse least.
func (l *Limiter) forget(now int64) {
	spoken := make([]int64, 0, len(l.buckets))
	for _, b := range l.buckets {
		spoken = append(spoken, b.spoken)
	}
	slices.Sort(spoken)
	limit := max(now, spoken[len(spoken)/4])
	for name, b := range l.buckets {
		if b.spoken <= limit && b.taken == 0 {
			delete(l.buckets, name)
		}
	}
	if len(l.buckets) >= l.config.Buckets { // all of them have yet to be told to the others
		clear(l.buckets)
		clear(l.untold)
	}
}

// Stranger refuses an address that called too often without a good credential. A
// credential that was good lately is let through, so that one who guesses does not shut
// out the others behind the same address; whether it still is, is for others to say.
func (l *Limiter) Stranger(address netip.Addr, credential string) Refused {
	r := l.config.Rates.Address
	if r.Calls == 0 {
		return Refused{}
	}
	l.mu.Lock()
	b := l.buckets[addressBucket(address)]
	var wait time.Duration
	if b != nil {
		_, wait = r.take(b.spoken, l.config.Now().UnixNano())
	}
	l.mu.Unlock()
	if wait == 0 || credential != "" && l.good.has(maphash.String(l.seed, credential)) {
		return Refused{}
	}
	return Refused{"address", wait}
}

// Failed counts a call of an address without a good credential; empty: without one.
func (l *Limiter) Failed(address netip.Addr, credential string) {
	l.take(l.config.Rates.Address, addressBucket(address))
	if credential != "" {
		l.good.remove(maphash.String(l.seed, credential))
	}
}

// Good remembers a credential that was accepted.
func (l *Limiter) Good(credential string) {
	if l.config.Rates.Address.Calls > 0 {
		l.good.add(maphash.String(l.seed, credential))
	}
}

// SignIn takes a try to sign in to an account, which need not be there. Who tries many
// from one address is refused first, and does not shut out the account's own people, who
// come from elsewhere.
func (l *Limiter) SignIn(address netip.Addr, tenant, name string) Refused {
	here, all := l.config.Rates.SignIn, l.config.Rates.SignIn
	all.Calls *= 4
	account := tenant + " " + name // no tenant's name has a space
	if wait := l.take(here, Bucket{Limit: "sign_in", Name: addressBucket(address).Name + " " + account}); wait > 0 {
		return Refused{"sign_in", wait}
	}
	if wait := l.take(all, Bucket{Limit: "sign_in", Name: account}); wait > 0 {
		return Refused{"sign_in", wait}
	}
	return Refused{}
}

// addressBucket names what of an address its holder cannot change at will: IPv6 is
// given to people by /64. An address that is not known is one as well.
func addressBucket(address netip.Addr) Bucket {
	address = address.Unmap().WithZone("")
	if address.Is6() {
		prefix, _ := address.Prefix(64) // which no address is too short for
		address = prefix.Addr()
	}
	return Bucket{Limit: "address", Name: address.String()}
}

// generations is a set that forgets what is oldest, half at a time.
type generations struct {
	mu         sync.RWMutex // guards what follows
	young, old map[uint64]struct{}
}

// maxYoung bounds the credentials that are remembered, to twice as many.
const maxYoung = 20_000

func (g *generations) has(print uint64) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	_, young := g.young[print]
	_, old := g.old[print]
	return young || old
}

func (g *generations) remove(print uint64) {
	if !g.has(print) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.young, print)
	delete(g.old, print)
}

func (g *generations) add(print uint64) {
	g.mu.RLock()
	_, known := g.young[print]
	g.mu.RUnlock()
	if known {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.young) >= maxYoung || g.young == nil {
		g.young, g.old = map[uint64]struct{}{}, g.young
	}
	g.young[print] = struct{}{}
}
