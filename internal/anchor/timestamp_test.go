package anchor_test

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"io"
	"math/big"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/digitorus/timestamp"

	"github.com/underseal/underseal/internal/anchor"
	"github.com/underseal/underseal/internal/anchor/anchortest"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
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

// FuzzAnswer looks for a panic over what an authority answers, and for an answer that is
// taken although it was made before the request, whose nonce it cannot have.
func FuzzAnswer(f *testing.F) {
	a := anchortest.NewAuthority(f, time.Now().AddDate(1, 0, 0))
	var answer []byte
	log, err := anchor.New(anchor.Config{
		Deployment: "d", Authority: &anchor.Authority{URL: "http://tsa.example/", Root: a.Root},
		Transport: answers(func() []byte { return answer }),
	})
	if err != nil {
		f.Fatal(err)
	}
	text := ledger.Checkpoint{Origin: anchor.Origin("d", 0)}.Text()
	sum := sha256.Sum256([]byte(text))
	for _, nonce := range []*big.Int{nil, big.NewInt(1), new(big.Int).Lsh(big.NewInt(1), 200)} {
		s := timestamp.Timestamp{
			HashAlgorithm: crypto.SHA256, HashedMessage: sum[:], Nonce: nonce, Time: time.Now(), Policy: asn1.ObjectIdentifier{1, 2, 3}, AddTSACertificate: true,
		}
		good := must(s.CreateResponseWithOpts(a.Cert, a.Key, crypto.SHA256))
		f.Add(good)
		for _, n := range []int{1, len(good) / 3, len(good) - 1} {
			f.Add(good[:n])
		}
		f.Add(append(slices.Clone(good), 0))
	}
	for _, other := range []string{"", "0\x03\x02\x01\x02", "0\x05\x30\x03\x02\x01\x02", "0\x80\x00\x00", "\x30\x84\xff\xff\xff\xff", "<html>", "0\x03\x02\x01\x00"} {
		f.Add([]byte(other))
	}
	f.Fuzz(func(t *testing.T, given []byte) {
		answer = given
		if token, err := log.Stamp(t.Context()); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%x is taken for a timestamp, or refused with %v", token, err)
		}
	})
}

// answers is a transport by which every request gets an answer.
type answers func() []byte

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(a()))}, nil
}
