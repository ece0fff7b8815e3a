package ledger

import (
	"slices"
	"strconv"
	"strings"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// SignerKeyPath is the path of the field in which each step of a signer's chain says
// which key counts from then on.
const SignerKeyPath = "$key"

// The kinds of leaves in a signer's chain.
const (
	KeyRegistered = "key.registered"
	KeyRotated    = "key.rotated"
	KeyRevoked    = "key.revoked"
)

// Kinds of signers.
const (
	WorkerSigner   = "worker"
	PersonSigner   = "person"
	PlatformSigner = "platform" // of checkpoints and receipts; one per tenant
)

// SignerKey is what a step of a signer's chain says.
type SignerKey struct {
	Signer    string    // WorkerSigner ..
	Name      string    // by which people know the signer; unique among those of its kind
	Principal string    // whose signatures these are: the only one who may hand them in
	Key       PublicKey // that counts from this step on; zero: none does
	Former    string    // PublicKey.ID of the key that ceased to count by this step, or empty
	RP        string    // of a passkey: see Credential
	Origins   []string
}

// Value returns the value of the step's field.
func (k SignerKey) Value() *canon.Context {
	id := ""
	if k.Key != (PublicKey{}) {
		id = k.Key.ID()
	}
	entries := []canon.Entry{
		{Name: "signer", Value: canon.String(k.Signer)}, {Name: "name", Value: canon.String(k.Name)},
		{Name: "principal", Value: canon.String(k.Principal)}, {Name: "alg", Value: canon.String(k.Key.alg)},
		{Name: "public", Value: canon.String(k.Key.Text())}, {Name: "key", Value: canon.String(id)},
		{Name: "former", Value: canon.String(k.Former)}, {Name: "rp", Value: canon.String(k.RP)},
	}
	origins := make(canon.List, len(k.Origins))
	for i, o := range k.Origins {
		origins[i] = canon.String(o)
	}
	c, err := canon.NewContext(append(entries, canon.Entry{Name: "origins", Value: origins})...)
	if err != nil {
		panic("ledger: internal error: a signer's key with equal names")
	}
	return c
}

// ParseSignerKey reads what Value returns; anything else is an Integrity fault
// ("signer_malformed").
func ParseSignerKey(v canon.Value) (SignerKey, error) {
	c, ok := v.(*canon.Context)
	if !ok {
		return SignerKey{}, refusedSigner()
	}
	r := mapReader{c: c}
	k := SignerKey{Signer: r.text("signer"), Name: r.text("name"), Principal: r.text("principal"), Former: r.text("former"), RP: r.text("rp")}
	origins, _ := c.Get("origins")
	list, _ := origins.(canon.List)
	for _, o := range list {
		text, _ := o.(canon.String)
		k.Origins = append(k.Origins, string(text))
	}
	if alg := r.text("alg"); alg != "" {
		var err error
		if k.Key, err = ParsePublicKey(alg, r.text("public")); err != nil {
			return SignerKey{}, refusedSigner()
		}
	}
	if r.err != nil || !canon.Equal(k.Value(), v) {
		return SignerKey{}, refusedSigner()
	}
	return k, nil
}

func refusedSigner() error {
	return fault.New(fault.Integrity, "what a signer's step says of its key is malformed").WithCode("signer_malformed")
}

// KeyLink is one step of a platform signer's chain and its place in the log.
type KeyLink struct {
	Log   string // origin of the shard
	Index uint64 // of the leaf in it
	Key   SignerKey
}

// PlatformKeyAt returns the key that signs a checkpoint of a size in a log: that of
// the newest step of the platform signer's chain that the checkpoint covers, and
// before the first one that one's. So a rotation takes effect with its own leaf: up to it
// the old key signs, and nothing after it. Links are the whole chain, oldest first.
// False: there is none, or it cannot be told.
func PlatformKeyAt(links []KeyLink, log string, size uint64) (PublicKey, bool) {
	if len(links) == 0 {
		return PublicKey{}, false
	}
	newest := links[0]
	for _, l := range links[1:] {
		covered, known := l.coveredBy(log, size)
		if !known {
			return PublicKey{}, false
		}
		if covered {
			newest = l
		}
	}
	return newest.Key.Key, newest.Key.Key != PublicKey{}
}

// coveredBy reports whether a checkpoint of a size in a log covers the link: its leaf
// is in it or in a shard before.
func (l KeyLink) coveredBy(log string, size uint64) (covered, known bool) {
	if l.Log == log {
		return l.Index < size, true
	}
	base, shard, ok := shardNumber(l.Log)
	otherBase, other, otherOK := shardNumber(log)
	return slices.Compare(shard[:], other[:]) < 0, ok && otherOK && base == otherBase
}

// shardNumber reads the end of a shard's origin, "2026" or "2026.1795334432", for its place in
// the order of a tenant's shards.
func shardNumber(origin string) (base string, number [2]int, ok bool) {
	i := strings.LastIndexByte(origin, '/')
	if i < 0 {
		return "", number, false
	}
	year, restored, again := strings.Cut(origin[i+1:], ".")
	var err error
	if number[0], err = strconv.Atoi(year); err == nil && again {
		number[1], err = strconv.Atoi(restored)
	}
	return origin[:i], number, err == nil
}
