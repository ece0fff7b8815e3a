package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

func TestAnAuditBatchIsReadAsItWasSigned(t *testing.T) {
	const log = "underseal/d/main/2026"
	seed := bytes.Repeat([]byte{7}, ed25519.SeedSize)
	verifier := func(name string, seed []byte) note.Verifier {
		t.Helper()
		v, err := note.NewVerifier(ledger.VerifierKey(name, ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	signer, err := ledger.NoteSigner(log, seed)
	if err != nil {
		t.Fatal(err)
	}
	batch := ledger.AuditBatch{Log: log, First: 7, Last: 262, Number: 3, Payload: ledger.Hash{1, 2}}
	signed, err := batch.Sign(signer)
	if err != nil {
		t.Fatal(err)
	}
	own := verifier(log, seed)
	if got, err := ledger.VerifyAuditBatch(signed, own); err != nil || got != batch {
		t.Errorf("it is read as %+v (%v), want %+v", got, err, batch)
	}
	text := string(signed)
	for name, c := range map[string]struct {
		signed string
		by     note.Verifier
		code   string
	}{
		"nothing":                 {"", own, "batch_malformed"},
		"a receipt":               {strings.Replace(text, "audit-batch", "receipt", 1), own, "batch_malformed"},
		"another first entry":     {strings.Replace(text, "\n7 262\n", "\n8 262\n", 1), own, "batch_forged"},
		"another number":          {strings.Replace(text, "\n3\n", "\n4\n", 1), own, "batch_forged"},
		"another payload":         {strings.Replace(text, "\n0102", "\n0103", 1), own, "batch_forged"},
		"a number written twice":  {strings.Replace(text, "\n7 262\n", "\n07 262\n", 1), own, "batch_malformed"},
		"an end before it begins": {strings.Replace(text, "\n7 262\n", "\n7 6\n", 1), own, "batch_malformed"},
		"batch 0":                 {strings.Replace(text, "\n3\n", "\n0\n", 1), own, "batch_malformed"},
		"a line more":             {strings.Replace(text, "\n\n", "\nmore\n\n", 1), own, "batch_malformed"},
		"another key":             {text, verifier(log, bytes.Repeat([]byte{8}, ed25519.SeedSize)), "batch_unsigned"},
		"the key of another log":  {text, verifier("underseal/d/main/2027", seed), "batch_unsigned"},
	} {
		if _, err := ledger.VerifyAuditBatch([]byte(c.signed), c.by); !fault.Is(err, fault.Integrity) || fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v (%s), want Integrity %s", name, err, fault.CodeOf(err), c.code)
		}
	}
	other, err := ledger.NoteSigner("underseal/d/main/2027", seed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := batch.Sign(other); !fault.Is(err, fault.Invalid) {
		t.Errorf("signed by another log's key: %v, want Invalid", err)
	}
}
