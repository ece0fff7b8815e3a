package engine

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// objectPart looks at all that the database holds of some objects: leaves against
// places in logs, objects by all that they consist of, and rows of none.
func (c *Check) objectPart(ctx context.Context) error {
	after, err := c.afterObject()
	if err != nil {
		return err
	}
	r, err := c.e.store.NextRange(ctx, c.scope, after, c.part)
	if err != nil {
		return err
	}
	leaves, err := c.places(ctx, r)
	if err != nil {
		return err
	}
	if err := c.heads(ctx, r, leaves); err != nil {
		return err
	}
	if err := c.entries(ctx, leaves); err != nil {
		return err
	}
	strays, err := c.e.store.StraysIn(ctx, c.scope, r, maxFindings)
	if err != nil {
		return err
	}
	for _, s := range strays {
		c.add(Finding{Kind: FoundStray, Object: store.TextOf(s.Object), Where: s.Table, What: fmt.Sprintf("row %d belongs to nothing that is there", s.Seq)})
	}
	c.State.Rows += uint64(len(leaves))
	if c.State.After = textID(r.Upto); r.Last() {
		c.State.Phase, c.State.After = phaseRequests, ""
	}
	return nil
}

func (c *Check) afterObject() (store.ID, error) {
	if c.State.After == "" {
		return store.ID{}, nil
	}
	return store.ParseID(c.State.After)
}

// places merges the leaves of a range with their places in logs: each leaf has one,
// but for the newest, and each place its leaf.
func (c *Check) places(ctx context.Context, r store.Range) ([]store.LeafPlace, error) {
	leaves, err := c.e.store.LeavesIn(ctx, c.scope, r)
	if err := c.unread("leaves", err); err != nil {
		return nil, err
	}
	entries, err := c.e.store.EntriesIn(ctx, c.scope, r)
	if err := c.unread("log_entries", err); err != nil {
		return nil, err
	}
	rest := entries
	for _, leaf := range leaves {
		for len(rest) > 0 && comparePlaces(rest[0], leaf) < 0 {
			rest = c.withoutLeaf(rest)
		}
		n := 0
		for n < len(rest) && comparePlaces(rest[n], leaf) == 0 {
			n++
		}
		if err := c.placesOf(ctx, leaf, rest[:n]); err != nil {
			return nil, err
		}
		rest = rest[n:]
	}
	for len(rest) > 0 {
		rest = c.withoutLeaf(rest)
	}
	return leaves, nil
}

func comparePlaces(a, b store.LeafPlace) int {
	if n := bytes.Compare(a.Object[:], b.Object[:]); n != 0 {
		return n
	}
	return cmp.Compare(int64(a.Seq), int64(b.Seq)) // as the database orders them: others may write negative ones
}

// withoutLeaf names a place whose leaf is gone.
func (c *Check) withoutLeaf(entries []store.LeafPlace) []store.LeafPlace {
	e := entries[0]
	c.add(Finding{
		Kind: FoundLeaf, Object: textID(e.Object), Step: e.Seq, Index: &e.Index, Where: "leaves",
		What: fmt.Sprintf("the leaf is gone: it has place %d in log %d", e.Index, e.Shard),
	})
	return entries[1:]
}

func (c *Check) placesOf(ctx context.Context, leaf store.LeafPlace, places []store.LeafPlace) error {
	if len(places) == 1 {
		return nil
	}
	what := fmt.Sprintf("the leaf has %d places in the logs", len(places))
	if len(places) == 0 {
		pending, err := c.e.store.Pending(ctx, c.scope, leaf.Object, leaf.Seq)
		if err != nil {
			return err
		}
		if pending {
			return c.pendingLeaf(ctx, leaf)
		}
		what = "the leaf has no place in a log, and later ones have"
	}
	c.tampered(FoundLeaf, "log_entries", leaf.Object, leaf.Seq, "%s", what)
	return nil
}

// pendingLeaf requires that a leaf which is to get a place was made by a server, and was
// not changed: else it stops the log.
func (c *Check) pendingLeaf(ctx context.Context, place store.LeafPlace) error {
	leaf, err := c.e.store.Leaf(ctx, c.scope, place.Object, place.Seq)
	if err != nil {
		return c.unread("leaves", err)
	}
	genuine, err := c.genuine(ctx)
	if err != nil {
		return err
	}
	if int64(place.Seq) < 0 || ledger.LeafHash(leaf.Body) != ledger.Hash(leaf.Hash) || !genuine(place.Object, place.Seq, leaf) {
		c.tampered(FoundLeaf, "leaves", place.Object, place.Seq, "the leaf has no place in a log yet, and was changed or made by no server: it gets none")
	}
	return nil
}

// heads checks the objects of a range, and that each object with steps has a head.
func (c *Check) heads(ctx context.Context, r store.Range, leaves []store.LeafPlace) error {
	heads, err := c.e.store.HeadsIn(ctx, c.scope, r)
	if err := c.unread("heads", err); err != nil {
		return err
	}
	with := map[store.ID]bool{}
	for _, head := range heads {
		with[head.Object] = true
		if err := c.still(ctx, head); err != nil {
			return err
		}
	}
	for i, leaf := range leaves {
		if first := i == 0 || leaves[i-1].Object != leaf.Object; first && leaf.Seq > 0 && !with[leaf.Object] {
			c.tampered(FoundObject, "heads", leaf.Object, 0, "the object has leaves and no head")
		}
	}
	return nil
}

// looksAtOnce is how often an object is looked at that steps come in between of.
const looksAtOnce = 16

// still checks one object. It is read by many statements, and a step that comes in between
// makes what fits look as if it did not, the second time as well where steps are many. So
// what is found counts if the object stood still meanwhile. One that never does is told of
// all the same: no number of steps hides anything.
func (c *Check) still(ctx context.Context, head store.HeadRow) error {
	before := len(c.found)
	for look := 1; ; look++ {
		err := c.object("heads", head.Object, c.checkObject(ctx, head))
		if err != nil || len(c.found) == before || look == looksAtOnce {
			return err
		}
		now, err := c.e.store.Load(ctx, c.scope, head.Object)
		if malformed(err) || fault.Is(err, fault.NotFound) {
			return nil // it was named
		}
		if err != nil || now.Seq == head.Seq {
			return err
		}
		head.Seq, c.found = now.Seq, c.found[:before]
	}
}

// checkObject checks one object by everything it consists of.
func (c *Check) checkObject(ctx context.Context, head store.HeadRow) error {
	switch {
	case c.withoutKeys:
		return c.bareObject(ctx, head)
	case head.Kind == store.Instance:
		return c.instance(ctx, head.Object)
	case head.Kind == store.Definition:
		return c.definition(ctx, head.Object)
	case head.Kind == store.Custody:
		return c.custody(ctx, head.Object)
	case head.Kind == store.Principal || head.Kind == store.Group || head.Kind == store.Tenant:
		return c.dossier(ctx, head)
	}
	o, err := c.e.load(ctx, c.scope, head.Object, head.Kind)
	if err != nil {
		return err
	}
	if _, err := c.e.values(ctx, o); err != nil {
		return err
	}
	return c.past(ctx, o)
}

// past checks all steps of an object and the tokens of requests that they left.
func (c *Check) past(ctx context.Context, o *object) error {
	if _, err := c.e.history(ctx, o); err != nil {
		return err
	}
	return c.requestsOf(ctx, o)
}

func (c *Check) instance(ctx context.Context, id store.ID) error {
	live, err := c.e.Open(ctx, c.scope, id)
	if fault.Is(err, fault.Sealed) {
		return c.erased(ctx, id)
	}
	if err != nil {
		return err
	}
	err = c.past(ctx, &live.object)
	if fault.Is(err, fault.Sealed) { // a key is gone that goes with the others
		return c.erased(ctx, id)
	}
	if err != nil {
		return err
	}
	if err := c.files(ctx, live); err != nil {
		return err
	}
	return c.tokens(ctx, live)
}

// erased checks what is left of an erased instance. While it is being erased, its
// plan is beside the keys, and nothing is required.
func (c *Check) erased(ctx context.Context, id store.ID) error {
	if err := c.e.checkStruck(ctx, c.scope, id); err != nil {
		return err
	}
	o := &object{scope: c.scope, id: id, kind: store.Instance}
	custodyID, err := c.e.instanceCustody(ctx, c.scope, id)
	if err != nil {
		return err
	}
	cu, err := c.e.openCustody(ctx, c.scope, custodyID)
	if err != nil {
		return err
	}
	if cu.outcome.Gone == nil {
		if p, err := c.e.storedPlan(ctx, c.scope, custodyID); err != nil || p != nil {
			return err
		}
		return o.tampered("has no key, and nobody ordered that")
	}
	left, err := c.leftOf(ctx, cu, id)
	for _, what := range left {
		c.tampered(FoundObject, "fields", id, 0, "%s", what)
	}
	return err
}

// leftOf returns what should not be left of an erased instance.
func (c *Check) leftOf(ctx context.Context, cu *custody, id store.ID) ([]string, error) {
	var check api.ErasureCheck
	if err := c.e.tryInstance(ctx, c.scope, id, cu.outcome.Gone, &check); err != nil {
		return nil, err
	}
	files, err := c.e.store.Files(ctx, c.scope, id)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		check.Findings = append(check.Findings, fmt.Sprintf("file %s is listed", fileName(f.Blob)))
	}
	tokens, err := c.e.store.CountTokens(ctx, c.scope, nil, id)
	if err != nil {
		return nil, err
	}
	if tokens > 0 {
		check.Findings = append(check.Findings, fmt.Sprintf("%d index tokens are there", tokens))
	}
	return check.Findings, nil
}

// definition checks a definition, its files, and its row in the list.
func (c *Check) definition(ctx context.Context, id store.ID) error {
	d, err := c.e.openDefinition(ctx, c.scope, id)
	if err != nil {
		return err
	}
	row, err := c.e.store.Definition(ctx, c.scope, d.head.process, d.head.version)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if err != nil || row.ID != id || !d.equalRow(row.DefinitionRow) {
		return d.changedIn("definitions", "has a changed or missing row in the list of processes")
	}
	return c.requestsOf(ctx, &d.object)
}

// custody checks a custody, its row, its plan, and that the keys it destroyed are.
func (c *Check) custody(ctx context.Context, id store.ID) error {
	cu, err := c.e.openCustody(ctx, c.scope, id)
	if err != nil {
		return err
	}
	row, err := c.e.store.Custody(ctx, c.scope, id)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if err != nil || !cu.equalRow(row.CustodyRow) {
		return cu.changedIn("custodies", "has a changed or missing row in the list of holds and erasures")
	}
	if err := c.destroyed(ctx, cu); err != nil {
		return err
	}
	return c.requestsOf(ctx, &cu.object)
}

// destroyed requires that no key of an erasure is there any more, and that its plan
// is: without that, restored data would not be erased again.
func (c *Check) destroyed(ctx context.Context, cu *custody) error {
	if len(cu.keys) == 0 {
		return nil
	}
	plan, err := c.e.storedPlan(ctx, c.scope, cu.id)
	if err != nil {
		return err
	}
	back := func(what string) {
		c.add(Finding{Kind: FoundKeys, Object: textID(cu.id), Where: "erasures", What: what, Do: "restart the server, which erases again what was put back; " + doKeys})
	}
	if plan == nil {
		back("the plan of an erasure that was carried out is gone")
	}
	for _, key := range cu.keys {
		switch _, err := c.e.ring.Key(ctx, c.scope.Tenant(), key); {
		case err == nil || fault.Is(err, fault.Integrity):
			back(fmt.Sprintf("key %s was destroyed and is there", key))
		case !fault.Is(err, fault.Sealed) && !fault.Is(err, fault.NotFound):
			return err
		}
	}
	owned, err := c.e.ownedAgain(ctx, c.scope, cu.target, cu.keys)
	if owned {
		back("a destroyed key is called the person's")
	}
	return err
}

// entriesAtOnce is how many leaves of no object are read with their fields at once.
const entriesAtOnce = 256

// entries checks the leaves of no object. Those that no object stands between are read
// together.
func (c *Check) entries(ctx context.Context, leaves []store.LeafPlace) error {
	for len(leaves) > 0 {
		n := 0
		for n < min(len(leaves), entriesAtOnce) && leaves[n].Seq == 0 {
			n++
		}
		if n == 0 {
			leaves = leaves[1:]
			continue
		}
		if err := c.entriesTogether(ctx, leaves[:n]); err != nil {
			return err
		}
		leaves = leaves[n:]
	}
	return nil
}

// entriesTogether checks leaves that follow each other. If one of them cannot be read,
// each is by itself.
func (c *Check) entriesTogether(ctx context.Context, leaves []store.LeafPlace) error {
	rows, err := c.e.store.EntriesBetween(ctx, c.scope, leaves[0].Object, leaves[len(leaves)-1].Object)
	if malformed(err) {
		rows = nil
	} else if err != nil {
		return err
	}
	for _, leaf := range leaves {
		for len(rows) > 0 && bytes.Compare(rows[0].ID[:], leaf.Object[:]) < 0 {
			rows = rows[1:] // it came meanwhile
		}
		if len(rows) > 0 && rows[0].ID == leaf.Object {
			err = c.entry(ctx, rows[0])
		} else {
			err = c.entryAlone(ctx, leaf.Object)
		}
		if err := c.object("leaves", leaf.Object, err); err != nil {
			return err
		}
	}
	return nil
}

func (c *Check) entryAlone(ctx context.Context, id store.ID) error {
	row, err := c.e.store.Entry(ctx, c.scope, id)
	if err != nil {
		return err
	}
	return c.entry(ctx, row)
}

func (c *Check) entry(ctx context.Context, row store.Entry) error {
	if c.withoutKeys {
		return c.bareEntry(row)
	}
	past, err := c.e.checkEntry(ctx, c.scope, row)
	if err == nil && past.value("$actor") == nil {
		o := object{scope: c.scope, id: row.ID, kind: entryKind}
		return o.tampered("says nothing of who acted: it is not ours")
	}
	if err != nil || past.leaf.Kind != readerCreated && past.leaf.Kind != readerRevoked {
		return err
	}
	return c.reader(ctx, past)
}

// reader requires that the reader of the log whom an entry is about has a row, and that
// it says what the log does.
func (c *Check) reader(ctx context.Context, past *pastFields) error {
	text, _ := past.value("$reader").(canon.String)
	id, err := store.ParseID(string(text))
	if err != nil {
		return err
	}
	row, err := c.e.store.ReaderByID(ctx, c.scope, id)
	if fault.Is(err, fault.NotFound) {
		c.tampered(FoundObject, "readers", id, 0, "the row of a reader of the log is gone")
		return nil
	}
	if err != nil {
		return err
	}
	_, err = c.e.openReader(ctx, c.scope, row)
	return c.object("readers", id, err)
}

// bareEntry checks what needs no key.
func (c *Check) bareEntry(row store.Entry) error {
	o := &object{scope: c.scope, id: row.ID, kind: entryKind}
	leaf, err := ledger.ParseLeaf(row.Leaf.Body)
	if err != nil || ledger.LeafHash(row.Leaf.Body) != row.Leaf.Hash {
		return o.tampered("has a changed leaf")
	}
	var sealed [][]byte
	for _, f := range row.Fields {
		sealed = appendHashed(sealed, f.Sealed, f.Value, f.Commitment)
	}
	if leaf.N != len(row.Fields) || ledger.RowsHash(nil, sealed) != leaf.Rows {
		return o.tampered("has rows that its leaf does not commit to")
	}
	return nil
}

// bareObject checks what needs no key: the chain of leaves, records, sealed bytes.
func (c *Check) bareObject(ctx context.Context, head store.HeadRow) error {
	o := &object{scope: c.scope, id: head.Object, kind: head.Kind}
	var prev ledger.Hash
	for seq := uint64(0); ; {
		rows, err := c.e.store.Steps(ctx, c.scope, head.Object, seq, historyBatch)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if seq++; row.Seq != seq {
				return o.changedIn("steps", "lacks step %d", seq)
			}
			if prev, err = c.bareStep(ctx, o, row, prev); err != nil {
				return err
			}
		}
		if len(rows) < historyBatch {
			if seq != head.Seq {
				return o.changedIn("steps", "has %d steps and a head of step %d", seq, head.Seq)
			}
			return nil
		}
	}
}

func (c *Check) bareStep(ctx context.Context, o *object, row store.StepRow, prev ledger.Hash) (ledger.Hash, error) {
	leaf, err := o.chained(row, prev)
	if err != nil {
		return prev, err
	}
	fields, err := c.e.store.StepFields(ctx, c.scope, o.id, row.Seq)
	if err != nil {
		return prev, err
	}
	var sealed [][]byte
	for _, f := range fields {
		sealed = appendHashed(sealed, f.Sealed, f.Value, f.Commitment)
	}
	if ledger.RowsHash(row.Body, sealed) != leaf.Rows || len(fields) > leaf.N {
		return prev, o.changedIn("steps", "has changed rows of step %d", row.Seq)
	}
	return row.Leaf.Hash, nil
}

// files compares an instance's files with their rows, sizes included.
func (c *Check) files(ctx context.Context, live *Live) error {
	rows, err := c.e.store.Files(ctx, c.scope, live.id)
	if err != nil {
		return err
	}
	ids := live.head.files()
	for _, row := range rows {
		if !slices.Contains(ids, row.Blob) {
			c.tampered(FoundStray, "files", live.id, 0, "file %s is listed, and the instance does not have it", fileName(row.Blob))
			continue
		}
		f, err := c.e.openFile(ctx, live, row.Blob)
		erased := fault.Is(err, fault.Sealed)
		if err != nil && !erased {
			return err
		}
		other := !erased && f.size != row.Size
		if erased && row.Size != 0 { // unless it is being erased: the keys go first
			under, err := c.e.beingErased(ctx, live, row.Blob)
			if err != nil {
				return err
			}
			other = !under
		}
		if other {
			c.tampered(FoundObject, "files", live.id, 0, "file %s is listed with %d bytes, and has another size", fileName(row.Blob), row.Size)
		}
		if erased {
			continue
		}
		if err := c.there(ctx, live, f); err != nil {
			return err
		}
	}
	return nil
}

// beingErased reports whether a file is under a key that is destroyed by an erasure which
// is under way: its plan is beside the keys, and its custody does not say yet that the keys
// are gone.
func (e *Engine) beingErased(ctx context.Context, live *Live, file store.ID) (bool, error) {
	f, ok := live.head.field(filePath(file))
	rows, err := e.store.Erasures(ctx, live.scope)
	if err != nil || !ok {
		return false, err
	}
	for _, row := range rows {
		p, err := e.openPlan(ctx, live.scope, row)
		if malformed(err) {
			continue // is named with the plans
		}
		if err != nil {
			return false, err
		}
		if !live.head.under(f, p.keys) {
			continue
		}
		c, err := e.openCustody(ctx, live.scope, row.Object)
		if err != nil {
			return false, err
		}
		if !c.order.At.Equal(p.Order.At) || c.order.State == orderPending {
			return true, nil
		}
	}
	return false, nil
}

// recordOf reads a step's clear record.
func recordOf(o *object, row store.StepRow) (*canon.Context, error) {
	value, err := canon.Decode(row.Body)
	record, ok := value.(*canon.Context)
	if err != nil || !ok {
		return nil, o.changedIn("steps", "has a malformed record of step %d", row.Seq)
	}
	return record, nil
}
