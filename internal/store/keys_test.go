package store_test

import (
	"testing"

	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/keyring/keyringtest"
	"github.com/underseal/underseal/internal/store"
)

var _ keyring.Storage = (*store.Keys)(nil)

func TestKeysFulfilTheContractOfTheKeyring(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		keyringtest.TestStorage(t, func() keyring.Storage { return d.open(t).Keys() })
	})
}
