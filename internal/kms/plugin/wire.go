package plugin

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// Limits of the protocol, in bytes.
const (
	maxBody    = 16 << 10
	maxHead    = 8 << 10
	maxName    = 128
	maxItem    = 255
	minKey     = 16
	maxKey     = 256
	maxWrapped = 2048
	maxMessage = 512
)

// A message is a body of a request or an answer.
type message interface {
	// read takes the message's members out of an object.
	read(o *object)
}

type nothing struct{}

func (*nothing) read(*object) {}

type wrapRequest struct {
	Context wireContext `json:"context"`
	Key     []byte      `json:"key"`
}

func (m *wrapRequest) read(o *object) {
	m.Context, m.Key = o.context(), o.bytes("key", minKey, maxKey)
}

type unwrapRequest struct {
	Context wireContext `json:"context"`
	wrapped
}

func (m *unwrapRequest) read(o *object) {
	m.Context = o.context()
	m.wrapped.read(o)
}

type unwrapAnswer struct {
	Key []byte `json:"key"`
}

func (m *unwrapAnswer) read(o *object) { m.Key = o.bytes("key", minKey, maxKey) }

type describeAnswer struct {
	Provider string `json:"provider"`
	KeyID    string `json:"key_id"`
	Version  string `json:"version"`
}

func (m *describeAnswer) read(o *object) {
	m.Provider, m.KeyID = o.name("provider"), o.name("key_id")
	if m.Version = o.text("version", 0, maxName); m.Version != "" && !isName(m.Version) {
		o.fail(notName, "version")
	}
}

type versionMessage struct {
	Version string `json:"version"`
}

func (m *versionMessage) read(o *object) { m.Version = o.name("version") }

type problem struct {
	Error   string `json:"error"`
	Message string `json:"message"`
}

func (m *problem) read(o *object) {
	m.Error, m.Message = o.name("error"), o.text("message", 0, maxMessage)
}

// A wireContext is a kms.Context as it is sent.
type wireContext struct {
	App        string `json:"app"`
	Deployment string `json:"deployment"`
	Tenant     string `json:"tenant"`
	Purpose    string `json:"purpose"`
	Version    uint32 `json:"version"`
}

func (m *wireContext) read(o *object) {
	m.App, m.Deployment = o.text("app", 1, maxItem), o.text("deployment", 1, maxItem)
	m.Tenant, m.Purpose = o.text("tenant", 1, maxItem), o.text("purpose", 1, maxItem)
	m.Version = o.number("version")
}

// decode reads a body strictly. Its errors quote nothing of it.
func decode(body []byte, m message) error {
	v, err := canon.DecodeJSON(body)
	if err != nil {
		return errors.New("is not strict JSON")
	}
	members, ok := v.(*canon.Context)
	if !ok {
		return errors.New("is no JSON object")
	}
	return readObject(members, m)
}

func readObject(members *canon.Context, m message) error {
	o := &object{members: members}
	m.read(o)
	if o.problem == "" && o.taken != members.Len() {
		o.problem = "has members that it must not have"
	}
	if o.problem != "" {
		return errors.New(o.problem)
	}
	return nil
}

// An object is a JSON object whose members are being taken out, each once.
type object struct {
	members *canon.Context
	taken   int
	problem string // the first one
}

func (o *object) fail(format string, args ...any) {
	if o.problem == "" {
		o.problem = fmt.Sprintf(format, args...)
	}
}

func (o *object) member(name string) canon.Value {
	v, ok := o.members.Get(name)
	if !ok {
		o.fail("lacks %q", name)
		return nil
	}
	o.taken++
	return v
}

// text reads a text of least to most bytes.
func (o *object) text(name string, least, most int) string {
	text, ok := o.member(name).(canon.String)
	if !ok || len(text) < least || len(text) > most {
		o.fail("has a %q that is no text of %d to %d bytes", name, least, most)
	}
	return string(text)
}

const notName = "has a %q that is not of visible ASCII"

// name reads a name in the sense of the protocol.
func (o *object) name(name string) string {
	text := o.text(name, 1, maxName)
	if !isName(text) {
		o.fail(notName, name)
	}
	return text
}

// bytes reads bytes in base64, in their one spelling.
func (o *object) bytes(name string, least, most int) []byte {
	text := o.text(name, base64.StdEncoding.EncodedLen(least), base64.StdEncoding.EncodedLen(most))
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	// Go's decoder passes over line breaks.
	if err != nil || strings.ContainsAny(text, "\r\n") || len(raw) < least || len(raw) > most {
		o.fail("has a %q that is no base64 of %d to %d bytes", name, least, most)
		return nil
	}
	return raw
}

// number reads a number from 1 to 2^32-1.
func (o *object) number(name string) uint32 {
	v, ok := o.member(name).(canon.Number)
	if !ok {
		o.fail("has a %q that is no number", name)
		return 0
	}
	n, err := strconv.ParseUint(v.String(), 10, 32)
	if err != nil || n == 0 {
		o.fail("has a %q that is out of range", name)
	}
	return uint32(n)
}

// context reads the member of that name.
func (o *object) context() wireContext {
	var c wireContext
	members, ok := o.member("context").(*canon.Context)
	if !ok {
		o.fail("has a %q that is no object", "context")
		return c
	}
	if err := readObject(members, &c); err != nil {
		o.fail("has a %q that %v", "context", err)
	}
	return c
}

// isName reports whether text is a name in the sense of the protocol.
func isName(text string) bool {
	return text != "" && len(text) <= maxName && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// printable makes a text of others fit for a log and a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '.'
	}, text)
}

// wrapped is what wrap answers. As bytes, it is
//
//	50 | 01 | length of the key id 1 | key id | length of the version 1 | version | bytes of the plugin
type wrapped struct {
	KeyID   string `json:"key_id"`
	Version string `json:"version"`
	Bytes   []byte `json:"wrapped"`
}

// The first bytes of what is stored.
const (
	wrappedMark   = 0x50
	wrappedFormat = 1
)

func (w *wrapped) read(o *object) {
	w.KeyID, w.Version, w.Bytes = o.name("key_id"), o.name("version"), o.bytes("wrapped", 1, maxWrapped)
}

func (w *wrapped) encode() []byte {
	out := []byte{wrappedMark, wrappedFormat, byte(len(w.KeyID))}
	out = append(out, w.KeyID...)
	out = append(out, byte(len(w.Version)))
	out = append(out, w.Version...)
	return append(out, w.Bytes...)
}

// decodeWrapped reads what encode wrote.
func decodeWrapped(stored []byte) (wrapped, error) {
	rest, ok := bytes.CutPrefix(stored, []byte{wrappedMark, wrappedFormat})
	id, rest, okID := cutName(rest)
	version, rest, okVersion := cutName(rest)
	if !ok || !okID || !okVersion || len(rest) == 0 || len(rest) > maxWrapped {
		return wrapped{}, fault.New(fault.Integrity, "unwrap key: %d bytes that no key service plugin wrapped", len(stored))
	}
	return wrapped{id, version, rest}, nil
}

// cutName reads a length, 1 byte, and as many bytes.
func cutName(from []byte) (name string, rest []byte, ok bool) {
	if len(from) == 0 || int(from[0]) >= len(from) {
		return "", nil, false
	}
	name, rest = string(from[1:1+int(from[0])]), from[1+int(from[0]):]
	return name, rest, isName(name)
}
