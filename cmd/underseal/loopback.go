package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/fault"
)

// loginWait is how long a sign-in at a provider may take; the server waits no longer.
const loginWait = 10 * time.Minute

// byIssuer signs in who a browser signs in at their company's OpenID provider (RFC 8252).
// The browser brings a code to a port of this machine alone. Who else gets that has not the
// verifier, which does not leave this process before the code is redeemed.
func (c *loginCmd) byIssuer(ctx context.Context, e *env, config client.Config) (s api.NewSession, err error) {
	if err := client.CheckLogin(ctx, config, c.Tenant, c.Issuer); client.IsNotFound(err) {
		return s, fault.New(fault.NotFound, "the server at %s has no company %q that signs people in at an issuer %q", e.settings.Server, c.Tenant, c.Issuer).
			WithCode("no_issuer").WithHint("who administers your company knows the name: underseal issuers; --tenant names the company")
	} else if err != nil {
		return s, err
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // it does not fail (crypto/rand)
	verifier := base64.RawURLEncoding.EncodeToString(secret)
	sum := sha256.Sum256([]byte(verifier))
	waits, err := awaitCode(base64.RawURLEncoding.EncodeToString(sum[:]))
	if err != nil {
		return s, err
	}
	defer waits.close()
	address := c.address(e.settings.Server, waits)
	fmt.Fprintf(e.stderr, "sign in with a browser on this machine: %s\ncheck code, which the last page must show: %s\n", address, api.CheckCode(waits.challenge))
	if !c.NoBrowser {
		openBrowser(address)
	}
	code, err := waits.code(ctx)
	if err != nil {
		return s, err
	}
	s, err = client.RedeemLogin(ctx, config, c.Tenant, c.Issuer, api.LoginRedemption{Code: code, Verifier: verifier})
	if client.IsUnauthenticated(err) {
		err = fault.New(fault.Denied, "the server at %s signs nobody in by what the browser has brought", e.settings.Server).WithCode("unauthenticated").
			WithHint("it counts for a minute, and once: run it again")
	}
	return s, err
}

// address is where a browser begins.
func (c *loginCmd) address(server string, w *codeWaiter) string {
	query := url.Values{"port": {strconv.Itoa(w.port)}, "challenge": {w.challenge}}
	if c.Again {
		query.Set("again", "true")
	}
	return strings.TrimSuffix(server, "/") + "/v1/login/" + url.PathEscape(c.Tenant) + "/" + url.PathEscape(c.Issuer) + "?" + query.Encode()
}

// codeWaiter waits on this machine for the one code that a browser brings.
type codeWaiter struct {
	challenge string
	listener  net.Listener
	port      int
	server    http.Server
	taken     atomic.Bool
	got       chan string
}

// awaitCode begins to wait for a code, on a port that the system chooses.
func awaitCode(challenge string) (*codeWaiter, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fault.New(fault.Unavailable, "wait for the browser: %w", err).WithCode("no_port")
	}
	w := &codeWaiter{challenge: challenge, listener: l, port: l.Addr().(*net.TCPAddr).Port, got: make(chan string, 1)}
	w.server = http.Server{Handler: w, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10}
	go func() { _ = w.server.Serve(l) }() // it ends with close
	return w, nil
}

// ServeHTTP takes the first code that comes with the challenge, which only the server and
// whoever saw the terminal know: what pages try at the ports of this machine counts for
// nothing, under whatever name they reach it.
func (w *codeWaiter) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	h := out.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	query, err := url.ParseQuery(r.URL.RawQuery)
	code, challenge := query["code"], query["challenge"]
	if r.Method != http.MethodGet || r.Host != net.JoinHostPort("127.0.0.1", strconv.Itoa(w.port)) || r.URL.Path != "/" || err != nil ||
		len(code) != 1 || code[0] == "" || len(challenge) != 1 || subtle.ConstantTimeCompare([]byte(challenge[0]), []byte(w.challenge)) != 1 {
		out.WriteHeader(http.StatusNotFound)
		return
	}
	if w.taken.Swap(true) {
		out.WriteHeader(http.StatusGone)
		return
	}
	w.got <- code[0]
	fmt.Fprintln(out, "Go back to the terminal, which says whether you are signed in. You can close this page.")
}

// code waits for the code.
func (w *codeWaiter) code(ctx context.Context) (string, error) {
	limit := time.NewTimer(loginWait)
	defer limit.Stop()
	select {
	case code := <-w.got:
		return code, nil
	case <-limit.C:
		return "", fault.New(fault.Unavailable, "nobody has signed in with the browser within %v", loginWait).WithCode("login_timeout").WithHint("run it again")
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// close ends the waiting once the browser has its answer.
func (w *codeWaiter) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if w.server.Shutdown(ctx) != nil {
		_ = w.server.Close()
	}
}

// openBrowser opens an address, if this machine can; it is printed anyway.
func openBrowser(address string) {
	command := []string{"xdg-open", address}
	switch runtime.GOOS {
	case "darwin":
		command = []string{"open", address}
	case "windows":
		command = []string{"rundll32", "url.dll,FileProtocolHandler", address}
	}
	if cmd := exec.Command(command[0], command[1:]...); cmd.Start() == nil {
		go func() { _ = cmd.Wait() }()
	}
}
