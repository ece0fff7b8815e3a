package ledger_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

// loneVector is a receipt or a proof in no bundle, the hash of the leaf that it has to be
// about or nothing, a policy or nothing, and the result or the code of the refusal.
type loneVector struct {
	Name   string `json:"name"`
	Text   string `json:"text"`
	Leaf   string `json:"leaf,omitempty"`
	Policy string `json:"policy,omitempty"`
	Result string `json:"result,omitempty"`
	Code   string `json:"code,omitempty"`
}

// loneOf is what the vectors are made of.
type loneOf struct {
	leaf, other    string // hashes
	policy         string // of the log's key alone
	everybody      string // of witnesses and an authority too
	receipt, proof string
	answered       func(names ...any) string
}

func newLone(t testing.TB) (*company, *ledger.Bundle, loneOf) {
	t.Helper()
	c, b, everybody := evidence(t)
	l := loneOf{leaf: ledger.LeafHash(b.Leaf).String(), other: ledger.LeafHash(c.leaves[2]).String(), everybody: everybody, proof: string(b.Proof.Encode())}
	l.policy = "platform " + ledger.VerifierKey(origin, public(logSeed)) + " 1 -\nquorum none\n"
	l.receipt = receiptOf(t, b.Leaf, signer(t, origin, logSeed))
	l.answered = func(names ...any) string {
		m := map[string]any{}
		for i := 0; i < len(names); i += 2 {
			m[names[i].(string)] = names[i+1]
		}
		text, err := json.MarshalIndent(m, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		return string(text) + "\n"
	}
	return c, b, l
}

func receiptOf(t testing.TB, leaf []byte, by note.Signer) string {
	t.Helper()
	r, err := ledger.SignReceipt(leaf, by)
	if err != nil {
		t.Fatal(err)
	}
	return string(r.Note())
}

func loneVectors(t testing.TB) []loneVector {
	return append(receiptVectors(t), proofVectors(t)...)
}

func receiptVectors(t testing.TB) []loneVector {
	_, b, l := newLone(t)
	otherKey := replaceKey(logSeed, otherSeed)(l.policy)
	otherLog := strings.Replace(l.policy, ledger.VerifierKey(origin, public(logSeed)), ledger.VerifierKey("underseal/0192f0c1/main/2027", public(logSeed)), 1)
	leaf := string(b.Leaf)
	return []loneVector{
		{"a receipt", l.receipt, "", l.policy, ledger.Receipted, ""},
		{"a receipt of the entry that is asked for", l.receipt, l.leaf, l.policy, ledger.Receipted, ""},
		{"a receipt as the server gives it", l.answered("step", 2, "leaf", l.leaf, "receipt", l.receipt), "", l.policy, ledger.Receipted, ""},
		{"a receipt under a policy with witnesses, which have seen none", l.receipt, "", l.everybody, ledger.Receipted, ""},
		{"a receipt without a policy", l.receipt, "", "", "", "policy_required"},
		{"a receipt of another entry", l.receipt, l.other, l.policy, "", "not_included"},
		{"a receipt that came as one of another step", l.answered("step", 3, "leaf", l.leaf, "receipt", l.receipt), "", l.policy, "", "not_included"},
		{"a receipt that came as one of another entry", l.answered("step", 2, "leaf", l.other, "receipt", l.receipt), "", l.policy, "", "not_included"},
		{"a receipt of an entry that was changed", strings.Replace(l.receipt, `"elem":"score"`, `"elem":"other"`, 1), "", l.policy, "", "receipt_forged"},
		{"a receipt signed by another key", receiptOf(t, b.Leaf, signer(t, origin, otherSeed)), "", l.policy, "", "key_not_in_policy"},
		{"a receipt under a policy with another key", l.receipt, "", otherKey, "", "key_not_in_policy"},
		{"a receipt under a policy of another log", l.receipt, "", otherLog, "", "log_not_in_policy"},
		{"a receipt of what is no entry", strings.Replace(l.receipt, leaf, "{}", 1), "", l.policy, "", "leaf_malformed"},
		{"a receipt without a signature", strings.SplitAfter(l.receipt, "\n\n")[0], "", l.policy, "", "receipt_malformed"},
		{"a receipt that breaks off", strings.Split(l.receipt, "\n\n")[0], "", l.policy, "", "receipt_malformed"},
		{"an answer with a receipt that is none", l.answered("step", 2, "leaf", l.leaf, "receipt", "x"), "", l.policy, "", "receipt_malformed"},
		{"an answer with a receipt and no step", l.answered("leaf", l.leaf, "receipt", l.receipt), "", l.policy, "", "bundle_malformed"},
		{"an answer that says more than the server", l.answered("step", 2, "leaf", l.leaf, "receipt", l.receipt, "x", ""), "", l.policy, "", "bundle_malformed"},
	}
}

func proofVectors(t testing.TB) []loneVector {
	c, b, l := newLone(t)
	in := base64.StdEncoding.EncodeToString(b.Leaf)
	withHead := func(head []byte) string {
		p := b.Proof
		p.Checkpoint = head
		return string(p.Encode())
	}
	foreign := strings.Replace(l.policy, "quorum", "platform "+ledger.VerifierKey("underseal/0192f0c1/main/2027", public(logSeed))+" 1 -\nquorum", 1)
	stamped := l.everybody[strings.Index(l.everybody, "tsa "):]
	stamped = strings.Replace(l.policy, "quorum", strings.TrimSuffix(stamped, "quorum both\n")+"quorum", 1)
	c.signers = append(c.signers, c.witnesses...)
	cosigned := c.proof(b.Leaf, len(c.leaves))
	c.signers = append(c.signers[:1:1], c.witnesses[0])
	half := c.proof(b.Leaf, len(c.leaves))
	witnessed := strings.Replace(l.policy, "quorum none", "witness a "+witnessKey(0)+"\nwitness b "+witnessKey(1)+"\ngroup both all a b\nquorum both", 1)
	return []loneVector{
		{"a proof", l.proof, l.leaf, l.policy, ledger.Proven, ""},
		{"a proof as the server gives it", l.answered("leaf", in, "proof", l.proof), "", l.policy, ledger.Proven, ""},
		{"a proof as the server gives it, of the entry that is asked for", l.answered("leaf", in, "proof", l.proof), l.leaf, l.policy, ledger.Proven, ""},
		{"a proof under a head that witnesses have cosigned", string(cosigned.Encode()), l.leaf, witnessed, ledger.Proven, ""},
		{"a proof without an entry", l.proof, "", l.policy, "", "leaf_required"},
		{"a proof without a policy", l.proof, l.leaf, "", "", "policy_required"},
		{"a proof of another entry", l.proof, l.other, l.policy, "", "not_included"},
		{"a proof that came with another entry", l.answered("leaf", base64.StdEncoding.EncodeToString(c.leaves[2]), "proof", l.proof), "", l.policy, "", "not_included"},
		{"a proof as the server gives it, and another entry is asked for", l.answered("leaf", in, "proof", l.proof), l.other, l.policy, "", "not_included"},
		{"a proof under a head that one witness of two has cosigned", string(half.Encode()), l.leaf, witnessed, "", "quorum_not_met"},
		{"a proof under a head without witnesses", l.proof, l.leaf, witnessed, "", "bundle_required"},
		{"a proof, and a policy with an authority", l.proof, l.leaf, stamped, "", "bundle_required"},
		{"a proof, and a policy with witnesses and an authority", l.proof, l.leaf, l.everybody, "", "bundle_required"},
		{"a proof under a forged head", withHead(forged(t, b.Proof)), l.leaf, l.policy, "", "checkpoint_forged"},
		{"a proof under another log's head", l.answered("leaf", in, "proof", withHead(otherLogsHead(t, b.Proof))), "", foreign, "", "checkpoint_of_other_log"},
		{"a proof under a head of a log that the policy does not name", withHead(otherLogsHead(t, b.Proof)), l.leaf, l.policy, "", "log_not_in_policy"},
		{"a proof under a policy with another key", l.proof, l.leaf, replaceKey(logSeed, otherSeed)(l.policy), "", "key_not_in_policy"},
		{"a proof by a key out of its sizes", l.proof, l.leaf, strings.Replace(l.policy, " 1 -\n", " 1 6\n", 1), "", "key_out_of_range"},
		{"a proof in another spelling", strings.Replace(l.proof, "index ", "index 0", 1), l.leaf, l.policy, "", "proof_malformed"},
		{"a proof without a head", strings.Split(l.proof, "\n\n")[0], l.leaf, l.policy, "", "proof_malformed"},
		{"a proof that came with what is no entry", l.answered("leaf", "e30=", "proof", l.proof), "", l.policy, "", "leaf_malformed"},
		{"an answer with a proof and no entry", l.answered("leaf", "", "proof", l.proof), "", l.policy, "", "bundle_malformed"},
		{"an answer with a proof and an entry in no base64", l.answered("leaf", "?", "proof", l.proof), "", l.policy, "", "bundle_malformed"},
		{"a head alone", string(b.Proof.Checkpoint), l.leaf, l.policy, "", "bundle_malformed"},
		{"nothing but a line", "\n", "", l.policy, "", "bundle_malformed"},
	}
}

func TestLoneVectors(t *testing.T) {
	var made []loneVector
	if *update {
		made = loneVectors(t)
	}
	for _, v := range readVectors(t, "lone.json", made) {
		t.Run(v.Name, func(t *testing.T) { v.check(t) })
	}
}

func TestReceiptsAndProofsAreVerified(t *testing.T) {
	for _, v := range loneVectors(t) {
		t.Run(v.Name, func(t *testing.T) { v.check(t) })
	}
}

func (v loneVector) check(t *testing.T) {
	t.Helper()
	r, err := v.verify(t)
	if v.Code == "" {
		if err != nil || r.Result != v.Result || r.Checks[0].Status != ledger.CheckOK {
			t.Errorf("%+v, %v; want %s", r, err, v.Result)
		}
		return
	}
	wantCode(t, err, v.Code)
	if v.Code == "policy_required" || v.Code == "leaf_required" {
		if !fault.Is(err, fault.Invalid) || len(r.Checks) > 0 {
			t.Errorf("%+v, %v; want that nothing was checked", r, err)
		}
		return
	}
	if !fault.Is(err, fault.Integrity) || r.Result != "" || len(r.Checks) == 0 || r.Checks[len(r.Checks)-1].Status != ledger.CheckFailed {
		t.Errorf("the report of what is refused is %+v", r)
	}
}

func (v loneVector) verify(t *testing.T) (ledger.Report, error) {
	t.Helper()
	var p *ledger.Policy
	if v.Policy != "" {
		p = parsePolicy(t, v.Policy)
	}
	if v.Leaf == "" {
		return ledger.VerifyFile([]byte(v.Text), nil, p)
	}
	leaf, err := ledger.ParseHash(v.Leaf)
	if err != nil {
		t.Fatal(err)
	}
	return ledger.VerifyFile([]byte(v.Text), &leaf, p)
}

func TestABundleIsAboutTheEntryThatIsAskedFor(t *testing.T) {
	c, b, policy := evidence(t)
	data, p := encodeBundle(t, b), parsePolicy(t, policy)
	leaf, other := ledger.LeafHash(b.Leaf), ledger.LeafHash(c.leaves[2])
	for _, entry := range []*ledger.Hash{nil, &leaf} {
		if r, err := ledger.VerifyFile(data, entry, p); err != nil || r.Result != ledger.Proven {
			t.Errorf("asked for %v: %+v, %v", entry, r, err)
		}
	}
	r, err := ledger.VerifyFile(data, &other, p)
	if wantCode(t, err, "not_included"); r.Result != "" || len(r.Checks) != 1 {
		t.Errorf("asked for another: %+v", r)
	}
}

// FuzzVerifyFile: whatever is verified does not panic, is refused with a fault, and a
// receipt of another entry than the one that was signed is believed of nobody.
func FuzzVerifyFile(f *testing.F) {
	_, b, l := newLone(f)
	policy := parsePolicy(f, l.policy)
	for _, v := range loneVectors(f) {
		f.Add([]byte(v.Text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ledger.VerifyFile(data, nil, policy)
		if (err == nil) != (r.Result != "") || err != nil && !fault.Is(err, fault.Integrity) && fault.CodeOf(err) != "leaf_required" {
			t.Errorf("%+v, %v", r, err)
		}
		if receipt, malformed := ledger.ParseReceipt(data); err == nil && malformed == nil && !bytes.Equal(receipt.Leaf, b.Leaf) {
			t.Errorf("a receipt of %q is believed", receipt.Leaf)
		}
	})
}
