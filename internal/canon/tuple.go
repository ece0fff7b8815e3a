package canon

import "encoding/binary"

// AppendTuple adds an unambiguous encoding of the items to dst: their count as
// u32-BE, then each one's length as u32-BE and its bytes. Contexts of keys and
// ciphertexts are tuples: no two lists of items share one encoding, whatever
// bytes they hold. No item may have 4 GiB or more.
func AppendTuple(dst []byte, items ...string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(items)))
	for _, item := range items {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(item)))
		dst = append(dst, item...)
	}
	return dst
}

// Uint64 returns n as an item of a tuple, u64-BE.
func Uint64(n uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	return string(b[:])
}
