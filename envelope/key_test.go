package envelope_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
)

func TestKeysDoNotPrintTheirSecret(t *testing.T) {
	key := envelope.Key{ID: envelope.KeyID{15: 7}, Secret: [32]byte([]byte("0123456789abcdef0123456789abcdef"))}
	nested := struct{ Keys []envelope.Key }{[]envelope.Key{key}}
	var texts []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%t", "%c"} {
		texts = append(texts, fmt.Sprintf(verb, key), fmt.Sprintf(verb, &key), fmt.Sprintf(verb, nested))
	}
	for _, v := range []any{key, &key, nested, map[string]envelope.Key{"k": key}} {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(data))
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", key, "keys", nested)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", key, "keys", nested)
	texts = append(texts, log.String())
	for _, text := range texts {
		for _, secret := range []string{"0123456789", "3031323334", "48 49 50", "0x30", "MDEyMzQ"} {
			if strings.Contains(text, secret) {
				t.Errorf("%q shows the secret", text)
			}
		}
		if !strings.Contains(text, "00000000-0000-0000-0000-000000000007") {
			t.Errorf("%q lacks the id", text)
		}
	}
}

func TestKeyIDsHaveOneSpelling(t *testing.T) {
	const text = "0192f0c1-9a3b-7c4d-8e5f-60718293a4b5"
	id, err := envelope.ParseKeyID(text)
	if err != nil || id.String() != text || id[0] != 0x01 || id[15] != 0xb5 {
		t.Errorf("ParseKeyID = %s, %v", id, err)
	}
	for _, bad := range []string{
		"", strings.ToUpper(text), "{" + text + "}", "urn:uuid:" + text, text[1:], text + "0", strings.ReplaceAll(text, "-", ""),
		"0192f0c19-a3b-7c4d-8e5f-60718293a4b5", "0192f0c1-9a3b-7c4d-8e5f-60718293a4bg", strings.Repeat("-", 36),
	} {
		if _, err := envelope.ParseKeyID(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("ParseKeyID(%q): %v, want invalid", bad, err)
		}
	}
}

func TestIsSealedIsNeverTrueOfText(t *testing.T) {
	for _, text := range []string{"", "x", `{"a":1}`, "õ", "\ufeff", "\U0010ffff"} {
		if envelope.IsSealed([]byte(text)) {
			t.Errorf("IsSealed(%q)", text)
		}
	}
}
