package engine

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// Steps lists an instance's committed steps, oldest first. The whole chain is
// checked from the first leaf to the head before any of it is shown.
func (e *Engine) Steps(ctx context.Context, c Caller, id string, p Page) (api.Steps, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Steps, error) { return e.stepsAs(ctx, c, id, p) })
}

func (e *Engine) stepsAs(ctx context.Context, c Caller, id string, p Page) (api.Steps, error) {
	if err := e.could(ctx, c, access.ReadInstance, access.Instance, id); err != nil {
		return api.Steps{}, err
	}
	limit, err := p.limit()
	if err != nil {
		return api.Steps{}, err
	}
	after := 0
	if p.After != "" {
		if after, err = strconv.Atoi(p.After); err != nil || after < 0 {
			return api.Steps{}, badCursor(p.After)
		}
	}
	var all []api.Step
	var told shown
	err = e.use(ctx, c, access.ReadInstance, id, func(l *Live) error {
		all, err = e.history(ctx, &l.object)
		v := e.lens(c, l, l.resource())
		v.steps(all)
		told = v.told("")
		return err
	})
	if err != nil || after >= len(all) {
		return api.Steps{Items: []api.Step{}}, err
	}
	page := api.Steps{Items: all[after:min(after+limit, len(all))]}
	if end := after + len(page.Items); end < len(all) {
		page.Next = strconv.Itoa(end)
	}
	if err := e.tellShown(ctx, c, dataShown, "user", told); err != nil {
		return api.Steps{}, err
	}
	return page, nil
}

// Export returns all data of an instance that the caller may see: every scope, and every
// step with what it wrote. So drafts, messages of incidents and what was overwritten are
// in it too.
func (e *Engine) Export(ctx context.Context, c Caller, id string) (api.Export, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Export, error) { return e.exportAs(ctx, c, id) })
}

func (e *Engine) exportAs(ctx context.Context, c Caller, id string) (api.Export, error) {
	var result api.Export
	var told shown
	err := e.use(ctx, c, access.ExportInstance, id, func(l *Live) error {
		v := e.exportLens(c, l)
		var err error
		if result.Instance, err = e.detail(ctx, l, v); err != nil {
			return err
		}
		for _, scope := range l.state.AllVariables(v.see) {
			result.Scopes = append(result.Scopes, api.ScopeVariables{
				Scope: scope.Scope, Element: scope.Element, Variables: canon.EncodeJSON(scope.Variables),
			})
		}
		result.Masked = v.mask()
		result.Steps, err = e.historyWithValues(ctx, l, v)
		told = v.told("")
		return err
	})
	if err == nil {
		err = e.tellShown(ctx, c, dataExported, "user", told)
	}
	if err != nil {
		return api.Export{}, err
	}
	return result, nil
}

// exported reports whether a field's values are exported as they stand. The fields of
// files are not, for they hold keys (the instance describes its files), and the nonces
// of statements neither.
func exported(path string) bool { return !strings.HasPrefix(path, heldPrefix) && path != noncePath }

// historyWithValues is history, and what a lens shows of what each step wrote.
func (e *Engine) historyWithValues(ctx context.Context, l *Live, v *lens) ([]api.Step, error) {
	var all []past
	open := openness{}
	steps, err := e.pastSteps(ctx, &l.object, func(p past) {
		if open.note(p); p.value != nil && exported(p.Path) {
			p.StoredField.Value = nil // its bytes, which are not needed any more
			all = append(all, p)
		}
	})
	if err != nil {
		return nil, err
	}
	written, masked := map[uint64][]canon.Entry{}, map[uint64][]string{}
	for _, p := range all {
		if v.look(p.Path, open.sensitive(p.Path, p.Seq)) {
			written[p.Seq] = append(written[p.Seq], canon.Entry{Name: p.Path, Value: p.value})
		}
		masked[p.Seq] = append(masked[p.Seq], v.mask()...)
	}
	for i := range steps {
		steps[i].Values = canon.EncodeJSON(newContext(written[steps[i].Seq]...))
		steps[i].Masked = masked[steps[i].Seq]
	}
	v.steps(steps)
	return steps, nil
}

// past is what a step wrote to a field.
type past struct {
	store.StoredField
	value canon.Value // nil: it was erased
	open  bool        // it was not sensitive when it was written, and was not erased
}

// openness knows of each field of an instance the step since which nothing was written to
// it that was sensitive, or that was erased. What was written before is masked, whatever
// it was then: the present value of the field would be, and that the field has ended since
// shows nothing more. What is not known here is masked.
type openness map[string]uint64

// note is to be given all that was written, in the order of the steps.
func (o openness) note(p past) {
	switch {
	case !p.open:
		delete(o, p.Path)
	case o[p.Path] == 0:
		o[p.Path] = p.Seq
	}
}

// sensitive reports whether what a step wrote to a field is to be masked. What is about
// the step itself never is.
func (o openness) sensitive(path string, seq uint64) bool {
	since, open := o[path]
	return (!open || seq < since) && !slices.Contains(stepPaths, path)
}

// stepPaths are the fields that say how a step was made, not what the instance holds.
var stepPaths = append([]string{"$actor"}, ownPaths...)

// steps leaves out of steps what the lens does not name, and tells who acted.
func (v *lens) steps(steps []api.Step) {
	for i := range steps {
		s := &steps[i]
		s.Fields, s.Erased = v.named(s.Fields), v.named(s.Erased)
		if !v.look("$actor", false) {
			s.Actor = ""
		}
	}
}

// historyBatch is how many steps are read at once.
const historyBatch = 256

// history reads and checks all steps of an object: each leaf continues the
// one before, commits to exactly the rows that are there, and the last one is
// the head's.
func (e *Engine) history(ctx context.Context, o *object) ([]api.Step, error) {
	return e.pastSteps(ctx, o, func(past) {})
}

// pastSteps is history; read is given all that was written, in the order of the steps.
func (e *Engine) pastSteps(ctx context.Context, o *object, read func(past)) ([]api.Step, error) {
	var steps []api.Step
	var prev ledger.Hash
	for {
		rows, err := e.store.Steps(ctx, o.scope, o.id, uint64(len(steps)), historyBatch)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			if row.Seq != uint64(len(steps))+1 {
				return nil, o.changedIn("steps", "lacks step %d", len(steps)+1)
			}
			step, err := e.pastStep(ctx, o, row, prev, read)
			if err != nil {
				return nil, err
			}
			steps, prev = append(steps, step), row.Leaf.Hash
		}
		if len(rows) < historyBatch {
			break
		}
	}
	if uint64(len(steps)) != o.head.seq || prev != o.head.leaf {
		return nil, o.changedIn("steps", "has %d steps and a head of step %d", len(steps), o.head.seq)
	}
	return steps, nil
}

// pastStep checks one step's rows against its leaf.
func (e *Engine) pastStep(ctx context.Context, o *object, row store.StepRow, prev ledger.Hash, read func(past)) (api.Step, error) {
	leaf, err := o.chained(row, prev)
	if err != nil {
		return api.Step{}, err
	}
	fields, err := e.store.StepFields(ctx, o.scope, o.id, row.Seq)
	if err != nil {
		return api.Step{}, err
	}
	actor, erased, err := e.checkCommitted(ctx, o, row, leaf, fields, read)
	if err != nil {
		return api.Step{}, err
	}
	step, err := o.wireStep(row, actor)
	step.Erased = erased
	for _, f := range fields {
		if !strings.HasPrefix(f.Path, "$actor") {
			step.Fields = append(step.Fields, f.Path)
		}
	}
	return step, err
}

// chained reads a step's leaf, which must continue the one before.
func (o *object) chained(row store.StepRow, prev ledger.Hash) (ledger.Leaf, error) {
	leaf, err := ledger.ParseLeaf(row.Leaf.Body)
	if err != nil || ledger.LeafHash(row.Leaf.Body) != row.Leaf.Hash {
		return leaf, o.changedIn("leaves", "has a changed leaf of step %d", row.Seq)
	}
	if leaf.Object != textID(o.id) || leaf.Seq != row.Seq || leaf.Prev != prev {
		return leaf, o.changedIn("leaves", "has a leaf at step %d that does not continue the one before", row.Seq)
	}
	return leaf, nil
}

// checkCommitted recomputes what a leaf commits to from the rows of its step, and
// returns who acted and which fields were erased. The commitment to an erased value
// cannot be made again and is the stored one. It is Sealed when a value is gone that
// goes only with the whole object.
func (e *Engine) checkCommitted(ctx context.Context, o *object, row store.StepRow, leaf ledger.Leaf, fields []store.StoredField, read func(past)) (actor string, erased []string, err error) {
	changed := func(table string, cause error) error {
		return o.tampered("has changed rows of step %d", row.Seq).WithCause(rowsOf{table, cause})
	}
	var sealed [][]byte
	var commitments []ledger.Hash
	for _, f := range fields {
		sealed = appendHashed(sealed, f.Sealed, f.Value, f.Commitment)
		p, commitment, err := e.checkPast(ctx, o, leaf, f)
		switch {
		case fault.Is(err, fault.Sealed) && f.Commitment != nil:
			erased, commitment = append(erased, f.Path), *f.Commitment
			read(past{StoredField: f})
		case fault.Is(err, fault.Integrity) || fault.Is(err, fault.Sealed) && aboutPersons(f):
			return "", nil, changed("fields", err)
		case err != nil:
			return "", nil, err
		default:
			read(p)
		}
		commitments = append(commitments, commitment)
		if f.Path == "$actor" {
			actor = principalOf(p.value)
		}
	}
	switch {
	case ledger.DataRoot(commitments) != leaf.Data || len(fields) != leaf.N:
		return "", nil, changed("fields", nil)
	case ledger.RowsHash(row.Body, sealed) != leaf.Rows: // and all values are those of the leaf
		return "", nil, changed("steps", nil)
	}
	return actor, erased, nil
}

// aboutPersons reports whether a value is sealed under more keys than its object's own,
// so that its commitment must be stored.
func aboutPersons(f store.StoredField) bool {
	ids, err := envelope.KeyIDs(f.Value)
	return err == nil && len(ids) > 1
}

// checkPast opens a field version and commits to it again.
func (e *Engine) checkPast(ctx context.Context, o *object, leaf ledger.Leaf, f store.StoredField) (past, ledger.Hash, error) {
	keys, plain, err := e.openPast(ctx, o, leaf, f)
	if err != nil {
		return past{}, ledger.Hash{}, err
	}
	p := past{StoredField: f}
	if p.value, p.open, err = decodeTyped(plain, f.Sealed); err != nil {
		return past{}, ledger.Hash{}, err
	}
	commitment, err := e.commitment(o, keys, f.Path, leaf.Log, f.Seq, p.value)
	return p, commitment, err
}

// openPast opens a field version by the keys that its own envelopes name: the
// head knows those of the newest version only. What they must be follows from
// the leaf, which commits to the value under them.
func (e *Engine) openPast(ctx context.Context, o *object, leaf ledger.Leaf, f store.StoredField) ([]envelope.Key, []byte, error) {
	if !f.Sealed {
		owner, err := e.ownerAt(ctx, o, f.Seq)
		return []envelope.Key{owner}, f.Value, err
	}
	return e.openNamed(ctx, o, leaf.Log, f.Path, f.Seq, f.Value)
}

func principalOf(actor canon.Value) string { return stringIn(actor, "principal") }

// wireStep reads a step's clear record.
func (o *object) wireStep(row store.StepRow, actor string) (api.Step, error) {
	value, err := canon.Decode(row.Body)
	body, ok := value.(*canon.Context)
	if err != nil || !ok {
		return api.Step{}, o.changedIn("steps", "has a malformed record of step %d", row.Seq)
	}
	text := func(name string) string {
		v, _ := body.Get(name)
		s, _ := v.(canon.String)
		return string(s)
	}
	at, err := time.Parse(time.RFC3339Nano, text("at"))
	if err != nil {
		return api.Step{}, o.changedIn("steps", "has a malformed time in step %d", row.Seq)
	}
	step := api.Step{
		Seq: row.Seq, At: at, Event: text("event"), Element: text("element"), Rejected: text("rejected"),
		Actor: actor, Leaf: receipt(o.id, row.Seq, row.Leaf.Hash).Leaf,
	}
	if number := text("about"); number != "" {
		step.About = textID(o.id) + "." + number
	}
	trail, _ := body.Get("trail")
	list, _ := trail.(canon.List)
	for _, entry := range list {
		line, _ := entry.(canon.String)
		what, element, _ := strings.Cut(string(line), " ")
		step.Trail = append(step.Trail, api.Transition{Element: element, What: what})
	}
	return step, nil
}
