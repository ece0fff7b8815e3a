package backup_test

import (
	"os"
	"testing"

	"github.com/underseal/underseal/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
