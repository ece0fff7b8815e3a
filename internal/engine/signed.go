package engine

import (
	"context"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/ledger"
)

// A worker's clock may be ahead of ours by signedAhead. A statement may be as old as
// a lease can be: a worker whose server was away hands in what it did before.
const (
	signedAhead = 5 * time.Minute
	signedAge   = 24 * time.Hour
)

// Pseudo-fields of a step with a signature. The nonce shows, to whoever guesses, what
// the statement binds, so it is sealed for all persons that the result is about.
const (
	statementPath = "$statement"
	signaturePath = "$signature"
	noncePath     = "$nonce"
)

// report is what a worker says of a job, for its signature to be held against.
type report struct {
	kind   string // ledger.JobCompleted ..
	lease  string
	result []ledger.Bound
	signed *api.Signed // nil: not signed
	given  *canon.Context
}

// signature is a worker's or a person's, checked.
type signature struct {
	statement, envelope string // the latter is a person's Assertion
	nonce               ledger.Hash
	hash                ledger.Hash   // of the statement
	key                 ledger.Hash   // of the newest leaf in the signer's chain
	label               process.Label // of what the nonce could show
}

// fields returns the pseudo-fields that a step keeps of a signature. Written are the
// labels of what the step wrote.
func (s *signature) fields(written []process.Change) []fieldWrite {
	label := confidential.Join(s.label)
	for _, change := range written {
		if change.Value != nil {
			label = label.Join(change.Label)
		}
	}
	return []fieldWrite{
		{path: statementPath, value: canon.String(s.statement), label: confidential, fact: true},
		{path: signaturePath, value: canon.String(s.envelope), label: confidential, fact: true},
		{path: noncePath, value: canon.String(s.nonce.String()), label: label, fact: true},
	}
}

// checkSignature requires that a report's signature, if it has one, is that of the
// caller's own key, which is registered and not revoked, over exactly this report of
// this try of this job; and that there is one if the model wants it. The job waits and
// is the caller's, and the caller holds signers.changing for reading.
func (e *Engine) checkSignature(ctx context.Context, c Caller, l *Live, ref JobRef, r report) (*signature, error) {
	job, _ := l.state.Job(ref.Job)
	if r.signed == nil {
		return nil, l.unsigned(job.Element, r.kind)
	}
	envelope, err := ledger.ParseEnvelope([]byte(r.signed.Envelope))
	if err != nil {
		return nil, denied(err)
	}
	said, err := ledger.ParseStatement(envelope.Payload)
	if err != nil {
		return nil, denied(err)
	}
	signer, err := e.signerOf(ctx, c, ledger.WorkerSigner, said.Key)
	if err != nil {
		return nil, err
	}
	if _, err := ledger.VerifyWorker(envelope.Payload, []byte(r.signed.Envelope), signer.key.Key); err != nil {
		return nil, denied(err)
	}
	s := &signature{
		statement: string(envelope.Payload), envelope: r.signed.Envelope,
		hash: said.Hash(), key: signer.head.leaf, label: l.state.ResultLabel(ref.Job, r.given),
	}
	if s.nonce, err = ledger.ParseHash(r.signed.Nonce); err != nil {
		return nil, err
	}
	if err := e.onTime(said.At, signedAge); err != nil {
		return nil, err
	}
	return s, sameStatement(e.jobStatement(l, ref, job.Element, r), said, s.nonce, r.result)
}

// unsigned refuses a result without a signature where the model wants one.
func (l *Live) unsigned(element, kind string) error {
	i, ok := l.def.compiled.Element(element)
	if kind == ledger.JobFailed || !ok || l.def.compiled.Elements[i].Job == nil || !l.def.compiled.Elements[i].Job.Signed {
		return nil
	}
	return fault.New(fault.Denied, "the result of %s must be signed by its worker", element).WithCode("signature_required").
		WithHint("give the worker a key (`underseal signers keygen`) and register it")
}

// denied is what a caller hears whose signature is not accepted: nothing of ours was
// changed.
func denied(err error) error {
	return fault.New(fault.Denied, "%w", err).WithCode(fault.CodeOf(err))
}

// signerOf returns the signer of a kind whose key counts now, if it is the caller's.
func (e *Engine) signerOf(ctx context.Context, c Caller, kind, key string) (*signer, error) {
	r, err := e.registry(ctx, c.Scope)
	if err != nil {
		return nil, err
	}
	s := r.byKey[key]
	switch {
	case s == nil && r.formers[key]:
		return nil, fault.New(fault.Denied, "the key of the signature was revoked, or replaced by another").WithCode("signer_revoked").
			WithHint("`underseal signers list` shows which key counts")
	case s == nil:
		return nil, fault.New(fault.Denied, "the key of the signature is not registered").WithCode("signer_unknown").
			WithHint("`underseal signers register` registers a worker's public key; a person registers a passkey with a browser")
	case s.key.Signer != kind || s.key.Principal != c.Principal:
		return nil, fault.New(fault.Denied, "the key of the signature is not one of %s", c.Principal).WithCode("signer_other_principal")
	}
	return s, nil
}

func (e *Engine) onTime(text string, age time.Duration) error {
	at, err := time.Parse(ledger.TimeLayout, text)
	if err != nil {
		return err
	}
	if now := e.moment(); at.After(now.Add(signedAhead)) || at.Before(now.Add(-age)) {
		return fault.New(fault.Denied, "the statement is of %s and it is %s", text, formatTime(now)).WithCode("signature_time").
			WithHint("set the worker's clock, or have the person sign anew")
	}
	return nil
}

// jobStatement is what a worker's statement says of a report, but for what is the
// signer's: the time, the key and the values.
func (e *Engine) jobStatement(l *Live, ref JobRef, element string, r report) ledger.Statement {
	return ledger.Statement{
		Kind: r.kind, Deployment: e.deployment, Tenant: l.scope.Tenant(), Instance: textID(l.id), Element: element,
		Process: l.head.process, Version: l.head.version, Model: l.head.model, Job: refText(ref.Instance, ref.Job), Lease: r.lease,
	}
}
