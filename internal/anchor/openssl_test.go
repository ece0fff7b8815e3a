package anchor_test

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/anchor"
	"github.com/underseal/underseal/internal/anchor/anchortest"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

// TestOpenSSLGivesTimestamps has a real authority, one whose certificate has ended,
// and one of another root.
func TestOpenSSLGivesTimestamps(t *testing.T) {
	for _, test := range []struct {
		name     string
		validity time.Duration
		foreign  bool
		code     string // "": the token is stored
	}{
		{"of our authority", time.Hour, false, ""},
		{"of one that has expired", -time.Hour, false, ledger.CodeTimestampExpired},
		{"of a foreign one", time.Hour, true, ledger.CodeTimestampForeign},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := anchortest.NewAuthority(t, time.Now().Add(test.validity))
			url, root := a.Serve(t), a.Root
			if test.foreign {
				root = anchortest.NewAuthority(t, time.Now().Add(test.validity)).Root
			}
			w := emptyWorld(t)
			w.config.Authority = &anchor.Authority{URL: url, Root: root}
			w.make()
			defer w.db.Close()
			ann := w.publish("ann", 3)
			err := w.log.Round(t.Context())
			if test.code != "" {
				w.notAnchored("ann", 3)
				if !fault.Is(err, fault.Unavailable) || w.figure("underseal_timestamp_failing", "") != 1 {
					t.Errorf("the round ended with %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			w.root = x509.NewCertPool()
			w.root.AddCert(root)
			w.verify("ann", ann)
		})
	}
}
