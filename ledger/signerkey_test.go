package ledger_test

import (
	"testing"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

func TestSignerKeys(t *testing.T) {
	key := publicOf(t, edKey(1))
	for name, k := range map[string]ledger.SignerKey{
		"a worker":         {Signer: ledger.WorkerSigner, Name: "ocr", Principal: "ocr-worker", Key: key},
		"a revoked worker": {Signer: ledger.WorkerSigner, Name: "ocr", Principal: "ocr-worker", Former: key.ID()},
		"a passkey":        {Signer: ledger.PersonSigner, Name: "ann", Principal: "ann", Key: key, RP: "example.com", Origins: []string{"https://example.com"}},
	} {
		back, err := ledger.ParseSignerKey(k.Value())
		if err != nil || !canon.Equal(back.Value(), k.Value()) || back.Key != k.Key {
			t.Errorf("%s: %+v, %v", name, back, err)
		}
	}
	good := ledger.SignerKey{Signer: ledger.WorkerSigner, Name: "ocr", Key: key}.Value()
	for name, v := range map[string]canon.Value{
		"no map": canon.Null{}, "a name more": good.With("x", canon.String("")), "a name less": good.Without("former"),
		"another key's id": good.With("key", canon.String(publicOf(t, edKey(2)).ID())), "no key and an id": good.With("alg", canon.String("")),
		"a number": good.With("name", canon.Bool(true)), "another algorithm": good.With("alg", canon.String(ledger.P256)),
		"an origin that is no text": good.With("origins", canon.List{canon.Null{}}),
	} {
		if _, err := ledger.ParseSignerKey(v); fault.CodeOf(err) != "signer_malformed" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPlatformKeyAt(t *testing.T) {
	keys := []ledger.PublicKey{publicOf(t, edKey(1)), publicOf(t, edKey(2)), publicOf(t, edKey(3))}
	link := func(log string, index uint64, key int) ledger.KeyLink {
		return ledger.KeyLink{Log: "underseal/d/main/" + log, Index: index, Key: ledger.SignerKey{Signer: ledger.PlatformSigner, Key: keys[key]}}
	}
	chain := []ledger.KeyLink{link("2026", 4, 0), link("2026", 9, 1), link("2026.2", 3, 2)}
	tests := []struct {
		log  string
		size uint64
		want int
	}{
		{"2026", 1, 0}, {"2026", 5, 0}, {"2026", 9, 0}, {"2026", 10, 1}, {"2026", 1000, 1},
		{"2026.2", 3, 1}, {"2026.2", 4, 2}, {"2027", 1, 2}, {"2026.10", 1, 2}, {"2025", 100, 0},
	}
	for _, test := range tests {
		got, ok := ledger.PlatformKeyAt(chain, "underseal/d/main/"+test.log, test.size)
		if !ok || got != keys[test.want] {
			t.Errorf("%s at %d: another key than number %d (%t)", test.log, test.size, test.want, ok)
		}
	}
	if _, ok := ledger.PlatformKeyAt(nil, "underseal/d/main/2026", 1); ok {
		t.Error("no chain has a key")
	}
	for _, log := range []string{"underseal/d/other/2027", "underseal/d/main/soon", "x"} {
		if _, ok := ledger.PlatformKeyAt(chain, log, 1); ok {
			t.Errorf("a key for %s, which is no shard of this log", log)
		}
	}
}
