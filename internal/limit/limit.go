// Package limit bounds how often somebody calls: a person, an API key, a tenant, and an
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
	User    Rate // a person, with all their sessions and API keys together
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
	Person    bool   // by whichever credential; else a service, which no limit of a person stops
	Key       string // id of the API key or session
	Ends      bool   // takes something away that somebody could do harm with, see endRate
	Own       Own    // rates of the tenant's own
}

// Own are rates that a tenant has for itself; nil: none. Those of a person and of a key
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
	Limit string // "user", "key", "tenant", "end", "address" or "sign_in"; empty: the call is admitted
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

// endRate is how often one credential may end what somebody could do harm with: more often
// than anybody has to, and too seldom to be a way round the other limits.
var endRate = Rate{Calls: 300, Per: time.Hour}

// Admit takes a call of each limit that it falls under, or says which one refuses. The
// narrowest comes first, so that what one principal is refused takes nothing from the
// tenant.
func (l *Limiter) Admit(c Call) Refused {
	rates := l.config.Rates
	if c.Ends { // whoever uses up a limit of the others does not keep them from ending that
		if wait := l.take(endRate, Bucket{c.Tenant, "end", c.Principal + " " + c.Key}); wait > 0 {
			return Refused{"end", wait}
		}
		return Refused{}
	}
	if wait := l.take(rates.Key.or(c.Own.Key), Bucket{c.Tenant, "key", c.Key}); wait > 0 {
		return Refused{"key", wait}
	}
	if c.Person {
		if wait := l.take(rates.User.or(c.Own.User), Bucket{c.Tenant, "user", c.Principal}); wait > 0 {
			return Refused{"user", wait}
		}
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

// Visit is a call whose credential is not looked at yet.
type Visit struct {
	limiter    *Limiter
	address    netip.Addr
	credential uint64 // print of it
	shown      bool   // there is one
	charged    bool
}

// Enter charges an address for a call before its credential is looked at, or refuses it:
// looking may take long, and many could ask for it at once. Good and Spare give that back.
// A credential that was good lately costs nothing, so that one who guesses does not shut
// out the others behind the same address; whether it still is, is for others to say.
func (l *Limiter) Enter(address netip.Addr, credential string) (Visit, Refused) {
	v := Visit{limiter: l, address: address, credential: maphash.String(l.seed, credential), shown: credential != ""}
	if v.shown && l.good.has(v.credential) {
		return v, Refused{}
	}
	if wait := l.take(l.config.Rates.Address, addressBucket(address)); wait > 0 {
		return v, Refused{"address", wait}
	}
	v.charged = true
	return v, Refused{}
}

// Failed says that the credential is not good.
func (v Visit) Failed() {
	if !v.charged {
		v.limiter.take(v.limiter.config.Rates.Address, addressBucket(v.address))
	}
	if v.shown {
		v.limiter.good.remove(v.credential)
	}
}

// Good says that the credential is good.
func (v Visit) Good() {
	v.Spare()
	if v.limiter.config.Rates.Address.Calls > 0 {
		v.limiter.good.add(v.credential)
	}
}

// Spare says that the credential could not be looked at, which is not the caller's doing.
func (v Visit) Spare() {
	if v.charged {
		v.limiter.giveBack(v.limiter.config.Rates.Address, addressBucket(v.address))
	}
}

// giveBack takes back a call of a bucket that is told to nobody.
func (l *Limiter) giveBack(r Rate, name Bucket) {
	if r.Calls == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.buckets[name]; b != nil {
		b.spoken -= int64(r.every())
	}
}

// SignIn takes a try to sign in to an account, which need not be there. Who tries many
// from one address is refused first, and does not shut out the account's own people, who
// come from elsewhere. Inside says that the tenant's people may come from the address at all:
// from all others together an account is tried as often, apart from that, whether there is
// such a tenant or not.
func (l *Limiter) SignIn(address netip.Addr, tenant, name string, inside bool) Refused {
	here, all := l.config.Rates.SignIn, l.config.Rates.SignIn
	all.Calls *= 4
	account := tenant + " " + name // no tenant's name has a space
	if wait := l.take(here, Bucket{Limit: "sign_in", Name: addressBucket(address).Name + " " + account}); wait > 0 {
		return Refused{"sign_in", wait}
	}
	if !inside {
		account = "outside " + account
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
