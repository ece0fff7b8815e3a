package anchor_test

import (
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"io"
	"math/big"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/digitorus/timestamp"

	"github.com/underseal/underseal/internal/anchor"
	"github.com/underseal/underseal/internal/anchor/anchortest"
)

// A tsa is a timestamp authority.
type tsa struct {
	*anchortest.Authority
	// change alters an answer before it is signed; nil: not.
	change func(s *timestamp.Timestamp)
	status int // of its answers; 0: 200
}

func newTSA(t *testing.T, change func(s *timestamp.Timestamp)) *tsa {
	t.Helper()
	return &tsa{Authority: anchortest.NewAuthority(t, time.Now().AddDate(1, 0, 0)), change: change}
}

func (a *tsa) ServeHTTP(out http.ResponseWriter, in *http.Request) {
	request, err := timestamp.ParseRequest(must(io.ReadAll(in.Body)))
	if err != nil || in.Header.Get("Content-Type") != "application/timestamp-query" {
		http.Error(out, "no request", http.StatusBadRequest)
		return
	}
	s := timestamp.Timestamp{
		HashAlgorithm: request.HashAlgorithm, HashedMessage: request.HashedMessage, Nonce: request.Nonce, Time: time.Now(),
		Policy: asn1.ObjectIdentifier{1, 2, 3}, AddTSACertificate: request.Certificates,
	}
	if a.change != nil {
		a.change(&s)
	}
	if a.status != 0 {
		out.WriteHeader(a.status)
	}
	out.Write(must(s.CreateResponseWithOpts(a.Cert, a.Key, crypto.SHA256)))
}

// authority gives a world a timestamp authority.
func (w *world) authority(a *tsa) {
	w.root = x509.NewCertPool()
	w.root.AddCert(a.Root)
	w.config.Authority = &anchor.Authority{URL: "http://tsa.example/", Root: a.Root}
	w.net.set("tsa.example", a)
	w.restart(func() {})
}

func TestTimestampsThatAreNotToBeTrustedAreNotStored(t *testing.T) {
	good := func() *tsa { return newTSA(t, nil) }
	foreign := func(a *tsa) *tsa { a.Root = good().Root; return a }
	for name, make := range map[string]func() *tsa{
		"of another root":       func() *tsa { return foreign(good()) },
		"to another request":    func() *tsa { return newTSA(t, func(s *timestamp.Timestamp) { s.Nonce = big.NewInt(1) }) },
		"without a nonce":       func() *tsa { return newTSA(t, func(s *timestamp.Timestamp) { s.Nonce = nil }) },
		"of another text":       func() *tsa { return newTSA(t, func(s *timestamp.Timestamp) { s.HashedMessage = make32() }) },
		"of an expired one":     func() *tsa { return newTSA(t, func(s *timestamp.Timestamp) { s.Time = s.Time.AddDate(2, 0, 0) }) },
		"without a certificate": func() *tsa { return newTSA(t, func(s *timestamp.Timestamp) { s.AddTSACertificate = false }) },
		"with an error status":  func() *tsa { a := good(); a.status = 500; return a },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 0, 0)
				w.authority(make())
				ann := w.publish("ann", 3)
				time.Sleep(5 * time.Minute)
				w.notAnchored("ann", 3)
				if w.figure("underseal_timestamp_failing", "") != 1 || w.log.Halted() != nil {
					t.Errorf("the figures do not say so, or halted: %v", w.log.Halted())
				}
				w.authority(newTSA(t, nil))
				time.Sleep(2 * time.Minute)
				w.verify("ann", ann)
			})
		})
	}
}

func make32() []byte { return make([]byte, 32) }

func TestAClockThatIsWrongIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 0, 0)
		a := newTSA(t, func(s *timestamp.Timestamp) { s.Time = s.Time.Add(6 * time.Hour) })
		w.authority(a)
		w.publish("ann", 3)
		time.Sleep(2 * time.Minute)
		if ahead := w.figure("underseal_clock_ahead_seconds", ""); ahead > -6*3600+60 || ahead < -6*3600-60 {
			t.Errorf("the clock is %v seconds ahead, want six hours behind", ahead)
		}
	})
}
