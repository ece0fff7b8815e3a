package engine

import (
	"encoding/binary"
	"fmt"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
)

// partSize bounds what is sealed in one envelope. What may be larger is several of
// them, its parts.
const partSize = envelope.MaxPlaintext

// sealParts seals a text of any length, but not an empty one: a count, then each
// envelope with its length before it. The path of an envelope's context holds its
// number and the count, so that none can be left out, repeated or moved; all else of
// the contexts is at.
func sealParts(key envelope.Key, at envelope.Context, text []byte) ([]byte, error) {
	count := (len(text) + partSize - 1) / partSize
	out := binary.AppendUvarint(make([]byte, 0, len(text)+256*count), uint64(count))
	for i := range count {
		at.Path = partPath(i, count)
		sealed, err := envelope.Seal([]envelope.Key{key}, at, text[i*partSize:min((i+1)*partSize, len(text))])
		if err != nil {
			return nil, err
		}
		out = binary.AppendUvarint(out, uint64(len(sealed)))
		out = append(out, sealed...)
	}
	return out, nil
}

func partPath(i, count int) string { return fmt.Sprintf("%d/%d", i, count) }

// splitParts returns the envelopes that sealParts put together, at least one, and the
// id of the key that the first says it is under. What is malformed is an Integrity
// fault.
func splitParts(sealed []byte) (parts [][]byte, key envelope.KeyID, err error) {
	malformed := fault.New(fault.Integrity, "what is stored in sealed parts is malformed")
	count, n := binary.Uvarint(sealed)
	if n <= 0 || count == 0 || count > uint64(len(sealed)) {
		return nil, key, malformed
	}
	sealed = sealed[n:]
	parts = make([][]byte, count)
	for i := range parts {
		size, n := binary.Uvarint(sealed)
		if n <= 0 || size > uint64(len(sealed)-n) {
			return nil, key, malformed
		}
		parts[i], sealed = sealed[n:n+int(size)], sealed[n+int(size):]
	}
	if len(sealed) != 0 {
		return nil, key, malformed
	}
	ids, err := envelope.KeyIDs(parts[0])
	if err != nil {
		return nil, key, err
	}
	return parts, ids[0], nil
}

// openParts returns the text. Whatever sealParts did not make of this key and context
// is an Integrity fault.
func openParts(key envelope.Key, at envelope.Context, parts [][]byte) ([]byte, error) {
	var text []byte
	for i, part := range parts {
		at.Path = partPath(i, len(parts))
		opened, err := envelope.Open([]envelope.Key{key}, at, part)
		if err != nil {
			return nil, err
		}
		text = append(text, opened...)
	}
	return text, nil
}
