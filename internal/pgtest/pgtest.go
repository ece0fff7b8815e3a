package pgtest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
)

var shared struct {
	sync.Mutex
	cluster *Cluster
	err     error
	running bool // within Main
}

// Main runs a package's tests and ends the server that they started, if any:
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
func Main(m *testing.M) (code int) {
	shared.running = true
	code = m.Run()
	if shared.cluster == nil {
		return code
	}
	if err := shared.cluster.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop Postgres:", err)
		return 1
	}
	return code
}

// Database returns the DSN of an empty database that lives as long as the test.
// With -short, which is for machines that have only Go, the test is skipped.
func Database(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Postgres: left out by -short")
	}
	c, err := sharedCluster()
	if err != nil {
		t.Fatal(err)
	}
	dsn, err := c.CreateDatabase(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.DropDatabase(context.Background(), dsn); err != nil {
			t.Error(err)
		}
	})
	return dsn
}

// sharedCluster starts the server at first use.
func sharedCluster() (*Cluster, error) {
	shared.Lock()
	defer shared.Unlock()
	if !shared.running {
		return nil, fmt.Errorf("pgtest.Database needs a TestMain that calls pgtest.Main")
	}
	if shared.cluster == nil && shared.err == nil {
		shared.cluster, shared.err = Start()
	}
	return shared.cluster, shared.err
}
