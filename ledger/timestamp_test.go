package ledger_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"github.com/digitorus/timestamp"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

// An authority gives timestamps. Its certificates are good for a hundred years, since
// tokens that are made here hold the time of the test besides their own.
type authority struct {
	root    *x509.CertPool
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
	rootDER []byte
}

var inTheYear = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// newAuthority makes one whose certificate change may alter before it is signed.
func newAuthority(t testing.TB, change func(c *x509.Certificate)) authority {
	t.Helper()
	purpose, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		t.Fatal(err)
	}
	from, to := inTheYear.AddDate(-6, 0, 0), inTheYear.AddDate(94, 0, 0)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "authority"}, NotBefore: from, NotAfter: to,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: purpose}},
	}
	if change != nil {
		change(cert)
	}
	rootKey, key := newECDSA(t), newECDSA(t)
	signedRoot := issue(t, root, root, rootKey, rootKey)
	pool := x509.NewCertPool()
	pool.AddCert(signedRoot)
	return authority{pool, issue(t, cert, signedRoot, key, rootKey), key, signedRoot.Raw}
}

func newECDSA(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func issue(t testing.TB, c, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// token returns a timestamp token of a message; change may alter it first.
func (a authority) token(t testing.TB, message []byte, change func(s *timestamp.Timestamp)) []byte {
	t.Helper()
	sum := sha256.Sum256(message)
	s := timestamp.Timestamp{
		HashAlgorithm: crypto.SHA256, HashedMessage: sum[:], Time: inTheYear, Policy: asn1.ObjectIdentifier{1, 2, 3},
		SerialNumber: big.NewInt(1), AddTSACertificate: true,
	}
	if change != nil {
		change(&s)
	}
	response, err := s.CreateResponseWithOpts(a.cert, a.key, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	made, err := timestamp.ParseResponse(response)
	if err != nil {
		t.Fatal(err)
	}
	return made.RawToken
}

func TestATimestampIsOfItsMessage(t *testing.T) {
	a := newAuthority(t, nil)
	token := a.token(t, []byte("message"), nil)
	at, err := ledger.VerifyTimestamp(token, []byte("message"), a.root)
	if err != nil || !at.Equal(inTheYear) {
		t.Errorf("verified: %v, %v, want %v", at, err, inTheYear)
	}
}

func TestTimestampsAreRefused(t *testing.T) {
	good := newAuthority(t, nil)
	purposes := func(critical bool, ids ...asn1.ObjectIdentifier) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			value, err := asn1.Marshal(ids)
			if err != nil {
				t.Fatal(err)
			}
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: critical, Value: value}}
		}
	}
	stamping, serving := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}
	other := sha256.Sum256([]byte("other"))
	tests := []struct {
		name   string
		cert   func(*x509.Certificate)
		change func(*timestamp.Timestamp)
		spoil  func([]byte) []byte
		roots  *x509.CertPool // nil: the authority's own
		code   string
	}{
		{"of another message", nil, func(s *timestamp.Timestamp) { s.HashedMessage = other[:] }, nil, nil, ledger.CodeTimestampOther},
		{"of another root", nil, nil, nil, good.root, ledger.CodeTimestampForeign},
		{"of no root", nil, nil, nil, x509.NewCertPool(), ledger.CodeTimestampForeign},
		{"after the certificate's end", nil, func(s *timestamp.Timestamp) { s.Time = s.Time.AddDate(95, 0, 0) }, nil, nil, ledger.CodeTimestampExpired},
		{"before its beginning", nil, func(s *timestamp.Timestamp) { s.Time = s.Time.AddDate(-7, 0, 0) }, nil, nil, ledger.CodeTimestampExpired},
		{"by a web server", purposes(true, serving), nil, nil, nil, ledger.CodeTimestampMalformed},
		{"by one for other purposes too", purposes(true, stamping, serving), nil, nil, nil, ledger.CodeTimestampMalformed},
		{"by one whose purpose is not critical", purposes(false, stamping), nil, nil, nil, ledger.CodeTimestampMalformed},
		{"without certificate", nil, func(s *timestamp.Timestamp) { s.AddTSACertificate = false }, nil, nil, ledger.CodeTimestampMalformed},
		{"cut short", nil, nil, func(b []byte) []byte { return b[:len(b)/2] }, nil, ledger.CodeTimestampMalformed},
		{"with another signature", nil, nil, func(b []byte) []byte { b[len(b)-5] ^= 1; return b }, nil, ledger.CodeTimestampMalformed},
		{"empty", nil, nil, func([]byte) []byte { return nil }, nil, ledger.CodeTimestampMalformed},
		{"too large", nil, nil, func(b []byte) []byte { return append(b, make([]byte, 64<<10)...) }, nil, ledger.CodeTimestampMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := newAuthority(t, test.cert)
			token := a.token(t, []byte("message"), test.change)
			if test.spoil != nil {
				token = test.spoil(bytes.Clone(token))
			}
			if test.roots == nil {
				test.roots = a.root
			}
			at, err := ledger.VerifyTimestamp(token, []byte("message"), test.roots)
			if !fault.Is(err, fault.Integrity) || fault.CodeOf(err) != test.code {
				t.Errorf("%v, %v, want code %s", at, err, test.code)
			}
		})
	}
}

func TestAChangedTimestampIsRefused(t *testing.T) {
	a := newAuthority(t, nil)
	token := a.token(t, []byte("message"), nil)
	for i := range token {
		changed := bytes.Clone(token)
		changed[i] ^= 0x10
		if at, err := ledger.VerifyTimestamp(changed, []byte("message"), a.root); err == nil && !at.Equal(inTheYear) {
			t.Errorf("byte %d changed: the time became %v", i, at)
		}
	}
}

func FuzzVerifyTimestamp(f *testing.F) {
	a := newAuthority(f, nil)
	f.Add(a.token(f, []byte("message"), nil))
	f.Add([]byte{0x30, 0x80, 0, 0})
	f.Fuzz(func(t *testing.T, token []byte) {
		if at, err := ledger.VerifyTimestamp(token, []byte("message"), a.root); err == nil && !at.Equal(inTheYear) {
			t.Errorf("another time verified: %v", at)
		}
	})
}
