package ledger_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/underseal/underseal/ledger"
)

// cosignatureVector is a checkpoint that the key has cosigned and when, or how it is
// refused as one.
type cosignatureVector struct {
	Name string `json:"name"`
	Key  string `json:"key"`
	Note string `json:"note"`
	At   string `json:"at,omitempty"` // seconds since 1970
	Kind string `json:"kind,omitempty"`
	Code string `json:"code,omitempty"`
}

// vkeyOf writes a key as C2SP signed-note has it, and noteLine a signature under it. Both
// are written out once more here, also for what ours would not write.
func vkeyOf(name string, kind byte, public []byte) (vkey string, id []byte) {
	raw := append([]byte{kind}, public...)
	sum := sha256.Sum256(append([]byte(name+"\n"), raw...))
	return fmt.Sprintf("%s+%x+%s", name, sum[:4], base64.StdEncoding.EncodeToString(raw)), sum[:4]
}

func noteLine(name string, id, signature []byte) string {
	return "\u2014 " + name + " " + base64.StdEncoding.EncodeToString(append(id[:4:4], signature...)) + "\n"
}

// cosign signs a text at a time with the witness's key, without asking what it is.
func cosign(at uint64, text string) []byte {
	signed := ed25519.Sign(ed25519.NewKeyFromSeed(witnessSeed), fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at, text))
	return append(binary.BigEndian.AppendUint64(nil, at), signed...)
}

func makeCosignatureVectors(t *testing.T) (vectors []cosignatureVector) {
	const name, at = "w.example", 1679315147
	c := ledger.Checkpoint{Origin: origin, Size: 12, Root: ledger.Hash{9}}
	text, plain := c.Text(), ed25519.Sign(ed25519.NewKeyFromSeed(witnessSeed), []byte(c.Text()))
	larger := ledger.Checkpoint{Origin: origin, Size: 13, Root: ledger.Hash{9}}.Text()
	key, id := vkeyOf(name, 4, public(witnessSeed))
	otherKey, otherID := vkeyOf("w2.example", 4, public(otherSeed))
	good := noteLine(name, id, cosign(at, text))
	log := signCheckpoint(t, c, signer(t, origin, logSeed))
	changed := cosign(at, text)
	changed[40] ^= 1
	later := cosign(at, text)
	later[7]++
	for _, v := range []struct {
		name, note string
		at         uint64
	}{
		{"alone", text + "\n" + good, at},
		{"beside the log's signature", string(log) + good, at},
		{"before that of a witness who is not known", text + "\n" + good + noteLine("w2.example", otherID, cosign(at, text)), at},
		{"in 1970", text + "\n" + noteLine(name, id, cosign(0, text)), 0},
		{"at the last second", text + "\n" + noteLine(name, id, cosign(1<<63-1, text)), 1<<63 - 1},
		{"as the witness writes it", string(signCheckpoint(t, c, cosigner(t, name, witnessSeed))), at},
	} {
		vectors = append(vectors, cosignatureVector{Name: v.name, Key: key, Note: v.note, At: strconv.FormatUint(v.at, 10)})
	}
	bare, bareID := vkeyOf(name, 1, public(witnessSeed))
	for _, v := range []struct{ name, key, note, code string }{
		{"at another time than was signed", key, text + "\n" + noteLine(name, id, later), "checkpoint_forged"},
		{"after the last second", key, text + "\n" + noteLine(name, id, cosign(1<<63, text)), "checkpoint_forged"},
		{"of another checkpoint", key, text + "\n" + noteLine(name, id, cosign(at, larger)), "checkpoint_forged"},
		{"with a byte changed", key, text + "\n" + noteLine(name, id, changed), "checkpoint_forged"},
		{"too short", key, text + "\n" + noteLine(name, id, cosign(at, text)[:71]), "checkpoint_forged"},
		{"too long", key, text + "\n" + noteLine(name, id, append(cosign(at, text), 0)), "checkpoint_forged"},
		{"a plain signature", key, text + "\n" + noteLine(name, id, plain), "checkpoint_forged"},
		{"a plain signature after a time", key, text + "\n" + noteLine(name, id, append(binary.BigEndian.AppendUint64(nil, at), plain...)), "checkpoint_forged"},
		{"a cosignature as a log's signature", bare, text + "\n" + noteLine(name, bareID, cosign(at, text)), "checkpoint_forged"},
		{"a good one and a wrong one of the same key", key, text + "\n" + noteLine(name, id, changed) + good, "checkpoint_forged"},
		{"of another witness", otherKey, text + "\n" + good, "checkpoint_unsigned"},
		{"under another name", key, text + "\n" + noteLine("w2.example", id, cosign(at, text)), "checkpoint_unsigned"},
		{"of the same key as a log's", bare, text + "\n" + good, "checkpoint_unsigned"},
		{"no signature", key, text + "\n", "checkpoint_malformed"},
		{"without an empty line before it", key, text + good, "checkpoint_malformed"},
		{"without padding", key, text + "\n" + strings.Replace(good, "==\n", "\n", 1), "checkpoint_malformed"},
		{"without a line break at its end", key, strings.TrimSuffix(text+"\n"+good, "\n"), "checkpoint_malformed"},
		{"with an extension line", key, text + "more\n\n" + noteLine(name, id, cosign(at, text+"more\n")), "checkpoint_malformed"},
		{"of a size with a leading zero", key, strings.Replace(text, "12", "012", 1) + "\n" + noteLine(name, id, cosign(at, strings.Replace(text, "12", "012", 1))), "checkpoint_malformed"},
	} {
		vectors = append(vectors, cosignatureVector{Name: v.name, Key: v.key, Note: v.note, Kind: "integrity", Code: v.code})
	}
	unknown, _ := vkeyOf(name, 6, public(witnessSeed))
	neutral, _ := vkeyOf(name, 4, append([]byte{1}, make([]byte, 31)...))
	short, _ := vkeyOf(name, 4, public(witnessSeed)[:31])
	for _, v := range []struct{ name, key string }{
		{"a key of another type", unknown},
		{"a key for which anybody can sign", neutral},
		{"a key that is too short", short},
		{"a key with the id of another", strings.Replace(key, fmt.Sprintf("+%x+", id), fmt.Sprintf("+%x+", otherID), 1)},
		{"a key without a name", strings.TrimPrefix(key, name)},
	} {
		vectors = append(vectors, cosignatureVector{Name: v.name, Key: v.key, Note: text + "\n" + good, Kind: "invalid", Code: "invalid"})
	}
	return vectors
}

func TestCosignatureVectors(t *testing.T) {
	for _, v := range readVectors(t, "cosignature.json", makeCosignatureVectors(t)) {
		t.Run(v.Name, func(t *testing.T) {
			at, err := v.open()
			if refusedAs(t, err, v.Kind, v.Code); at != v.At {
				t.Errorf("cosigned at %s, want %s", at, v.At)
			}
		})
	}
}

// open returns when the key of a vector has cosigned its note.
func (v cosignatureVector) open() (at string, err error) {
	key, err := ledger.ParseVerifier(v.Key)
	if err != nil {
		return "", err
	}
	_, n, err := ledger.OpenCheckpoint([]byte(v.Note), key)
	if err != nil {
		return "", err
	}
	when, err := ledger.CosignatureTime(n.Sigs[0])
	return strconv.FormatInt(when.Unix(), 10), err
}
