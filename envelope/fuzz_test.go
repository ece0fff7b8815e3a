package envelope_test

import (
	"bytes"
	"testing"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
)

// FuzzOpen looks for a panic, a second spelling of an envelope, and an error
// that is not an integrity fault.
func FuzzOpen(f *testing.F) {
	for _, name := range []string{"accept.json", "refuse.json"} {
		for _, v := range load(f, name) {
			f.Add([]byte(v.Sealed))
		}
	}
	good := map[string]bool{}
	for _, v := range load(f, "accept.json") {
		good[string(v.Sealed)] = true
	}
	f.Fuzz(func(t *testing.T, sealed []byte) {
		before := bytes.Clone(sealed)
		ids, err := envelope.KeyIDs(sealed)
		if err != nil {
			ids = make([]envelope.KeyID, 1)
		}
		keys, ctx := fixture(len(ids))
		got, openErr := envelope.Open(keys, ctx, sealed)
		switch {
		case openErr == nil && (err != nil || !good[string(sealed)]):
			t.Errorf("%x was never sealed and opens to %x", sealed, got)
		case openErr != nil && (got != nil || !fault.Is(openErr, fault.Integrity)):
			t.Errorf("refused with %x, %v", got, openErr)
		}
		if !bytes.Equal(sealed, before) {
			t.Error("the input was changed")
		}
	})
}

// FuzzOpener looks for a panic, a second spelling of a stream, and an error that
// is not an integrity fault.
func FuzzOpener(f *testing.F) {
	good := map[string]bool{}
	for _, v := range loadStreams[streamVector](f, "stream-accept.json") {
		if v.Sealed != nil {
			good[string(v.Sealed)] = true
			f.Add([]byte(v.Sealed))
			f.Add([]byte(v.Sealed[:len(v.Sealed)-1]))
			f.Add(append([]byte(v.Sealed), make([]byte, 28)...))
		}
	}
	f.Fuzz(func(t *testing.T, sealed []byte) {
		before := bytes.Clone(sealed)
		keys, ctx := fixture(1)
		if len(sealed) > 4 {
			keys, ctx = fixture(min(int(sealed[4]), 5))
		}
		got, err := readStream(keys, ctx, sealed)
		switch {
		case err == nil && !good[string(sealed)]:
			t.Errorf("%x was never sealed and opens to %x", sealed, got)
		case err != nil && (len(got) > 0 || !fault.Is(err, fault.Integrity)):
			t.Errorf("refused with %x, %v", got, err)
		}
		if !bytes.Equal(sealed, before) {
			t.Error("the input was changed")
		}
	})
}
