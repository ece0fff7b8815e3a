package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/digitorus/timestamp"
	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

// anchored puts a tenant's checkpoint into an anchor log of two entries, which a
// witness has cosigned.
func anchored(t *testing.T, c ledger.Checkpoint) (a ledger.Anchor, log, witness note.Verifier) {
	t.Helper()
	seed := bytes.Repeat([]byte{7}, ed25519.SeedSize)
	signer, err := ledger.NoteSigner("underseal/d/anchor", seed)
	if err != nil {
		t.Fatal(err)
	}
	cosigner, err := ledger.Cosigner("witness.example.org/w1", seed, func() time.Time { return inTheYear })
	if err != nil {
		t.Fatal(err)
	}
	a.Blind, a.Proof.Index = [32]byte{1, 2, 3}, 1
	entry := ledger.AnchorEntry(a.Blind, c)
	other := ledger.LeafHash([]byte("another tenant's"))
	a.Proof.Path = []ledger.Hash{other}
	leaf := ledger.LeafHash(entry[:])
	anchor := ledger.Checkpoint{Origin: "underseal/d/anchor", Size: 2, Root: node(other, leaf)}
	if a.Proof.Checkpoint, err = ledger.SignCheckpoint(anchor, signer, cosigner); err != nil {
		t.Fatal(err)
	}
	public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	return a, parsed(t, ledger.VerifierKey("underseal/d/anchor", public)), parsed(t, ledger.CosignerKey("witness.example.org/w1", public))
}

func parsed(t *testing.T, vkey string) note.Verifier {
	t.Helper()
	v, err := ledger.ParseVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// node is the RFC 6962 hash of two hashes.
func node(left, right ledger.Hash) ledger.Hash {
	return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
}

func TestAnAnchorShowsOneCheckpoint(t *testing.T) {
	c := ledger.Checkpoint{Origin: "underseal/d/main/2026", Size: 9, Root: ledger.Hash{9}}
	a, log, witness := anchored(t, c)
	anchor, n, err := a.Verify(c, log, witness)
	if err != nil || len(n.Sigs) != 2 || anchor.Size != 2 {
		t.Fatalf("%+v, %+v, %v", anchor, n, err)
	}
	for _, test := range []struct {
		name  string
		spoil func(a *ledger.Anchor, c *ledger.Checkpoint, log *note.Verifier)
	}{
		{"another size", func(_ *ledger.Anchor, c *ledger.Checkpoint, _ *note.Verifier) { c.Size = 8 }},
		{"another root", func(_ *ledger.Anchor, c *ledger.Checkpoint, _ *note.Verifier) { c.Root[0] = 8 }},
		{"another origin", func(_ *ledger.Anchor, c *ledger.Checkpoint, _ *note.Verifier) { c.Origin = "underseal/d/other/2026" }},
		{"other random bytes", func(a *ledger.Anchor, _ *ledger.Checkpoint, _ *note.Verifier) { a.Blind[0] ^= 1 }},
		{"another place", func(a *ledger.Anchor, _ *ledger.Checkpoint, _ *note.Verifier) { a.Proof.Index = 0 }},
		{"another log", func(_ *ledger.Anchor, _ *ledger.Checkpoint, log *note.Verifier) { *log = witness }},
		{"a changed checkpoint", func(a *ledger.Anchor, _ *ledger.Checkpoint, _ *note.Verifier) {
			a.Proof.Checkpoint = bytes.Replace(a.Proof.Checkpoint, []byte("\n2\n"), []byte("\n3\n"), 1)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, c, log := a, c, log
			test.spoil(&a, &c, &log)
			if _, _, err := a.Verify(c, log, witness); !fault.Is(err, fault.Integrity) && test.name != "another log" {
				t.Errorf("%v, want integrity", err)
			} else if err == nil {
				t.Error("verified")
			}
		})
	}
}

func TestAWitnessAloneDoesNotSignForTheAnchorLog(t *testing.T) {
	c := ledger.Checkpoint{Origin: "underseal/d/main/2026", Size: 9, Root: ledger.Hash{9}}
	a, log, witness := anchored(t, c)
	lines := bytes.SplitAfter(a.Proof.Checkpoint, []byte("\n"))
	a.Proof.Checkpoint = bytes.Join(append(lines[:4:4], lines[5:]...), nil) // without the log's own line
	if _, _, err := a.Verify(c, log, witness); fault.CodeOf(err) != "anchor_signature" {
		t.Errorf("%v, want anchor_signature", err)
	}
}

func TestAnAnchorsTokenIsOfTheAnchorLogsCheckpoint(t *testing.T) {
	c := ledger.Checkpoint{Origin: "underseal/d/main/2026", Size: 9, Root: ledger.Hash{9}}
	a, log, _ := anchored(t, c)
	anchor, _, err := a.Verify(c, log)
	if err != nil {
		t.Fatal(err)
	}
	tsa := newAuthority(t, nil)
	a.Token = tsa.token(t, []byte(anchor.Text()), nil)
	if at, err := a.Time(anchor, tsa.root); err != nil || !at.Equal(inTheYear) {
		t.Errorf("time %v, %v", at, err)
	}
	a.Token = tsa.token(t, []byte(c.Text()), func(*timestamp.Timestamp) {})
	if _, err := a.Time(anchor, tsa.root); fault.CodeOf(err) != ledger.CodeTimestampOther {
		t.Errorf("a token of the tenant's own checkpoint: %v", err)
	}
}
