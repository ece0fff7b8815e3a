package client_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/ledger"
)

const (
	receiptLog      = "underseal/0192f0c1/main/2026"
	receiptInstance = "0192f0c1-7a5e-7000-8000-000000000001"
)

// signedReceipt is the answer of an honest server for step 2 of receiptInstance.
func signedReceipt(t *testing.T, seed byte) api.SignedReceipt {
	t.Helper()
	leaf := ledger.Leaf{
		Kind: "instance.task_completed", Log: receiptLog, Object: receiptInstance, Seq: 2, Prev: ledger.Hash{1},
		At: "2026-11-22T10:00:00.000000Z", Act: "user", Data: ledger.DataRoot(nil),
	}.Encode()
	signer, err := ledger.NoteSigner(receiptLog, bytes.Repeat([]byte{seed}, 32))
	if err != nil {
		t.Fatal(err)
	}
	r, err := ledger.SignReceipt(leaf, signer)
	if err != nil {
		t.Fatal(err)
	}
	return api.SignedReceipt{Step: 2, Leaf: ledger.LeafHash(leaf).String(), Receipt: string(r.Note())}
}

// receiptPolicy names the key of a seed.
func receiptPolicy(t *testing.T, seed byte) *ledger.Policy {
	t.Helper()
	public := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32)).Public().(ed25519.PublicKey)
	p, err := ledger.ParsePolicy([]byte("log " + ledger.VerifierKey(receiptLog, public) + "\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestReceiptsAreHeldAgainstThePolicy(t *testing.T) {
	good := signedReceipt(t, 1)
	for _, c := range []struct {
		name     string
		instance string
		step     int
		change   func(*api.SignedReceipt)
		seed     byte // of the key that the policy names; 0: no policy
		forged   bool
	}{
		{"the newest step", receiptInstance, 0, nil, 1, false},
		{"the step that was asked for", receiptInstance, 2, nil, 1, false},
		{"an id in capitals", strings.ToUpper(receiptInstance), 2, nil, 1, false},
		{"without a policy whatever is answered", receiptInstance, 0, func(r *api.SignedReceipt) { r.Receipt = "x" }, 0, false},
		{"another step than was asked for", receiptInstance, 1, nil, 1, true},
		{"another instance", "0192f0c1-7a5e-7000-8000-000000000002", 0, nil, 1, true},
		{"another key than the policy's", receiptInstance, 0, nil, 2, true},
		{"called another step", receiptInstance, 0, func(r *api.SignedReceipt) { r.Step = 3 }, 1, true},
		{"called another leaf", receiptInstance, 0, func(r *api.SignedReceipt) { r.Leaf = strings.Repeat("0", 64) }, 1, true},
		{"an entry that was changed", receiptInstance, 0, func(r *api.SignedReceipt) { r.Receipt = strings.Replace(r.Receipt, `"user"`, `"admin"`, 1) }, 1, true},
		{"no receipt at all", receiptInstance, 0, func(r *api.SignedReceipt) { r.Receipt = "" }, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			answered := good
			if c.change != nil {
				c.change(&answered)
			}
			cl := newClient(t, func(*http.Request) (*http.Response, error) { return answer(http.StatusOK, answered) }, func(config *client.Config) {
				if c.seed != 0 {
					config.Policy = receiptPolicy(t, c.seed)
				}
			})
			r, err := cl.Receipt(t.Context(), c.instance, c.step)
			if c.forged {
				if !errors.Is(err, client.ErrForged) || r != (api.SignedReceipt{}) {
					t.Errorf("%+v, %v; want that it is forged", r, err)
				}
			} else if err != nil || r != answered {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}
