package engine

import (
	"bytes"
	"context"
	"crypto/rand"
	"slices"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/ledger"
)

// personSignedAge is how long ago a person's statement may have been made: somebody read
// it and touched a key, at most.
const personSignedAge = 10 * time.Minute

// Statement returns the exact bytes by which the caller signs what they are about to
// enter in a task, and what a browser asks the passkey for. Nothing is kept of it: what
// comes back is held against what it would have to be then.
func (e *Engine) Statement(ctx context.Context, c Caller, id string, r api.StatementRequest) (api.Statement, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Statement, error) { return e.statementAs(ctx, c, id, r) })
}

func (e *Engine) statementAs(ctx context.Context, c Caller, id string, r api.StatementRequest) (api.Statement, error) {
	entered, err := parseVariables(r.Variables)
	if err != nil {
		return api.Statement{}, err
	}
	if err := e.requireAddress(); err != nil {
		return api.Statement{}, err
	}
	var said ledger.Statement
	err = e.useTask(ctx, c, access.CompleteTask, id, func(l *Live, n uint64) error {
		task, open := l.state.Task(n)
		if !open {
			return noSuch("task", id)
		}
		said = e.taskStatement(l, id, task.Element)
		return nil
	})
	if err != nil {
		return api.Statement{}, err
	}
	key, err := e.signingPasskey(ctx, c, r.Passkey)
	if err != nil {
		return api.Statement{}, err
	}
	var nonce ledger.Hash
	rand.Read(nonce[:]) // never fails
	said.At, said.Key = formatTime(e.moment()), key.Key
	if said.Values, err = ledger.Bind(nonce, ledger.Flatten(entered)); err != nil {
		return api.Statement{}, err
	}
	return api.Statement{
		Statement: string(said.Encode()), Nonce: nonce.String(), Passkey: key.ID,
		PublicKey: e.relying.Request(said.Hash(), [][]byte{key.Credential}),
	}, nil
}

// signingPasskey returns the one of the caller's passkeys that is to sign; "": the only
// one.
func (e *Engine) signingPasskey(ctx context.Context, c Caller, id string) (identity.Passkey, error) {
	keys, err := e.ownPasskeys(ctx, c)
	if err != nil {
		return identity.Passkey{}, err
	}
	if id == "" && len(keys) > 1 {
		return identity.Passkey{}, fault.New(fault.Invalid, "%s has %d passkeys, and the statement names the one that signs it", c.Principal, len(keys)).
			WithCode("passkey_required").WithHint("say which one is to sign; GET /v1/users/{user} lists them")
	}
	i := slices.IndexFunc(keys, func(k identity.Passkey) bool { return k.ID == id || id == "" })
	if i < 0 {
		return identity.Passkey{}, noSuch("passkey", id)
	}
	return keys[i], nil
}

// taskStatement is what a statement about a task says, but for what is the signer's: the
// time, the key and the values.
func (e *Engine) taskStatement(l *Live, id, element string) ledger.Statement {
	return ledger.Statement{
		Kind: ledger.TaskCompleted, Deployment: e.deployment, Tenant: l.scope.Tenant(), Instance: textID(l.id), Element: element,
		Process: l.head.process, Version: l.head.version, Model: l.head.model, Task: id,
	}
}

// signedEntry is what somebody enters in a task, with their signature; nil: not signed.
type signedEntry struct {
	task    string // id
	entered *canon.Context
	signed  *api.SignedTask
	keys    []identity.Passkey // the caller's
}

// checkPerson requires that a signature, if there is one, is that of a passkey of the
// caller's, which is registered and not revoked, over exactly what they enter in this
// task; and that there is one if the model wants it. The caller holds signers.changing for
// reading.
func (e *Engine) checkPerson(ctx context.Context, c Caller, l *Live, n uint64, in signedEntry) (*signature, error) {
	task, open := l.state.Task(n)
	if !open {
		return nil, nil // the step says so, and is recorded
	}
	if in.signed == nil {
		return nil, l.unsignedTask(task.Element)
	}
	statement := []byte(in.signed.Statement)
	said, err := ledger.ParseStatement(statement)
	if err != nil {
		return nil, denied(err)
	}
	signer, err := e.signerOf(ctx, c, ledger.PersonSigner, said.Key)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(in.keys, func(k identity.Passkey) bool { return k.Key == said.Key }) {
		return nil, fault.New(fault.Denied, "the key of the signature is no passkey of %s any more", c.Principal).WithCode("signer_unknown")
	}
	assertion, err := assertionOf(in.signed.Answer)
	if err != nil {
		return nil, err
	}
	if _, err := ledger.VerifyPerson(statement, assertion, credentialOf(signer)); err != nil {
		return nil, denied(err)
	}
	if err := e.onTime(said.At, personSignedAge); err != nil {
		return nil, err
	}
	s := &signature{
		statement: in.signed.Statement, envelope: string(assertion), hash: said.Hash(), key: signer.head.leaf,
		label: l.state.EnteredLabel(n, in.entered),
	}
	if s.nonce, err = ledger.ParseHash(in.signed.Nonce); err != nil {
		return nil, err
	}
	return s, sameStatement(e.taskStatement(l, in.task, task.Element), said, s.nonce, ledger.Flatten(in.entered))
}

func assertionOf(in api.PasskeyAnswer) ([]byte, error) {
	var parts [3][]byte
	if err := fromBase64(parts[:], in.ClientData, in.Authenticator, in.Signature); err != nil {
		return nil, err
	}
	return ledger.Assertion{AuthenticatorData: parts[1], ClientData: parts[0], Signature: parts[2]}.Encode(), nil
}

// unsignedTask refuses an entry without a signature where the model wants one.
func (l *Live) unsignedTask(element string) error {
	if !l.wantsSignature(element) {
		return nil
	}
	return fault.New(fault.Denied, "what is entered in %s must be signed by a passkey of who enters it", element).WithCode("signature_required").
		WithHint("ask for the statement (POST /v1/tasks/{task}/statement), have the passkey sign it, and send both")
}

// wantsSignature reports whether the model has what is entered in a task signed.
func (l *Live) wantsSignature(element string) bool {
	i, ok := l.def.compiled.Element(element)
	return ok && l.def.compiled.Elements[i].User != nil && l.def.compiled.Elements[i].User.Signed
}

// sameStatement requires that a statement says what it has to say, letter by letter, and
// binds the values.
func sameStatement(want, said ledger.Statement, nonce ledger.Hash, values []ledger.Bound) error {
	bound, err := ledger.Bind(nonce, values)
	if err != nil {
		return err
	}
	work := "task " + want.Task
	if want.Job != "" {
		work = "this try of job " + want.Job
	}
	want.At, want.Key, want.Values = said.At, said.Key, said.Values
	if !bytes.Equal(want.Encode(), said.Encode()) {
		return fault.New(fault.Denied, "the statement is about other work than %s", work).WithCode("signature_other_work")
	}
	if want.Values = bound; !bytes.Equal(want.Encode(), said.Encode()) {
		return fault.New(fault.Denied, "the statement is about another result of %s", work).WithCode("signature_other_result")
	}
	return nil
}
