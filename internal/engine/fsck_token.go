package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

// requestMark is what a step's record keeps of the token that its request left: who
// takes the row away could have the request carried out twice.
func requestMark(token [32]byte, print []byte) string {
	sum := sha256.Sum256(slices.Concat(token[:], print))
	return hex.EncodeToString(token[:16]) + hex.EncodeToString(sum[:8])
}

const requestName = "request"

// marked adds to a step's record the marks of the requests among its tokens.
func marked(record *canon.Context, tokens []store.Token) *canon.Context {
	for _, t := range tokens {
		if t.Kind == store.IdempotencyToken {
			record = record.With(requestName, canon.String(requestMark(t.Token, t.Print)))
		}
	}
	return record
}

// requestsOf requires that each request which left its mark in a step's record has
// its token.
func (c *Check) requestsOf(ctx context.Context, o *object) error {
	for after := uint64(0); ; {
		rows, err := c.e.store.Steps(ctx, c.scope, o.id, after, historyBatch)
		if err != nil {
			return err
		}
		for _, row := range rows {
			after = row.Seq
			if err := c.requestOf(ctx, o, row); err != nil {
				return err
			}
		}
		if len(rows) < historyBatch {
			return nil
		}
	}
}

func (c *Check) requestOf(ctx context.Context, o *object, row store.StepRow) error {
	mark, err := markOf(o, row)
	if err != nil || mark == "" {
		return err
	}
	prefix, err := hex.DecodeString(mark[:32])
	if err != nil {
		return o.changedIn("steps", "has a malformed record of step %d", row.Seq)
	}
	found, err := c.e.store.RequestsLike(ctx, c.scope, prefix)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(found, func(r store.RequestRow) bool {
		return r.Kind == store.IdempotencyToken && r.Object == o.id && r.Seq == row.Seq && requestMark(r.Token, r.Print) == mark
	}) {
		c.tampered(FoundToken, "unique_tokens", o.id, row.Seq, "the token of the step's request is gone: repeated, the request would be carried out again")
	}
	return nil
}

// markOf returns the mark of the request that a step's record has; "": none.
func markOf(o *object, row store.StepRow) (string, error) {
	if !bytes.Contains(row.Body, []byte(requestName)) { // most have none
		return "", nil
	}
	record, err := recordOf(o, row)
	if err != nil {
		return "", err
	}
	value, _ := record.Get(requestName)
	mark, _ := value.(canon.String)
	if mark != "" && len(mark) != 48 {
		return "", o.changedIn("steps", "has a malformed record of step %d", row.Seq)
	}
	return string(mark), nil
}

// requestPart requires of some tokens of requests that their steps know of them.
func (c *Check) requestPart(ctx context.Context) error {
	var after store.RequestRow
	if c.State.After != "" {
		data, err := hex.DecodeString(c.State.After)
		if err != nil || len(data) != 33 {
			return badCursor(c.State.After)
		}
		after.Kind, after.Token = store.TokenKind(data[0]), [32]byte(data[1:])
	}
	rows, err := c.e.store.Requests(ctx, c.scope, after, c.part)
	whole := err == nil
	if err := c.unread("unique_tokens", err); err != nil {
		return err
	}
	for _, row := range rows {
		if err := c.known(ctx, row); err != nil {
			return err
		}
	}
	c.State.Rows += uint64(len(rows))
	if len(rows) == 0 || whole && len(rows) < c.part {
		c.State.Phase, c.State.After = phaseRest, ""
		return nil
	}
	last := rows[len(rows)-1]
	c.State.After = hex.EncodeToString(append([]byte{byte(last.Kind)}, last.Token[:]...))
	return nil
}

func (c *Check) known(ctx context.Context, r store.RequestRow) error {
	o := &object{scope: c.scope, id: r.Object, kind: "object"}
	steps, err := c.e.store.Steps(ctx, c.scope, r.Object, r.Seq-1, 1)
	if err != nil {
		return err
	}
	mark := ""
	if len(steps) == 1 && steps[0].Seq == r.Seq {
		if mark, err = markOf(o, steps[0]); err != nil {
			return c.object("steps", r.Object, err)
		}
	}
	if r.Kind != store.IdempotencyToken || mark != requestMark(r.Token, r.Print) {
		c.tampered(FoundToken, "unique_tokens", r.Object, r.Seq, "a token of a request leads to a step that knows nothing of it")
	}
	return nil
}

// tokens requires that an instance can be found by everything that it is to be found
// by: its business key, its searchable fields, and the persons it is about.
func (c *Check) tokens(ctx context.Context, l *Live) error {
	rows, err := c.e.store.ObjectTokens(ctx, c.scope, l.id)
	if err != nil {
		return err
	}
	keys, err := c.e.ring.IndexKeys(ctx, c.scope.Tenant())
	if err != nil {
		return err
	}
	terms, err := c.e.terms(ctx, l, keys)
	if err != nil {
		return err
	}
	for _, w := range terms {
		if !slices.ContainsFunc(rows, w.finds) {
			c.tampered(FoundToken, "tokens", l.id, w.seq, "an index token is gone: a search for %s does not find the instance", w.what)
		}
	}
	for _, p := range l.head.persons {
		w := foundBy{kind: store.SubjectToken, tokens: [][32]byte{p.token}, key: store.ID(l.head.keys[p.key])}
		if p.token != [32]byte{} && !slices.ContainsFunc(rows, w.finds) {
			c.tampered(FoundToken, "tokens", l.id, 0, "an index token is gone: a search for the person of %s does not find the instance", p.path)
		}
	}
	c.businessKeys(l, rows, terms)
	return c.meetings(ctx, l, rows)
}

// businessKeys requires that each token of a business key is of the one that the
// instance has, which never changes.
func (c *Check) businessKeys(l *Live, rows []store.PlacedToken, terms []foundBy) {
	for _, r := range rows {
		known := func(w foundBy) bool { return w.kind == r.Kind && slices.Contains(w.tokens, r.Token) }
		if r.Kind == store.BusinessKeyToken && !slices.ContainsFunc(terms, known) {
			c.tampered(FoundToken, "tokens", l.id, r.Seq, "a token of a business key is of another one, or under none of the tenant's index keys")
		}
	}
}

// meetings requires of every person's key in an instance that it can be found when
// that person is erased: by a token if it ever had a name, else by the row that keeps
// it from being swept.
func (c *Check) meetings(ctx context.Context, l *Live, rows []store.PlacedToken) error {
	met := map[store.ID]bool{}
	for _, r := range rows {
		if r.Kind != store.SubjectToken {
			if len(r.Print) > 0 {
				c.tampered(FoundToken, "tokens", l.id, r.Seq, "an index token has a print, and none of its kind has")
			}
			continue
		}
		print, err := c.e.meetingPrint(ctx, c.scope, l.id, r.Token, [16]byte(r.Key))
		if err != nil {
			return err
		}
		if met[r.Key] = true; !bytes.Equal(print[:], r.Print) {
			c.tampered(FoundToken, "tokens", l.id, r.Seq, "a key is called a person's, and we never did so")
		}
	}
	for i, key := range l.head.keys {
		_, err := c.e.ring.Key(ctx, c.scope.Tenant(), key)
		switch {
		case fault.Is(err, fault.Sealed) || fault.Is(err, fault.NotFound):
			continue
		case err != nil:
			return err
		case met[store.ID(key)]:
			continue
		case !l.unnamed(i):
			c.tampered(FoundToken, "tokens", l.id, 0, "the token of a person's key %s is gone: an erasure of the person would miss it", key)
			continue
		}
		holder, found, err := c.e.store.PersonKeyHolder(ctx, c.scope, store.ID(key))
		if err != nil {
			return err
		}
		if !found || holder != l.id {
			c.tampered(FoundToken, "person_keys", l.id, 0, "the row of key %s, of a person without a name, is gone or changed: the key could be swept", key)
		}
	}
	return nil
}

// unnamed reports whether a key is now that of a person without a name.
func (l *Live) unnamed(key int) bool {
	return slices.ContainsFunc(l.head.persons, func(p person) bool { return p.key == key && p.token == [32]byte{} })
}

// rest checks what stands in no object's order.
func (c *Check) rest(ctx context.Context) error {
	for _, p := range []struct {
		table string
		keys  bool // it needs them
		check func(context.Context) error
	}{
		{"person_keys", false, c.loose}, {"resources", false, c.resources}, {"pinned_leaves", false, c.pins},
		{"uploads", true, c.uploads}, {"erasures", true, c.plans}, {"checks", true, c.kept}, {"sessions", true, c.sessions},
	} {
		if p.keys && c.withoutKeys {
			continue
		}
		if err := c.unread(p.table, p.check(ctx)); err != nil {
			return err
		}
	}
	c.endRest()
	return nil
}

func (c *Check) endRest() {
	if c.fileCheck == FilesWhole && !c.withoutKeys {
		c.State.Phase, c.State.After = phaseFiles, ""
		return
	}
	c.endFiles()
}

func (c *Check) endFiles() {
	c.State.Phase, c.State.After = phaseDone, ""
	if c.anchors != nil {
		c.State.Phase = phaseAnchors
	}
}

// loose names rows that stand in no object's order and belong to nothing.
func (c *Check) loose(ctx context.Context) error {
	loose, err := c.e.store.LooseRows(ctx, c.scope, maxFindings)
	for _, row := range loose {
		c.add(Finding{Kind: FoundStray, Object: row.Where, Where: row.Table, What: "the row belongs to nothing that is there"})
	}
	return err
}

// pins names what is known beside the keys to have been there.
func (c *Check) pins(ctx context.Context) error {
	behind, err := c.e.behindPins(ctx, c.scope)
	for _, b := range behind {
		c.add(Finding{
			Kind: FoundBehind, Object: textID(b.pin.Object), Step: b.pin.Seq, Where: "pinned_leaves", What: b.fault(c.scope).Message, Do: doRestore,
		})
	}
	return err
}

// kept requires that what a server kept of its checks is what it wrote.
func (c *Check) kept(ctx context.Context) error {
	_, err := c.e.KeptCheck(ctx, c.scope.Tenant())
	if err == nil || outage(err) {
		return err
	}
	c.add(Finding{Kind: FoundObject, Where: "checks", What: messageOf(err)})
	return nil
}

// sessions requires that the rows of sessions are ones that a server made, of principals
// that are there. Those that have ended admit nobody, whatever their rows say.
func (c *Check) sessions(ctx context.Context) error {
	for after := ([32]byte{}); ; {
		rows, err := c.e.store.Sessions(ctx, c.scope, after, collectBatch)
		if err != nil {
			return err
		}
		for _, row := range rows {
			after = row.Token
			_, err := c.e.identity.OpenSession(ctx, c.scope, row)
			if err := c.object("sessions", row.ID, err); err != nil {
				return err
			}
		}
		if len(rows) < collectBatch {
			return nil
		}
	}
}

func (c *Check) resources(ctx context.Context) error {
	hashes, err := c.e.store.Resources(ctx, c.scope)
	if err != nil {
		return err
	}
	for _, hash := range hashes {
		data, err := c.e.store.Resource(ctx, c.scope, hash)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		if err == nil && sha256.Sum256(data) != hash {
			c.add(Finding{Kind: FoundObject, Where: "resources", What: fmt.Sprintf("file %x of a deployment is not what its hash says", hash[:8])})
		}
	}
	return nil
}

// uploads checks those that somebody can still claim.
func (c *Check) uploads(ctx context.Context) error {
	for after := (store.ID{}); ; {
		rows, err := c.e.store.Uploads(ctx, c.scope, after, collectBatch)
		if err != nil {
			return err
		}
		for _, row := range rows {
			after = row.Blob
			if row.State != store.UploadReady {
				continue
			}
			u, err := c.e.openUpload(ctx, c.scope, row)
			if err == nil && (u.size != row.Size || !u.made.Equal(row.Made)) {
				err = changedUpload(row.Blob)
			}
			if err := c.object("uploads", row.Blob, err); err != nil {
				return err
			}
		}
		if len(rows) < collectBatch {
			return nil
		}
	}
}

// plans requires that each plan beside the keys is of a custody that is there.
func (c *Check) plans(ctx context.Context) error {
	rows, err := c.e.store.Erasures(ctx, c.scope)
	if err != nil {
		return err
	}
	for _, row := range rows {
		_, err := c.e.openPlan(ctx, c.scope, row)
		if err == nil {
			_, err = c.e.load(ctx, c.scope, row.Object, store.Custody)
		}
		if fault.Is(err, fault.NotFound) {
			err = fault.New(fault.Integrity, "the data know nothing of an erasure that was carried out: start the server, which does so again")
		}
		if err := c.object("erasures", row.Object, err); err != nil {
			return err
		}
	}
	return nil
}
