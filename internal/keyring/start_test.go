package keyring_test

import (
	"context"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/kmstest"
)

// A mute key service does not even describe its root key.
type mute struct{ kms.Service }

func (mute) Describe(context.Context) (kms.Description, error) {
	return kms.Description{}, fault.New(fault.Denied, "key service refuses")
}

// TestAKeyServiceThatRefusesAtTheStart keeps its own tenants from working, and others
// only if there is no other service.
func TestAKeyServiceThatRefusesAtTheStart(t *testing.T) {
	t.Parallel()
	second := kmstest.New(t)
	h := newHousehold(t, func(c *keyring.Config) { c.Services["second"] = second })
	must(h.NewKey(t.Context(), "other"))(t)
	start := func(refuses string) error {
		h.Close()
		services := h.config.Services
		defer func() { h.config.Services = services }()
		h.config.Services = map[string]kms.Service{"first": h.service, "second": second}
		h.config.Services[refuses] = mute{h.config.Services[refuses]}
		ring, err := keyring.Open(t.Context(), h.config)
		if err == nil {
			ring.Close()
		}
		return err
	}
	want(t, "the service of all tenants refuses", start("first"), fault.Denied)
	h.Ring = h.another()
	must(h.RotateTenant(t.Context(), "other", "second"))(t)
	for _, name := range []string{"first", "second"} {
		if err := start(name); err != nil {
			t.Errorf("the service %s of one tenant refuses: %v", name, err)
		}
	}
	h.Ring = h.another()
	must(h.RotateTenant(t.Context(), "main", "second"))(t)
	if err := start("first"); err != nil {
		t.Errorf("a service that was left refuses: %v", err)
	}
	want(t, "the service to which all moved refuses", start("second"), fault.Denied)
}
