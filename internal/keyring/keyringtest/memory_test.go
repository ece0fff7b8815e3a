package keyringtest_test

import (
	"maps"
	"testing"

	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/keyring/keyringtest"
)

func TestMemory(t *testing.T) {
	keyringtest.TestStorage(t, func() (keyring.Storage, func(string)) {
		m := keyringtest.NewMemory()
		return m, func(tenant string) {
			m.Edit(func(t *keyringtest.Tables) {
				maps.DeleteFunc(t.TenantKeys, func(id keyringtest.TenantKeyID, _ keyring.TenantKeyRow) bool { return id.Tenant == tenant })
			})
		}
	})
}
