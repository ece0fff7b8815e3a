package stream_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/export"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/stream"
	"github.com/underseal/underseal/internal/testenv"
	"github.com/underseal/underseal/ledger"
)

// record is a source with one log of numbered entries. Its hooks say otherwise.
type record struct {
	mu      sync.Mutex // guards what follows
	size    uint64
	next    map[string]uint64
	number  map[string]uint64
	forget  int // how many times still a batch that was taken is not noted: the server was killed
	signer  note.Signer
	failing error // what reading ends with
	empty   bool  // it gives nothing, and says that something waits
	asked   int   // how often it was read
}

const origin = "underseal/d/main/2026"

func newRecord(t *testing.T, size uint64) *record {
	t.Helper()
	signer, err := ledger.NoteSigner(origin, bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return &record{size: size, next: map[string]uint64{}, number: map[string]uint64{}, signer: signer}
}

func (r *record) AuditTenants(context.Context) ([]string, error) { return []string{"main"}, nil }

func (r *record) NextAudit(_ context.Context, tenant, sink string, limit int) (engine.AuditStretch, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := engine.AuditStretch{Tenant: tenant, Log: origin, First: r.next[sink], Number: r.number[sink] + 1, Behind: r.size - r.next[sink]}
	r.asked++
	for i := s.First; !r.empty && i < min(r.size, s.First+uint64(limit)); i++ {
		s.Entries = append(s.Entries, api.AuditEntry{Entry: fmt.Sprintf("2026/%d", i), Kind: "data.shown", Act: "user", Result: "done", At: time.Date(2026, 1, 1, 0, 0, int(i), 0, time.UTC)})
	}
	return s, r.failing
}

func (r *record) SignAudit(_ context.Context, _ string, b ledger.AuditBatch) ([]byte, error) {
	return b.Sign(r.signer)
}

func (r *record) AuditTaken(_ context.Context, sink string, s engine.AuditStretch) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.forget > 0 {
		r.forget--
		return fault.New(fault.Unavailable, "killed")
	}
	r.next[sink], r.number[sink] = s.Last()+1, s.Number
	return nil
}

// receiver is a sink that checks what it gets.
type receiver struct {
	t        *testing.T
	verifier note.Verifier

	mu      sync.Mutex // guards what follows
	next    uint64     // place that must come next, or one before it
	number  uint64
	entries map[string]int // how often each came
	refuse  int            // how many batches still are not taken
	calls   []time.Time
}

func (r *record) receiver(t *testing.T) *receiver {
	t.Helper()
	v, err := note.NewVerifier(ledger.VerifierKey(origin, publicOf(r.signer)))
	if err != nil {
		t.Fatal(err)
	}
	return &receiver{t: t, verifier: v, entries: map[string]int{}}
}

func (r *receiver) Send(_ context.Context, b stream.Batch) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, time.Now())
	if r.refuse > 0 {
		r.refuse--
		return fault.New(fault.Unavailable, "no room")
	}
	says, err := ledger.VerifyAuditBatch(b.Note, r.verifier)
	if err != nil {
		r.t.Errorf("the batch is refused: %v", err)
		return nil
	}
	if says.Payload != sha256.Sum256(b.Payload) || says.Last-says.First+1 != uint64(len(b.Entries)) || len(b.Lines) != len(b.Entries) {
		r.t.Errorf("the batch says %+v of %d entries", says, len(b.Entries))
	}
	if says.First > r.next || says.Number > r.number+1 {
		r.t.Errorf("entries from %d to %d are missing before batch %d", r.next, says.First, says.Number)
	}
	r.next, r.number = says.Last+1, says.Number
	for _, x := range b.Entries {
		r.entries[x.Entry]++
	}
	return nil
}

func newStream(source stream.Source, targets ...stream.Target) *stream.Stream {
	return stream.New(stream.Config{Source: source, Targets: targets, Version: "1.2.3", Log: slog.New(slog.DiscardHandler)})
}

// drain has a stream send until nothing is left.
func drain(t *testing.T, s *stream.Stream) {
	t.Helper()
	for sent := true; sent; {
		var err error
		if sent, err = s.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestASinkGetsEachEntryAtLeastOnce kills the server after each batch that was taken and
// before it was noted, and has the receiver refuse some.
func TestASinkGetsEachEntryAtLeastOnce(t *testing.T) {
	r := newRecord(t, 1000)
	to := r.receiver(t)
	for round := 0; r.next["a"] < r.size; round++ {
		if round > 100 {
			t.Fatal("it does not end")
		}
		switch round % 3 {
		case 0:
			r.forget = 1
		case 1:
			to.refuse = 1
		}
		_, _ = newStream(r, stream.Target{Name: "a", Sink: to}).Round(t.Context()) // a new one: the former was killed
	}
	twice := 0
	for i := range r.size {
		n := to.entries[fmt.Sprintf("2026/%d", i)]
		if n == 0 {
			t.Errorf("entry %d never came", i)
		}
		twice += n - 1
	}
	if twice == 0 {
		t.Error("nothing came twice: nobody was killed in between")
	}
}

func TestSinksDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecord(t, 600)
		away, good := r.receiver(t), r.receiver(t)
		away.refuse = 1 << 30
		s := newStream(r, stream.Target{Name: "away", Sink: away}, stream.Target{Name: "good", Sink: good})
		s.Start()
		time.Sleep(10 * time.Minute)
		good.mu.Lock()
		if len(good.entries) != 600 {
			t.Errorf("the other sink has %d entries, want 600", len(good.entries))
		}
		good.mu.Unlock()
		away.mu.Lock()
		last := len(away.calls) - 1
		if first, latest := away.calls[1].Sub(away.calls[0]), away.calls[last].Sub(away.calls[last-1]); first != time.Second || latest < 2*time.Minute || last > 12 {
			t.Errorf("%d tries, the first after %v, the last after %v", last, first, latest)
		}
		away.refuse = 0
		away.mu.Unlock()
		time.Sleep(10 * time.Minute)
		s.Stop()
		s.Stop()
		if len(away.entries) != 600 {
			t.Errorf("the sink that is back has %d entries, want 600", len(away.entries))
		}
	})
}

func TestAStreamThatCannotReadTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecord(t, 10)
		r.failing = fault.New(fault.Unavailable, "no database")
		s := newStream(r, stream.Target{Name: "a", Sink: r.receiver(t)})
		if sent, err := s.Round(t.Context()); sent || !errors.Is(err, r.failing) {
			t.Errorf("Round = %v, %v", sent, err)
		}
		r.failing = nil
		time.Sleep(time.Second)
		drain(t, s)
		if r.next["a"] != 10 {
			t.Errorf("the sink has %d entries, want 10", r.next["a"])
		}
	})
}

// several are records of tenants, by name.
type several map[string]*record

func (s several) AuditTenants(context.Context) ([]string, error) {
	return slices.Sorted(maps.Keys(s)), nil
}

func (s several) NextAudit(ctx context.Context, tenant, sink string, limit int) (engine.AuditStretch, error) {
	return s[tenant].NextAudit(ctx, tenant, sink, limit)
}

func (s several) SignAudit(ctx context.Context, tenant string, b ledger.AuditBatch) ([]byte, error) {
	return s[tenant].SignAudit(ctx, tenant, b)
}

func (s several) AuditTaken(ctx context.Context, sink string, stretch engine.AuditStretch) error {
	return s[stretch.Tenant].AuditTaken(ctx, sink, stretch)
}

// picky takes no batch of one tenant.
type picky struct{ refuses string }

func (p *picky) Send(_ context.Context, b stream.Batch) error {
	if b.Tenant == p.refuses {
		return fault.New(fault.Unavailable, "not of %s", b.Tenant)
	}
	return nil
}

// TestATenantHoldsUpNoOther: the key service of one is away, the receiver refuses the
// entries of a second, and of a third there should be some and there are none. A fourth has
// 20 batches.
func TestATenantHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := several{"a": newRecord(t, 1), "b": newRecord(t, 1), "c": newRecord(t, 1), "d": newRecord(t, 20*256)}
		all["a"].failing = fault.New(fault.Unavailable, "no key service")
		all["c"].empty = true
		s := newStream(all, stream.Target{Name: "s", Sink: &picky{"b"}})
		s.Start()
		time.Sleep(2 * time.Second)
		s.Stop()
		if got := all["d"].next["s"]; got != 20*256 {
			t.Errorf("in two seconds, %d entries of a tenant without faults came, want all %d", got, 20*256)
		}
		for _, name := range []string{"a", "b", "c"} {
			r := all[name]
			if r.next["s"] != 0 || r.asked != 2 {
				t.Errorf("%d entries of %s came, which was asked for %d times in two seconds, want none and 2", r.next["s"], name, r.asked)
			}
		}
	})
}

// TestTheLogSaysWhoseAuditIsNotSent once for each tenant, however long that lasts, and when
// that is over.
func TestTheLogSaysWhoseAuditIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := several{"a": newRecord(t, 1), "b": newRecord(t, 1), "c": newRecord(t, 1)}
		away := fault.New(fault.Unavailable, "no key service")
		all["a"].failing, all["b"].failing = away, away
		var log bytes.Buffer
		s := stream.New(stream.Config{Source: all, Targets: []stream.Target{{Name: "s", Sink: &picky{}}}, Log: slog.New(slog.NewTextHandler(&log, nil))})
		s.Start()
		time.Sleep(time.Hour)
		all["a"].mu.Lock()
		all["a"].failing = nil
		all["a"].mu.Unlock()
		time.Sleep(time.Hour)
		s.Stop()
		for line, want := range map[string]int{
			"level=ERROR": 2, "level=WARN": 1, "tenant=a": 2, "tenant=b": 1, "tenant=c": 0,
		} {
			if got := strings.Count(log.String(), line); got != want {
				t.Errorf("%q is %d times in the log, want %d:\n%s", line, got, want, &log)
			}
		}
	})
}

// TestTheAuditOfAServerIsStreamed takes entries of a real server, after a restart too,
// and one that was changed.
func TestTheAuditOfAServerIsStreamed(t *testing.T) {
	env := testenv.New(t, nil)
	to := &collected{}
	target := stream.Target{Name: "a", Format: export.JSONL, Sink: to}
	sent := uint64(0)
	sendAll := func() {
		t.Helper()
		size, err := testenv.Proven(func() (uint64, error) {
			shards, err := env.Engine.LogShards(t.Context(), env.Ann)
			if err != nil {
				return 0, err
			}
			size := shards.Items[0].Size
			if size <= sent {
				return 0, fault.New(fault.NotFound, "no head yet that covers more").WithCode("not_sequenced")
			}
			return size, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		sent = size
		drain(t, newStream(env.Engine, target))
	}
	if _, err := env.Engine.LogPolicy(t.Context(), env.Ann); err != nil { // which makes the platform's key
		t.Fatal(err)
	}
	sendAll()
	env.Restart(nil)
	if _, err := env.Engine.Audit(t.Context(), env.Ann, api.AuditQuery{}); err != nil {
		t.Fatal(err)
	}
	sendAll()
	policy, err := env.Engine.LogPolicy(t.Context(), env.Ann)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := ledger.ParsePolicy([]byte(policy.Policy))
	if err != nil {
		t.Fatal(err)
	}
	var verifiers []note.Verifier
	for _, l := range parsed.Logs {
		verifiers = append(verifiers, l.Key)
	}
	next := uint64(0)
	for i, b := range to.batches {
		says, err := ledger.VerifyAuditBatch(b.Note, verifiers...)
		if err != nil || says.First != next || says.Number != uint64(i+1) || says.Payload != sha256.Sum256(b.Payload) {
			t.Fatalf("batch %d is %+v, %v; want it to begin at %d", i, says, err, next)
		}
		next = says.Last + 1
	}
	if len(to.batches) < 2 || !strings.Contains(string(to.batches[0].Payload), `"kind":"log.opened"`) {
		t.Errorf("%d batches came", len(to.batches))
	}
}

// collected keeps what it gets.
type collected struct{ batches []stream.Batch }

func (c *collected) Send(_ context.Context, b stream.Batch) error {
	c.batches = append(c.batches, b)
	return nil
}
