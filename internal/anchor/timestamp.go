package anchor

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/digitorus/timestamp"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

// clockTolerance is how far our clock may be from the authority's before the log
// says so.
const clockTolerance = 5 * time.Minute

// Authority gives timestamps (RFC 3161) over HTTP.
type Authority struct {
	URL  string
	Root *x509.Certificate // to which its own must lead
}

func (a Authority) check() error {
	u, err := url.Parse(a.URL)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return refusedConfig("%q is not the address of a timestamp authority", a.URL)
	}
	if a.Root == nil {
		return refusedConfig("the root certificate of the timestamp authority at %s is missing", a.URL)
	}
	return nil
}

// asking is the authority and what is known of it.
type asking struct {
	Authority
	roots *x509.CertPool // Root alone

	failing atomic.Bool  // it gave no timestamp at the last try
	ahead   atomic.Int64 // time.Duration of our clock before the authority's, at the last timestamp
}

func newAsking(a Authority) *asking {
	roots := x509.NewCertPool()
	roots.AddCert(a.Root)
	return &asking{Authority: a, roots: roots}
}

// stamp returns a token of the head's text. The answer must be to this request, and
// lead to the configured root.
func (a *asking) stamp(ctx context.Context, l *Log) (token []byte, err error) {
	defer func() { a.failing.Store(err != nil) }()
	head := ledger.Checkpoint{Origin: Origin(l.config.Deployment, l.head.Log), Size: l.head.Size, Root: l.head.Root}
	token, err = a.request(ctx, l, []byte(head.Text()))
	if err != nil {
		return nil, err
	}
	at, err := ledger.VerifyTimestamp(token, []byte(head.Text()), a.roots)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "the timestamp authority at %s: %w", a.URL, err).WithCode(fault.CodeOf(err)).
			WithHint("log.timestamp_authority.root must be the certificate of its root")
	}
	ahead := time.Since(at)
	if a.ahead.Store(int64(ahead)); ahead.Abs() > clockTolerance {
		l.config.Log.Error("the clock of this machine differs from that of the timestamp authority", "ahead", ahead)
	}
	return token, nil
}

// request makes one call. The nonce keeps an old answer from being taken for a new
// one.
func (a *asking) request(ctx context.Context, l *Log, message []byte) ([]byte, error) {
	nonce, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64))
	if err != nil {
		return nil, fault.New(fault.Internal, "draw a nonce: %w", err)
	}
	body, err := timestamp.CreateRequest(bytes.NewReader(message), &timestamp.RequestOptions{Certificates: true, Nonce: nonce})
	if err != nil {
		return nil, fault.New(fault.Internal, "make a timestamp request: %w", err)
	}
	status, answer, err := l.post(ctx, a.URL, "application/timestamp-query", body)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "ask the timestamp authority at %s: %w", a.URL, err)
	}
	if status != 200 {
		return nil, fault.New(fault.Unavailable, "the timestamp authority at %s answers with status %d", a.URL, status)
	}
	t, err := parseAnswer(answer)
	switch {
	case err != nil:
		return nil, fault.New(fault.Unavailable, "the timestamp authority at %s gives no timestamp: %w", a.URL, err).WithCode("timestamp_refused")
	case t.Nonce == nil || t.Nonce.Cmp(nonce) != 0:
		return nil, fault.New(fault.Unavailable, "the timestamp authority at %s answers another request than ours", a.URL).WithCode("timestamp_nonce")
	}
	return t.RawToken, nil
}

// parseAnswer reads a response. The parser was not written for hostile input.
func parseAnswer(answer []byte) (t *timestamp.Timestamp, err error) {
	defer func() {
		if recover() != nil {
			err = fault.New(fault.Unavailable, "it is no timestamp response")
		}
	}()
	return timestamp.ParseResponse(answer)
}
