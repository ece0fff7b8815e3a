package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/fault"
)

// newBrowser is the end of a terminal at which somebody waits for the address of a sign-in
// and opens it, while the command waits.
type newBrowser struct {
	shown bytes.Buffer
	opens func(address, check string)
}

var printed = regexp.MustCompile(`(?m)^sign in with a browser on this machine: (\S+)\ncheck code, which the last page must show: (\S+)$`)

func (b *newBrowser) Write(text []byte) (int, error) {
	b.shown.Write(text)
	if found := printed.FindSubmatch(text); found != nil {
		go b.opens(string(found[1]), string(found[2]))
	}
	return len(text), nil
}

// visited asks for an address by a Host header, and returns the status and the text.
func visited(t *testing.T, method, address, host string) (int, string) {
	r, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	r.Host = host
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text)
}

// The command prints an address with its port and challenge, takes the first code that a
// browser brings there with the challenge, and nothing else, and keeps the session that the
// server gives whoever has the code and the verifier.
func TestABrowserSignsTheCommandIn(t *testing.T) {
	var asked api.LoginRedemption
	var path, challenge string
	var begun url.Values
	later := make(chan int, 1)
	home, refuse := t.TempDir(), false
	t.Setenv("XDG_CONFIG_HOME", home)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if begins(w, r) {
			return
		}
		path = r.Method + " " + r.URL.Path
		_ = json.NewDecoder(r.Body).Decode(&asked)
		status, _ := visited(t, "GET", "http://127.0.0.1:"+begun.Get("port")+"/?code=late&challenge="+challenge, "")
		later <- status
		w.Header().Set("Content-Type", "application/json")
		if refuse {
			w.Header().Set("Content-Type", api.ProblemType)
			w.WriteHeader(http.StatusUnauthorized)
			_ = json.NewEncoder(w).Encode(api.Problem{Code: api.CodeUnauthenticated})
			return
		}
		_ = json.NewEncoder(w).Encode(api.NewSession{Session: api.Session{User: "zoe"}, Text: "uss_acme_x"})
	}))
	defer s.Close()
	stderr := &newBrowser{opens: func(address, check string) {
		u, err := url.Parse(address)
		if err != nil || u.Path != "/v1/login/acme/corp" {
			t.Errorf("the address is %s, %v", address, err)
			return
		}
		begun = u.Query()
		challenge = begun.Get("challenge")
		if check != api.CheckCode(challenge) {
			t.Errorf("the check code is %s", check)
		}
		here := "127.0.0.1:" + begun.Get("port")
		good := "http://" + here + "/?code=c-1&challenge=" + challenge
		for name, tried := range map[string][3]string{
			"another name of this machine": {"GET", good, "localhost:" + begun.Get("port")},
			"a name of somebody else":      {"GET", good, "evil.example"},
			"without the port":             {"GET", good, "127.0.0.1"},
			"another path":                 {"GET", strings.Replace(good, "/?", "/x?", 1), ""},
			"a form's":                     {"POST", good, ""},
			"no code":                      {"GET", "http://" + here + "/?challenge=" + challenge, ""},
			"two codes":                    {"GET", good + "&code=c-2", ""},
			"no challenge":                 {"GET", "http://" + here + "/?code=c-1", ""},
			"another challenge":            {"GET", good + "x", ""},
			"two challenges":               {"GET", good + "&challenge=x", ""},
			"malformed":                    {"GET", good + "&%zz", ""},
		} {
			if status, text := visited(t, tried[0], tried[1], tried[2]); status != http.StatusNotFound || text != "" {
				t.Errorf("%s: %d %q, want nothing there", name, status, text)
			}
		}
		if status, text := visited(t, "GET", good, ""); status != 200 || !strings.Contains(text, "terminal") {
			t.Errorf("the code: %d %q", status, text)
		}
	}}
	signIn := func(more ...string) (int, string) {
		var stdout bytes.Buffer
		args := append([]string{"login", "--server", s.URL, "--tenant", "acme", "--issuer", "corp", "--no-browser"}, more...)
		return run(context.Background(), args, strings.NewReader(""), &stdout, stderr), stdout.String()
	}
	code, out := signIn()
	if code != 0 || !strings.Contains(out, "zoe") || strings.Contains(out+stderr.shown.String(), "uss_") {
		t.Fatalf("exit code %d: %s%s", code, out, &stderr.shown)
	}
	sum := sha256.Sum256([]byte(asked.Verifier))
	if path != "POST /v1/login/acme/corp/session" || asked.Code != "c-1" || len(asked.Verifier) != 43 || base64.RawURLEncoding.EncodeToString(sum[:]) != challenge {
		t.Errorf("%s was asked for %+v", path, asked)
	}
	if strings.Contains(stderr.shown.String(), asked.Verifier) || begun.Has("again") || len(begun) != 2 {
		t.Errorf("the address has %v", begun)
	}
	if status := <-later; status != http.StatusGone {
		t.Errorf("another code meanwhile: %d, want that it is over", status)
	}
	file := filepath.Join(home, "underseal", "login.json")
	kept, err := os.Stat(file)
	if err != nil || runtime.GOOS != "windows" && kept.Mode().Perm() != 0o600 {
		t.Errorf("the login is kept as %v, %v; want for its owner alone", kept, err)
	}
	l, err := readLogin()
	if err != nil || *l != (login{Server: s.URL, Tenant: "acme", User: "zoe", Issuer: "corp", Session: "uss_acme_x"}) {
		t.Errorf("the login is %+v, %v", l, err)
	}
	if l, err := net.Listen("tcp4", "127.0.0.1:"+begun.Get("port")); err != nil {
		t.Errorf("the port is still used: %v", err)
	} else {
		l.Close()
	}

	// Anew, and refused: what was kept stays.
	refuse = true
	verifier := asked.Verifier
	if code, _ := signIn("--again"); code != 13 || begun.Get("again") != "true" || asked.Verifier == verifier || asked.Verifier == "" {
		t.Errorf("refused: exit code %d, begun by %v, asked %+v", code, begun, asked)
	}
	if l, err := readLogin(); err != nil || l == nil || l.Session != "uss_acme_x" {
		t.Errorf("after a refusal the login is %+v, %v", l, err)
	}
}

// Only this machine reaches the port where a code is waited for.
func TestACodeIsWaitedForOnThisMachineAlone(t *testing.T) {
	w, err := awaitCode("x")
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	if ip, port := w.listener.Addr().(*net.TCPAddr).IP, w.port; !ip.Equal(net.IPv4(127, 0, 0, 1)) || port < 1024 {
		t.Errorf("it listens at %v port %d", ip, port)
	}
}

func TestABrowserIsNotWaitedForForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		_, err := (&codeWaiter{got: make(chan string)}).code(t.Context())
		if fault.CodeOf(err) != "login_timeout" || time.Since(begun) != 10*time.Minute {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
	})
}

// begins answers as a server does where people of acme and main sign in at corp alone.
func begins(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet {
		return false
	}
	if r.URL.Path != "/v1/login/acme/corp" && r.URL.Path != "/v1/login/main/corp" {
		w.Header().Set("Content-Type", api.ProblemType)
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(api.Problem{Kind: api.KindNotFound})
		return true
	}
	w.Header().Set("Location", "https://login.example.org/auth")
	w.WriteHeader(http.StatusSeeOther)
	return true
}

// Who interrupts waits no longer.
func TestWaitingForABrowserIsInterrupted(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { begins(w, r) }))
	defer s.Close()
	var stdout bytes.Buffer
	ctx, cancel := context.WithCancel(context.Background())
	stderr := &newBrowser{opens: func(string, string) { cancel() }}
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	if code := run(ctx, []string{"login", "--server", s.URL, "--issuer", "corp", "--no-browser"}, strings.NewReader(""), &stdout, stderr); code == 0 || ctx.Err() == nil {
		t.Errorf("exit code %d: %s", code, &stderr.shown)
	}
}

// A misspelled issuer is told where it was typed, and so is a server that is not there:
// nobody is sent to a browser for that.
func TestABrowserIsOpenedWhereThereIsAnIssuer(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { begins(w, r) }))
	defer s.Close()
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	for name, args := range map[string][]string{
		"another issuer":  {"--server", s.URL, "--tenant", "acme", "--issuer", "crop"},
		"another company": {"--server", s.URL, "--tenant", "acne", "--issuer", "corp"},
	} {
		var stdout bytes.Buffer
		stderr := &newBrowser{opens: func(address, _ string) { t.Errorf("%s: the browser is sent to %s", name, address) }}
		code := run(context.Background(), append([]string{"login", "--no-browser"}, args...), strings.NewReader(""), &stdout, stderr)
		if text := stderr.shown.String(); code != 11 || !strings.Contains(text, args[3]) || !strings.Contains(text, args[5]) || !strings.Contains(text, "hint: ") {
			t.Errorf("%s: exit code %d, %s", name, code, text)
		}
	}
	stderr := &newBrowser{opens: func(address, _ string) { t.Errorf("the browser is sent to %s", address) }}
	if code := run(context.Background(), []string{"login", "--server", "http://127.0.0.1:1", "--issuer", "corp", "--no-browser"}, strings.NewReader(""), io.Discard, stderr); code != 17 {
		t.Errorf("a server that is not there: exit code %d, %s", code, &stderr.shown)
	}
}

// Who is to prove who they are does so where they have signed in.
func TestAProofIsMadeWhereOneSignedIn(t *testing.T) {
	refused := &client.Error{Problem: api.Problem{Code: api.CodeStepUp}}
	for hint, l := range map[string]login{
		"sign in again: underseal login --server https://a --tenant t --issuer corp --again": {Server: "https://a", Tenant: "t", User: "zoe", Issuer: "corp"},
		"sign in again: underseal login --server https://a --tenant t --name zoe":            {Server: "https://a", Tenant: "t", User: "zoe"},
	} {
		var told *client.Error
		if err := (&env{login: &l}).explain(refused); !errors.As(err, &told) || told.Hint != hint {
			t.Errorf("the hint is %q, want %q", told.Hint, hint)
		}
	}
}
