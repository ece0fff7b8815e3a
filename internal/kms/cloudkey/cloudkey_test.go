package cloudkey_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/cloudkey"
)

var root = cloudkey.Root{Provider: "cloud", Mark: 0xC0, ID: "keys/a"}

func TestSplitTellsWhoseBytesTheseAre(t *testing.T) {
	other := cloudkey.Root{Provider: "cloud", Mark: 0xC0, ID: "keys/b"}
	foreign := cloudkey.Root{Provider: "sky", Mark: 0xC1, ID: "keys/a"}
	for name, test := range map[string]struct {
		wrapped []byte
		want    fault.Kind
	}{
		"nothing":                {nil, fault.Integrity},
		"a header alone":         {root.Header("1"), fault.Integrity},
		"a version that is cut":  {root.Header("12345")[:20], fault.Integrity},
		"an empty version":       {append(root.Header(""), "body"...), fault.Integrity},
		"too much":               {append(root.Header("1"), make([]byte, 4<<10)...), fault.Integrity},
		"another provider's":     {append(foreign.Header("1"), "body"...), fault.Integrity},
		"another root key's":     {append(other.Header("1"), "body"...), fault.Conflict},
		"another root key's end": {append(other.Header("1")[:18], 200, 1), fault.Conflict},
	} {
		if version, body, err := root.Split(test.wrapped); !fault.Is(err, test.want) || version != "" || body != nil {
			t.Errorf("Split of %s: %q, %x, %v, want %s", name, version, body, err, test.want)
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add(append(root.Header("1"), "body"...))
	f.Add(root.Header("1"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, wrapped []byte) {
		version, body, err := root.Split(wrapped)
		if err != nil {
			return
		}
		if again := append(root.Header(version), body...); !bytes.Equal(again, wrapped) || len(body) == 0 {
			t.Errorf("%x is %q and %x, which are spelled %x", wrapped, version, body, again)
		}
	})
}

func TestAnAnswerHasItsKindByItsStatus(t *testing.T) {
	for status, want := range map[int]fault.Kind{
		http.StatusBadRequest:          fault.Denied,
		http.StatusUnauthorized:        fault.Denied,
		http.StatusForbidden:           fault.Denied,
		http.StatusMovedPermanently:    fault.Denied,
		http.StatusRequestTimeout:      fault.Unavailable,
		http.StatusTooManyRequests:     fault.Unavailable,
		http.StatusInternalServerError: fault.Unavailable,
		http.StatusGatewayTimeout:      fault.Unavailable,
	} {
		answer := &cloudkey.Answer{Status: status, Code: "Code", Message: "text", Wait: 7 * time.Second}
		err := answer.Fault("wrap")
		if !fault.Is(err, want) {
			t.Errorf("%d: %v, want %s", status, err, want)
		}
		throttled := status == http.StatusTooManyRequests
		if (fault.CodeOf(err) == kms.CodeThrottled) != throttled || (kms.Wait(err) == 7*time.Second) != throttled {
			t.Errorf("%d: code %s, wait %s", status, fault.CodeOf(err), kms.Wait(err))
		}
	}
}

func TestSilenceNamesTheContextThatEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cause := errors.New("connection reset")
	if err := cloudkey.Silence(ctx, "wrap", cause); !fault.Is(err, fault.Unavailable) || !errors.Is(err, cause) {
		t.Errorf("%v, want unavailable and the cause", err)
	}
	cancel()
	if err := cloudkey.Silence(ctx, "wrap", cause); !fault.Is(err, fault.Unavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want unavailable because the context ended", err)
	}
}
