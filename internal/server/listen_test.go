package server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/server"
)

func TestCheckListen(t *testing.T) {
	for _, c := range []struct {
		address      string
		tls, proxied bool
		ok           bool
	}{
		{"127.0.0.1:8700", false, false, true},
		{"127.8.9.10:8700", false, false, true},
		{"[::1]:8700", false, false, true},
		{"localhost:8700", false, false, true},
		{"0.0.0.0:8700", false, false, false},
		{":8700", false, false, false},
		{"[::]:8700", false, false, false},
		{"192.0.2.1:8700", false, false, false},
		{"localhost.example.com:8700", false, false, false},
		{"0.0.0.0:8700", true, false, true},
		{":8700", false, true, true},
		{"127.0.0.1", true, true, false},
		{"", true, true, false},
	} {
		err := server.CheckListen(c.address, c.tls, c.proxied)
		if (err == nil) != c.ok || err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("CheckListen(%q, tls %v, proxy %v) = %v; want ok: %v", c.address, c.tls, c.proxied, err, c.ok)
		}
	}
}

// start serves the engine on a free port and returns its URL.
func start(t *testing.T, e server.Engine, change ...func(*server.ListenConfig)) (*server.Listener, string) {
	t.Helper()
	config := server.ListenConfig{Address: "127.0.0.1:0"}
	for _, f := range change {
		f(&config)
	}
	l, err := server.NewListener(config, newServer(t, e))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Start(), l.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(l.Stop(ctx), l.Stop(ctx)); err != nil {
			t.Errorf("Stop = %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return l, "http://" + l.Addr().String()
}

func post(url, body string) (*http.Response, error) {
	r, err := http.NewRequest("POST", url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+goodKey)
	r.Header.Set("Content-Type", "application/json")
	return http.DefaultClient.Do(r)
}

func TestServesUntilItIsStopped(t *testing.T) {
	l, url := start(t, &fakeEngine{})
	res, err := post(url+"/v1/instances", `{"process":"loan"}`)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || res.StatusCode != 200 || !bytes.Contains(body, []byte(`"seq":1`)) {
		t.Errorf("POST = %d %s, %v", res.StatusCode, body, err)
	}
	if err := l.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	<-l.Done()
	if _, err := post(url+"/v1/instances", `{"process":"loan"}`); err == nil {
		t.Error("a stopped listener still answers")
	}
}

// A worker that waits for jobs must neither be cut off by the deadline for
// reading a request, nor hold up the end of the server.
func TestWaitForJobsOutlivesDeadlinesAndEndsWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &fakeEngine{activate: func(ctx context.Context, _ api.ActivateRequest) (api.Jobs, error) {
			<-ctx.Done()
			return api.Jobs{}, ctx.Err()
		}}
		config := server.ListenConfig{Address: "127.0.0.1:0", ReadTimeout: 5 * time.Second}
		l, err := server.NewListener(config, newServer(t, e))
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := net.Pipe()
		defer ours.Close()
		l.StartOn(&oneConn{conn: theirs, closed: make(chan struct{})})
		began, stopped := time.Now(), make(chan error)
		time.AfterFunc(50*time.Second, func() { stopped <- l.Stop(context.Background()) })
		r := request("POST", "http://server/v1/jobs/activate", `{"type":"t","worker":"w","wait_ms":60000}`)
		if err := r.Write(ours); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(ours), r)
		if err != nil {
			t.Fatalf("after %v: %v", time.Since(began), err)
		}
		body, err := io.ReadAll(res.Body)
		if got := strings.TrimSpace(string(body)); err != nil || got != `{"items":[]}` || time.Since(began) != 50*time.Second {
			t.Errorf("after %v the worker got %d %s, %v", time.Since(began), res.StatusCode, got, err)
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

// oneConn is a listener with one connection, in memory.
type oneConn struct {
	conn   net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if conn := l.conn; conn != nil {
		l.conn = nil
		return conn, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

// Stop must not wait for ever for a request that does not end.
func TestStopEndsWithItsContext(t *testing.T) {
	reached, release := make(chan bool), make(chan bool)
	e := &fakeEngine{activate: func(context.Context, api.ActivateRequest) (api.Jobs, error) {
		close(reached)
		<-release
		return api.Jobs{}, nil
	}}
	l, url := start(t, e)
	ended := make(chan error)
	go func() {
		res, err := post(url+"/v1/jobs/activate", `{"type":"t","worker":"w"}`)
		if err == nil {
			_ = res.Body.Close()
		}
		ended <- err
	}()
	<-reached
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop = %v; want that its context ended", err)
	}
	if err := <-ended; err == nil {
		t.Error("the request that did not end was answered")
	}
	close(release)
}

func TestPortThatIsTakenIsSaid(t *testing.T) {
	first, _ := start(t, &fakeEngine{})
	second, err := server.NewListener(server.ListenConfig{Address: first.Addr().String()}, newServer(t, &fakeEngine{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Start(); !fault.Is(err, fault.Unavailable) {
		t.Errorf("Start on a taken port = %v", err)
	}
	if err := second.Stop(context.Background()); err != nil {
		t.Errorf("Stop of what never started = %v", err)
	}
}

func TestServesTLS(t *testing.T) {
	borrowed := httptest.NewUnstartedServer(nil) // for its certificate
	borrowed.StartTLS()
	certificate := borrowed.TLS.Certificates[0]
	pool := x509.NewCertPool()
	pool.AddCert(borrowed.Certificate())
	borrowed.Close()
	l, _ := start(t, &fakeEngine{}, func(c *server.ListenConfig) {
		c.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	})
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	res, err := client.Get("https://" + l.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.TLS.Version != tls.VersionTLS13 || res.StatusCode != 200 {
		t.Errorf("version %x, status %d", res.TLS.Version, res.StatusCode)
	}
}
