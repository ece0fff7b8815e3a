package crash_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// injected are the calls that a server under fault injection is traced for.
const injected = "fsync,fdatasync,pwrite64"

// TestFailedSyncIsNeverBelieved lets a sync fail, as a disk does that loses what
// it was given: the kernel counts it as written afterwards, and the next sync
// succeeds without it (https://wiki.postgresql.org/wiki/Fsync_Errors). Then the
// power goes at some moment between the failure and the end of the process.
func TestFailedSyncIsNeverBelieved(t *testing.T) {
	t.Parallel()
	rng := newRand(t)
	crashes, count := newCrashes(t, rng), 0
	crashes.syncsFail = true
	try := func(nth int) (acks int) {
		inject := fmt.Sprintf("inject=fsync,fdatasync:error=EIO:when=%d", nth) // of each thread's syncs
		marks, base, code := recordWith(t, []string{"-e", inject}, "-small", "60")
		first := slices.IndexFunc(marks, func(m mark) bool {
			return m.end && m.call.result < 0 && strings.Contains(m.call.name, "sync")
		})
		if first < 0 || code == 0 {
			t.Fatalf("with the sync %d of each thread failing the program ended with %d (first failure: %d)", nth, code, first)
		}
		tries, acks := playFrom(t, marks, base, first, crashes, rng)
		count += tries
		return acks
	}
	last := 22 + rng.IntN(10)
	for _, nth := range []int{2 + rng.IntN(6), 8 + rng.IntN(6), 14 + rng.IntN(8)} {
		try(nth)
	}
	// How many syncs the making of the files takes differs by thread, so the last
	// failure moves until it comes after something was acknowledged.
	for try(last) == 0 {
		last += 4
	}
	crashes.report(count)
}

// playFrom tries crashes at some moments from a mark on, and returns how many, and
// how many acknowledgments the last of them follows.
func playFrom(t *testing.T, marks []mark, base string, from int, crashes *crashes, rng *rand.Rand) (tries, acks int) {
	t.Helper()
	moments := []int{from, len(marks) - 1}
	for range 10 {
		moments = append(moments, from+rng.IntN(len(marks)-from))
	}
	d := newDisk(base)
	for i, m := range marks {
		if err := d.play(m); err != nil {
			t.Fatal(err)
		}
		if slices.Contains(moments, i) {
			crashes.try(d, i, losses[rng.IntN(len(losses))])
			tries++
		}
	}
	return tries, len(d.acks)
}

// cure is what a server says that was running.
const cure = "cure the cause (disk full, broken disk), then start again"

func TestServerStopsWhenTheDiskFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, inject, says, hint string }{
		{"one sync fails", "fsync,fdatasync:error=EIO:when=15", "disk I/O error", cure},
		{"every sync fails from some moment on", "fsync,fdatasync:error=EIO:when=25+", "disk I/O error", cure},
		{"the disk is full at once", "pwrite64:error=ENOSPC:when=1+", "disk", ""},
		{"the disk is full from some moment on", "pwrite64:error=ENOSPC:when=300+", "database or disk is full", cure},
	} {
		t.Run(c.name, func(t *testing.T) { diskFails(t, c.inject, c.says, c.hint) })
	}
}

// diskFails runs a healthy server, then one whose disk fails under load, then a
// healthy one again.
func diskFails(t *testing.T, inject, says, hint string) {
	wrap := strace(t, os.DevNull, injected, "-e", "inject="+inject)
	s := newServer(t, "")
	s.start()
	l := startLoad(t, s)
	if err := l.awaitAcks(s.ctx, 20); err != nil {
		t.Fatal(err)
	}
	s.kill()

	s.wrap = wrap
	begin := logSize(t, s)
	s.launch()
	if err := s.await(); err != nil {
		t.Logf("failed while starting: %v", err)
	}
	code := waitForEnd(t, s, l)
	checkLastWords(t, s, begin, code, says, hint)

	s.wrap = nil
	s.start()
	k := &killer{t: t, server: s, load: l, rng: newRand(t)}
	if err := checkPresent(l.ctx, l.client, l.acknowledged()); err != nil {
		t.Fatal(k.cause(err))
	}
	if err := l.awaitAcks(s.ctx, 20); err != nil { // it goes on
		t.Fatal(err)
	}
	l.starting.Store(false)
	k.drain()
	l.end()
	k.finish()
	s.stop()
	k.checkRows(openSQLite(t, s.path("data")))
	t.Logf("exit code %d, %d acknowledgments", code, len(l.acknowledged()))
}

// tooMany acknowledgments mean that a server goes on with a disk that fails. The
// faults come within a few hundred.
const tooMany = 4000

// waitForEnd waits until the server ends by itself and returns its exit code.
func waitForEnd(t *testing.T, s *server, l *load) int {
	t.Helper()
	ctx, cancel := context.WithCancel(s.ctx)
	watched := make(chan struct{})
	pid := s.cmd.Process.Pid
	go func() {
		defer close(watched)
		if err := l.awaitAcks(ctx, tooMany); ctx.Err() == nil {
			t.Errorf("the server goes on with a disk that fails, %d acknowledgments so far: %v", len(l.acknowledged()), err)
			_ = syscall.Kill(-pid, syscall.SIGKILL)
		}
	}()
	code := s.wait()
	cancel()
	<-watched
	return code
}

func logSize(t *testing.T, s *server) int {
	t.Helper()
	log, err := os.ReadFile(s.path("server.log"))
	if err != nil {
		t.Fatal(err)
	}
	return len(log)
}

// checkLastWords requires an exit code that tells of an error, and words that say
// what happened and what to do.
func checkLastWords(t *testing.T, s *server, begin, code int, says, hint string) {
	t.Helper()
	log, err := os.ReadFile(s.path("server.log"))
	if err != nil {
		t.Fatal(err)
	}
	words := string(log[begin:])
	if code == 0 || !strings.Contains(words, says) || !strings.Contains(words, hint) {
		t.Errorf("the server ended with exit code %d and the words\n%s\nwant another code than 0, %q and %q", code, words, says, hint)
	}
}
