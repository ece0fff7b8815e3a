package identity

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

// Federated is who a principal is elsewhere: the subject of an issuer, or a certificate.
// It is found by a keyed hash of both, like a credential, though it is no secret: what
// admits somebody is the issuer's word.
type Federated struct {
	ID      string // as an API key's
	Issuer  string // its URL, ByFingerprint, or ByCertificate and the id of who issues them
	Subject string
	Token   [32]byte
	Made    time.Time
	Ended   time.Time // from then on it admits nobody, and stays taken; zero: it has not
}

// Issuers of certificates as Federated names them.
const (
	ByFingerprint = "certificate"  // the subject is one certificate
	ByCertificate = "certificate:" // the subject is a name in certificates
)

// Named is how the settings of a tenant make principals name an issuer.
func (i *Issuer) Named() string {
	if i.Kind == Certificates {
		return ByCertificate + i.ID
	}
	return i.URL
}

// CheckSubject refuses what no subject of an issuer can be (Invalid).
func CheckSubject(issuer, subject string) error {
	good := subject != "" && len(subject) <= maxSubject && !strings.ContainsFunc(subject, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' })
	hint := "it is the claim sub of the issuer's tokens"
	switch {
	case issuer == ByFingerprint:
		good, hint = isFingerprint(subject), "it is sha256: and the SHA-256 of the certificate (DER) in 64 hexadecimal digits in lower case"
	case strings.HasPrefix(issuer, ByCertificate):
		good = good && slices.ContainsFunc(nameKinds, func(kind string) bool { return strings.HasPrefix(subject, kind) && subject != kind })
		hint = "it is spiffe://..., dns:NAME or subject:CN=...,O=... as certificates have it"
	}
	if good {
		return nil
	}
	return fault.New(fault.Invalid, "%q is no subject of this issuer", subject).WithCode("invalid_subject").WithHint("%s", hint)
}

const maxSubject = 255

func isFingerprint(text string) bool {
	digits, ok := strings.CutPrefix(text, "sha256:")
	return ok && len(digits) == 64 && strings.Trim(digits, "0123456789abcdef") == ""
}

// FederatedToken is the keyed hash under which somebody of an issuer is found.
func (d *Directory) FederatedToken(ctx context.Context, scope store.Scope, issuer, subject string) ([32]byte, error) {
	return d.Token(ctx, scope, federated, string(canon.EncodeItems(canon.String(issuer), canon.String(subject))))
}

func (f *Federated) value() canon.Value {
	return contextOf(
		text("id", f.ID), text("issuer", f.Issuer), text("subject", f.Subject),
		text("token", hex.EncodeToString(f.Token[:])), canon.Entry{Name: "made", Value: timeItem(f.Made)}, canon.Entry{Name: "ended", Value: timeItem(f.Ended)},
	)
}

func federatedOf(v canon.Value) Federated {
	return Federated{
		ID: textOf(entryOf(v, "id")), Issuer: textOf(entryOf(v, "issuer")), Subject: textOf(entryOf(v, "subject")),
		Token: tokenOf(entryOf(v, "token")), Made: timeOf(entryOf(v, "made")), Ended: timeOf(entryOf(v, "ended")),
	}
}

// Word is what an issuer has said of a service that calls.
type Word struct {
	Until  time.Time      // it counts
	Scopes []access.Scope // that the call is for; none: everything
}

// AdmitService admits a service by an issuer's word for who it is, as Admit does.
func (k *Known) AdmitService(token [32]byte, w Word, address string, at time.Time) (Caller, error) {
	i := slices.IndexFunc(k.federated, func(f Federated) bool { return f.Token == token })
	if i < 0 || !k.active || k.who.Kind != access.Service || !at.Before(w.Until) || !k.believes(&k.federated[i]) || !k.From(address) {
		return Caller{}, Unauthenticated()
	}
	c := k.alone
	if w.Scopes != nil {
		who := k.who
		who.Scopes = w.Scopes
		c.Who = who.Effective()
	}
	c.Key, c.Address, c.word, c.token = k.federated[i].ID, address, &w, token
	c.limits = &APIKey{Scopes: w.Scopes, Expires: w.Until}
	return c, nil
}

// believes reports whether the word of whoever says who the principal is counts still.
func (k *Known) believes(f *Federated) bool { return f.counts(k.rules.Tenant.Issuers, k.who.Kind) }

// counts reports whether the word of whoever says who a principal of a kind is counts.
func (f *Federated) counts(issuers []Issuer, kind string) bool {
	return f.Ended.IsZero() && (f.Issuer == ByFingerprint || slices.ContainsFunc(issuers, func(i Issuer) bool {
		return i.Named() == f.Issuer && (i.Kind == People) == (kind == access.User)
	}))
}

// Linked returns the issuer, as Named has it, of a link of the principal by its id. Empty:
// there is no such link, or the issuer's word does not count any more.
func (k *Known) Linked(link string) string {
	i := slices.IndexFunc(k.federated, func(f Federated) bool { return f.ID == link })
	if i < 0 || !k.believes(&k.federated[i]) {
		return ""
	}
	return k.federated[i].Issuer
}

// nameKinds are how names in certificates begin.
var nameKinds = []string{"spiffe://", "dns:", "subject:"}

// Bounds of a certificate that somebody shows.
const (
	maxChain = 10
	maxNames = 20
)

// Fingerprint returns the subject of a certificate by ByFingerprint.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Vouches returns the names in a client certificate, the first of a chain, if an issuer of
// certificates has signed it and it counts now; none: not so.
func (i *Issuer) Vouches(chain []*x509.Certificate, at time.Time) []string {
	roots, err := i.Authorities()
	if err != nil || len(chain) == 0 || len(chain) > maxChain {
		return nil
	}
	options := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, c := range roots {
		options.Roots.AddCert(c)
	}
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(options); err != nil {
		return nil
	}
	return namesIn(chain[0])
}

// namesIn returns what a certificate calls its holder. One that has a great many is for
// something else.
func namesIn(c *x509.Certificate) []string {
	var names []string
	for _, u := range c.URIs {
		if u.Scheme == "spiffe" {
			names = append(names, u.String())
		}
	}
	for _, name := range c.DNSNames {
		names = append(names, "dns:"+strings.ToLower(name))
	}
	if name := subjectOf(c); name != "" {
		names = append(names, "subject:"+name)
	}
	if len(names) > maxNames {
		return nil
	}
	return names
}

// subjectOf returns the subject of a certificate as RFC 4514 writes it, all of it and in its
// order: pkix.Name keeps of several common names the last, and no order, so that two
// subjects would read the same. Empty: it has none, or a value that is no text.
func subjectOf(c *x509.Certificate) string {
	var subject pkix.RDNSequence
	if rest, err := asn1.Unmarshal(c.RawSubject, &subject); err != nil || len(rest) > 0 {
		return ""
	}
	for _, part := range subject {
		for _, a := range part {
			if _, isText := a.Value.(string); !isText {
				return ""
			}
		}
	}
	return subject.String()
}
