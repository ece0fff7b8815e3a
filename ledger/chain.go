package ledger

import (
	"crypto/ed25519"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/internal/fault"
)

// chain is a signer's steps with their places in the log, checked among themselves:
// what they hold of each other, not yet that they are in a log.
type chain struct {
	links  []KeyLink
	leaves []Leaf
	newest Hash // hash of the last leaf
}

func brokenChain(what string, i int, format string, args ...any) error {
	return fault.New(fault.Integrity, "step %d of the %s's chain: %w", i+1, what, fmt.Errorf(format, args...)).WithCode("chain_broken")
}

// readChain checks that the links are the steps 1, 2, 3 .. of one signer, that each
// names the leaf before, and that each discloses the key which counts from then on.
func readChain(what string, links []ChainLink) (chain, error) {
	var c chain
	for i, link := range links {
		l, err := ParseLeaf(link.Leaf)
		if err != nil {
			return c, brokenChain(what, i, "%w", err)
		}
		if l.Object == "" || l.Seq != uint64(i+1) || l.Prev != c.newest || i > 0 && l.Object != c.leaves[0].Object {
			return c, brokenChain(what, i, "it is not the step that follows the one before")
		}
		if link.Key.Path != SignerKeyPath {
			return c, brokenChain(what, i, "it discloses %q and not %q", link.Key.Path, SignerKeyPath)
		}
		if err := link.Key.verify(l); err != nil {
			return c, brokenChain(what, i, "%w", err)
		}
		key, err := ParseSignerKey(link.Key.Value)
		if err != nil {
			return c, brokenChain(what, i, "%w", err)
		}
		if err := c.follows(l.Kind, key); err != nil {
			return c, brokenChain(what, i, "%w", err)
		}
		c.links = append(c.links, KeyLink{Log: l.Log, Index: link.Proof.Index, Key: key})
		c.leaves, c.newest = append(c.leaves, l), LeafHash(link.Leaf)
	}
	return c, nil
}

// follows checks that a step can come after those before: it is the same signer's,
// names the key that ceases to count, and has a key exactly if it gives one. The
// platform, which has to go on signing, gets another key by the step that revokes one.
func (c chain) follows(kind string, key SignerKey) error {
	former, has := "", key.Key != PublicKey{}
	if n := len(c.links); n > 0 {
		before := c.links[n-1].Key
		if before.Signer != key.Signer || before.Name != key.Name {
			return fmt.Errorf("it is of another signer")
		}
		if before.Key != (PublicKey{}) {
			former = before.Key.ID()
		}
	}
	switch {
	case key.Former != former:
		return fmt.Errorf("it ends another key than the one that counted")
	case kind == KeyRegistered && has && former == "", kind == KeyRotated && has && former != "", kind == KeyRevoked && has == (key.Signer == PlatformSigner) && former != "":
		return nil
	}
	return fmt.Errorf("%q cannot come here, or has not the key that it should", kind)
}

// platform is the platform signer's chain and what it lets sign.
type platform struct{ chain }

// open returns the checkpoint in a signed note if the key signed it that counted for
// this log at this size.
func (p platform) open(signed []byte) (Checkpoint, error) {
	claimed, err := UnverifiedCheckpoint(signed)
	if err != nil {
		return Checkpoint{}, err
	}
	key, ok := PlatformKeyAt(p.links, claimed.Origin, claimed.Size)
	if ok {
		v, err := platformVerifier(claimed.Origin, key)
		if err != nil {
			return Checkpoint{}, err
		}
		c, _, err := OpenCheckpoint(signed, v)
		if fault.CodeOf(err) != "checkpoint_unsigned" {
			return c, err
		}
	}
	if by, found := p.signedBy(claimed.Origin, signed); found {
		return Checkpoint{}, fault.New(fault.Integrity, "the checkpoint of %q at size %d is signed with key %s of the platform, which did not count then: it was revoked, replaced, or not yet registered",
			claimed.Origin, claimed.Size, by).WithCode("platform_key_revoked")
	}
	return Checkpoint{}, fault.New(fault.Integrity, "the checkpoint of %q at size %d is signed by no key that the platform registered", claimed.Origin, claimed.Size).
		WithCode("checkpoint_unsigned")
}

// signedBy finds the key of the chain that signed a note, whether it counts or not.
func (p platform) signedBy(origin string, signed []byte) (key string, found bool) {
	i := slices.IndexFunc(p.links, func(l KeyLink) bool {
		v, err := platformVerifier(origin, l.Key.Key)
		if err != nil {
			return false
		}
		_, _, err = OpenCheckpoint(signed, v)
		return err == nil
	})
	if i < 0 {
		return "", false
	}
	return p.links[i].Key.Key.ID(), true
}

// platformVerifier is a key of the platform as that of a log. Only Ed25519 signs notes.
func platformVerifier(origin string, key PublicKey) (note.Verifier, error) {
	if key.Alg() != Ed25519 {
		return nil, fault.New(fault.Integrity, "the platform's key is no Ed25519 key").WithCode("chain_broken")
	}
	return &Verifier{noteKey{origin, typeEd25519, ed25519.PublicKey(key.Bytes())}}, nil
}
