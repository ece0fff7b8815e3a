package testenv

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/digitorus/timestamp"

	"github.com/underseal/underseal/internal/anchor"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/witness"
	"github.com/underseal/underseal/ledger"
)

// Seen is two witnesses and a timestamp authority in process, who see a node's log. They
// answer once Know has told them the anchor log's key.
type Seen struct {
	t    testing.TB
	keys []*witness.Key
	cert *x509.Certificate // of the authority
	key  *ecdsa.PrivateKey

	mu        sync.Mutex // guards witnesses
	witnesses map[string]http.Handler
}

// NewSeen makes witnesses, both of which must cosign, and an authority, and has the node
// of a configuration seen by them.
func NewSeen(t testing.TB, c *node.Config) *Seen {
	t.Helper()
	s := &Seen{t: t, witnesses: map[string]http.Handler{}}
	c.Anchor = anchor.Config{Quorum: 2, Transport: s}
	for _, name := range []string{"w1.example", "w2.example"} {
		key, err := witness.GenerateKey(filepath.Join(t.TempDir(), "key"), name)
		if err != nil {
			t.Fatal(err)
		}
		verifier, err := ledger.ParseVerifier(key.Verifier())
		if err != nil {
			t.Fatal(err)
		}
		s.keys = append(s.keys, key)
		c.Anchor.Witnesses = append(c.Anchor.Witnesses, anchor.Witness{Key: verifier, URL: "https://" + name})
	}
	c.Anchor.Authority = &anchor.Authority{URL: "https://tsa.example/", Root: s.authority()}
	return s
}

// authority makes the authority's certificate and returns the one that it leads to.
func (s *Seen) authority() *x509.Certificate {
	s.t.Helper()
	purpose, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}}) // RFC 3161, section 2.3
	if err != nil {
		s.t.Fatal(err)
	}
	from, to := time.Now().AddDate(-1, 0, 0), time.Now().AddDate(1, 0, 0)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	root, rootKey := s.issue(root, nil, nil)
	s.cert, s.key = s.issue(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "authority"}, NotBefore: from, NotAfter: to,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: purpose}},
	}, root, rootKey)
	return root
}

// issue signs a certificate for a new key; by itself when there is no parent.
func (s *Seen) issue(c, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), by)
	if err != nil {
		s.t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		s.t.Fatal(err)
	}
	return made, key
}

// Know tells the witnesses the key of the node's anchor log.
func (s *Seen) Know(ctx context.Context, e *Env) {
	s.t.Helper()
	out, err := e.Engine.LogPolicy(ctx, e.Ann)
	if err != nil {
		s.t.Fatal(err)
	}
	policy, err := ledger.ParsePolicy([]byte(out.Policy))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, log := range policy.Logs {
		if !strings.HasSuffix(log.Key.Name(), "/anchor") {
			continue
		}
		for i, key := range s.keys {
			w, err := witness.Open(witness.Config{Key: key, State: s.t.TempDir(), Logs: []witness.Log{{Key: log.Key.String()}}})
			if err != nil {
				s.t.Fatal(err)
			}
			s.t.Cleanup(func() { w.Close() })
			s.mu.Lock()
			s.witnesses[fmt.Sprintf("w%d.example", i+1)] = w.Handler(slog.New(slog.DiscardHandler))
			s.mu.Unlock()
		}
		return
	}
	s.t.Fatal("the policy names no anchor log")
}

// RoundTrip answers what the node asks.
func (s *Seen) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	h := s.witnesses[r.URL.Hostname()]
	s.mu.Unlock()
	out := httptest.NewRecorder()
	switch {
	case h != nil:
		h.ServeHTTP(out, r)
	case r.URL.Hostname() == "tsa.example":
		s.stamp(out, r)
	default:
		out.WriteHeader(http.StatusNotFound)
	}
	return out.Result(), nil
}

func (s *Seen) stamp(out http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(out, "no body", http.StatusBadRequest)
		return
	}
	request, err := timestamp.ParseRequest(body)
	if err != nil {
		http.Error(out, "no request", http.StatusBadRequest)
		return
	}
	stamped := timestamp.Timestamp{
		HashAlgorithm: request.HashAlgorithm, HashedMessage: request.HashedMessage, Nonce: request.Nonce, Time: time.Now(),
		Policy: asn1.ObjectIdentifier{1, 2, 3}, AddTSACertificate: request.Certificates,
	}
	answer, err := stamped.CreateResponseWithOpts(s.cert, s.key, crypto.SHA256)
	if err != nil {
		http.Error(out, "no answer", http.StatusInternalServerError)
		return
	}
	out.Write(answer)
}
