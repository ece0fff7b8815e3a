package ledger

import "crypto/sha256"

// AnchorEntry is what the operator's anchor log takes of a tenant's checkpoint:
// SHA-256 of 32 random bytes and the checkpoint's text. Without the random bytes
// nobody learns from the anchor log which tenants there are. The entry's hash in
// the anchor log is LeafHash of these 32 bytes.
func AnchorEntry(blind [32]byte, c Checkpoint) Hash {
	return sha256.Sum256(append(blind[:], c.Text()...))
}
