// Package gateway runs VersityGW, a real S3 service, in this process. It checks
// signatures, and keeps objects as files.
package gateway

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

// The one key, which may do everything.
const (
	AccessKey = "underseal"
	SecretKey = "only-for-this-test"
)

// Run serves objects below dir, which must be empty, while use runs. It calls use
// when the service answers at the endpoint, a URL of plain HTTP on this machine.
func Run(dir string, use func(endpoint string) error) error {
	service, err := open(dir)
	if err != nil {
		return err
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() {
		stopped <- embedgw.RunVersityGW(ctx, service, &embedgw.Config{
			RootUserAccess: AccessKey, RootUserSecret: SecretKey, Region: "us-east-1", Ports: []string{address},
			MaxConnections: 100, MaxRequests: 100, MultipartMaxParts: 10_000, Quiet: true, KeepAlive: true,
		})
		close(stopped)
	}()
	defer func() {
		cancel()
		<-stopped
	}()
	endpoint := "http://" + address
	if err := await(endpoint, stopped); err != nil {
		return err
	}
	return use(endpoint)
}

func open(dir string) (*posix.Posix, error) {
	data, side := filepath.Join(dir, "data"), filepath.Join(dir, "attributes")
	for _, d := range []string{data, side} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return nil, err
		}
	}
	attributes, err := meta.NewSideCar(side)
	if err != nil {
		return nil, err
	}
	return posix.New(data, attributes, posix.PosixOpts{SideCarDir: side})
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// await asks until the service answers.
func await(endpoint string, stopped <-chan error) error {
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
