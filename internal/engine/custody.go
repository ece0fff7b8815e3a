package engine

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/blindindex"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
)

// custody is the object that says of one target, an instance or a person, who
// holds it, whether it is to be erased and what became of that. It is an object
// like others: its steps have leaves, its head is sealed under the tenant's audit
// key. A person's id is nowhere in it, only the keyed hash by which it is found.
type custody struct {
	object
	target  target
	holds   []hold
	order   order
	keys    []envelope.KeyID // destroyed for it, or to be, over all its orders
	outcome outcome
	epochs  []epoch  // of the one custody that keeps ends of epochs
	former  []former // of the same: key services that the tenant left
}

// What follows are the fields of a custody.
type (
	target struct {
		Kind     string   `json:"kind"`               // instance, subject, or epoch for the end of an epoch
		Instance string   `json:"instance,omitempty"` // its id
		Tokens   []string `json:"tokens,omitempty"`   // hex, of a person's id, under all index keys
	}
	hold struct {
		Number int       `json:"number"`
		Reason string    `json:"reason"`
		By     string    `json:"by"`
		At     time.Time `json:"at"`
	}
	order struct {
		State  string    `json:"state"`
		Reason string    `json:"reason"`
		By     string    `json:"by"`
		At     time.Time `json:"at"`
		Due    time.Time `json:"due"`
	}
	outcome struct {
		Instances int        `json:"instances"`
		Tokens    int        `json:"tokens"`
		Files     int        `json:"files"`
		Began     time.Time  `json:"began"`
		Completed time.Time  `json:"completed"`
		Until     time.Time  `json:"until"`          // when nothing of it opens anywhere any more
		Gone      *lastState `json:"gone,omitempty"` // of an erased instance
	}
	// lastState is what stays known of an erased instance: its routing row, and where
	// its chain of leaves ends.
	lastState struct {
		Process    string    `json:"process"`
		Version    int       `json:"version"`
		Definition string    `json:"definition"`
		Mode       string    `json:"mode"`
		Started    time.Time `json:"started"`
		Ended      time.Time `json:"ended"`
		Key        string    `json:"key"`
		Seq        uint64    `json:"seq"`
		Leaf       string    `json:"leaf"`
	}
)

// States of an order.
const (
	orderNone      = "none"
	orderPending   = "pending"
	orderCanceled  = "canceled"
	orderExecuting = "executing"
	orderDone      = "done"
)

// Kinds of targets.
const (
	targetInstance = "instance"
	targetSubject  = "subject"
	targetEpoch    = "epoch"
)

// keysPerField bounds how many key ids one field of a custody holds.
const keysPerField = 1000

// custodyID returns the id of a target's custody: the first half of a keyed hash,
// as a UUIDv8 (RFC 9562, section 5.8).
func custodyID(token [32]byte) store.ID {
	id := store.ID(token[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// aim finds what a request names and the id of its custody. Whether it exists is
// not asked.
func (e *Engine) aim(ctx context.Context, scope store.Scope, t api.ErasureTarget) (target, store.ID, error) {
	switch t.Kind {
	case targetInstance:
		instance, err := parseInstanceID(t.ID)
		if err != nil {
			return target{}, store.ID{}, err
		}
		id, err := e.instanceCustody(ctx, scope, instance)
		return target{Kind: targetInstance, Instance: textID(instance)}, id, err
	case targetSubject:
		return e.aimAtPerson(ctx, scope, t.ID)
	}
	return target{}, store.ID{}, fault.New(fault.Invalid, "kind %q is neither instance nor subject", t.Kind)
}

func (e *Engine) instanceCustody(ctx context.Context, scope store.Scope, instance store.ID) (store.ID, error) {
	token, err := e.indexToken(ctx, scope.Tenant(), "custody", "instance/"+textID(instance))
	return custodyID(token), err
}

// aimAtPerson returns a person as a target, with the tokens of each spelling of the id
// under all index keys, and the id of their custody.
func (e *Engine) aimAtPerson(ctx context.Context, scope store.Scope, id string) (target, store.ID, error) {
	t := target{Kind: targetSubject}
	spelled, err := spellings(id)
	if err != nil {
		return t, store.ID{}, err
	}
	keys, err := e.ring.PurposeKeys(ctx, scope.Tenant(), keyring.Index)
	if err != nil {
		return t, store.ID{}, err
	}
	for _, spelling := range spelled {
		for _, token := range personTokens(keys, spelling) {
			t.Tokens = append(t.Tokens, hex.EncodeToString(token[:]))
		}
	}
	custody, err := e.personCustody(ctx, scope, keys, id)
	return t, custody, err
}

// spellings takes an id as text and, if it is the one spelling of a number, as that
// number too: who types it cannot know how a process holds it. Other spellings of the
// number are other persons, or a hold on "17" would not be seen by who erases "17.0".
func spellings(id string) ([]canon.Value, error) {
	if id == "" {
		return nil, fault.New(fault.Invalid, "a person has no empty id")
	}
	spellings := []canon.Value{canon.String(id)}
	if v, err := canon.DecodeJSON([]byte(id)); err == nil && canon.TypeName(v) == "number" && string(canon.EncodeJSON(v)) == id {
		spellings = append(spellings, v)
	}
	return spellings, nil
}

// personCustody returns the id of a person's custody. It is half of a keyed hash of the
// person's id, so a new one is made with the newest index key. There is one custody, also
// when it was made with a key before.
func (e *Engine) personCustody(ctx context.Context, scope store.Scope, keys []envelope.Key, id string) (store.ID, error) {
	newest := store.ID{}
	for i, token := range personTokens(keys, canon.String(id)) {
		custody := custodyID(blindindex.Token(keys[i], "custody", "subject/"+hex.EncodeToString(token[:])))
		if i == 0 {
			newest = custody
		}
		switch _, err := e.load(ctx, scope, custody, store.Custody); {
		case err == nil || fault.Is(err, fault.Integrity): // whoever reads it is told
			return custody, nil
		case !fault.Is(err, fault.NotFound):
			return custody, err
		}
	}
	return newest, nil
}

// makeKnown gives a person a key, in each spelling of the id, who has none, and returns
// their tokens: so they are the person's tokens also after the index key was rotated.
func (e *Engine) makeKnown(ctx context.Context, scope store.Scope, id string) (t target, err error) {
	spelled, err := spellings(id)
	if err != nil {
		return t, err
	}
	err = e.underIndexKeys(ctx, scope.Tenant(), func(keys []envelope.Key) error {
		t.Tokens = nil
		for _, spelling := range spelled {
			token, _, err := e.personKey(ctx, scope, personTokens(keys, spelling))
			if err != nil {
				return err
			}
			t.Tokens = append(t.Tokens, hex.EncodeToString(token[:]))
		}
		return nil
	})
	return t, err
}

// add notes further tokens of the person.
func (t *target) add(more target) {
	for _, token := range more.Tokens {
		if !slices.Contains(t.Tokens, token) {
			t.Tokens = append(t.Tokens, token)
		}
	}
}

// tokens returns the index tokens of a person.
func (t *target) tokens() ([][32]byte, error) {
	list := make([][32]byte, len(t.Tokens))
	for i, text := range t.Tokens {
		token, err := parseHash(text)
		if err != nil {
			return nil, err
		}
		list[i] = token
	}
	return list, nil
}

// custody returns a target's custody, a new one if there is none yet.
func (e *Engine) custody(ctx context.Context, scope store.Scope, id store.ID, t target) (*custody, error) {
	c, err := e.openCustody(ctx, scope, id)
	if err == nil {
		c.target.add(t)
	}
	if !fault.Is(err, fault.NotFound) {
		return c, err
	}
	key, err := e.ring.TenantKey(ctx, scope.Tenant(), keyring.Audit)
	if err != nil {
		return nil, err
	}
	return &custody{
		object: object{
			scope: scope, id: id, kind: store.Custody, owner: key,
			head: &head{mode: process.Standard, started: e.moment(), owners: []owner{{key.ID, 1}}},
		},
		target: t, order: order{State: orderNone},
	}, nil
}

// openCustody reads a custody and checks every row of it.
func (e *Engine) openCustody(ctx context.Context, scope store.Scope, id store.ID) (*custody, error) {
	o, err := e.load(ctx, scope, id, store.Custody)
	if err != nil {
		return nil, err
	}
	if e.testingOnlyReading != nil {
		e.testingOnlyReading()
	}
	values, err := e.checkedValues(ctx, o)
	if err != nil {
		return nil, err
	}
	c := &custody{object: *o}
	return c, c.take(values)
}

// undisturbed calls read, which reads custodies by more than one statement. What does
// not fit together may be a step that came in between: then it is called once more,
// while there can be none. The caller does not hold the tenant's lock of e.custodies.
func (e *Engine) undisturbed(scope store.Scope, read func() error) error {
	err := read()
	if !fault.Is(err, fault.Integrity) {
		return err
	}
	defer e.custodies.lock(scope)()
	return read()
}

// take sets what a custody's fields say.
func (c *custody) take(values map[string]canon.Value) error {
	for path, to := range map[string]any{"target": &c.target, "holds": &c.holds, "order": &c.order, "outcome": &c.outcome, "epochs": &c.epochs, "former": &c.former} {
		if value, ok := values[path]; ok {
			if err := json.Unmarshal(canon.EncodeJSON(value), to); err != nil {
				return c.tampered("has a field %q that cannot be read", path)
			}
		}
	}
	for i := 0; ; i++ {
		value, ok := values[keysPath(i)]
		if !ok {
			return nil
		}
		var part []string
		if err := json.Unmarshal(canon.EncodeJSON(value), &part); err != nil {
			return c.tampered("has a field %q that cannot be read", keysPath(i))
		}
		for _, text := range part {
			id, err := store.ParseID(text)
			if err != nil {
				return c.tampered("has a key id that cannot be read")
			}
			c.keys = append(c.keys, envelope.KeyID(id))
		}
	}
}

func keysPath(i int) string { return fmt.Sprintf("keys/%04d", i) }

// row returns the custody's routing row.
func (c *custody) row() store.CustodyRow {
	row := store.CustodyRow{Target: c.target.Kind, State: c.order.State, Holds: len(c.holds)}
	if c.order.State == orderPending || c.order.State == orderExecuting {
		row.Due = c.order.Due
	}
	return row
}

func (c *custody) equalRow(r store.CustodyRow) bool {
	want := c.row()
	return want.Target == r.Target && want.State == r.State && want.Holds == r.Holds && want.Due.Equal(r.Due)
}

// custodyStep is one step of a custody.
type custodyStep struct {
	kind  string // "hold.placed"
	act   string
	actor *canon.Context
	by    *Caller // who must be known still by what was decided; nil: the server itself
	again *request
	erase *store.Erase
}

// wanted is a step of a custody that a caller may make, as they are known.
func wanted(kind string, c Caller, again *request) custodyStep {
	return custodyStep{kind: kind, act: "admin", actor: actorOf(c), by: &c, again: again}
}

// recordCustody makes a step of a custody durable, with all its fields as they are now.
func (e *Engine) recordCustody(ctx context.Context, c *custody, s custodyStep) error {
	fields, err := c.fields()
	if err != nil {
		return err
	}
	tokens, err := e.requestTokens(ctx, &c.object, s.again)
	if err != nil {
		return err
	}
	at := e.moment()
	shard, leave, err := e.enterShard(ctx, c.scope, at)
	if err != nil {
		return err
	}
	defer leave()
	_, event, _ := strings.Cut(s.kind, ".")
	set, err := e.write(ctx, &c.object, step{
		shard: shard, kind: s.kind, act: s.act, at: at, tokens: tokens, record: record(event, process.Outcome{}, at),
		fields: append(fields, fieldWrite{path: "$actor", value: s.actor, label: confidential, fact: true}),
	})
	if err != nil {
		return err
	}
	row := c.row()
	set.Custody, set.Erase = &row, s.erase
	release, err := e.people.hold(s.by)
	if err != nil {
		return err
	}
	defer release()
	if err := e.durable("commit " + s.kind); err != nil {
		return err
	}
	return e.commitPinned(ctx, c.scope, set)
}

var confidential = process.Label{Class: process.Confident}

// fields returns a custody's fields as they are now.
func (c *custody) fields() ([]fieldWrite, error) {
	var fields []fieldWrite
	add := func(path string, v any) error {
		text, err := json.Marshal(v)
		if err != nil {
			return err
		}
		value, err := canon.DecodeJSON(text)
		fields = append(fields, fieldWrite{path: path, value: value, label: confidential})
		return err
	}
	parts := []any{"target", c.target, "holds", slices.Concat([]hold{}, c.holds), "order", c.order, "outcome", c.outcome, "epochs", slices.Concat([]epoch{}, c.epochs), "former", slices.Concat([]former{}, c.former)}
	for i, part := range slices.Collect(slices.Chunk(c.keys, keysPerField)) {
		texts := make([]string, len(part))
		for j, id := range part {
			texts[j] = store.ID(id).String()
		}
		parts = append(parts, keysPath(i), texts)
	}
	for i := 0; i < len(parts); i += 2 {
		if err := add(parts[i].(string), parts[i+1]); err != nil {
			return nil, err
		}
	}
	return fields, nil
}

// durable is called before everything that an erasure makes durable.
func (e *Engine) durable(point string) error {
	if e.testingOnlyFault != nil {
		return e.testingOnlyFault(point)
	}
	return nil
}

// namedCustody opens a custody by the id that a caller gave.
func (e *Engine) namedCustody(ctx context.Context, scope store.Scope, id string) (*custody, error) {
	none := fault.New(fault.NotFound, "no erasure %q", id).WithHint("`underseal erase list` names them; an erasure has an id of its own")
	object, err := store.ParseID(id)
	if err != nil {
		return nil, none
	}
	c, err := e.openCustody(ctx, scope, object)
	if fault.Is(err, fault.NotFound) || err == nil && c.target.Kind == targetEpoch {
		return nil, none
	}
	return c, err
}

// lastState returns what is known of an erased instance. An instance that is not
// erased by its custody is tampered with.
func (e *Engine) lastState(ctx context.Context, o *object) (*lastState, error) {
	id, err := e.instanceCustody(ctx, o.scope, o.id)
	if err != nil {
		return nil, err
	}
	c, err := e.openCustody(ctx, o.scope, id)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	if err != nil || c.outcome.Gone == nil || c.target.Instance != textID(o.id) {
		return nil, o.tampered("is called erased, and nobody ordered that")
	}
	return c.outcome.Gone, nil
}
