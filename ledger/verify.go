package ledger

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/internal/fault"
)

// VerifyBundle reads a bundle's file and verifies it; see ParseBundle and Verify.
func VerifyBundle(data []byte, p *Policy) (Report, error) {
	var r Report
	b, err := ParseBundle(data)
	if err != nil {
		r.add("file", CheckFailed, "%v", err)
		return r, err
	}
	r.add("file", CheckOK, "The file is whole: %s, each with the hash that its manifest gives, and not a byte besides.", counted(len(b.parts()), "part"))
	return b.verify(p, r)
}

// Verify checks everything that the bundle shows, offline, in the order of the
// report. Without a policy the result can only be Consistent. The first thing that
// does not hold ends it with an Integrity fault whose code says which it is; the
// report then ends with that check. docs/design/evidence.md lists checks and codes.
func (b *Bundle) Verify(p *Policy) (Report, error) { return b.verify(p, Report{}) }

func (b *Bundle) verify(p *Policy, r Report) (Report, error) {
	v := verification{b: b, policy: p, report: &r, opened: map[string]opened{}}
	for _, check := range []struct {
		name string
		run  func() error
	}{
		{"entry", v.checkLeaf},
		{"log's keys", v.checkPlatform},
		{"log", v.checkInclusion},
		{"anchor", v.checkAnchor},
		{"witnesses", v.checkQuorum},
		{"time", v.checkTime},
		{"signer", v.checkSigner},
		{"signature", v.checkSignature},
		{"values", v.checkFields},
		{"model", v.checkModel},
	} {
		v.name = check.name
		if err := check.run(); err != nil {
			r.add(check.name, CheckFailed, "%v", err)
			return r, err
		}
	}
	r.Result = Consistent
	if p != nil {
		r.Result = Proven
	}
	return r, nil
}

// verification is a bundle as far as it was checked.
type verification struct {
	b      *Bundle
	policy *Policy // may be nil
	report *Report
	name   string // of the check that runs
	opened map[string]opened

	leaf      Leaf
	platform  platform
	head      opened // that the leaf is under
	anchor    Checkpoint
	anchored  *note.Note // of the anchor log's checkpoint; nil: not signed by a key of the policy
	signer    chain
	statement *Statement
}

// opened is a checkpoint whose signature was found to be good.
type opened struct {
	checkpoint Checkpoint
	note       *note.Note // with the witnesses of the policy; nil without one
}

func (v *verification) ok(format string, args ...any) {
	v.report.add(v.name, CheckOK, format, args...)
}

func (v *verification) absent(format string, args ...any) {
	v.report.add(v.name, CheckAbsent, format, args...)
}

func (v *verification) checkLeaf() error {
	l, err := ParseLeaf(v.b.Leaf)
	if err != nil {
		return fault.New(fault.Integrity, "%w", err).WithCode("leaf_malformed")
	}
	v.leaf = l
	place := "of no object"
	if l.Object != "" {
		place = fmt.Sprintf("as step %d of %s", l.Seq, l.Object)
	}
	if l.Elem != "" {
		place += fmt.Sprintf(", at element %q of the model", l.Elem)
	}
	v.ok("The entry says: %q %s, by %s, on %s by the server's clock.", l.Kind, place, actors[l.Act], l.At)
	return nil
}

// actors are the words for what a leaf says in "act".
var actors = map[string]string{"user": "a user", "worker": "a worker", "engine": "the engine itself", "admin": "an administrator"}

// checkPlatform checks the chain of the keys that sign the log.
func (v *verification) checkPlatform() error {
	if len(v.b.Platform) == 0 {
		return fault.New(fault.Integrity, "the bundle does not say how the keys that sign the log were registered").WithCode("chain_missing")
	}
	c, err := readChain("platform", v.b.Platform)
	if err != nil {
		return err
	}
	if c.links[0].Key.Signer != PlatformSigner {
		return brokenChain("platform", 0, "the signer is a %s", c.links[0].Key.Signer)
	}
	v.platform = platform{c}
	if err := v.included("platform", v.b.Platform); err != nil {
		return err
	}
	v.ok("The platform's chain has %s; each is in the log and says which key signs from then on.", counted(len(c.links), "step"))
	return nil
}

// included checks that each link of a chain is in its log.
func (v *verification) included(what string, links []ChainLink) error {
	for i, link := range links {
		l, err := ParseLeaf(link.Leaf)
		if err != nil {
			return brokenChain(what, i, "%w", err)
		}
		head, err := v.open(link.Proof.Checkpoint)
		if err != nil {
			return err
		}
		if head.checkpoint.Origin != l.Log {
			return otherLog(l.Log, head.checkpoint.Origin)
		}
		if err := VerifyInclusion(LeafHash(link.Leaf), link.Proof.Index, head.checkpoint.Size, link.Proof.Path, head.checkpoint.Root); err != nil {
			return brokenChain(what, i, "%w", err)
		}
	}
	return nil
}

func otherLog(want, got string) error {
	return fault.New(fault.Integrity, "the entry is of the log %q, and the checkpoint of %q", want, got).WithCode("checkpoint_of_other_log")
}

// open opens a checkpoint that a key of the platform signed which counted then, and
// which the policy, if there is one, names.
func (v *verification) open(signed []byte) (opened, error) {
	if o, known := v.opened[string(signed)]; known {
		return o, nil
	}
	c, err := v.platform.open(signed)
	if err != nil {
		return opened{}, err
	}
	o := opened{checkpoint: c}
	if v.policy != nil {
		if _, o.note, err = v.policy.Open(signed); err != nil {
			return opened{}, err
		}
	}
	v.opened[string(signed)] = o
	return o, nil
}

// checkInclusion checks that the leaf is under its checkpoint.
func (v *verification) checkInclusion() error {
	p := v.b.Proof
	claimed, err := UnverifiedCheckpoint(p.Checkpoint)
	if err != nil {
		return err
	}
	if claimed.Origin != v.leaf.Log {
		return otherLog(v.leaf.Log, claimed.Origin)
	}
	if v.head, err = v.open(p.Checkpoint); err != nil {
		return err
	}
	c := v.head.checkpoint
	if err := VerifyInclusion(LeafHash(v.b.Leaf), p.Index, c.Size, p.Path, c.Root); err != nil {
		return err
	}
	by := "by a key of the platform that counted then; whether it is the operator's you cannot tell without a policy"
	if v.policy != nil {
		by = "by a key that the policy names and that counted then"
	}
	v.ok("The entry is number %d of %d in the log %q, whose head is signed %s.", p.Index+1, c.Size, c.Origin, by)
	return nil
}

// checkAnchor checks that the checkpoint is in the operator's anchor log.
func (v *verification) checkAnchor() error {
	a := v.b.Anchor
	if a == nil {
		v.absent("The bundle does not place the log's head in an anchor log.")
		return nil
	}
	var err error
	if v.anchor, err = UnverifiedCheckpoint(a.Proof.Checkpoint); err != nil {
		return err
	}
	if err := a.holds(v.head.checkpoint, v.anchor); err != nil {
		return err
	}
	if v.policy == nil || !v.policy.names(v.anchor.Origin) {
		v.absent("The log's head stands in the anchor log %q; no policy names that log's key.", v.anchor.Origin)
		return nil
	}
	if _, v.anchored, err = v.policy.Open(a.Proof.Checkpoint); err != nil {
		return err
	}
	v.ok("The log's head stands in the anchor log %q, which a key that the policy names has signed.", v.anchor.Origin)
	return nil
}

// checkQuorum checks that the witnesses of the policy have seen the log's head, or
// the anchor log's that covers it.
func (v *verification) checkQuorum() error {
	switch {
	case v.policy == nil:
		v.absent("Without a policy nobody says which witnesses count.")
		return nil
	case v.policy.Quorum == noQuorum:
		v.absent("The policy asks for no witness.")
		return nil
	}
	seen, err := v.head.note, v.policy.CheckQuorum(v.head.note)
	if err != nil && v.anchored != nil {
		seen, err = v.anchored, v.policy.CheckQuorum(v.anchored)
	}
	if err != nil {
		return err
	}
	v.ok("The quorum %q of the policy has seen it: %s.", v.policy.Quorum, strings.Join(v.policy.cosigners(seen), ", "))
	return nil
}

// checkTime checks the timestamp of the anchor log's head.
func (v *verification) checkTime() error {
	stamped := v.b.Anchor != nil && v.b.Anchor.Token != nil
	asked := v.policy != nil && len(v.policy.Authorities) > 0
	switch {
	case asked && !stamped:
		return fault.New(fault.Integrity, "the policy names a time stamping authority, and there is no timestamp").WithCode("timestamp_missing").
			WithHint("export the evidence again once the log's head has its timestamp")
	case !stamped:
		v.absent("There is no timestamp.")
		return nil
	case !asked:
		at, err := claimedTime(v.b.Anchor.Token, []byte(v.anchor.Text()))
		if err != nil {
			return err
		}
		v.absent("A timestamp says that the entry was there on %s; no policy names its authority.", at.Format(time.RFC3339))
		return nil
	}
	roots := x509.NewCertPool()
	for _, a := range v.policy.Authorities {
		roots.AddCert(a.Root)
	}
	at, err := v.b.Anchor.Time(v.anchor, roots)
	if err != nil {
		return err
	}
	v.report.Before = at.Format(time.RFC3339)
	v.ok("The entry was in the log on %s at the latest: an authority that the policy names has put its timestamp on it.", v.report.Before)
	return nil
}

// checkSigner checks the chain of whoever signed for the entry.
func (v *verification) checkSigner() error {
	if v.leaf.Key == "" {
		if len(v.b.Chain) > 0 || v.b.Statement != nil || v.b.Signature != nil {
			return fault.New(fault.Integrity, "the bundle has a signer, and the entry names none").WithCode("statement_mismatch")
		}
		v.absent("Nobody signed for this entry with a key of their own; it is attested by the platform alone.")
		return nil
	}
	if len(v.b.Chain) == 0 {
		return fault.New(fault.Integrity, "the entry names a signer, and the bundle does not say how the signer's key was registered").WithCode("chain_missing")
	}
	c, err := readChain("signer", v.b.Chain)
	if err != nil {
		return err
	}
	if c.newest.String() != v.leaf.Key {
		return fault.New(fault.Integrity, "the entry names %s as the newest step of its signer, and the bundle's chain ends with %s", v.leaf.Key, c.newest).WithCode("chain_broken")
	}
	if err := v.included("signer", v.b.Chain); err != nil {
		return err
	}
	for i, l := range c.links {
		if before, known := l.coveredBy(v.leaf.Log, v.b.Proof.Index); !before || !known {
			return brokenChain("signer", i, "it does not come before the entry")
		}
	}
	key := c.links[len(c.links)-1].Key
	if key.Key == (PublicKey{}) {
		return fault.New(fault.Integrity, "the key of signer %q was revoked before this entry", key.Name).WithCode("signer_key_revoked")
	}
	v.signer = c
	v.ok("The key of the %s %q (%q) was registered in the log before the entry and not revoked until then; its chain has %s.", key.Signer, key.Name, key.Principal, counted(len(c.links), "step"))
	return nil
}

// checkSignature checks the statement and its signature.
func (v *verification) checkSignature() error {
	b := v.b
	switch {
	case v.leaf.Key == "":
		return nil
	case (b.Statement == nil) != (b.Signature == nil):
		return fault.New(fault.Integrity, "the bundle holds a statement without its signature, or the signature alone").WithCode("statement_mismatch")
	case b.Statement == nil:
		v.absent("The bundle does not hold the statement that was signed, so it does not show what the signer said.")
		return nil
	}
	if sum := statementHash(b.Statement); sum.String() != v.leaf.Stmt {
		return fault.New(fault.Integrity, "the statement is not the one that the entry names").WithCode("statement_mismatch")
	}
	s, err := v.verifySignature()
	if err != nil {
		return err
	}
	if !v.sameWork(s) {
		return fault.New(fault.Integrity, "the statement is about other work than the entry").WithCode("statement_mismatch")
	}
	v.statement = &s
	v.ok("With that key the signer signed: %s, %q of process %q version %d, on %s by the signer's clock.", s.Kind, s.Job+s.Task, s.Process, s.Version, s.At)
	return nil
}

func (v *verification) verifySignature() (Statement, error) {
	key := v.signer.links[len(v.signer.links)-1].Key
	if key.Signer == PersonSigner {
		return VerifyPerson(v.b.Statement, v.b.Signature, Credential{Key: key.Key, RP: key.RP, Origins: key.Origins})
	}
	return VerifyWorker(v.b.Statement, v.b.Signature, key.Key)
}

// sameWork reports whether a statement is about what the leaf is about.
func (v *verification) sameWork(s Statement) bool {
	l := v.leaf
	return sameTenant(l.Log, s.Deployment, s.Tenant) && s.Instance == l.Object && s.Element == l.Elem && s.Model == l.Def &&
		"instance."+strings.ReplaceAll(s.Kind, ".", "_") == l.Kind
}

// sameTenant reports whether a log's origin is that of a tenant of a deployment.
func sameTenant(origin, deployment, tenant string) bool {
	return strings.HasPrefix(origin, "underseal/"+deployment+"/"+tenant+"/")
}

// checkFields checks the disclosed values.
func (v *verification) checkFields() error {
	for _, d := range v.b.Fields {
		if err := d.verify(v.leaf); err != nil {
			return fault.New(fault.Integrity, "the value of %q: %w", d.Path, err).WithCode("disclosure_mismatch")
		}
		by := ""
		if v.statement != nil {
			seen, err := v.statement.Shows(d.Path, d.Value, v.b.Bindings)
			if err != nil {
				return err
			}
			if seen {
				by = ", and the signer signed for it"
			}
		}
		v.ok("%q = %s was written by this entry%s.", d.Path, shown(d.Value), by)
	}
	if len(v.b.Fields) == 0 {
		v.absent("The bundle discloses no values.")
		return nil
	}
	if hidden := v.leaf.N - len(v.b.Fields); hidden > 0 {
		v.ok("The entry has %s more, which this bundle does not disclose.", counted(hidden, "value"))
	}
	return nil
}

func (v *verification) checkModel() error {
	switch sum := sha256.Sum256(v.b.Model); {
	case v.b.Model == nil:
		v.absent("The bundle does not hold the process model.")
	case Hash(sum).String() != v.leaf.Def:
		return fault.New(fault.Integrity, "the process model is not the one that the entry names").WithCode("model_mismatch")
	default:
		v.ok("The process model in the file is, to the byte, the one that was executed.")
	}
	return nil
}
