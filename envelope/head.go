package envelope

import (
	"fmt"

	"github.com/underseal/underseal/internal/fault"
)

// head is what an envelope says of itself, and where its parts begin.
type head struct {
	flags      byte
	n          int
	ids        [maxKeys]KeyID
	commitment int // offset; the salt is before it
	nonce      int // offset; to the end: nonce, ciphertext, tag, or such segments
}

// parseHead reads the form of an envelope and gives what is wrong, "" if nothing.
func parseHead(b []byte) (h head, what string) {
	if h, what = parseStart(b, suiteValue); what != "" {
		return h, what
	}
	if what := checkLength(h.flags, len(b)-h.nonce-nonceSize-tagSize); what != "" {
		return h, what
	}
	return h, h.readIDs(b)
}

// parseStart reads the first bytes of an envelope of the given suite.
func parseStart(b []byte, suite byte) (h head, what string) {
	if len(b) < headSize {
		return h, "it is shorter than any sealed value"
	}
	switch {
	case b[0] != mark:
		return h, "it does not begin with the mark F5, so it is not sealed"
	case b[1] != version:
		return h, fmt.Sprintf("version %d is not known", b[1])
	case b[2] != suite:
		return h, fmt.Sprintf("suite %d is not known", b[2])
	case b[3] != 0 && (b[3] != flagPadded || suite != suiteValue):
		return h, fmt.Sprintf("flags %#02x are not known", b[3])
	case b[4] < 1 || b[4] > maxKeys:
		return h, fmt.Sprintf("it says %d keys, want 1 to %d", b[4], maxKeys)
	}
	h.flags, h.n = b[3], int(b[4])
	h.commitment = headSize + h.n*idSize + saltSize
	h.nonce = h.commitment + commitmentSize
	return h, ""
}

// readIDs reads the key ids from b, which has at least all bytes before the nonce.
func (h *head) readIDs(b []byte) (what string) {
	for i := range h.n {
		copy(h.ids[i][:], b[headSize+i*idSize:])
	}
	return checkOrder(h.ids[:h.n])
}

// checkLength refuses a ciphertext that Seal does not make under these flags.
func checkLength(flags byte, n int) string {
	switch {
	case n < 0:
		return "it is cut off"
	case n > MaxPlaintext:
		return "it is longer than any sealed value"
	case flags == flagPadded && (n == 0 || n > padBelow || n%padBlock != 0):
		return fmt.Sprintf("a padded ciphertext cannot have %d bytes", n)
	case flags == 0 && n < padBelow:
		return fmt.Sprintf("a ciphertext of %d bytes must be padded", n)
	}
	return ""
}

// checkKeys refuses an envelope that is not under exactly these keys.
func (h *head) checkKeys(keys []Key) string {
	if h.n != len(keys) {
		return fmt.Sprintf("it is under %d keys, want %d", h.n, len(keys))
	}
	for i := range keys {
		if h.ids[i] != keys[i].ID {
			return fmt.Sprintf("it is under key %s, want %s", h.ids[i], keys[i].ID)
		}
	}
	return ""
}

// Short values are padded, so that a length does not tell "yes" from "no":
// below padBelow bytes, to a multiple of padBlock.
const (
	padBelow = 256
	padBlock = 64
)

// padding returns the flags and the padded length of a plaintext of n bytes.
func padding(n int) (flags byte, padded int) {
	if n >= padBelow {
		return 0, n
	}
	return flagPadded, (n/padBlock + 1) * padBlock
}

// pad writes plaintext, 80 and zeros (ISO/IEC 7816-4) behind prefix and the room for
// a nonce, in the space where the ciphertext goes, and returns the written bytes.
func pad(prefix, plaintext []byte, size int) []byte {
	start := len(prefix) + nonceSize
	b := prefix[:start+size][start:]
	n := copy(b, plaintext)
	b[n] = 0x80
	clear(b[n+1:])
	return b
}

// unpad removes the padding that pad wrote and refuses every other. The bytes
// are authentic, so timing tells an outsider nothing.
func (h *head) unpad(b []byte) ([]byte, error) {
	if h.flags != flagPadded {
		return b, nil
	}
	end := len(b) - 1
	for end > len(b)-padBlock && b[end] == 0 {
		end--
	}
	if b[end] != 0x80 {
		return nil, fault.New(fault.Integrity, "sealed value is refused: its padding is wrong")
	}
	return b[:end], nil
}
