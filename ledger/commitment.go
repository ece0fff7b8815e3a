package ledger

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

const commitLabel = "underseal/v1/commit\x00"

// CommitKey returns the 32-byte key of one field's commitment: HKDF-Expand from
// the pseudorandom key of the field's data keys (envelope.DeriveSecret), bound
// to the log, the object, the step and the path. Whoever gets it can check that
// one value, and nothing else.
func CommitKey(prk []byte, log, obj string, seq uint64, path string) ([]byte, error) {
	var array [256]byte
	info := append(array[:0], commitLabel...)
	info = canon.AppendTuple(info, log, obj, canon.Uint64(seq), path)
	key, err := hkdf.Expand(sha256.New, prk, string(info), sha256.Size)
	if err != nil {
		return nil, fault.New(fault.Internal, "couldn't derive a commitment key: %w", err)
	}
	return key, nil
}

// Commit returns HMAC-SHA-256 of an encoded [path, type, value] (EncodeField)
// under its commitment key. Without the key nobody can tell which value is
// meant, not even by trying all that are likely.
func Commit(key, encoded []byte) Hash {
	mac := hmac.New(sha256.New, key)
	mac.Write(encoded)
	var h Hash
	mac.Sum(h[:0])
	return h
}

// EncodeField returns canon([path, type, value]), the bytes a commitment is over.
func EncodeField(path string, v canon.Value) []byte {
	return canon.EncodeItems(canon.String(path), canon.String(canon.TypeName(v)), v)
}

// CommitValue returns the commitment to a field's value; see CommitKey and Commit.
func CommitValue(prk []byte, log, obj string, seq uint64, path string, v canon.Value) (Hash, error) {
	key, err := CommitKey(prk, log, obj, seq, path)
	if err != nil {
		return Hash{}, err
	}
	return Commit(key, EncodeField(path, v)), nil
}
