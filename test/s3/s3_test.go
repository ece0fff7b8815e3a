// Package s3_test runs the tests of blobs in a bucket against a real S3 service,
// VersityGW, which checks signatures. It is a module of its own, since the
// service needs more other modules than all of Underseal.
package s3_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"

	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/blob/blobtest"
	"github.com/underseal/underseal/internal/blob/s3"
	"github.com/underseal/underseal/internal/blob/s3/s3test"
	"github.com/underseal/underseal/internal/fault"
)

const (
	accessKey = "underseal"
	secretKey = "only-for-this-test"
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
	data, side := filepath.Join(dir, "data"), filepath.Join(dir, "attributes")
	for _, d := range []string{data, side} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return 1, err
		}
	}
	attributes, err := meta.NewSideCar(side)
	if err != nil {
		return 1, err
	}
	service, err := posix.New(data, attributes, posix.PosixOpts{SideCarDir: side})
	if err != nil {
		return 1, err
	}
	address, err := freeAddress()
	if err != nil {
		return 1, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() {
		stopped <- embedgw.RunVersityGW(ctx, service, &embedgw.Config{
			RootUserAccess: accessKey, RootUserSecret: secretKey, Region: "us-east-1", Ports: []string{address},
			MaxConnections: 100, MaxRequests: 100, MultipartMaxParts: 10_000, Quiet: true, KeepAlive: true,
		})
	}()
	defer func() {
		cancel()
		<-stopped
	}()
	endpoint = "http://" + address
	if err := await(stopped); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// await asks until the service answers.
func await(stopped <-chan error) error {
	deadline := time.After(30 * time.Second)
	for {
		if resp, err := http.Get(endpoint); err == nil {
			return resp.Body.Close()
		}
		select {
		case err := <-stopped:
			return fmt.Errorf("the service has ended: %w", err)
		case <-deadline:
			return fmt.Errorf("the service does not answer at %s", endpoint)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func config() s3.Config {
	return s3.Config{
		Endpoint: endpoint, Bucket: "underseal-files", AccessKey: accessKey, SecretKey: secretKey, Deployment: "d1",
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
