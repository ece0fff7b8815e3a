package ledger

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"time"

	"github.com/digitorus/pkcs7"
	"github.com/digitorus/timestamp"

	"github.com/underseal/underseal/internal/fault"
)

// Codes of what is wrong with a timestamp.
const (
	CodeTimestampMalformed = "timestamp_malformed" // no token, or one with a signature that is none
	CodeTimestampOther     = "timestamp_other"     // of other bytes
	CodeTimestampForeign   = "timestamp_foreign"   // of an authority that is not trusted
	CodeTimestampExpired   = "timestamp_expired"   // made outside the validity of the authority's certificate
)

// maxToken is the largest timestamp token that is read, in bytes.
const maxToken = 64 << 10

var (
	oidTSTInfo    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4} // RFC 3161 section 2.4.2
	oidKeyPurpose = asn1.ObjectIdentifier{2, 5, 29, 37}                      // RFC 5280 section 4.2.1.12
)

// VerifyTimestamp checks a timestamp token (RFC 3161, DER) of a message and
// returns the time it attests, to a second. The token must carry its authority's
// certificate, which must be for timestamps alone, lead to a root, and have been
// valid at that time; a root may have ended since. Whatever is wrong is an
// Integrity fault with one of the codes above.
func VerifyTimestamp(token, message []byte, roots *x509.CertPool) (time.Time, error) {
	t, authority, others, err := readToken(token, message)
	if err != nil {
		return time.Time{}, err
	}
	_, err = authority.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: others, CurrentTime: t.Time, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping},
	})
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return time.Time{}, refusedTimestamp(CodeTimestampExpired, err)
	case err != nil:
		return time.Time{}, refusedTimestamp(CodeTimestampForeign, err)
	}
	return t.Time.UTC(), nil
}

// claimedTime returns the time that a token of a message says, by whatever
// authority it carries: anybody can make such a token.
func claimedTime(token, message []byte) (time.Time, error) {
	t, _, _, err := readToken(token, message)
	if err != nil {
		return time.Time{}, err
	}
	return t.Time.UTC(), nil
}

// readToken reads a token that has to be of the message.
func readToken(token, message []byte) (t *timestamp.Timestamp, authority *x509.Certificate, others *x509.CertPool, err error) {
	t, authority, others, err = parseToken(token)
	if err != nil {
		return nil, nil, nil, refusedTimestamp(CodeTimestampMalformed, err)
	}
	if sum := sha256.Sum256(message); t.HashAlgorithm != crypto.SHA256 || !bytes.Equal(t.HashedMessage, sum[:]) {
		return nil, nil, nil, refusedTimestamp(CodeTimestampOther, errors.New("it is of something else"))
	}
	return t, authority, others, nil
}

func refusedTimestamp(code string, cause error) error {
	return fault.New(fault.Integrity, "the timestamp is refused: %w", cause).WithCode(code)
}

// parseToken reads a token, checks its signature, and returns the certificate of
// its one signer and the others that it carries.
func parseToken(token []byte) (t *timestamp.Timestamp, authority *x509.Certificate, others *x509.CertPool, err error) {
	defer func() {
		if recover() != nil { // the parsers were not written for hostile input
			err = errors.New("it is no signed message")
		}
	}()
	if len(token) > maxToken {
		return nil, nil, nil, errors.New("it is too large")
	}
	p, err := pkcs7.Parse(token)
	if err != nil {
		return nil, nil, nil, err
	}
	if authority, err = tokenSigner(p); err != nil {
		return nil, nil, nil, err
	}
	others = x509.NewCertPool()
	for _, c := range p.Certificates {
		others.AddCert(c)
	}
	t, err = timestamp.Parse(token) // checks the signature
	return t, authority, others, err
}

// tokenSigner returns the certificate of a token's one signer, when all that the
// signature is made of is of a kind that we take.
func tokenSigner(p *pkcs7.PKCS7) (*x509.Certificate, error) {
	authority := p.GetOnlySigner()
	if authority == nil {
		return nil, errors.New("it lacks its signer's certificate, or has several signers")
	}
	// Weaker ones are not taken, and SHA-1 ends a process in FIPS mode.
	digest := p.Signers[0].DigestAlgorithm.Algorithm
	if !digest.Equal(pkcs7.OIDDigestAlgorithmSHA256) && !digest.Equal(pkcs7.OIDDigestAlgorithmSHA384) && !digest.Equal(pkcs7.OIDDigestAlgorithmSHA512) {
		return nil, errors.New("it is signed by way of a hash that is too weak")
	}
	var content asn1.ObjectIdentifier
	if err := p.UnmarshalSignedAttribute(pkcs7.OIDAttributeContentType, &content); err != nil || !content.Equal(oidTSTInfo) {
		return nil, errors.New("what is signed is no timestamp")
	}
	if !forTimestampsAlone(authority) {
		return nil, errors.New("its signer's certificate is not for timestamps alone")
	}
	return authority, nil
}

// forTimestampsAlone reports whether a certificate has the one key purpose that
// RFC 3161 section 2.3 asks for, marked critical.
func forTimestampsAlone(c *x509.Certificate) bool {
	if len(c.ExtKeyUsage) != 1 || len(c.UnknownExtKeyUsage) != 0 || c.ExtKeyUsage[0] != x509.ExtKeyUsageTimeStamping {
		return false
	}
	for _, e := range c.Extensions {
		if e.Id.Equal(oidKeyPurpose) {
			return e.Critical
		}
	}
	return false
}
