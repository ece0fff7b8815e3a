package engine_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// taking is a way to take from somebody what they may, and the answer to what they began.
type taking struct {
	name string
	take func(t *testing.T, env *testenv.Env, c engine.Caller, role string) error
	want func(error) bool
}

var takings = []taking{
	{"the key is revoked", func(t *testing.T, env *testenv.Env, c engine.Caller, _ string) error {
		return second(env.Engine.RevokeAPIKey(t.Context(), env.Ann, c.Key, api.ReasonRequest{}, ""))
	}, unauthenticated},
	{"they are disabled", func(t *testing.T, env *testenv.Env, c engine.Caller, _ string) error {
		return second(env.Engine.DisableUser(t.Context(), env.Ann, c.Principal, api.ReasonRequest{}, ""))
	}, unauthenticated},
	{"the role is taken", func(t *testing.T, env *testenv.Env, c engine.Caller, role string) error {
		return second(env.Engine.TakeUserRole(t.Context(), env.Ann, c.Principal, api.RoleRequest{Role: role}, ""))
	}, func(err error) bool { return fault.Is(err, fault.Denied) || fault.Is(err, fault.NotFound) }},
}

// TestADownloadEndsWithTheRightToIt between two of its parts.
func TestADownloadEndsWithTheRightToIt(t *testing.T) {
	t.Parallel()
	for _, way := range takings {
		t.Run(way.name, func(t *testing.T) {
			env := testenv.New(t, nil)
			env.Deploy("c.bpmn", classified)
			id := put(t, env, env.Ann, content(200_000)).File
			instance, err := startWith(t, env, env.Ann, `{"room": `+named(id)+`}`)
			if err != nil {
				t.Fatal(err)
			}
			eve := env.Person("eve", "Viewer")
			d, err := env.Engine.File(t.Context(), eve, instance, id)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			part := make([]byte, 1000)
			if _, err := io.ReadFull(d, part); err != nil {
				t.Fatal(err)
			}
			if err := way.take(t, env, eve, "Viewer"); err != nil {
				t.Fatal(err)
			}
			if n, err := d.Read(part); n != 0 || !way.want(err) {
				t.Errorf("the next part: %d bytes, %v", n, err)
			}
			if whole, err := get(t, env, instance, id); err != nil || len(whole) != 200_000 {
				t.Errorf("somebody else gets %d bytes, %v", len(whole), err)
			}
		})
	}
}

// TestADownloadEndsWithTheFile when its person or its instance is erased, between two of its
// parts, and goes on when others are.
func TestADownloadEndsWithTheFile(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	for i, erased := range []struct {
		kind string
		ends bool
	}{{"another", false}, {"subject", true}, {"instance", true}} {
		id, person := put(t, env, env.Ann, content(200_000)).File, fmt.Sprint("p-", i)
		instance, err := startWith(t, env, env.Ann, `{"shoe": `+named(id)+`, "person": {"id": "`+person+`"}}`)
		if err != nil {
			t.Fatal(err)
		}
		other, err := startWith(t, env, env.Ann, `{"person": {"id": "other `+person+`"}}`)
		if err != nil {
			t.Fatal(err)
		}
		d, err := env.Engine.File(t.Context(), env.Ann, instance, id)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		part := make([]byte, 1000)
		if _, err := io.ReadFull(d, part); err != nil {
			t.Fatal(err)
		}
		switch erased.kind {
		case "another":
			erase(t, env, "subject", "other "+person)
			erase(t, env, "instance", other)
		case "subject":
			erase(t, env, "subject", person)
		case "instance":
			erase(t, env, "instance", instance)
		}
		if n, err := d.Read(part); (n == 0 && fault.Is(err, fault.Sealed)) != erased.ends || !erased.ends && err != nil {
			t.Errorf("the next part when the %s was erased: %d bytes, %v", erased.kind, n, err)
		}
	}
}

// TestADownloadUsesItsSession as long as parts of it are read, and no longer.
func TestADownloadUsesItsSession(t *testing.T) {
	t.Parallel()
	clock := newClock(time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC))
	env := testenv.New(t, func(c *node.Config) { c.Now = clock.now })
	env.Deploy("c.bpmn", classified)
	id := put(t, env, env.Ann, content(200_000)).File
	instance, err := startWith(t, env, env.Ann, `{"room": `+named(id)+`}`)
	if err != nil {
		t.Fatal(err)
	}
	s, err := engine.BeginSession(t.Context(), env.Engine, env.Ann, home)
	if err != nil {
		t.Fatal(err)
	}
	d, err := env.Engine.File(t.Context(), by(t, env, s), instance, id)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	part := make([]byte, 1000)
	for i := range 3 {
		clock.pass(50 * time.Minute)
		if _, err := io.ReadFull(d, part); err != nil {
			t.Fatalf("part %d: %v", i, err)
		}
	}
	clock.pass(time.Hour)
	if n, err := d.Read(part); n != 0 || !unauthenticated(err) {
		t.Errorf("after an hour without a part: %d bytes, %v", n, err)
	}
}

// between is a body that does something after its first part.
type between struct {
	io.Reader
	do func()
}

func (b *between) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.do != nil {
		b.do()
		b.do = nil
	}
	return n, err
}

// TestAnUploadEndsWithTheRightToIt between two of its parts, and leaves nothing.
func TestAnUploadEndsWithTheRightToIt(t *testing.T) {
	t.Parallel()
	for _, way := range takings {
		t.Run(way.name, func(t *testing.T) {
			env := testenv.New(t, nil)
			eve := env.Person("eve", "Executor")
			body := &between{bytes.NewReader(content(200_000)), func() {
				if err := way.take(t, env, eve, "Executor"); err != nil {
					t.Fatal(err)
				}
			}}
			if _, err := env.Engine.PutFile(t.Context(), eve, engine.Incoming{Name: "n", Size: -1, Body: body}); !way.want(err) {
				t.Errorf("the upload: %v", err)
			}
			if n := env.Blobs.Unfinished(); n != 0 {
				t.Errorf("%d blobs were begun and not ended", n)
			}
		})
	}
}

// TestAnExportEndsWithTheRightToIt between two entries.
func TestAnExportEndsWithTheRightToIt(t *testing.T) {
	t.Parallel()
	for _, way := range takings {
		t.Run(way.name, func(t *testing.T) {
			env := testenv.New(t, nil)
			eve := env.Person("eve", "Admin")
			sequenced(t, env)
			entries, err := env.Engine.ExportAudit(t.Context(), eve, api.AuditExportQuery{})
			if err != nil {
				t.Fatal(err)
			}
			got := 0
			for _, failed := range entries {
				if err = failed; err != nil {
					break
				}
				if got++; got == 1 {
					if err := way.take(t, env, eve, "Admin"); err != nil {
						t.Fatal(err)
					}
				}
			}
			if got != 1 || !way.want(err) {
				t.Errorf("%d entries, then %v", got, err)
			}
		})
	}
}
