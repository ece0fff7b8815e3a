package keyringtest_test

import (
	"testing"

	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/keyring/keyringtest"
)

func TestMemory(t *testing.T) {
	keyringtest.TestStorage(t, func() keyring.Storage { return keyringtest.NewMemory() })
}
