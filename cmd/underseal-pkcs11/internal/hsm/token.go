package hsm

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/miekg/pkcs11"

	"github.com/underseal/underseal/internal/fault"
)

const defaultSessions = 4

// A token is a module's token, with sessions that are logged in.
type token struct {
	label string
	pin   func() (string, error)
	turns chan struct{} // holds a value for each call under way

	life    sync.RWMutex // held for reading by calls, for writing while the module starts and ends
	module  *pkcs11.Ctx
	slot    uint
	running atomic.Bool // else the next call starts the module

	refusedPIN string // guarded by life; not tried again, since tokens lock themselves after a few

	mu   sync.Mutex // guards what follows
	idle []pkcs11.SessionHandle
}

// A session is one with the token, for one call.
type session struct {
	module *pkcs11.Ctx
	handle pkcs11.SessionHandle
}

func newToken(c Config) (*token, error) {
	module := pkcs11.New(c.Module)
	if module == nil {
		return nil, fault.New(fault.Invalid, "load the PKCS#11 module %q: it is no such library", c.Module).
			WithHint("--module names the library of your token, such as /usr/lib/softhsm/libsofthsm2.so")
	}
	sessions := c.Sessions
	if sessions == 0 {
		sessions = defaultSessions
	}
	return &token{label: c.Token, pin: c.PIN, module: module, turns: make(chan struct{}, sessions)}, nil
}

func (t *token) close() {
	if !t.life.TryLock() {
		return // a call hangs in the module; the end of the process ends it
	}
	defer t.life.Unlock()
	if t.running.Load() {
		_ = t.module.Finalize() // nothing depends on it any more
	}
	t.module.Destroy()
}

// use returns what f returns, which gets a session. A module cannot be
// interrupted: when ctx ends first, the call goes on for itself and nobody learns
// its result.
func use[T any](ctx context.Context, t *token, f func(*session) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	late := func() error { return fault.New(fault.Unavailable, "waiting for token %s: %w", t.label, ctx.Err()) }
	if ctx.Err() != nil {
		return none, late()
	}
	select {
	case t.turns <- struct{}{}:
	case <-ctx.Done():
		return none, late()
	}
	done := make(chan result, 1)
	go func() {
		var r result
		r.err = t.run(func(s *session) (err error) { r.value, err = f(s); return err })
		<-t.turns
		done <- r
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return none, r.err
		}
		return r.value, nil
	case <-ctx.Done():
		return none, late()
	}
}

// run runs f in a session, which is kept for the next call only if nothing failed
// in it: an operation that was begun and not ended would block it.
func (t *token) run(f func(*session) error) error {
	if err := t.start(); err != nil {
		return err
	}
	t.life.RLock()
	defer t.life.RUnlock()
	handle, err := t.take()
	if err == nil {
		if err = f(&session{t.module, handle}); err == nil {
			t.giveBack(handle)
			return nil
		}
		_ = t.module.CloseSession(handle) // may be gone already
	}
	if isLost(err) {
		t.running.Store(false)
	}
	return err
}

// start starts the module and logs in, unless that is done and was not lost.
func (t *token) start() error {
	if t.running.Load() {
		return nil
	}
	t.life.Lock()
	defer t.life.Unlock()
	if t.running.Load() {
		return nil
	}
	t.idle = nil
	// It may run and have lost its token; only from its beginning does it look again.
	_ = t.module.Finalize()
	if err := t.module.Initialize(); err != nil {
		return failed("start the PKCS#11 module", err)
	}
	slot, err := t.findSlot()
	if err != nil {
		return err
	}
	t.slot = slot
	if err := t.login(); err != nil {
		return err
	}
	t.running.Store(true)
	return nil
}

func (t *token) findSlot() (uint, error) {
	slots, err := t.module.GetSlotList(true)
	if err != nil {
		return 0, failed("list the tokens", err)
	}
	var labels []string
	var found []uint
	for _, slot := range slots {
		info, err := t.module.GetTokenInfo(slot)
		if err != nil {
			continue // of a token that is none of ours
		}
		label := strings.TrimRight(info.Label, " \x00")
		labels = append(labels, label)
		if label == t.label {
			found = append(found, slot)
		}
	}
	switch len(found) {
	case 0:
		return 0, fault.New(fault.Unavailable, "token %q is not there", t.label).WithHint("the module has the tokens %q; --token names one", labels)
	case 1:
		return found[0], t.checkMechanism(found[0])
	}
	return 0, fault.New(fault.Invalid, "%d tokens are labeled %q", len(found), t.label).WithHint("give each token a label of its own")
}

func (t *token) checkMechanism(slot uint) error {
	_, err := t.module.GetMechanismInfo(slot, gcm(nil))
	if errors.Is(err, pkcs11.Error(pkcs11.CKR_MECHANISM_INVALID)) {
		return fault.New(fault.Invalid, "token %s has no AES-GCM", t.label).WithHint("use another token; the context of a key can be bound by AES-GCM alone")
	}
	return failed("ask the token what it can do", err)
}

// login logs in through a session that then stays open: closing the last one would
// log out, and a token without login shows no keys.
func (t *token) login() error {
	pin, err := t.pin()
	if err != nil {
		return err
	}
	if pin == t.refusedPIN {
		return refusedPIN(t.label)
	}
	handle, err := t.open()
	if err != nil {
		return err
	}
	err = t.module.Login(handle, pkcs11.CKU_USER, pin)
	if isRefusedPIN(err) {
		t.refusedPIN = pin
		return refusedPIN(t.label)
	}
	t.refusedPIN = ""
	return failed("log in to the token", err)
}

func refusedPIN(label string) error {
	return fault.New(fault.Denied, "token %s refuses the PIN", label).WithCode("pin_refused").
		WithHint("correct what --pin names; the same PIN is not tried again, since the token locks itself after a few wrong ones")
}

func (t *token) open() (pkcs11.SessionHandle, error) {
	handle, err := t.module.OpenSession(t.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	return handle, failed("open a session with the token", err)
}

// take returns a session that is idle, or a new one.
func (t *token) take() (pkcs11.SessionHandle, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.idle); n > 0 {
		handle := t.idle[n-1]
		t.idle = t.idle[:n-1]
		return handle, nil
	}
	return t.open()
}

func (t *token) giveBack(handle pkcs11.SessionHandle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.idle = append(t.idle, handle)
}

// An object is one of the token's, with the attribute that was asked for.
type object struct {
	handle pkcs11.ObjectHandle
	value  []byte
}

// findAtOnce is how many objects are asked for in one call of the module.
const findAtOnce = 256

// find returns the token's objects like the template. None are returned only by a
// token that is logged in; any other one hides them.
func (s *session) find(template []*pkcs11.Attribute, attribute uint) ([]object, error) {
	template = append(template, pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true))
	if err := s.module.FindObjectsInit(s.handle, template); err != nil {
		return nil, failed("look for keys", err)
	}
	var handles []pkcs11.ObjectHandle
	for {
		more, _, err := s.module.FindObjects(s.handle, findAtOnce)
		if err != nil {
			return nil, failed("look for keys", err)
		}
		if handles = append(handles, more...); len(more) == 0 {
			break
		}
	}
	if err := s.module.FindObjectsFinal(s.handle); err != nil {
		return nil, failed("look for keys", err)
	}
	objects := make([]object, len(handles))
	for i, handle := range handles {
		values, err := s.module.GetAttributeValue(s.handle, handle, []*pkcs11.Attribute{pkcs11.NewAttribute(attribute, nil)})
		if err != nil {
			return nil, failed("look at a key", err)
		}
		objects[i] = object{handle, values[0].Value}
	}
	return objects, s.checkLogin()
}

func (s *session) checkLogin() error {
	info, err := s.module.GetSessionInfo(s.handle)
	if err == nil && info.State != pkcs11.CKS_RW_USER_FUNCTIONS {
		err = pkcs11.Error(pkcs11.CKR_USER_NOT_LOGGED_IN)
	}
	return failed("look for keys", err)
}
