package engine

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// ownPaths are fields that are never disclosed one by one: the first two are parts of
// a bundle by themselves, and with the nonce every value that was signed could be
// guessed at.
var ownPaths = []string{statementPath, signaturePath, noncePath}

// exhibit is what evidence is about: a bundle that says so and proves nothing yet, and
// whose leaf it is of.
type exhibit struct {
	bundle *ledger.Bundle
	object store.ID // or the entry's own id
	seq    uint64   // 0: an entry
	told   shown
}

// Evidence returns a bundle that proves one step of an instance, or one entry of a
// log, to a stranger and discloses the values that were asked for and no others. Which
// those are is told in the log before the bundle is given out.
//
// A leaf that has no place under a signed head yet is waited for, some seconds; after
// that it is Unavailable, code "not_sequenced", and at once Integrity, code "log_halted",
// if nothing is signed any more. One that has to be anchored and is not
// yet is Unavailable, code "not_anchored". A value that was erased is Sealed.
func (e *Engine) Evidence(ctx context.Context, c Caller, in api.EvidenceRequest) ([]byte, error) {
	return readNow(ctx, e, c, func(c Caller) ([]byte, error) { return e.evidenceAs(ctx, c, in) })
}

func (e *Engine) evidenceAs(ctx context.Context, c Caller, in api.EvidenceRequest) ([]byte, error) {
	if err := e.mayExport(ctx, c, in); err != nil {
		return nil, err
	}
	x, err := e.exhibit(ctx, c, in)
	if err != nil {
		return nil, err
	}
	if err := e.proveBundle(ctx, c.Scope, x, in.Anchored); err != nil {
		return nil, err
	}
	if err := e.tellShown(ctx, c, dataExported, "user", x.told); err != nil {
		return nil, err
	}
	return x.bundle.Encode()
}

// mayExport asks for evidence of an entry of a log, and whether any of an instance could
// be had; values are for who may see some.
func (e *Engine) mayExport(ctx context.Context, c Caller, in api.EvidenceRequest) error {
	if in.Entry != "" {
		return e.may(ctx, c, access.ExportEvidence, "log", in.Entry)
	}
	if err := e.could(ctx, c, access.ExportEvidence, access.Instance, in.Instance); err != nil {
		return err
	}
	if discloses(in) {
		return e.could(ctx, c, access.ReadValue, access.Instance, in.Instance)
	}
	return nil
}

// discloses reports whether values are asked for.
func discloses(in api.EvidenceRequest) bool { return len(in.Fields) > 0 || in.AllFields }

func (e *Engine) exhibit(ctx context.Context, c Caller, in api.EvidenceRequest) (exhibit, error) {
	switch {
	case (in.Instance == "") == (in.Entry == ""):
		return exhibit{}, fault.New(fault.Invalid, "evidence is of a step of an instance, or of an entry of a log: one of the two has to be named")
	case in.Entry != "":
		return e.entryEvidence(ctx, c, in)
	}
	return e.instanceEvidence(ctx, c, in)
}

func (e *Engine) instanceEvidence(ctx context.Context, c Caller, in api.EvidenceRequest) (x exhibit, err error) {
	var refused error // by itself: what use does not find is the instance
	err = e.use(ctx, c, access.ExportEvidence, in.Instance, func(l *Live) error {
		if discloses(in) && !e.sees(c, access.ReadValue, l.resource()) {
			refused = e.refuse(ctx, c, access.ReadValue, "instance", in.Instance)
			return nil
		}
		x, refused = e.stepEvidence(ctx, &l.object, in, e.exportLens(c, l))
		return nil
	})
	if fault.Is(err, fault.Sealed) && !discloses(in) {
		return e.erasedEvidence(ctx, c.Scope, in)
	}
	return x, cmp.Or(err, refused)
}

// stepEvidence is of the step that is asked for, of an instance with what a lens shows;
// nil: everything.
func (e *Engine) stepEvidence(ctx context.Context, o *object, in api.EvidenceRequest, v *lens) (exhibit, error) {
	open := openness{}
	steps, err := e.pastSteps(ctx, o, open.note)
	if err != nil {
		return exhibit{}, err
	}
	seq, err := chosenStep(o, steps, in)
	if err != nil {
		return exhibit{}, err
	}
	p, err := e.openStep(ctx, o, seq)
	if err != nil {
		return exhibit{}, err
	}
	p.open = open
	return e.exhibitOf(ctx, p, in, v)
}

// exhibitOf fills what a bundle says of a leaf: the values, model, statement.
func (e *Engine) exhibitOf(ctx context.Context, p *pastFields, in api.EvidenceRequest, v *lens) (exhibit, error) {
	b := &ledger.Bundle{Leaf: p.row.Leaf.Body}
	paths := slices.Clone(in.Fields)
	if err := e.veil(ctx, p, paths, v); err != nil {
		return exhibit{}, err
	}
	if in.AllFields {
		paths = append(paths, p.ordinary()...)
	}
	for _, path := range sorted(paths) {
		d, err := p.disclose(path)
		if err != nil {
			return exhibit{}, err
		}
		b.Fields = append(b.Fields, d)
	}
	if err := p.sign(b); err != nil {
		return exhibit{}, err
	}
	if !in.NoModel && p.leaf.Def != "" {
		var err error
		if b.Model, err = e.modelOf(ctx, p.object, p.leaf.Def); err != nil {
			return exhibit{}, err
		}
	}
	told := shown{object: p.object.id, element: p.leaf.Elem}
	if v != nil {
		for _, d := range b.Fields {
			v.look(d.Path, p.open.sensitive(d.Path, p.row.Seq))
		}
		told = v.told(p.leaf.Elem)
	}
	told.paths = disclosedPaths(b)
	return exhibit{b, p.object.id, p.row.Seq, told}, nil
}

// erasedEvidence is of a step of an instance that was erased as a whole: its leaf and
// the model are all that is left.
func (e *Engine) erasedEvidence(ctx context.Context, scope store.Scope, in api.EvidenceRequest) (exhibit, error) {
	if in.Task != "" || in.Job != "" {
		return exhibit{}, fault.New(fault.Sealed, "instance %s was erased: which step was about which task or job cannot be told any more", in.Instance).
			WithCode("erased").WithHint("ask for the step by its number")
	}
	id, seq, leaf, err := e.leafOf(ctx, scope, in.Instance, in.Step)
	if err != nil {
		return exhibit{}, err
	}
	x := exhibit{bundle: &ledger.Bundle{Leaf: leaf.Body}, object: id, seq: seq}
	parsed, err := ledger.ParseLeaf(leaf.Body)
	if err != nil || in.NoModel || parsed.Def == "" {
		return x, err
	}
	x.bundle.Model, err = e.modelOf(ctx, &object{scope: scope, id: id, kind: store.Instance}, parsed.Def)
	return x, err
}

// veil takes out of a step's values what a lens does not show. To ask for one that is
// masked is refused.
func (e *Engine) veil(ctx context.Context, p *pastFields, wanted []string, v *lens) error {
	if v == nil {
		return nil
	}
	for i := range p.fields {
		d := &p.fields[i]
		sight := v.decide(d.path, p.open.sensitive(d.path, p.row.Seq)).sight
		if sight == isMasked && !d.erased && slices.Contains(wanted, d.path) {
			return e.refuseMasked(ctx, v.caller, textID(v.live.id), d.path)
		}
		d.veiled = sight == isHidden || sight == isMasked && !d.erased
	}
	return nil
}

func disclosedPaths(b *ledger.Bundle) []string {
	var paths []string
	for _, d := range b.Fields {
		paths = append(paths, d.Path)
	}
	if b.Statement != nil {
		paths = append(paths, statementPath)
	}
	return paths
}

// chosenStep finds the step that is asked for: by its number, or the one that ended a
// task or job. What is asked for by nothing is the newest step.
func chosenStep(o *object, steps []api.Step, in api.EvidenceRequest) (uint64, error) {
	asked := 0
	for _, given := range []bool{in.Step != 0, in.Task != "", in.Job != ""} {
		if given {
			asked++
		}
	}
	switch {
	case asked > 1:
		return 0, fault.New(fault.Invalid, "a step, a task and a job are asked for; evidence is of one")
	case asked == 0:
		return uint64(len(steps)), nil
	case in.Step != 0:
		if in.Step < 1 || in.Step > len(steps) {
			return 0, fault.New(fault.NotFound, "instance %s has no step %d, but %d of them", textID(o.id), in.Step, len(steps))
		}
		return uint64(in.Step), nil
	case in.Task != "":
		return stepThat(o, steps, "task", in.Task, "task_completed")
	}
	return stepThat(o, steps, "job", in.Job, "job_completed", "job_errored", "job_failed")
}

// stepThat finds the last step by which one of these events happened to something.
func stepThat(o *object, steps []api.Step, kind, id string, events ...string) (uint64, error) {
	ref, err := parseRef(kind, id)
	if err != nil {
		return 0, err
	}
	for _, s := range slices.Backward(steps) {
		if ref.Instance == o.id && s.About == id && s.Rejected == "" && slices.Contains(events, s.Event) {
			return s.Seq, nil
		}
	}
	return 0, fault.New(fault.NotFound, "no step of instance %s ended %s %q", textID(o.id), kind, id).
		WithHint("underseal instances steps lists the steps; --step takes the number of one")
}

// pastFields are a step with its values, each with what discloses it.
type pastFields struct {
	object *object
	row    store.StepRow
	leaf   ledger.Leaf
	fields []disclosable
	open   openness // of an instance that somebody looks at
}

// disclosable is a value of a step. Of an erased one only the commitment is left.
type disclosable struct {
	path       string
	value      canon.Value
	key        ledger.Hash
	commitment ledger.Hash
	erased     bool
	veiled     bool // not to be shown
}

// openStep opens all values of a step, whose rows history has checked.
func (e *Engine) openStep(ctx context.Context, o *object, seq uint64) (*pastFields, error) {
	rows, err := e.store.Steps(ctx, o.scope, o.id, seq-1, 1)
	if err != nil {
		return nil, err
	}
	if len(rows) != 1 || rows[0].Seq != seq {
		return nil, o.tampered("lacks step %d", seq)
	}
	p := &pastFields{object: o, row: rows[0]}
	if p.leaf, err = ledger.ParseLeaf(p.row.Leaf.Body); err != nil {
		return nil, o.tampered("has a changed leaf of step %d", seq)
	}
	fields, err := e.store.StepFields(ctx, o.scope, o.id, seq)
	if err != nil {
		return nil, err
	}
	for _, f := range fields {
		d, err := e.openDisclosable(ctx, o, p.leaf, f)
		if err != nil {
			return nil, err
		}
		p.fields = append(p.fields, d)
	}
	return p, nil
}

func (e *Engine) openDisclosable(ctx context.Context, o *object, leaf ledger.Leaf, f store.StoredField) (disclosable, error) {
	d := disclosable{path: f.Path}
	keys, plain, err := e.openPast(ctx, o, leaf, f)
	if fault.Is(err, fault.Sealed) && f.Commitment != nil {
		d.commitment, d.erased = *f.Commitment, true
		return d, nil
	}
	if err != nil {
		return d, err
	}
	if d.value, _, err = decodeTyped(plain, f.Sealed); err != nil {
		return d, err
	}
	return d.committed(o, keys, leaf.Log, f.Seq)
}

// committed commits to the value again, and keeps the key of that.
func (d disclosable) committed(o *object, keys []envelope.Key, shard string, seq uint64) (disclosable, error) {
	prk, err := envelope.DeriveSecret(keys)
	if err != nil {
		return d, err
	}
	key, err := ledger.CommitKey(prk, shard, textID(o.id), seq, d.path)
	if err != nil {
		return d, err
	}
	d.key = ledger.Hash(key)
	d.commitment = ledger.Commit(key, ledger.EncodeField(d.path, d.value))
	return d, nil
}

// ordinary are the paths of the values that were not erased and are not about the
// step itself; what is no instance's says all that it has to say by such as begin
// with $, but for who acted.
func (p *pastFields) ordinary() []string {
	var paths []string
	for _, f := range p.fields {
		own := f.path == "$actor" || p.object.kind == store.Instance && strings.HasPrefix(f.path, "$")
		if !own && !f.erased && !f.veiled && !p.isSecret(f.path) {
			paths = append(paths, f.path)
		}
	}
	return paths
}

// isSecret reports whether a value is shown to nobody, whoever may see all else of the step.
func (p *pastFields) isSecret(path string) bool {
	return p.object.kind == store.Tenant && path == identity.SecretsField
}

// what names the step or entry in messages.
func (p *pastFields) what() string {
	if p.object.kind == entryKind {
		return "the entry"
	}
	return fmt.Sprintf("step %d", p.row.Seq)
}

func (p *pastFields) find(path string) (disclosable, bool) {
	i := slices.IndexFunc(p.fields, func(d disclosable) bool { return d.path == path })
	if i < 0 {
		return disclosable{}, false
	}
	return p.fields[i], true
}

// value returns what was written under a path, nil if nothing.
func (p *pastFields) value(path string) canon.Value {
	d, _ := p.find(path)
	return d.value
}

// disclose makes what shows one value. Its path is one among the commitments of all,
// those to erased values too.
func (p *pastFields) disclose(path string) (ledger.Disclosed, error) {
	if slices.Contains(ownPaths, path) {
		return ledger.Disclosed{}, fault.New(fault.Invalid, "%s is not disclosed as a field", path).
			WithHint("a signature is part of the evidence by itself, and what it binds is shown with each value")
	}
	if strings.HasPrefix(path, heldPrefix) {
		return ledger.Disclosed{}, fault.New(fault.Invalid, "%s is not disclosed: it holds the key of a file", path).
			WithHint("the field in which the file stands names it with its size and digest")
	}
	if p.isSecret(path) {
		return ledger.Disclosed{}, fault.New(fault.Invalid, "%s is not disclosed: it holds what proves the company to its issuers", path).
			WithHint("the field issuers says which there are")
	}
	d, ok := p.find(path)
	if !ok || d.veiled {
		text := fmt.Sprintf("%s did not write %q", p.what(), path)
		if wrote := p.ordinary(); len(wrote) > 0 {
			text += ", but " + strings.Join(wrote, ", ")
		}
		return ledger.Disclosed{}, fault.New(fault.NotFound, "%s", text).
			WithCode("no_such_field").WithHint("a value is proven by the step that wrote it: underseal instances steps lists what each one wrote")
	}
	if d.erased {
		return ledger.Disclosed{}, fault.New(fault.Sealed, "the value of %q was erased: its key is destroyed", path).WithCode("erased").
			WithHint("the step itself can still be proven, without --field")
	}
	var all []ledger.Hash
	for _, f := range p.fields {
		all = append(all, f.commitment)
	}
	proof, index, err := ledger.DataPath(all, d.commitment)
	return ledger.Disclosed{Path: path, Value: d.value, Key: d.key, Index: index, Proof: proof}, err
}

// sign adds the statement that the step was signed with, and which of the disclosed
// values the signer saw.
func (p *pastFields) sign(b *ledger.Bundle) error {
	statement, signed := p.find(statementPath)
	signature, _ := p.find(signaturePath)
	nonce, _ := p.find(noncePath)
	if !signed || statement.erased || signature.erased {
		return nil
	}
	b.Statement, b.Signature = textOf(statement.value), textOf(signature.value)
	if nonce.erased {
		return nil
	}
	said, err := ledger.ParseStatement(b.Statement)
	if err != nil {
		return p.object.tampered("has a statement at step %d that cannot be read", p.row.Seq).WithCause(err)
	}
	secret, err := ledger.ParseHash(string(textOf(nonce.value)))
	if err != nil {
		return p.object.tampered("has a nonce at step %d that cannot be read", p.row.Seq).WithCause(err)
	}
	for _, d := range b.Fields {
		b.Bindings = append(b.Bindings, said.Disclose(secret, d.Path, d.Value)...)
	}
	slices.SortFunc(b.Bindings, func(x, y ledger.Binding) int { return strings.Compare(x.Path, y.Path) })
	b.Bindings = slices.CompactFunc(b.Bindings, func(x, y ledger.Binding) bool { return x.Path == y.Path })
	return nil
}

func textOf(v canon.Value) []byte {
	text, _ := v.(canon.String)
	return []byte(text)
}

// modelOf returns the bytes of the model that a leaf names.
func (e *Engine) modelOf(ctx context.Context, o *object, def string) ([]byte, error) {
	hash, err := ledger.ParseHash(def)
	if err != nil {
		return nil, err
	}
	model, err := e.store.Resource(ctx, o.scope, hash)
	if fault.Is(err, fault.NotFound) {
		return nil, o.tampered("names a model that is not there").WithCause(err)
	}
	return model, err
}

// How long a step is waited for until a signed head covers it, and how often that is
// looked at.
const (
	sequencedWithin = 5 * time.Second
	sequencedCheck  = 100 * time.Millisecond
)

// proveBundle adds the proofs: of the leaf, of its signer's chain and of the
// platform's, and where the log's head was anchored.
func (e *Engine) proveBundle(ctx context.Context, scope store.Scope, x exhibit, anchored bool) error {
	b := x.bundle
	leaf, err := ledger.ParseLeaf(b.Leaf)
	if err != nil {
		return err
	}
	if b.Proof, b.Anchor, err = e.anchoredProof(ctx, scope, x.object, x.seq); err != nil {
		return err
	}
	if anchored && b.Anchor == nil {
		return e.notAnchored()
	}
	if leaf.Key != "" {
		if b.Chain, err = e.chainTo(ctx, scope, leaf.Key); err != nil {
			return unproven(err, "of its signer", "register another signer with a new key for what comes; --receipt gives the platform's signed word")
		}
	}
	if _, err := e.platformLinks(ctx, scope); err != nil { // makes it if there is none yet
		return err
	}
	platform, err := e.namedSigner(ctx, scope, platformName)
	if err != nil {
		return err
	}
	b.Platform, err = e.chainLinks(ctx, scope, &platform.object, platform.head.seq)
	return unproven(err, "by which the platform got its key", "restore a backup that was made some seconds after the platform's key was changed, or before; --receipt gives the platform's signed word")
}

// unproven says of which step there will be no proof, if it is not the one that was asked
// for.
func unproven(err error, which, hint string) error {
	if fault.CodeOf(err) != "log_ended" {
		return err
	}
	return fault.New(fault.NotFound, "of a step %s there is no proof, and so there is no evidence of this one: %w", which, err).WithCode("log_ended").WithHint("%s", hint)
}

// chainTo finds the signer one of whose steps has the leaf of this hash, and
// returns its chain up to there.
func (e *Engine) chainTo(ctx context.Context, scope store.Scope, newest string) ([]ledger.ChainLink, error) {
	all, err := e.allSigners(ctx, scope)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		for seq := uint64(1); seq <= s.head.seq; seq++ {
			leaf, err := e.store.Leaf(ctx, scope, s.id, seq)
			if err != nil {
				return nil, err
			}
			if hex.EncodeToString(leaf.Hash[:]) == newest {
				return e.chainLinks(ctx, scope, &s.object, seq)
			}
		}
	}
	return nil, fault.New(fault.Integrity, "no signer has the step %s that a leaf names", newest).WithCode("tampered").
		WithHint("the database was changed behind our back; underseal fsck names what is missing")
}

// chainLinks returns the first n steps of a signer, each with its proof and the key
// that counts from it on.
func (e *Engine) chainLinks(ctx context.Context, scope store.Scope, o *object, n uint64) ([]ledger.ChainLink, error) {
	var links []ledger.ChainLink
	for seq := uint64(1); seq <= n; seq++ {
		p, err := e.openStep(ctx, o, seq)
		if err != nil {
			return nil, err
		}
		key, err := p.disclose(ledger.SignerKeyPath)
		if err != nil {
			return nil, err
		}
		proof, err := e.awaitProof(ctx, scope, o.id, seq)
		if err != nil {
			return nil, err
		}
		links = append(links, ledger.ChainLink{Leaf: p.row.Leaf.Body, Proof: proof, Key: key})
	}
	return links, nil
}
