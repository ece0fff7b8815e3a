//go:build unix

// Package crash_test takes Underseal down at every moment it can and looks at
// what is left: processes killed with SIGKILL under load, on SQLite and on
// Postgres; the power lost between any two system calls, with what a disk may
// then lose; disks that are full or fail to sync.
//
// Each crash is checked for the promises P1 (what was acknowledged is there), P2
// (every event was applied once) and P3 (state and log agree). What is random
// comes from one seed, which a failure prints and UNDERSEAL_CRASH_SEED sets; how
// the system interleaves many clients, no seed repeats.
package crash_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/underseal/underseal/internal/pgtest"
)

// built is where the programs under test are built, once for all tests.
var built string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if built, err = os.MkdirTemp("", "underseal-crash-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(built)
	return pgtest.Main(m)
}

// program builds a main package of the module and returns the path of the binary.
func program(t *testing.T, pkg string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds servers, and kills them often: left out by -short")
	}
	path, err := build(pkg)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var building sync.Mutex

func build(pkg string) (string, error) {
	building.Lock()
	defer building.Unlock()
	path := filepath.Join(built, filepath.Base(pkg))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := noteSources(); err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-o", path, pkg)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return path, nil
}

// noteSources looks at every source file of the programs. The go tool remembers
// what a test looked at, and so does not take an old result for one of programs
// that have changed since.
func noteSources() error {
	count := 0
	for _, dir := range []string{"cmd", "internal"} {
		err := filepath.WalkDir(filepath.Join("..", "..", dir), func(path string, _ fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".go") {
				count++
				_, err = os.Stat(path)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if count == 0 {
		return errors.New("no source files found")
	}
	return nil
}

// newRand returns the source of everything random in a test.
func newRand(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64() >> 1
	if text := os.Getenv("UNDERSEAL_CRASH_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("UNDERSEAL_CRASH_SEED: %v", err)
		}
	}
	t.Logf("to repeat: UNDERSEAL_CRASH_SEED=%d go test ./test/crash -run '^%s$'", seed, t.Name())
	return rand.New(rand.NewPCG(seed, 0))
}

// model returns the process that the tests run: a job for a worker, one done
// three times, a person's task, a short timer.
func model(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("powerloss", "crash.bpmn"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
