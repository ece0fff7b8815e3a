//go:build unix

package crash_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/pgtest"
)

// TestServerKilledInErasuresFinishesThem kills the server while it erases people
// and instances: what was acknowledged as done stays gone, what was begun is
// finished before the next start serves, and nobody else's values are touched.
func TestServerKilledInErasuresFinishesThem(t *testing.T) {
	t.Parallel()
	killInErasures(t, newServer(t, ""), 40, 150*time.Millisecond)
}

func TestServerKilledInErasuresOnPostgresFinishesThem(t *testing.T) {
	t.Parallel()
	killInErasures(t, newServer(t, pgtest.Database(t)), 12, 300*time.Millisecond)
}

// erasing is one round: two instances of one person, of which the second one is
// erased as a whole too, and an instance of somebody who stays.
type erasing struct {
	person       string
	first, whole string
	stays        string
	orders       []api.ErasureRequest
	acknowledged []bool
}

// killInErasures kills in turn before an erasure can have ended, after one has, and at
// random moments of a span in which two may just end.
func killInErasures(t *testing.T, s *server, kills int, span time.Duration) {
	rng := newRand(t)
	s.start()
	if _, err := s.client().Deploy(s.ctx, api.File{Name: "crash.bpmn", Content: model(t)}); err != nil {
		t.Fatal(err)
	}
	cut, acknowledged := 0, 0
	for round := range kills {
		e := s.newErasing(round)
		ended := make(chan struct{}, len(e.orders))
		done := make(chan struct{})
		c := s.client()
		go func() {
			defer close(done)
			for i, order := range e.orders {
				if _, err := c.OrderErasure(s.ctx, order); err != nil {
					return
				}
				e.acknowledged[i] = true
				ended <- struct{}{}
			}
		}()
		switch moment := time.Duration(rng.Int64N(int64(span))); round % 3 {
		case 0:
			time.Sleep(moment / 100)
		case 1:
			select {
			case <-ended:
			case <-done:
			}
			time.Sleep(moment / 10)
		default:
			time.Sleep(moment)
		}
		s.kill()
		<-done
		s.start()
		for i := range e.orders {
			if e.acknowledged[i] {
				acknowledged++
			} else {
				cut++
			}
		}
		s.checkErasing(e)
	}
	if kills >= 40 && cut == 0 || acknowledged == 0 {
		t.Errorf("%d erasures cut short, %d acknowledged: all kills came too late, or too early", cut, acknowledged)
	}
	t.Logf("%d kills: %d erasures acknowledged, %d cut short", kills, acknowledged, cut)
	s.stop()
}

func (s *server) newErasing(round int) *erasing {
	now := 0
	e := &erasing{person: fmt.Sprintf("gone-%d", round), acknowledged: make([]bool, 2)}
	e.first = s.startAbout(e.person)
	if round%2 == 1 { // or the person has one key only
		if _, err := s.client().RotateKey(s.ctx, api.RotateKeyRequest{Key: "subject", Subject: e.person}); err != nil {
			s.t.Fatal(err)
		}
	}
	e.whole, e.stays = s.startAbout(e.person), s.startAbout(fmt.Sprintf("stays-%d", round))
	e.orders = []api.ErasureRequest{
		{Kind: "subject", ID: e.person, DelayMS: &now},
		{Kind: "instance", ID: e.whole, DelayMS: &now},
	}
	return e
}

// startAbout starts an instance that is about one person.
func (s *server) startAbout(person string) string {
	s.t.Helper()
	receipt, err := s.client().Start(s.ctx, api.StartRequest{Process: "crash", Variables: client.Variables(map[string]any{
		"n": 0, "person": map[string]any{"id": person, "name": "Name of " + person},
	})})
	if err != nil {
		s.t.Fatal(err)
	}
	return receipt.Instance
}

// checkErasing reads everything of a round after a kill. What nobody acknowledged
// may not have been ordered or not begun: then it is ordered again.
func (s *server) checkErasing(e *erasing) {
	s.t.Helper()
	s.checkStays(e.stays)
	for i, order := range e.orders {
		if e.acknowledged[i] {
			continue
		}
		if err := s.orderAgain(order); err != nil {
			s.t.Fatalf("ordering the erasure of %s again: %v", order.Kind, err)
		}
	}
	instance, err := s.client().Instance(s.ctx, e.first)
	if err != nil {
		s.t.Fatalf("an instance of an erased person: %v", err)
	}
	if text := string(instance.Variables); strings.Contains(text, "Name of") || len(instance.Erased) == 0 {
		s.t.Fatalf("an erased person reads as %s, erased %v", text, instance.Erased)
	}
	if _, err := s.client().Instance(s.ctx, e.whole); !client.IsSealed(err) {
		s.t.Fatalf("an erased instance reads as %v, want sealed", err)
	}
	s.checkStays(e.stays)
}

func (s *server) checkStays(id string) {
	s.t.Helper()
	instance, err := s.client().Instance(s.ctx, id)
	if err != nil || !strings.Contains(string(instance.Variables), "Name of stays") {
		s.t.Fatalf("an instance of somebody else reads as %s, %v", instance.Variables, err)
	}
}

// orderAgain orders what may have been ordered before and not begun.
func (s *server) orderAgain(order api.ErasureRequest) error {
	preview, err := s.client().For("the test").PreviewErasure(s.ctx, api.ErasureTarget{Kind: order.Kind, ID: order.ID})
	switch {
	case gone(err) || err == nil && preview.State == "done":
		return nil
	case err != nil:
		return err
	case preview.State == "pending":
		if _, err := s.client().CancelErasure(s.ctx, preview.ID); err != nil {
			return err
		}
	}
	done, err := s.client().OrderErasure(s.ctx, order)
	if gone(err) {
		return nil
	}
	if err == nil && done.State != "done" {
		err = errors.New("the erasure is " + done.State)
	}
	return err
}

// gone reports whether an answer says that the target is erased already.
func gone(err error) bool {
	return client.IsSealed(err) || client.IsNotFound(err) || client.Code(err) == "erased"
}
