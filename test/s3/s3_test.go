// Package s3_test runs the tests of blobs in a bucket against a real S3 service,
// VersityGW, which checks signatures. It is a module of its own, since the
// service needs more other modules than all of Underseal.
package s3_test

import (
	"fmt"
	"net/http"
	"os"
	"testing"

	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/blob/blobtest"
	"github.com/underseal/underseal/internal/blob/s3"
	"github.com/underseal/underseal/internal/blob/s3/s3test"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/test/s3/gateway"
)

// endpoint is where the one service of this test binary listens.
var endpoint string

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "underseal-s3-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	err = gateway.Run(dir, func(at string) error {
		endpoint = at
		code = m.Run()
		return nil
	})
	return code, err
}

func config() s3.Config {
	return s3.Config{
		Endpoint: endpoint, Bucket: "underseal-files", AccessKey: gateway.AccessKey, SecretKey: gateway.SecretKey, Deployment: "d1",
		Transport: http.DefaultTransport,
	}
}

func TestARealBucketIsAStore(t *testing.T) {
	blobtest.TestStore(t, func(t *testing.T) blobtest.Storage { return s3test.NewBucket(t, config(), false) })
}

func TestARealBucketSurvivesALostAnswer(t *testing.T) {
	blobtest.TestCrashes(t, func(t *testing.T) blobtest.Storage { return s3test.NewBucket(t, config(), true) })
}

func TestOneLostMessageEndsNoUpload(t *testing.T) {
	for name, answered := range map[string]bool{"a request": false, "an answer": true} {
		t.Run(name, func(t *testing.T) { s3test.TestOneLost(t, s3test.NewBucket(t, config(), answered)) })
	}
}

func TestAWrongKeyIsRefused(t *testing.T) {
	s3test.NewBucket(t, config(), false) // makes the bucket
	for _, c := range []struct {
		name   string
		change func(*s3.Config)
		code   string
	}{
		{"another secret", func(c *s3.Config) { c.SecretKey = "wrong" }, "storage_denied"},
		// This service answers as if something were not found; others deny.
		{"another key", func(c *s3.Config) { c.AccessKey = "wrong" }, "unavailable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config()
			c.change(&cfg)
			s, err := s3.Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.List(t.Context(), "main", blob.ID{}, 1); !fault.Is(err, fault.Unavailable) || fault.CodeOf(err) != c.code {
				t.Errorf("%v (%s)", err, fault.CodeOf(err))
			}
		})
	}
}
