package ledger

import (
	"crypto/ed25519"
	"encoding/hex"
	"math/big"
	"slices"
)

// The curve of Ed25519 (RFC 8032 section 5.1): -x^2 + y^2 = 1 + d x^2 y^2 modulo p.
var (
	edwardsP = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	edwardsD = new(big.Int).Mul(big.NewInt(-121665), new(big.Int).ModInverse(big.NewInt(121666), edwardsP))
)

// smallOrder are the points that vanish when they are multiplied by 8, without the
// bit that is the sign of x: of order 1, 4, 2 and twice 8.
var smallOrder = []string{
	"0100000000000000000000000000000000000000000000000000000000000000",
	"0000000000000000000000000000000000000000000000000000000000000000",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
}

// suitableEd25519 reports whether 32 bytes are the one spelling of a point for which
// only the owner of a private key can sign. RFC 8032 leaves that to who takes the key:
// verification as it stands there passes for a point of small order whoever signs.
func suitableEd25519(raw []byte) bool {
	if len(raw) != ed25519.PublicKeySize {
		return false
	}
	bare := slices.Clone(raw)
	bare[31] &= 0x7f
	if slices.Contains(smallOrder, hex.EncodeToString(bare)) {
		return false
	}
	slices.Reverse(bare)
	y := new(big.Int).SetBytes(bare)
	return y.Cmp(edwardsP) < 0 && onCurve(y)
}

// onCurve reports whether (y^2-1) / (d y^2+1) is a square, and so that of an x.
func onCurve(y *big.Int) bool {
	square := new(big.Int).Mul(y, y)
	above := new(big.Int).Sub(square, big.NewInt(1))
	below := square.Add(square.Mul(square, edwardsD), big.NewInt(1))
	ratio := above.Mul(above, below) // the same but for a square
	return big.Jacobi(ratio.Mod(ratio, edwardsP), edwardsP) >= 0
}
