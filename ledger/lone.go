package ledger

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// Receipted is what a receipt that holds shows: the platform's word. Whether the entry
// came into the log only a proof shows.
const Receipted = "signed by the platform (a receipt is no proof)"

// VerifyFile verifies what shows an entry of a log, of whichever kind it is:
//
//   - a bundle, see VerifyBundle;
//   - a receipt, as Receipt.Note writes it, or the server's answer {"step", "leaf",
//     "receipt"} with it; the result is Receipted;
//   - a proof, as LogProof.Encode writes it, or the server's answer {"leaf", "proof"}
//     with it.
//
// Entry is the hash of the leaf that the file has to be about, nil if its own word on
// that is enough. A proof as such does not say which leaf it is of, so without entry it
// is Invalid (code "leaf_required"). Receipts and proofs carry no keys: without a policy
// they are Invalid (code "policy_required"). What does not hold is an Integrity fault, as
// of bundles; docs/design/evidence.md lists checks and codes.
func VerifyFile(data []byte, entry *Hash, p *Policy) (Report, error) {
	l, err := readLone(data)
	if err != nil {
		r := Report{}
		r.add("file", CheckFailed, "%v", err)
		return r, err
	}
	if l == nil {
		return verifyBundleOf(data, entry, p)
	}
	if err := l.complete(entry, p); err != nil {
		return Report{}, err
	}
	return l.verify(entry, p)
}

// verifyBundleOf verifies a bundle that has to be about an entry.
func verifyBundleOf(data []byte, entry *Hash, p *Policy) (Report, error) {
	if b, err := ParseBundle(data); err == nil && entry != nil && LeafHash(b.Leaf) != *entry {
		r, err := Report{}, otherEntry(LeafHash(b.Leaf), *entry)
		r.add("file", CheckFailed, "%v", err)
		return r, err
	}
	return VerifyBundle(data, p)
}

func otherEntry(got, want Hash) error {
	return fault.New(fault.Integrity, "the file is about the entry %s, and not about %s", got, want).WithCode("not_included")
}

// lone is a receipt or a proof that is in no bundle.
type lone struct {
	kind    string   // as the report calls it
	leaf    []byte   // nil: a proof that does not come with it
	receipt *Receipt // else it is a proof
	proof   LogProof
	told    *told // with a receipt; nil: nothing
}

// told is what the server's answer says of the receipt in it.
type told struct {
	leaf string // hash, hex
	step string
}

// readLone reads what is no bundle; nil: it may be one.
func readLone(data []byte) (*lone, error) {
	switch {
	case bytes.HasPrefix(data, []byte(receiptHeader)):
		return loneReceipt(data)
	case bytes.HasPrefix(data, []byte(logProofHeader)):
		return loneProof(data, nil)
	case bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")):
		return readAnswer(data)
	}
	return nil, nil
}

func loneReceipt(signed []byte) (*lone, error) {
	r, err := ParseReceipt(signed)
	if err != nil {
		return nil, err
	}
	return &lone{kind: "a receipt, the platform's signed word that it has an entry", leaf: r.Leaf, receipt: &r}, nil
}

func loneProof(text, leaf []byte) (*lone, error) {
	p, err := ParseLogProof(text)
	if err != nil {
		return nil, err
	}
	return &lone{kind: "a proof that an entry is in a log", leaf: leaf, proof: p}, nil
}

// readAnswer reads what the server answers with: one of the two, and what it is about.
func readAnswer(data []byte) (*lone, error) {
	none := fault.New(fault.Integrity, "the file is JSON, and neither a receipt nor a proof as the server gives them").WithCode("bundle_malformed").
		WithHint("underseal evidence --receipt and underseal log prove write such files")
	if len(data) > 2*maxNote {
		return nil, none
	}
	v, err := canon.DecodeJSON(data)
	answer, ok := v.(*canon.Context)
	if err != nil || !ok {
		return nil, none
	}
	text := func(name string) string {
		v, _ := answer.Get(name)
		s, _ := v.(canon.String)
		return string(s)
	}
	switch leaf := text("leaf"); {
	case answer.Len() == 2 && text("proof") != "":
		body, err := base64.StdEncoding.Strict().DecodeString(leaf)
		if err != nil || leaf == "" || base64.StdEncoding.EncodeToString(body) != leaf {
			return nil, none
		}
		return loneProof([]byte(text("proof")), body)
	case answer.Len() == 3 && text("receipt") != "":
		step, ok := answer.Get("step")
		if !ok || canon.TypeName(step) != "number" {
			return nil, none
		}
		l, err := loneReceipt([]byte(text("receipt")))
		if l != nil {
			l.told = &told{leaf, string(canon.EncodeJSON(step))}
		}
		return l, err
	}
	return nil, none
}

// complete requires what it takes to verify at all.
func (l *lone) complete(entry *Hash, p *Policy) error {
	switch {
	case p == nil:
		return fault.New(fault.Invalid, "the file is %s; it carries no keys, so without a policy nothing of it can be checked", l.kind).WithCode("policy_required").
			WithHint("get the policy from the operator of the log, by another way than the file, and give it with --policy FILE")
	case l.leaf == nil && entry == nil:
		return fault.New(fault.Invalid, "the file is %s, and does not say of which entry", l.kind).WithCode("leaf_required").
			WithHint("--leaf takes the entry's hash, which receipts and underseal instances steps show, or a file with the entry; with --json underseal log prove writes both into one file")
	}
	return nil
}

func (l *lone) verify(entry *Hash, p *Policy) (Report, error) {
	var r Report
	v := verification{b: &Bundle{Leaf: l.leaf, Proof: l.proof}, policy: p, report: &r}
	hash := LeafHash(l.leaf)
	if l.leaf == nil {
		hash = *entry
	}
	for _, check := range []struct {
		name string
		run  func() error
		of   bool // there is such a check
	}{
		{"file", func() error { v.ok("The file is %s.", l.kind); return nil }, true},
		{"entry", func() error { return v.checkLoneLeaf(l, hash, entry) }, true},
		{"receipt", func() error { return v.checkReceipt(l) }, l.receipt != nil},
		{"log", func() error { return v.checkLoneProof(l, hash) }, l.receipt == nil},
		{"witnesses", v.checkLoneQuorum, l.receipt == nil},
		{"time", v.checkLoneTime, l.receipt == nil},
	} {
		if !check.of {
			continue
		}
		v.name = check.name
		if err := check.run(); err != nil {
			r.add(check.name, CheckFailed, "%v", err)
			return r, err
		}
	}
	r.Result = Proven
	if l.receipt != nil {
		r.Result = Receipted
	}
	return r, nil
}

// checkLoneQuorum is checkQuorum of a head that comes without the anchor log's, which is
// what witnesses cosign.
func (v *verification) checkLoneQuorum() error {
	if v.unseen() {
		return v.bundleRequired()
	}
	return v.checkQuorum()
}

func (v *verification) checkLoneTime() error {
	if len(v.policy.Authorities) > 0 {
		return v.bundleRequired()
	}
	return v.checkTime()
}

// unseen reports whether the policy asks for witnesses and none of them has cosigned.
func (v *verification) unseen() bool {
	return v.policy.Quorum != noQuorum && (v.head.note == nil || len(v.policy.cosigners(v.head.note)) == 0)
}

// lacking says what the policy asks for that stands at the anchor log's head, and so in
// evidence alone; "": nothing.
func (v *verification) lacking() string {
	var all []string
	if v.unseen() {
		all = append(all, fmt.Sprintf("the cosignatures of its witnesses (quorum %q)", v.policy.Quorum))
	}
	if len(v.policy.Authorities) > 0 {
		all = append(all, "a timestamp by its authority")
	}
	return strings.Join(all, " and ")
}

func (v *verification) bundleRequired() error {
	return fault.New(fault.Integrity, "the policy asks for %s, which is not in a lone proof: take the evidence bundle", v.lacking()).WithCode("bundle_required").
		WithHint("underseal evidence INSTANCE --step N writes it, or underseal evidence --entry LOG/NUMBER; with --wait it has what the policy asks for")
}

func (v *verification) checkLoneLeaf(l *lone, hash Hash, entry *Hash) error {
	if entry != nil && *entry != hash {
		return otherEntry(hash, *entry)
	}
	if l.leaf == nil {
		v.absent("The file does not hold the entry, which is known by its hash alone: %s.", hash)
		return nil
	}
	if err := v.checkLeaf(); err != nil {
		return err
	}
	if t := l.told; t != nil && (t.leaf != hash.String() || t.step != strconv.FormatUint(v.leaf.Seq, 10)) {
		return fault.New(fault.Integrity, "the receipt is of step %d with the leaf %s, and it came as one of step %.20s with the leaf %.64q", v.leaf.Seq, hash, t.step, t.leaf).WithCode("not_included")
	}
	return nil
}

func (v *verification) checkReceipt(l *lone) error {
	if _, err := v.policy.OpenReceipt(*l.receipt); err != nil {
		return err
	}
	v.ok("A key that the policy names for the log %q has signed that it has the entry.", v.leaf.Log)
	if lacking := v.lacking(); lacking != "" {
		v.absent("The policy asks for %s, which is not in a receipt: take the evidence bundle (underseal evidence).", lacking)
	}
	v.absent("Whether the entry is in the log, and when, a receipt does not show: underseal log prove and underseal evidence do.")
	return nil
}

func (v *verification) checkLoneProof(l *lone, hash Hash) error {
	p := l.proof
	c, signed, err := v.policy.Open(p.Checkpoint)
	if err != nil {
		return err
	}
	if l.leaf != nil && c.Origin != v.leaf.Log {
		return otherLog(v.leaf.Log, c.Origin)
	}
	if err := VerifyInclusion(hash, p.Index, c.Size, p.Path, c.Root); err != nil {
		return err
	}
	v.head = opened{c, signed}
	v.ok("The entry is number %d of %d in the log %q, whose head is signed by a key that the policy names.", p.Index+1, c.Size, c.Origin)
	return nil
}

// OpenReceipt checks that a key which the policy names for the leaf's own log signed the
// receipt, and returns the leaf. For which sizes a key counts does not matter: a receipt
// has none. Codes of the Integrity faults besides those of VerifyReceipt: "leaf_malformed",
// "log_not_in_policy" and, instead of "receipt_unsigned", "key_not_in_policy".
func (p *Policy) OpenReceipt(r Receipt) (Leaf, error) {
	l, err := ParseLeaf(r.Leaf)
	if err != nil {
		return Leaf{}, fault.New(fault.Integrity, "%w", err).WithCode("leaf_malformed")
	}
	if !p.names(l.Log) {
		return Leaf{}, fault.New(fault.Integrity, "the policy names no key for the log %q", l.Log).WithCode("log_not_in_policy").WithHint(newerPolicy)
	}
	var keys []note.Verifier
	for _, log := range p.Logs {
		keys = append(keys, log.Key)
	}
	if _, err = VerifyReceipt(r, keys...); fault.CodeOf(err) == "receipt_unsigned" {
		err = fault.New(fault.Integrity, "the receipt is signed by no key that the policy names for the log %q", l.Log).
			WithCode("key_not_in_policy").WithHint(newerPolicy)
	}
	if err != nil {
		return Leaf{}, err
	}
	return l, nil
}
