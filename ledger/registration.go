package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"unicode/utf8"
)

// Registration is a passkey as its authenticator has just made it.
type Registration struct {
	ID      []byte // of the credential, 1 to 1023 bytes
	Key     PublicKey
	Counter uint32
	Synced  bool // it can be copied to other devices of the person (flag BE)
}

const (
	aaguidSize      = 16
	maxCredentialID = 1023 // WebAuthn Level 2, section 7.1, step 18 as Level 3 has it
)

// VerifyRegistration checks what an authenticator answers when it makes a passkey
// (W3C Web Authentication Level 2, section 7.1): the client's data and the attestation
// object, in CBOR. Who made the authenticator is not looked at, so an attestation
// statement of any format is passed over. Refusals are Integrity faults with the codes of
// VerifyPerson, or Invalid ("key_unsuitable") for a key of another algorithm.
func VerifyRegistration(challenge Hash, clientData, attestation []byte, rp string, origins []string) (Registration, error) {
	if err := checkClientData(clientData, creating, challenge, origins); err != nil {
		return Registration{}, err
	}
	data, ok := authenticatorDataOf(attestation)
	if !ok {
		return Registration{}, refusedSignature("signature_malformed", "it is no attestation object")
	}
	if err := checkAuthenticator(data, rp); err != nil {
		return Registration{}, err
	}
	return attestedCredential(data)
}

// attestedCredential reads the credential behind the counter (section 6.5.1).
func attestedCredential(data []byte) (Registration, error) {
	flags := data[sha256.Size]
	r := Registration{Counter: counterOf(data), Synced: flags&backupEligible != 0}
	rest := data[authenticatorSize:]
	if flags&attested == 0 || len(rest) < aaguidSize+2 {
		return Registration{}, refusedFlags(data)
	}
	size := int(binary.BigEndian.Uint16(rest[aaguidSize:]))
	rest = rest[aaguidSize+2:]
	if size == 0 || size > maxCredentialID || size > len(rest) {
		return Registration{}, refusedSignature("signature_malformed", "the credential's id does not fit")
	}
	r.ID, rest = rest[:size], rest[size:]
	c := cbor{rest: rest}
	c.skip(0)
	key := rest[:len(rest)-len(c.rest)]
	if c.bad || (flags&extended != 0) != (len(c.rest) > 0) {
		return Registration{}, refusedFlags(data)
	}
	var err error
	r.Key, err = ParseCOSEKey(key)
	return r, err
}

// authenticatorDataOf reads an attestation object: a map of fmt, attStmt and authData, in
// any order.
func authenticatorDataOf(attestation []byte) (data []byte, ok bool) {
	c := cbor{rest: attestation}
	major, n := c.head()
	if major != cborMap || n != 3 {
		return nil, false
	}
	seen := map[string]bool{}
	for range n {
		name := string(c.text(cborText))
		seen[name] = true
		switch name {
		case "authData":
			data = c.text(cborBytes)
		case "fmt":
			c.text(cborText)
		case "attStmt":
			c.skip(0)
		default:
			c.bad = true
		}
	}
	return data, !c.bad && len(c.rest) == 0 && len(seen) == 3
}

// Major types of CBOR (RFC 8949, section 3.1).
const (
	cborBytes = 2
	cborText  = 3
	cborList  = 4
	cborMap   = 5
	cborTag   = 6
)

// maxCBORDepth is as deep as CTAP2 lets authenticators nest, and one more for the
// attestation object itself.
const maxCBORDepth = 5

// cbor reads items of definite length, as CTAP2 has authenticators write them. After
// anything else it is bad and gives nothing more.
type cbor struct {
	rest []byte
	bad  bool
}

// head reads an item's major type and its argument.
func (c *cbor) head() (major byte, n uint64) {
	if c.bad || len(c.rest) == 0 {
		c.bad = true
		return 0, 0
	}
	major, info := c.rest[0]>>5, c.rest[0]&0x1f
	c.rest = c.rest[1:]
	if info < 24 {
		return major, uint64(info)
	}
	size := 1 << (info - 24) // 1, 2, 4 or 8 bytes follow
	if info > 27 || len(c.rest) < size {
		c.bad = true
		return 0, 0
	}
	for _, b := range c.rest[:size] {
		n = n<<8 | uint64(b)
	}
	c.rest = c.rest[size:]
	return major, n
}

// text reads an item of bytes or text.
func (c *cbor) text(want byte) []byte {
	major, n := c.head()
	if c.bad || major != want || n > uint64(len(c.rest)) {
		c.bad = true
		return nil
	}
	text := c.rest[:n]
	c.rest = c.rest[n:]
	if want == cborText && !utf8.Valid(text) {
		c.bad = true
	}
	return text
}

// skip passes over an item with all that is in it.
func (c *cbor) skip(depth int) {
	before := c.rest
	major, n := c.head()
	if depth > maxCBORDepth {
		c.bad = true
	}
	switch {
	case c.bad:
	case major == cborBytes || major == cborText:
		c.rest = before
		c.text(major)
	case major == cborTag:
		c.skip(depth + 1)
	case (major == cborList || major == cborMap) && n > uint64(len(c.rest)): // each item has a byte
		c.bad = true
	case major == cborList || major == cborMap:
		if major == cborMap {
			n *= 2
		}
		for ; n > 0 && !c.bad; n-- {
			c.skip(depth + 1)
		}
	}
}
