package engine

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// ErasureReceipt says what an erasure did, with the steps that attest it.
func (e *Engine) ErasureReceipt(ctx context.Context, c Caller, id string) (api.ErasureReceipt, error) {
	return readNow(ctx, e, c, func(c Caller) (api.ErasureReceipt, error) { return e.erasureReceiptAs(ctx, c, id) })
}

func (e *Engine) erasureReceiptAs(ctx context.Context, c Caller, id string) (r api.ErasureReceipt, err error) {
	if err := e.may(ctx, c, access.ReadErasure, "erasure", id); err != nil {
		return api.ErasureReceipt{}, err
	}
	var object store.ID
	err = e.undisturbed(c.Scope, func() error {
		r, object, err = e.erasureReceipt(ctx, c.Scope, id)
		return err
	})
	if err == nil {
		err = e.tellShown(ctx, c, dataShown, "user", shown{object: object, paths: []string{"$actor", "order", "outcome"}})
	}
	if err != nil {
		return api.ErasureReceipt{}, err
	}
	return r, nil
}

// erasureReceipt reads a receipt, which is of the custody with the id that it returns.
func (e *Engine) erasureReceipt(ctx context.Context, scope store.Scope, id string) (r api.ErasureReceipt, of store.ID, err error) {
	cu, err := e.namedCustody(ctx, scope, id)
	if err != nil {
		return r, of, err
	}
	if cu.order.State == orderNone {
		return r, of, noSuch("erasure", id)
	}
	r = api.ErasureReceipt{Erasure: cu.wire(), Keys: []string{}, Instances: cu.outcome.Instances, Tokens: cu.outcome.Tokens, Files: cu.outcome.Files}
	for _, key := range cu.keys {
		r.Keys = append(r.Keys, key.String())
	}
	if r.Steps, err = e.history(ctx, &cu.object); err != nil {
		return r, of, err
	}
	if done := cu.outcome.Completed; !done.IsZero() {
		r.UnreadableFrom, r.EverywhereFrom = &done, timeOrNil(cu.outcome.Until)
	}
	ends, err := e.epochs(ctx, scope)
	if err != nil {
		return r, of, err
	}
	return r, cu.id, e.sayEnd(ctx, scope, ends, &r)
}

// sayEnd tells a receipt of the end of its epoch. One that came late moves the date,
// and one that is overdue is said: until then backups open.
func (e *Engine) sayEnd(ctx context.Context, scope store.Scope, ends *custody, r *api.ErasureReceipt) (err error) {
	if r.UnreadableFrom == nil {
		r.Note, err = e.formerNote(ctx, scope, ends)
		return err
	}
	if end := ends.endOf(*r.UnreadableFrom); end != nil {
		r.EpochEnded, r.Note = &end.Ended, end.Note
		if end.Ended.After(*r.EverywhereFrom) {
			r.EverywhereFrom = &end.Ended
		}
		return nil
	}
	if r.Note, err = e.formerNote(ctx, scope, ends); err == nil && e.moment().After(*r.EverywhereFrom) {
		late := "the end of the epoch, due " + toSecond(*r.EverywhereFrom) + ", has not come yet: until then backups open"
		r.EverywhereFrom = nil
		r.Note = strings.TrimSuffix(late+"; "+r.Note, "; ")
	}
	return err
}

// verifyBatch is how many field versions one call of VerifyErasure looks at.
const verifyBatch = 2000

// VerifyErasure tries to read what was erased: every sealed field version of the
// tenant that names a destroyed key, part after part, and with the last part all that
// an erased instance left. Whatever can be read is a finding.
func (e *Engine) VerifyErasure(ctx context.Context, c Caller, id string, r api.ErasureCheckRequest) (api.ErasureCheck, error) {
	return readNow(ctx, e, c, func(c Caller) (api.ErasureCheck, error) { return e.verifyErasureAs(ctx, c, id, r) })
}

func (e *Engine) verifyErasureAs(ctx context.Context, c Caller, id string, r api.ErasureCheckRequest) (api.ErasureCheck, error) {
	if err := e.may(ctx, c, access.VerifyErasure, "erasure", id); err != nil {
		return api.ErasureCheck{}, err
	}
	var cu *custody
	err := e.undisturbed(c.Scope, func() (err error) {
		cu, err = e.namedCustody(ctx, c.Scope, id)
		return err
	})
	if err != nil {
		return api.ErasureCheck{}, err
	}
	if cu.order.State != orderDone && len(cu.keys) == 0 {
		return api.ErasureCheck{}, fault.New(fault.Conflict, "erasure %s is %s: there is nothing to verify yet", id, cu.order.State).WithCode("not_erased").
			WithHint("it is verified once `underseal erase list` says done")
	}
	after, err := parseFieldCursor(r.After)
	if err != nil {
		return api.ErasureCheck{}, err
	}
	rows, err := e.store.SealedFields(ctx, c.Scope, after, verifyBatch)
	if err != nil {
		return api.ErasureCheck{}, err
	}
	check := api.ErasureCheck{Fields: len(rows)}
	for _, row := range rows {
		if err := e.tryField(ctx, c.Scope, cu.keys, row, &check); err != nil {
			return api.ErasureCheck{}, err
		}
	}
	if len(rows) == verifyBatch {
		last := rows[len(rows)-1]
		check.Next = fieldCursor(last.Object, last.Seq, last.Path)
		return check, nil
	}
	return check, e.tryRest(ctx, c.Scope, cu, &check)
}

func fieldCursor(object store.ID, seq uint64, path string) string {
	return fmt.Sprintf("%s.%d.%s", textID(object), seq, path)
}

func parseFieldCursor(text string) (store.FieldCursor, error) {
	if text == "" {
		return store.FieldCursor{}, nil
	}
	object, rest, _ := strings.Cut(text, ".")
	number, path, ok := strings.Cut(rest, ".")
	id, err := store.ParseID(object)
	seq, err2 := strconv.ParseUint(number, 10, 63)
	if !ok || err != nil || err2 != nil {
		return store.FieldCursor{}, badCursor(text)
	}
	return store.FieldCursor{Object: id, Seq: seq, Path: path}, nil
}

// tryField tries to get the keys that a field's envelope names, if one of them was
// destroyed, or may be in a layer below. No key, no value.
func (e *Engine) tryField(ctx context.Context, scope store.Scope, destroyed []envelope.KeyID, row store.PlacedField, check *api.ErasureCheck) error {
	ids, err := envelope.KeyIDs(row.Value)
	if err != nil {
		o := object{scope: scope, id: row.Object, kind: "object"}
		return o.tampered("has a sealed field %q of step %d that is none", row.Path, row.Seq).WithCause(err)
	}
	named := slices.ContainsFunc(ids, func(id envelope.KeyID) bool { return slices.Contains(destroyed, id) })
	if !named && len(ids) <= personsPerLayer {
		return nil
	}
	for _, id := range ids {
		switch _, err := e.ring.Key(ctx, scope.Tenant(), id); {
		case fault.Is(err, fault.Sealed) || fault.Is(err, fault.NotFound):
			if named {
				check.Erased++
			}
			return nil
		case err != nil:
			return err
		}
	}
	return e.tryLayers(ctx, scope, destroyed, row, named, check)
}

// tryLayers opens a field whose outermost keys are all there.
func (e *Engine) tryLayers(ctx context.Context, scope store.Scope, destroyed []envelope.KeyID, row store.PlacedField, named bool, check *api.ErasureCheck) error {
	o, err := e.load(ctx, scope, row.Object, store.Instance)
	if err != nil {
		return err
	}
	steps, err := e.store.Steps(ctx, scope, row.Object, row.Seq-1, 1)
	if err != nil || len(steps) == 0 {
		return err
	}
	leaf, err := ledger.ParseLeaf(steps[0].Leaf.Body)
	if err != nil {
		return err
	}
	keys, _, err := e.openNamed(ctx, o, leaf.Log, row.Path, row.Seq, row.Value)
	if fault.Is(err, fault.Sealed) {
		check.Erased++
		return nil
	}
	within := slices.ContainsFunc(keys, func(k envelope.Key) bool { return slices.Contains(destroyed, k.ID) })
	if named || within {
		check.Findings = append(check.Findings, fmt.Sprintf("field %s of step %d of %s opens", row.Path, row.Seq, textID(row.Object)))
	}
	return err
}

// tryRest looks for what is left besides sealed fields.
func (e *Engine) tryRest(ctx context.Context, scope store.Scope, c *custody, check *api.ErasureCheck) error {
	for _, id := range c.keys {
		switch _, err := e.ring.Key(ctx, scope.Tenant(), id); {
		case err == nil:
			check.Findings = append(check.Findings, fmt.Sprintf("key %s is there", id))
		case !fault.Is(err, fault.Sealed) && !fault.Is(err, fault.NotFound):
			return err
		}
	}
	var instance store.ID
	var err error
	if c.target.Kind == targetInstance {
		if instance, err = parseInstanceID(c.target.Instance); err != nil {
			return err
		}
	}
	tokens, err := e.store.CountTokens(ctx, scope, storeIDs(c.keys), instance)
	if err != nil {
		return err
	}
	if tokens > 0 {
		check.Findings = append(check.Findings, fmt.Sprintf("%d index tokens are there", tokens))
	}
	owned, err := e.ownedAgain(ctx, scope, c.target, c.keys)
	if err != nil {
		return err
	}
	if owned {
		check.Findings = append(check.Findings, "a destroyed key is called the person's")
	}
	files, err := e.filesUnder(ctx, scope, c.keys)
	if err != nil {
		return err
	}
	for _, id := range files {
		if err := e.tryFile(ctx, scope, id, check); err != nil {
			return err
		}
	}
	if c.target.Kind != targetInstance || c.outcome.Gone == nil {
		return nil
	}
	if err := e.checkStruck(ctx, scope, instance); err != nil {
		return err
	}
	return e.tryInstance(ctx, scope, instance, c.outcome.Gone, check)
}

// tryFile looks for what is left of an erased file: its bytes, and the upload that it came
// from, with the key that these were sealed under first.
func (e *Engine) tryFile(ctx context.Context, scope store.Scope, id store.ID, check *api.ErasureCheck) error {
	find := func(text string) {
		finding := fmt.Sprintf(text, fileName(id))
		if !slices.Contains(check.Findings, finding) { // several steps may write about one file
			check.Findings = append(check.Findings, finding)
		}
	}
	if there, err := e.hasBlob(ctx, scope, id); err != nil {
		return err
	} else if there {
		find("the bytes of file %s are there")
	}
	row, err := e.store.Upload(ctx, scope, id)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	switch _, err := e.ring.Key(ctx, scope.Tenant(), envelope.KeyID(row.Key)); {
	case err == nil:
		find("the upload of file %s is there, with its key")
	case fault.Is(err, fault.Sealed) || fault.Is(err, fault.NotFound):
		find("the upload of file %s is there")
	default:
		return err
	}
	return nil
}

// hasBlob reports whether the bytes of a file are there. A check of a database alone has
// no store to look into.
func (e *Engine) hasBlob(ctx context.Context, scope store.Scope, id store.ID) (bool, error) {
	if e.blobs == nil {
		return false, nil
	}
	reader, err := e.blobs.Open(ctx, scope.Tenant(), blob.ID(id))
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, reader.Close()
}

// tryInstance checks what is left of an erased instance: no clear value, no head, no file, and
// a chain of leaves that agrees with the sealed bytes and ends where it did.
func (e *Engine) tryInstance(ctx context.Context, scope store.Scope, id store.ID, last *lastState, check *api.ErasureCheck) error {
	o := &object{scope: scope, id: id, kind: store.Instance}
	row, err := e.store.Load(ctx, scope, id)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if err != nil || row.Kind != store.Instance || row.Seq != last.Seq || len(row.Head) > 0 {
		return o.tampered("was erased, and its head is not the empty one that was left")
	}
	var prev ledger.Hash
	for seq := uint64(0); ; {
		rows, err := e.store.Steps(ctx, scope, id, seq, historyBatch)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if seq++; row.Seq != seq {
				return o.changedIn("steps", "lacks step %d", seq)
			}
			if prev, err = e.tryStep(ctx, o, row, prev, check); err != nil {
				return err
			}
		}
		if len(rows) < historyBatch {
			break
		}
	}
	if uint64(check.Leaves) != last.Seq || hex.EncodeToString(prev[:]) != last.Leaf {
		return o.changedIn("steps", "had %d steps when it was erased and has %d", last.Seq, check.Leaves)
	}
	return nil
}

// tryStep checks what can be checked of a step without keys, and returns the hash of
// its leaf.
func (e *Engine) tryStep(ctx context.Context, o *object, row store.StepRow, prev ledger.Hash, check *api.ErasureCheck) (ledger.Hash, error) {
	leaf, err := o.chained(row, prev)
	if err != nil {
		return prev, err
	}
	fields, err := e.store.StepFields(ctx, o.scope, o.id, row.Seq)
	if err != nil {
		return prev, err
	}
	var sealed [][]byte
	for _, f := range fields {
		if !f.Sealed {
			check.Findings = append(check.Findings, fmt.Sprintf("field %s of step %d of %s is there in clear", f.Path, f.Seq, textID(o.id)))
		}
		sealed = appendHashed(sealed, f.Sealed, f.Value, f.Commitment)
		if id, ok := heldFile(f.Path); ok {
			if err := e.tryFile(ctx, o.scope, id, check); err != nil {
				return prev, err
			}
		}
	}
	if ledger.RowsHash(row.Body, sealed) != leaf.Rows {
		return prev, o.changedIn("steps", "has changed rows of step %d", row.Seq)
	}
	check.Leaves++
	return row.Leaf.Hash, nil
}
