package engine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/keyring/keyrow"
	"github.com/underseal/underseal/internal/store"
)

const (
	renewSubjects = "subjects"
	// maxRenewed is how many persons get new keys by one order, which names their keys.
	maxRenewed = 200
)

// rotatePerson gives one person a new data key. The number of a person's key is how many
// there were, this one included; over all spellings of the id.
func (e *Engine) rotatePerson(ctx context.Context, c Caller, in api.RotateKeyRequest) (api.RotatedKey, error) {
	if in.Service != "" {
		return api.RotatedKey{}, fault.New(fault.Invalid, "a person's key is wrapped by the tenant key, not by a key service")
	}
	t, _, err := e.aimAtPerson(ctx, c.Scope, in.Subject)
	if err != nil {
		return api.RotatedKey{}, err
	}
	persons, number, err := e.keysOfPerson(ctx, c.Scope, t)
	if err != nil || in.After != "" && in.After != number {
		return api.RotatedKey{Version: number}, err
	}
	before := e.moment()
	for _, p := range persons {
		if made := keyrow.TimeOf(p.Key); made.After(before) { // by a clock that was ahead
			before = made
		}
	}
	failed, err := e.rotatePersons(ctx, c, persons, before.Add(time.Millisecond))
	if err != nil {
		return api.RotatedKey{}, err
	}
	for _, p := range persons {
		if err := failed[p.Token]; err != nil {
			return api.RotatedKey{}, err
		}
	}
	_, number, err = e.keysOfPerson(ctx, c.Scope, t)
	return api.RotatedKey{Version: number}, err
}

// keysOfPerson returns the newest key of each spelling of a person's id that has one,
// and how many keys there are.
func (e *Engine) keysOfPerson(ctx context.Context, scope store.Scope, t target) (persons []keyring.Subject, number string, err error) {
	tokens, err := t.tokens()
	if err != nil {
		return nil, "", err
	}
	all := 0
	for _, token := range tokens {
		keys, err := e.ring.FindSubject(ctx, scope.Tenant(), token)
		if err != nil {
			return nil, "", err
		}
		if len(keys) > 0 {
			persons, all = append(persons, keyring.Subject{Token: token, Key: keys[0]}), all+len(keys)
		}
	}
	if all == 0 {
		return nil, "", fault.New(fault.NotFound, "this person has no key").WithCode("no_such_subject").
			WithHint("the id is what the naming field of the process holds, such as applicant.id")
	}
	return persons, strconv.Itoa(all), nil
}

// rotatePersons gives persons new data keys whose newest ones were made before a time.
func (e *Engine) rotatePersons(ctx context.Context, c Caller, persons []keyring.Subject, before time.Time) (failed map[[32]byte]error, err error) {
	o := keyOrder{Do: doRotate, Key: subjectKey}
	tokens := make([][32]byte, len(persons))
	for i, p := range persons {
		o.Subjects, tokens[i] = append(o.Subjects, p.Key.String()), p.Token
	}
	err = e.ordered(ctx, c.Scope, byAdmin(c), o, func() (err error) {
		failed, err = e.ring.RotateSubjects(ctx, c.Scope.Tenant(), tokens, before)
		return err
	})
	return failed, err
}

// subjectsRotated compares an order with the keys of persons as they are. Who was erased
// since is left out; version is how many others have another key now.
func (e *Engine) subjectsRotated(ctx context.Context, scope store.Scope, o keyOrder) (done bool, version string, err error) {
	rotated, left := 0, 0
	for _, text := range o.Subjects {
		id, err := store.ParseID(text)
		if err != nil {
			return false, "", err
		}
		replaced, err := e.ring.SubjectKeyReplaced(ctx, scope.Tenant(), envelope.KeyID(id))
		switch {
		case fault.Is(err, fault.Unavailable):
			return false, "", err
		case fault.Is(err, fault.Sealed): // erased
		case err == nil && replaced:
			rotated++
		default:
			left++
		}
	}
	return left == 0 && rotated > 0, strconv.Itoa(rotated), nil
}

// renewPersons is RenewKeys for persons. All pages are about keys made before the first
// one was asked for: those that it made would be met again.
func (e *Engine) renewPersons(ctx context.Context, c Caller, page Page, limit int, before time.Time) (api.KeysRenewed, error) {
	after, first, err := parseRenewCursor(page.After)
	if err != nil {
		return api.KeysRenewed{}, err
	}
	if page.After != "" && first.Before(before) {
		before = first
	}
	persons, err := e.ring.SubjectsBefore(ctx, c.Scope.Tenant(), after, before, limit+1)
	if err != nil || len(persons) == 0 {
		return api.KeysRenewed{}, err
	}
	persons, next := cut(persons, limit, func(p keyring.Subject) string {
		return fmt.Sprintf("%d.%s", before.UnixMilli(), p.Key)
	})
	failed, err := e.rotatePersons(ctx, c, persons, before)
	if err != nil {
		return api.KeysRenewed{}, err
	}
	out := api.KeysRenewed{Seen: len(persons), Renewed: len(persons) - len(failed), Next: next}
	for _, p := range persons {
		if failed[p.Token] != nil {
			out.Failed = append(out.Failed, p.Key.String())
		}
	}
	slices.Sort(out.Failed)
	return out, nil
}

func parseRenewCursor(text string) (after envelope.KeyID, before time.Time, err error) {
	if text == "" {
		return after, before, nil
	}
	ms, id, _ := strings.Cut(text, ".")
	at, err := strconv.ParseInt(ms, 10, 64)
	key, errKey := store.ParseID(id)
	if err != nil || errKey != nil {
		return after, before, badCursor(text)
	}
	return envelope.KeyID(key), time.UnixMilli(at), nil
}
