package vault

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/underseal/underseal/internal/fault"
)

// A wrapped key is
//
//	format 11 or 12 | root key 16 | version 4 | made 8 | nonce, ciphertext and tag as transit made them
//
// where format 12 is a derived key's; root key is the beginning of the SHA-256 of
// the root key's id, and made the Unix time at which its version was made, so
// that a key deleted and made again under the same name is told from damage. All
// numbers are big-endian. Transit's text "vault:v3:BASE64" is not kept as it is:
// these bytes have one spelling, and the header is bound along with the context.
type header struct {
	derived bool
	root    [16]byte
	version uint32
	created int64
}

const (
	formatAssociated = 0x11
	formatDerived    = 0x12
	headerSize       = 1 + 16 + 4 + 8
	minSealed        = 12 + minKey + 16
	maxSealed        = 1 << 10
)

// digest returns what stands for a root key's id in a header.
func digest(id string) [16]byte {
	sum := sha256.Sum256([]byte(id))
	return [16]byte(sum[:16])
}

func (h header) encode() []byte {
	out := []byte{formatAssociated}
	if h.derived {
		out[0] = formatDerived
	}
	out = append(out, h.root[:]...)
	out = binary.BigEndian.AppendUint32(out, h.version)
	return binary.BigEndian.AppendUint64(out, uint64(h.created))
}

// parse takes a wrapped key apart.
func parse(wrapped []byte) (h header, sealed []byte, err error) {
	rest := len(wrapped) - headerSize
	if rest < minSealed || rest > maxSealed || wrapped[0] != formatAssociated && wrapped[0] != formatDerived {
		return header{}, nil, fault.New(fault.Integrity, "unwrap key: %d bytes that are no key wrapped by transit", len(wrapped))
	}
	h = header{
		derived: wrapped[0] == formatDerived,
		root:    [16]byte(wrapped[1:17]),
		version: binary.BigEndian.Uint32(wrapped[17:21]),
		created: int64(binary.BigEndian.Uint64(wrapped[21:headerSize])),
	}
	if h.version == 0 {
		return header{}, nil, fault.New(fault.Integrity, "unwrap key: it names version 0 of a root key, which does not exist")
	}
	return h, wrapped[headerSize:], nil
}

// ciphertext returns sealed as transit writes it.
func (h header) ciphertext(sealed []byte) string {
	return fmt.Sprintf("vault:v%d:%s", h.version, base64.StdEncoding.EncodeToString(sealed))
}

// sealed returns the bytes in what transit wrote.
func (h header) sealed(ciphertext string) ([]byte, error) {
	text, ok := strings.CutPrefix(ciphertext, fmt.Sprintf("vault:v%d:", h.version))
	sealed, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(sealed) < minSealed || len(sealed) > maxSealed {
		return nil, nonsense("wrap key: the answer holds no ciphertext of version %d", h.version)
	}
	return sealed, nil
}

// nonsense returns the error for an answer that is none: whoever gave it may not
// be the key service at all, so it is an outage.
func nonsense(format string, args ...any) error {
	return fault.New(fault.Unavailable, format, args...).WithHint("look at what answers at the address of the key service")
}
