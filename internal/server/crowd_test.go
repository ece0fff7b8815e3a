package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/underseal/underseal/internal/server"
)

// door is a listener whose connections come from addresses of the test's choice.
type door struct {
	oneConn
	conns chan net.Conn
}

func newDoor() *door {
	return &door{oneConn: oneConn{closed: make(chan struct{})}, conns: make(chan net.Conn)}
}

func (d *door) Accept() (net.Conn, error) {
	select {
	case c := <-d.conns:
		return c, nil
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

// comer is the server's end of a connection from an address.
type comer struct {
	net.Conn
	address *net.TCPAddr
}

func (c comer) RemoteAddr() net.Addr { return c.address }

// come opens a connection and returns the caller's end of it.
func (d *door) come(address string) net.Conn {
	ours, theirs := net.Pipe()
	d.conns <- comer{theirs, &net.TCPAddr{IP: net.ParseIP(address), Port: 1}}
	return ours
}

// behind serves on a door until f returns.
func behind(t *testing.T, change func(*server.ListenConfig), f func(d *door)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		config := server.ListenConfig{Address: "127.0.0.1:0"}
		change(&config)
		l, err := server.NewListener(config, newServer(t, &fakeEngine{}))
		if err != nil {
			t.Fatal(err)
		}
		d := newDoor()
		l.StartOn(d)
		f(d)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = l.Stop(ctx)         // ends what is open at once, which it says
		time.Sleep(time.Second) // net/http waits a moment before it closes what it refused
	})
}

// answered asks for the server's health on a connection.
func answered(conn net.Conn) bool {
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: server\r\n\r\n"); err != nil {
		return false
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err == nil && res.StatusCode == 200
}

func TestAnAddressHasSoManyConnections(t *testing.T) {
	behind(t, func(c *server.ListenConfig) { c.PerAddress = 2 }, func(d *door) {
		var first []net.Conn
		for range 2 {
			first = append(first, d.come("2001:db8::1"))
		}
		for _, c := range []struct {
			address string
			ok      bool
		}{{"2001:db8::1", false}, {"2001:db8::2", false}, {"2001:db8:0:1::1", true}, {"192.0.2.1", true}, {"127.0.0.1", true}, {"127.0.0.1", true}, {"127.0.0.1", true}} {
			if conn := d.come(c.address); answered(conn) != c.ok {
				t.Errorf("one more from %s; want an answer: %v", c.address, c.ok)
			}
		}
		for _, conn := range first {
			if !answered(conn) {
				t.Error("a connection that was there before is closed")
			}
		}
		first[0].Close()
		synctest.Wait()
		if !answered(d.come("2001:db8::1")) {
			t.Error("one that is over still counts")
		}
	})
	for name, change := range map[string]func(*server.ListenConfig){
		"without a bound": func(*server.ListenConfig) {},
		"behind a proxy":  func(c *server.ListenConfig) { c.PerAddress, c.BehindProxy = 2, true },
	} {
		behind(t, change, func(d *door) {
			for i := range 10 {
				if !answered(d.come("192.0.2.1")) {
					t.Errorf("%s, connection %d is closed", name, i)
				}
			}
		})
	}
}

// Who sends a byte every few seconds (slow loris) holds no connection for long, be it in
// the head of a request or in its body.
func TestASlowRequestIsCutOff(t *testing.T) {
	for _, c := range []struct {
		name, start, more string
		longest           time.Duration
	}{
		{"nothing at all", "", "", 10 * time.Second},
		{"a head without end", "GET /healthz HTTP/1.1\r\nHost: server\r\n", "X-A: b\r\n", 10 * time.Second},
		{"a body without end", "POST /v1/instances HTTP/1.1\r\nHost: server\r\nAuthorization: Bearer " + goodKey +
			"\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n", " ", time.Minute},
	} {
		behind(t, func(*server.ListenConfig) {}, func(d *door) {
			conn, began := d.come("192.0.2.1"), time.Now()
			go io.Copy(io.Discard, conn)
			_, err := io.WriteString(conn, c.start)
			for err == nil && time.Since(began) < time.Hour {
				time.Sleep(2 * time.Second)
				_, err = io.WriteString(conn, c.more)
				if c.more == "" {
					_, err = conn.Write([]byte("G"))
				}
			}
			if took := time.Since(began); err == nil || took > c.longest+4*time.Second {
				t.Errorf("%s: still open after %v", c.name, took)
			}
		})
	}
}

func TestALongHeadIsRefused(t *testing.T) {
	behind(t, func(*server.ListenConfig) {}, func(d *door) {
		for size, want := range map[int]int{16 << 10: 200, 64 << 10: 431} {
			conn := d.come("192.0.2.1")
			go fmt.Fprintf(conn, "GET /healthz HTTP/1.1\r\nHost: server\r\nX-Long: %s\r\n\r\n", strings.Repeat("x", size))
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || res.StatusCode != want {
				t.Errorf("%d bytes of headers: %v, %v", size, res, err)
			}
			conn.Close()
		}
	})
}
