package keyring_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/keyring/keyrow"
	"github.com/underseal/underseal/internal/kms/kmstest"
)

// nobody had a former key whose person is erased.
const nobody = 255

// A model is what must be true of a ring, whatever was done to it.
type model struct {
	*env
	now     atomic.Int64                               // nanoseconds since the beginning
	keys    map[string]map[envelope.KeyID]envelope.Key // by tenant
	dead    map[string]map[envelope.KeyID]bool
	persons map[string]map[byte]envelope.KeyID
	former  map[string]map[envelope.KeyID]byte // whose it is
}

func newModel(t *testing.T, service *kmstest.Faulty) *model {
	m := &model{keys: map[string]map[envelope.KeyID]envelope.Key{}}
	m.dead, m.persons = map[string]map[envelope.KeyID]bool{}, map[string]map[byte]envelope.KeyID{}
	m.former = map[string]map[envelope.KeyID]byte{}
	for _, tenant := range []string{"a", "b"} {
		m.keys[tenant] = map[envelope.KeyID]envelope.Key{}
		m.dead[tenant] = map[envelope.KeyID]bool{}
		m.persons[tenant] = map[byte]envelope.KeyID{}
		m.former[tenant] = map[envelope.KeyID]byte{}
	}
	m.env = setupWith(t, service, func(c *keyring.Config) {
		c.Now = func() time.Time { return time.Unix(1_700_000_000, m.now.Load()) }
		c.CacheSize = 3
	})
	return m
}

// learn notes a key that was handed out, and that it is not a known one's twin.
func (m *model) learn(t *rapid.T, tenant string, key envelope.Key) {
	for other, keys := range m.keys {
		for id, known := range keys {
			if same := other == tenant && id == key.ID; same != (known.Secret == key.Secret) {
				t.Fatalf("key %s of %s and key %s of %s: same place %t, same secret %t", key.ID, tenant, id, other, same, !same)
			}
		}
	}
	m.keys[tenant][key.ID] = key
}

// anyKey draws a tenant that has keys and one of them; ok is false when none has.
func (m *model) anyKey(t *rapid.T) (tenant string, id envelope.KeyID, ok bool) {
	tenant = rapid.SampledFrom([]string{"a", "b"}).Draw(t, "tenant")
	var ids []envelope.KeyID
	for id := range m.keys[tenant] {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return tenant, id, false
	}
	return tenant, rapid.SampledFrom(ids).Draw(t, "key"), true
}

func TestARingAgreesWithItsModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel(t, kmstest.New(t))
		ctx := t.Context()
		person := rapid.ByteRange(1, 4)
		rt.Repeat(map[string]func(*rapid.T){
			"NewKey": func(rt *rapid.T) {
				tenant := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "tenant")
				key := must(m.NewKey(ctx, tenant))(t)
				if _, known := m.keys[tenant][key.ID]; known {
					rt.Fatalf("key %s was handed out twice", key.ID)
				}
				m.learn(rt, tenant, key)
			},
			"Key": func(rt *rapid.T) {
				tenant, id, ok := m.anyKey(rt)
				if !ok {
					return
				}
				key, err := m.Key(ctx, tenant, id)
				if m.dead[tenant][id] {
					want(t, "Key of a destroyed one", err, fault.Sealed)
				} else if err != nil || key != m.keys[tenant][id] {
					rt.Fatalf("Key: %v, the right one: %t", err, key == m.keys[tenant][id])
				}
			},
			"SubjectKey": func(rt *rapid.T) {
				tenant := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "tenant")
				who := person.Draw(rt, "person")
				key := must(m.SubjectKey(ctx, tenant, token(who)))(t)
				if id, ok := m.persons[tenant][who]; ok && id != key.ID {
					rt.Fatalf("person %d had key %s and has %s", who, id, key.ID)
				}
				m.learn(rt, tenant, key)
				m.persons[tenant][who] = key.ID
			},
			"LinkSubject": func(rt *rapid.T) {
				tenant, id, ok := m.anyKey(rt)
				if !ok {
					return
				}
				who := person.Draw(rt, "person")
				m.link(rt, tenant, id, who)
			},
			"RotateSubjects": func(rt *rapid.T) {
				m.rotatePerson(rt, rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "tenant"), person.Draw(rt, "person"))
			},
			"Destroy": func(rt *rapid.T) {
				tenant, id, ok := m.anyKey(rt)
				if !ok {
					return
				}
				if err := m.env.Destroy(ctx, tenant, id); err != nil {
					rt.Fatal(err)
				}
				m.dead[tenant][id] = true
				for who, key := range m.persons[tenant] {
					if key == id {
						delete(m.persons[tenant], who)
						for former, whose := range m.former[tenant] {
							if whose == who {
								m.former[tenant][former] = nobody
							}
						}
					}
				}
			},
			"restart": func(*rapid.T) { m.restart() },
			"rotate, rewrap, retire, crash": func(rt *rapid.T) {
				m.rotate(rt, rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "tenant"))
			},
			"time passes": func(rt *rapid.T) {
				m.now.Add(rapid.Int64Range(0, int64(14*time.Hour)).Draw(rt, "for"))
			},
		})
		m.Close()
	})
}

// rotate takes some steps of a rotation, of which one may crash.
func (m *model) rotate(rt *rapid.T, tenant string) {
	ctx := m.t.Context()
	must(m.NewKey(ctx, tenant))(m.t) // so that the tenant exists
	steps := []func() error{
		func() error { return errorOf(m.RotateTenant(ctx, tenant, "")) },
		func() error { return m.Rewrap(ctx, tenant, 0, nil) },
		func() error {
			version := rapid.Uint32Range(1, 8).Draw(rt, "version")
			return errorOf(m.RetireTenant(ctx, tenant, version, rapid.Bool().Draw(rt, "dry run")))
		},
		func() error { return errorOf(m.RotateRoot(ctx, "first")) },
		func() error {
			version := rapid.IntRange(1, 8).Draw(rt, "root version")
			return errorOf(m.RetireRoot(ctx, "first", strconv.Itoa(version), false))
		},
	}
	if rapid.Bool().Draw(rt, "crash") {
		wire := &tripwire{left: rapid.IntRange(0, 6).Draw(rt, "crash at"), after: rapid.Bool().Draw(rt, "lost reply")}
		m.storage.Hooks(func(context.Context, string) error { return wire.step(false) }, func(context.Context, string) error { return wire.step(true) })
		// Whatever tripped, be it only the pool that fills in the background.
		defer m.restart()
		defer m.storage.Hooks(nil, nil)
	}
	for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(steps)-1), 1, 4).Draw(rt, "steps") {
		switch err := steps[i](); {
		case errors.Is(err, errTripped):
			return
		case err != nil && !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.NotFound):
			rt.Fatalf("step %d: %v", i, err)
		}
	}
}

// rotatePerson gives a person a new key and looks at all they have.
func (m *model) rotatePerson(rt *rapid.T, tenant string, who byte) {
	ctx := m.t.Context()
	had, known := m.persons[tenant][who]
	before := m.config.Now()
	if made := keyrow.TimeOf(had); known && made.After(before) {
		before = made
	}
	failed, err := m.RotateSubjects(ctx, tenant, [][32]byte{token(who)}, before.Add(time.Millisecond))
	if err != nil || len(failed) > 0 {
		rt.Fatalf("RotateSubjects: %v, %v", failed, err)
	}
	keys := must(m.FindSubject(ctx, tenant, token(who)))(m.t)
	if !known {
		if len(keys) > 0 {
			rt.Fatalf("person %d was given keys %v", who, keys)
		}
		return
	}
	if len(keys) < 2 || keys[0] == had || keys[1] != had {
		rt.Fatalf("person %d had key %s and has %v", who, had, keys)
	}
	m.former[tenant][had], m.persons[tenant][who] = who, keys[0]
	m.learn(rt, tenant, must(m.Key(ctx, tenant, keys[0]))(m.t))
	for id, whose := range m.former[tenant] {
		if (whose == who) != slices.Contains(keys[1:], id) {
			rt.Fatalf("former key %s of person %d, and person %d has %v", id, whose, who, keys)
		}
	}
}

// link links a key and compares with what the model says.
func (m *model) link(rt *rapid.T, tenant string, id envelope.KeyID, who byte) {
	err := m.LinkSubject(m.t.Context(), tenant, id, token(who))
	has, linked := m.persons[tenant][who]
	owner := m.former[tenant][id]
	for other, key := range m.persons[tenant] {
		if key == id {
			owner = other
		}
	}
	switch {
	case m.dead[tenant][id]:
		want(m.t, "LinkSubject of a destroyed key", err, fault.Sealed)
	case linked && has == id:
		if err != nil {
			rt.Fatalf("LinkSubject again: %v", err)
		}
	case linked || owner != 0:
		want(m.t, "LinkSubject of what is linked otherwise", err, fault.Conflict)
	case err != nil:
		rt.Fatalf("LinkSubject: %v", err)
	default:
		m.persons[tenant][who] = id
	}
}

// TestSwappedRowsNeverOpen swaps one column of two rows at random.
func TestSwappedRowsNeverOpen(t *testing.T) {
	t.Parallel()
	service := kmstest.New(t)
	rapid.Check(t, func(rt *rapid.T) {
		e := setupWith(t, service)
		defer e.Close()
		ctx := t.Context()
		type place struct {
			tenant string
			id     envelope.KeyID
		}
		var places []place
		for _, tenant := range []string{"a", "b"} {
			for range 3 {
				places = append(places, place{tenant, must(e.NewKey(ctx, tenant))(t).ID})
			}
			places = append(places, place{tenant, must(e.TenantKey(ctx, tenant, keyring.Log))(t).ID})
		}
		a, b := rapid.SampledFrom(places).Draw(rt, "a"), rapid.SampledFrom(places).Draw(rt, "b")
		if a == b {
			return
		}
		e.restart()
		e.swapWrapped(a.tenant, a.id, b.tenant, b.id)
		for _, p := range []place{a, b} {
			if _, err := e.Key(ctx, p.tenant, p.id); !fault.Is(err, fault.Integrity) {
				rt.Fatalf("Key after a swap: %v, want integrity", err)
			}
		}
	})
}
