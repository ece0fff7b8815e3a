package store

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/underseal/underseal/internal/fault"
)

// Commit applies the sets as one unit: all of them or none. It returns once
// they are durable.
//
// Conflict (code "stale") when the head of one of the objects no longer has the
// seq its set expects; code "token_taken" when the tenant has one of the unique
// tokens already; code "version_taken" when a definition's version exists.
// Then, and with every other error but those below, nothing was written.
//
// Unavailable: code "not_applied" when nothing was written, "outcome_unknown"
// when ctx ended (or the connection broke) while the unit was under way, and
// "database_failed" once the database is not to be trusted. With the latter two
// only reading tells; the sets must then not be changed any more.
func (db *DB) Commit(ctx context.Context, s Scope, sets ...*WriteSet) error {
	var unit []statement
	for _, set := range sets {
		if err := set.check(); err != nil {
			return err
		}
		unit = set.statements(unit, s)
		var err error
		if unit, err = entryStatements(unit, s, set.Entries); err != nil {
			return err
		}
	}
	if len(unit) == 0 {
		return nil
	}
	if err := checkText(unit); err != nil {
		return err
	}
	return db.data.apply(ctx, s.tenant, unit)
}

func (w *WriteSet) check() error {
	switch {
	case w.Object == ID{}:
		return fault.New(fault.Internal, "write set without an object")
	case !slices.Contains(kinds, w.Kind):
		return fault.New(fault.Internal, "write set of unknown kind %q", w.Kind)
	case len(w.Head) == 0 || len(w.Step) == 0 || len(w.Leaf.Body) == 0:
		return fault.New(fault.Internal, "write set of %s without head, step or leaf", w.Object)
	}
	return nil
}

var kinds = []Kind{Instance, Definition, Custody, Signer, KeyRecord, Principal, Group, Tenant}

// checkText refuses what only one of the databases could keep: Postgres has no
// text with a NUL or with bytes that are not UTF-8.
func checkText(unit []statement) error {
	for i := range unit {
		for _, arg := range unit[i].args {
			text, ok := arg.(string)
			if ok && (strings.IndexByte(text, 0) >= 0 || !utf8.ValidString(text)) {
				return fault.New(fault.Invalid, "store %q: a name must be UTF-8 without a NUL character", text)
			}
		}
	}
	return nil
}

// statements appends the set's statements. The head comes first: a set that
// lost the race stops there, and on Postgres its row lock orders the racers.
func (w *WriteSet) statements(unit []statement, s Scope) []statement {
	seq := w.Expect + 1
	if unit == nil {
		unit = make([]statement, 0, 8+len(w.Fields)/4+len(w.Tokens))
	}
	unit = append(unit, w.headStatement(s))
	unit = append(unit, insertStep(s, w.Object, seq, w.Step), insertLeaf(s, w.Object, seq, &w.Leaf))
	unit = insertFields(unit, s, w.Object, seq, w.Fields)
	unit = w.routing(unit, s)
	if w.Erase != nil {
		unit = w.Erase.statements(unit, s)
	}
	for _, key := range w.Keys {
		unit = append(unit, insertPersonKey(s, w.Object, key))
	}
	for i := range w.Claims {
		unit = w.Claims[i].claim(unit, s, w.Object)
	}
	for i := range w.Rekeyed {
		unit = w.Rekeyed[i].rekey(unit, s)
	}
	for i := range w.Tokens {
		unit = append(unit, insertToken(s, w.Object, seq, &w.Tokens[i]))
	}
	unit = w.credentials(unit, s)
	for i := range w.Resources {
		unit = append(unit, insertResource(s, &w.Resources[i]))
	}
	return unit
}

// routing appends the projection: what is closed goes before what is opened.
func (w *WriteSet) routing(unit []statement, s Scope) []statement {
	if w.Instance != nil {
		unit = append(unit, putInstance(s, w.Object, w.Instance))
	}
	if w.Definition != nil {
		unit = append(unit, putDefinition(s, w.Object, w.Definition))
	}
	if w.Custody != nil {
		unit = append(unit, putCustody(s, w.Object, w.Custody))
	}
	unit = closeRows(unit, s, w.Object, deleteTask, w.ClosedTasks)
	unit = closeRows(unit, s, w.Object, deleteJob, w.ClosedJobs)
	unit = closeRows(unit, s, w.Object, deleteTimer, w.ClosedTimers)
	unit = closeRows(unit, s, w.Object, deleteIncident, w.ClosedIncidents)
	for i := range w.Tasks {
		unit = putTask(unit, s, w.Object, &w.Tasks[i])
	}
	for i := range w.Jobs {
		unit = append(unit, putJob(s, w.Object, &w.Jobs[i]))
	}
	for i := range w.Timers {
		unit = append(unit, putTimer(s, w.Object, &w.Timers[i]))
	}
	for i := range w.Incidents {
		unit = append(unit, putIncident(s, w.Object, &w.Incidents[i]))
	}
	return unit
}

// closeRows deletes queue rows; one that is not there was taken away behind our
// back, and its absence is what was wanted.
func closeRows(unit []statement, s Scope, instance ID, text string, ids []uint64) []statement {
	for _, id := range ids {
		unit = append(unit, statement{text: text, args: []any{s.tenant, instance, id}, early: true})
	}
	return unit
}
