package ledger

import (
	"crypto/sha256"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

const commitLabel = "underseal/v1/commit\x00"

// CommitKey returns the 32-byte key of one field's commitment: HKDF-Expand from
// the pseudorandom key of the field's data keys (envelope.DeriveSecret), bound
// to the log, the object, the step and the path. Whoever gets it can check that
// one value, and nothing else. A prk that has not 32 bytes is Invalid.
func CommitKey(prk []byte, log, obj string, seq uint64, path string) ([]byte, error) {
	key, err := commitKey(prk, log, obj, seq, path)
	if err != nil {
		return nil, err
	}
	return key[:], nil
}

func commitKey(prk []byte, log, obj string, seq uint64, path string) (key [sha256.Size]byte, err error) {
	if len(prk) != sha256.Size {
		return key, fault.New(fault.Invalid, "couldn't derive a commitment key from %d bytes, want %d", len(prk), sha256.Size)
	}
	var array [256]byte
	info := append(array[:0], commitLabel...)
	info = canon.AppendTuple(info, log, obj, canon.Uint64(seq), path)
	return envelope.MAC(prk, append(info, 1)), nil // a block of HKDF-Expand is one HMAC
}

// Commit returns HMAC-SHA-256 of an encoded [path, type, value] (EncodeField)
// under its commitment key. Without the key nobody can tell which value is
// meant, not even by trying all that are likely.
func Commit(key, encoded []byte) Hash { return envelope.MAC(key, encoded) }

// EncodeField returns canon([path, type, value]), the bytes a commitment is over.
func EncodeField(path string, v canon.Value) []byte {
	dst := make([]byte, 1, 256)
	dst[0] = '['
	dst = append(canon.AppendString(dst, path), ',')
	dst = append(canon.AppendString(dst, canon.TypeName(v)), ',')
	return append(canon.AppendEncode(dst, v), ']')
}

// CommitValue returns the commitment to a field's value; see CommitKey and Commit.
func CommitValue(prk []byte, log, obj string, seq uint64, path string, v canon.Value) (Hash, error) {
	key, err := commitKey(prk, log, obj, seq, path)
	if err != nil {
		return Hash{}, err
	}
	return Commit(key[:], EncodeField(path, v)), nil
}
