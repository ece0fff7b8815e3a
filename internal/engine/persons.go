package engine

import (
	"bytes"
	"context"
	"slices"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring/keyrow"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
)

// ownerAt returns the object's key that a step was sealed under.
func (e *Engine) ownerAt(ctx context.Context, o *object, seq uint64) (envelope.Key, error) {
	if id := o.head.owner(seq); id != o.owner.ID {
		return e.ring.Key(ctx, o.scope.Tenant(), id)
	}
	return o.owner, nil
}

// keys returns the object's key of a step and the others named by their places
// in the head, in the order in which an envelope takes them.
func (e *Engine) keys(ctx context.Context, o *object, seq uint64, places []int) ([]envelope.Key, error) {
	owner, err := e.ownerAt(ctx, o, seq)
	if err != nil {
		return nil, err
	}
	keys := append(make([]envelope.Key, 0, 1+len(places)), owner)
	for _, i := range places {
		key, err := e.ring.Key(ctx, o.scope.Tenant(), o.head.keys[i])
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// fieldKeys returns the keys that a sealed field with this label takes, and the
// places of those besides the owner's in the head. meetPersons must have seen
// the label before.
func (e *Engine) fieldKeys(ctx context.Context, o *object, label process.Label) ([]envelope.Key, []int, error) {
	if len(label.Subjects) == 0 {
		return []envelope.Key{o.owner}, nil, nil
	}
	var places []int
	for _, path := range label.Subjects {
		p, ok := o.head.person(path)
		if !ok {
			return nil, nil, fault.New(fault.Internal, "engine: no key for subject %q", path)
		}
		if !slices.Contains(places, p.key) { // two names of one person
			places = append(places, p.key)
		}
	}
	if len(places) > maxPersons {
		return nil, nil, fault.New(fault.Invalid, "a field would be about %d persons; at most %d can be", len(places), maxPersons).
			WithCode("too_many_subjects").WithHint("give jobs only what they need by input mappings, and write what concerns each person into a field of its own")
	}
	slices.SortFunc(places, func(a, b int) int { return bytes.Compare(o.head.keys[a][:], o.head.keys[b][:]) })
	keys, err := e.keys(ctx, o, o.head.seq, places)
	return keys, places, err
}

// meetPersons gives a key to every person that the fields to be written are
// about. A person whose id is not known yet gets a key without a name, which is
// linked when the id appears, be it for the last time in a scope that ends with it.
// It returns the paths of persons who are somebody else after this step.
func (e *Engine) meetPersons(ctx context.Context, o *object, fields []fieldWrite, named []process.Field) (changed []string, err error) {
	ids := map[string]canon.Value{}
	var paths []string
	for _, f := range named {
		ids[f.Path] = f.Value
		if _, met := o.head.person(f.Path); met {
			paths = append(paths, f.Path)
		}
	}
	for _, f := range fields {
		ids[f.path] = f.value
		paths = append(paths, f.label.Subjects...)
	}
	slices.Sort(paths)
	for _, path := range slices.Compact(paths) {
		var before person
		known, met := o.head.person(path)
		if met {
			before = *known
		}
		if err := e.meetPerson(ctx, o, path, ids[path]); err != nil {
			return nil, err
		}
		if now, _ := o.head.person(path); met && now.key != before.key && now.token != before.token {
			changed = append(changed, path)
		}
	}
	return changed, nil
}

// indexTries is how often tokens are made anew because there is another index key.
const indexTries = 3

// meetPerson makes sure that the person named by the field at path has a key.
// id is the field's new value, nil if this step does not write it.
func (e *Engine) meetPerson(ctx context.Context, o *object, path string, id canon.Value) error {
	return e.underIndexKeys(ctx, o.scope.Tenant(), func(keys []envelope.Key) error {
		return e.meetTokens(ctx, o, path, personTokens(keys, id))
	})
}

// underIndexKeys calls f with the tenant's index keys, and again when a person was to be
// made known by them and they were not all.
func (e *Engine) underIndexKeys(ctx context.Context, tenant string, f func(keys []envelope.Key) error) error {
	for try := 1; ; try++ {
		keys, err := e.ring.IndexKeys(ctx, tenant)
		if err == nil {
			err = f(keys)
		}
		if try == indexTries || fault.CodeOf(err) != keyrow.CodeOtherToken {
			return err
		}
	}
}

// meetTokens is meetPerson for the tokens of the field's new value; none if it is not
// written or nobody's id.
func (e *Engine) meetTokens(ctx context.Context, o *object, path string, tokens [][32]byte) error {
	known, met := o.head.person(path)
	switch {
	case !met && len(tokens) > 0:
		token, key, err := e.personKey(ctx, o.scope, tokens)
		if err != nil {
			return err
		}
		o.head.putPerson(person{path: path, key: o.head.keyIndex(key), token: token})
		return e.meet(ctx, o, token, key)
	case !met:
		return e.meetNameless(ctx, o, path)
	case known.token == [32]byte{} && len(tokens) > 0:
		return e.namePerson(ctx, o, known, tokens)
	case known.token == [32]byte{}:
		return nil
	case len(tokens) == 0 || slices.Contains(tokens, known.token):
		return e.followPerson(ctx, o, known)
	}
	return e.replacePerson(ctx, o, known, tokens)
}

// personKey returns the token that a person has keys by, and the id of the newest. Who
// has none gets one, by the first token.
func (e *Engine) personKey(ctx context.Context, scope store.Scope, tokens [][32]byte) (token [32]byte, id envelope.KeyID, err error) {
	if token, err = e.ring.SubjectToken(ctx, scope.Tenant(), tokens); err != nil {
		return token, id, err
	}
	key, err := e.ring.SubjectKey(ctx, scope.Tenant(), token, others(tokens, token)...)
	return token, key.ID, err
}

// others returns a person's tokens but one.
func others(tokens [][32]byte, token [32]byte) [][32]byte {
	return slices.DeleteFunc(slices.Clone(tokens), func(t [32]byte) bool { return t == token })
}

// meetNameless gives a key to a person whose id is not known yet. Only the sealed
// head will name that key, so the write set says that it is in use: the sweep of
// unused keys could not find out otherwise.
func (e *Engine) meetNameless(ctx context.Context, o *object, path string) error {
	key, err := e.ring.NewKey(ctx, o.scope.Tenant())
	if err != nil {
		return err
	}
	o.nameless = append(o.nameless, store.ID(key.ID))
	o.head.putPerson(person{path: path, key: o.head.keyIndex(key.ID)})
	return nil
}

// meet notes that the object is about the person with this token, of whom
// something in it is sealed under the key, so that all keys of a person and all
// objects about them can be found.
func (e *Engine) meet(ctx context.Context, o *object, token [32]byte, key envelope.KeyID) error {
	print, err := e.meetingPrint(ctx, o.scope, o.id, token, key)
	o.met = append(o.met, store.Token{Kind: store.SubjectToken, Token: token, Key: store.ID(key), Print: print[:]})
	return err
}

// meetingPrint is what only we can write into the row that calls a key a person's:
// the key is destroyed with the person, and the head does not say whose a key was
// before its person had a name.
func (e *Engine) meetingPrint(ctx context.Context, scope store.Scope, object store.ID, token [32]byte, key envelope.KeyID) ([32]byte, error) {
	return e.indexToken(ctx, scope.Tenant(), "met", string(object[:])+string(token[:])+string(key[:]))
}

// namePerson links a nameless key to the person who turned out to be behind it.
// Somebody who has a key already keeps that one; what was sealed under the
// nameless one before is about them all the same.
func (e *Engine) namePerson(ctx context.Context, o *object, p *person, tokens [][32]byte) error {
	nameless := o.head.keys[p.key]
	token, err := e.ring.SubjectToken(ctx, o.scope.Tenant(), tokens)
	if err != nil {
		return err
	}
	err = e.ring.LinkSubject(ctx, o.scope.Tenant(), nameless, token, others(tokens, token)...)
	switch {
	case err == nil:
		p.token = token
	case fault.Is(err, fault.Conflict) && fault.CodeOf(err) != keyrow.CodeOtherToken:
		err = e.replacePerson(ctx, o, p, tokens)
	}
	if err != nil {
		return err
	}
	return e.meet(ctx, o, p.token, nameless)
}

// joinPerson has a person without a name go on as somebody whom the object is about
// already. What was sealed under the nameless key before is about them all the same.
func (e *Engine) joinPerson(ctx context.Context, o *object, p, as *person) error {
	nameless := o.head.keys[p.key]
	p.key, p.token = as.key, as.token
	if err := e.meet(ctx, o, p.token, nameless); err != nil {
		return err
	}
	return e.followPerson(ctx, o, p)
}

// noteSame notes of persons without a name whose fields stand in fields that are also
// about somebody of the same path in an outer scope: what was entered of "applicant" in
// an inner scope and then in "applicant" of the outer one is about one person, unless
// the inner one gets a name of their own.
func (h *head) noteSame(fields []fieldWrite) {
	for _, f := range fields {
		for _, path := range f.label.Subjects {
			p, met := h.person(path)
			if !met || p.token != [32]byte{} {
				continue
			}
			scope, within := process.CutScope(path)
			for _, other := range f.label.Subjects {
				outer, same := process.CutScope(other)
				if nearest, _ := process.CutScope(p.same); same == within && outer < scope && (p.same == "" || outer < nearest) {
					p.same = other
				}
			}
		}
	}
}

// nameOutlived links the persons who got no name before their scope ended to those
// that they are the same as. It returns the paths of those who are somebody else by it.
func (e *Engine) nameOutlived(ctx context.Context, l *Live) (changed []string, err error) {
	for i := range l.head.persons { // paths ascend, but a scope's number need not
		p := &l.head.persons[i]
		same, found := l.nameOfSame(p)
		if !found {
			continue
		}
		key := p.key
		if err := e.joinPerson(ctx, &l.object, p, same); err != nil {
			return nil, err
		}
		if p.key != key {
			changed = append(changed, p.path)
		}
	}
	return changed, nil
}

// nameOfSame follows from whom a person without a name was found to be the same as, to
// the first who has a name.
func (l *Live) nameOfSame(p *person) (same *person, found bool) {
	for p.token == [32]byte{} {
		if p.same == "" || !l.state.Ended(p.path) {
			return nil, false
		}
		if p, found = l.head.person(p.same); !found {
			return nil, false
		}
		if p.token != [32]byte{} {
			return p, true
		}
	}
	return nil, false
}

func (e *Engine) replacePerson(ctx context.Context, o *object, p *person, tokens [][32]byte) error {
	token, key, err := e.personKey(ctx, o.scope, tokens)
	if err != nil {
		return err
	}
	p.key, p.token = o.head.keyIndex(key), token
	return e.meet(ctx, o, token, key)
}

// followPerson has what comes be sealed under the newest key of a person whose key was
// rotated. What is there stays under the former one, which an erasure destroys as well.
func (e *Engine) followPerson(ctx context.Context, o *object, p *person) error {
	key, err := e.ring.SubjectSuccessor(ctx, o.scope.Tenant(), o.head.keys[p.key], p.token)
	if err != nil || key == o.head.keys[p.key] {
		return err
	}
	p.key = o.head.keyIndex(key)
	return e.meet(ctx, o, p.token, key)
}

// checkPersons requires that every named person still has, or had, the key that the
// object's fields about them are sealed under. Persons whose key was destroyed are
// forgotten.
func (e *Engine) checkPersons(ctx context.Context, o *object) error {
	var destroyed []string
	for _, p := range o.head.persons {
		_, err := e.ring.Key(ctx, o.scope.Tenant(), o.head.keys[p.key])
		if err == nil && p.token != [32]byte{} {
			err = e.ring.CheckSubject(ctx, o.scope.Tenant(), o.head.keys[p.key], p.token)
		}
		switch {
		case fault.Is(err, fault.Sealed):
			destroyed = append(destroyed, p.path)
		case err != nil:
			return err
		}
	}
	o.head.forget(destroyed)
	return nil
}
