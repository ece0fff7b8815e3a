package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const key = "usk_very-secret"

// transport answers requests in memory, so that time can be simulated.
type transport func(r *http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return f(r)
}

// newClient returns a client whose requests the function answers.
func newClient(t *testing.T, f transport, change ...func(*client.Config)) *client.Client {
	t.Helper()
	config := client.Config{URL: "http://127.0.0.1:8700", Key: key, HTTPClient: &http.Client{Transport: f}}
	for _, f := range change {
		f(&config)
	}
	c, err := client.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// answer makes a response with v as JSON.
func answer(status int, v any) (*http.Response, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	h := http.Header{"Content-Type": {"application/json"}}
	if status != http.StatusOK {
		h.Set("Content-Type", api.ProblemType)
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(bytes.NewReader(data)), ContentLength: int64(len(data))}, nil
}

// refuse makes a response with a problem.
func refuse(status int, kind, code string) (*http.Response, error) {
	return answer(status, api.Problem{Status: status, Kind: kind, Code: code, Detail: "because of " + code})
}

func TestConfigNamesTheBadField(t *testing.T) {
	for _, c := range []struct {
		name   string
		config client.Config
		want   string // "": accepted
	}{
		{"https", client.Config{URL: "https://example.com", Key: key}, ""},
		{"a path", client.Config{URL: "https://example.com/underseal/", Key: key}, ""},
		{"http on this machine", client.Config{URL: "http://localhost:8700", Key: key}, ""},
		{"http on this machine by number", client.Config{URL: "http://[::1]:8700", Key: key}, ""},
		{"http elsewhere", client.Config{URL: "http://example.com", Key: key}, "in clear"},
		{"http elsewhere on purpose", client.Config{URL: "http://example.com", Key: key, InsecureHTTP: true}, ""},
		{"no scheme", client.Config{URL: "example.com", Key: key}, "URL"},
		{"another scheme", client.Config{URL: "ftp://example.com", Key: key}, "URL"},
		{"a password", client.Config{URL: "https://a:b@example.com", Key: key}, "URL"},
		{"no key", client.Config{URL: "https://example.com"}, "Key"},
		{"negative tries", client.Config{URL: "https://example.com", Key: key, Tries: -1}, "Tries"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := client.New(c.config)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("New = %v; want %q", err, c.want)
			}
		})
	}
}

func TestKeyIsNeverPrinted(t *testing.T) {
	config := client.Config{URL: "https://example.com", Key: key}
	c, err := client.New(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, v := range []any{config, &config, c} {
			if text := fmt.Sprintf(format, v); strings.Contains(text, key) {
				t.Errorf("%s of %T shows the key: %s", format, v, text)
			}
		}
	}
}

func TestRequestCarriesWhatItMust(t *testing.T) {
	var got *http.Request
	var body []byte
	c := newClient(t, func(r *http.Request) (*http.Response, error) {
		got = r
		body, _ = io.ReadAll(r.Body)
		return answer(200, api.Receipt{Instance: "i", Seq: 1})
	}, func(c *client.Config) { c.URL = "https://example.com/base/" })
	receipt, err := c.Claim(t.Context(), "a/b?c", "ann")
	if err != nil || receipt.Instance != "i" {
		t.Fatalf("Claim = %+v, %v", receipt, err)
	}
	if want := "https://example.com/base/v1/tasks/a%2Fb%3Fc/claim"; got.URL.String() != want {
		t.Errorf("URL = %s; want %s", got.URL, want)
	}
	if string(body) != `{"assignee":"ann"}` || got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("body = %s of type %q", body, got.Header.Get("Content-Type"))
	}
	if got.Header.Get("Authorization") != "Bearer "+key || len(got.Header.Get("Idempotency-Key")) != 36 {
		t.Errorf("headers = %v", got.Header)
	}
}

func TestFixedIdempotencyKeyIsSent(t *testing.T) {
	var keys []string
	c := newClient(t, func(r *http.Request) (*http.Response, error) {
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		return answer(200, api.Receipt{})
	})
	for _, c := range []*client.Client{c.Idempotent("order-1"), c.Idempotent("order-1"), c, c} {
		if _, err := c.Start(t.Context(), api.StartRequest{Process: "loan"}); err != nil {
			t.Fatal(err)
		}
	}
	if keys[0] != "order-1" || keys[1] != "order-1" || keys[2] == keys[3] || keys[2] == "order-1" {
		t.Errorf("keys = %q", keys)
	}
}

func TestRefusalsAreTyped(t *testing.T) {
	for _, c := range []struct {
		status     int
		kind, code string
		is         func(error) bool
	}{
		{400, "invalid", "invalid_body", client.IsInvalid},
		{401, "denied", "unauthenticated", client.IsUnauthenticated},
		{401, "denied", "unauthenticated", client.IsDenied},
		{403, "denied", "denied", client.IsDenied},
		{404, "not_found", "not_found", client.IsNotFound},
		{409, "conflict", "stale_lease", client.IsConflict},
		{410, "sealed", "sealed", client.IsSealed},
		{503, "unavailable", "unavailable", client.IsUnavailable},
	} {
		cl := newClient(t, func(*http.Request) (*http.Response, error) { return refuse(c.status, c.kind, c.code) },
			func(c *client.Config) { c.Tries = 1 })
		_, err := cl.Task(t.Context(), "7")
		var e *client.Error
		if !errors.As(err, &e) || e.Status != c.status || client.Kind(err) != c.kind || client.Code(err) != c.code || !c.is(err) {
			t.Errorf("status %d became %#v", c.status, err)
		}
		if want := "GET /v1/tasks/{task}: because of " + c.code; err.Error() != want {
			t.Errorf("text = %q; want %q", err, want)
		}
	}
	if err := errors.New("x"); client.IsNotFound(err) || client.IsUnavailable(err) || client.Code(err) != "" {
		t.Error("an error from elsewhere has a kind")
	}
}

func TestAnswersOfSomethingElseAreErrors(t *testing.T) {
	for name, f := range map[string]transport{
		"a page of a proxy": func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 403, Header: http.Header{"Content-Type": {"text/html"}}, Body: io.NopCloser(strings.NewReader("<html>"))}, nil
		},
		"a page with status 200": func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("<html>"))}, nil
		},
		"a redirect": func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 307, Header: http.Header{"Location": {"https://evil.example/"}}, Body: http.NoBody}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			c := newClient(t, func(r *http.Request) (*http.Response, error) { calls++; return f(r) })
			if _, err := c.Cancel(t.Context(), "1"); err == nil || client.Kind(err) != "" || calls != 1 {
				t.Errorf("Cancel = %v after %d calls", err, calls)
			}
		})
	}
}

// The URL of a list holds the values that are searched for.
// An empty id would make the path of another route, or of a redirect.
func TestEmptyIDsAreNotSent(t *testing.T) {
	c := newClient(t, func(r *http.Request) (*http.Response, error) {
		t.Errorf("asked %s %s", r.Method, r.URL.Path)
		return answer(200, struct{}{})
	})
	for want, call := range map[string]func() error{
		"task id is empty":     func() error { _, err := c.CompleteTask(t.Context(), "", nil); return err },
		"instance id is empty": func() error { _, err := c.Instance(t.Context(), ""); return err },
		"incident id is empty": func() error { _, err := c.RetryIncident(t.Context(), "", 1); return err },
		"process id is empty":  func() error { _, err := c.Model(t.Context(), "", 0); return err },
	} {
		if err := call(); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("error %v, want one that ends with %q", err, want)
		}
	}
}

func TestErrorsDoNotQuoteTheURL(t *testing.T) {
	const secret = "78-05-1120"
	c := newClient(t, func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") },
		func(c *client.Config) { c.Tries = 1 })
	_, err := c.Instances(t.Context(), api.InstanceFilter{Field: "ssn", Value: secret}, api.Page{})
	if err == nil || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "/v1/") || !client.IsUnavailable(err) {
		t.Errorf("error = %v", err)
	}
}

func TestChangesAreRepeatedWithTheSameKey(t *testing.T) {
	outages := map[string]transport{
		"no connection": func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") },
		"a lost answer": func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: io.NopCloser(broken{})}, nil
		},
		"status 503": func(*http.Request) (*http.Response, error) { return refuse(503, "unavailable", "unavailable") },
		"a proxy's own 502": func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 502, Body: http.NoBody}, nil
		},
	}
	for name, outage := range outages {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var keys, bodies []string
				began := time.Now()
				c := newClient(t, func(r *http.Request) (*http.Response, error) {
					data, _ := io.ReadAll(r.Body)
					keys, bodies = append(keys, r.Header.Get("Idempotency-Key")), append(bodies, string(data))
					if len(keys) < 4 {
						return outage(r)
					}
					return answer(200, api.Receipt{Seq: 9})
				})
				receipt, err := c.Start(t.Context(), api.StartRequest{Process: "loan"})
				if err != nil || receipt.Seq != 9 {
					t.Fatalf("Start = %+v, %v", receipt, err)
				}
				for i := range keys {
					if len(keys) != 4 || keys[i] != keys[0] || bodies[i] != bodies[0] || keys[0] == "" {
						t.Fatalf("tries carried the keys %q and bodies %q", keys, bodies)
					}
				}
				if took := time.Since(began); took < 350*time.Millisecond || took > 700*time.Millisecond {
					t.Errorf("three pauses took %v; want half to all of 100, 200 and 400 ms", took)
				}
			})
		})
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestTriesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		c := newClient(t, func(*http.Request) (*http.Response, error) { calls++; return refuse(503, "unavailable", "unavailable") })
		if _, err := c.Cancel(t.Context(), "1"); !client.IsUnavailable(err) || calls != 5 {
			t.Errorf("Cancel = %v after %d calls; want unavailable after 5", err, calls)
		}
		if _, err := c.Ready(t.Context()); !client.IsUnavailable(err) || calls != 6 {
			t.Errorf("Ready = %v after %d more calls; want unavailable after 1", err, calls-5)
		}
	})
}

func TestServerThatIsNotReadySaysWhy(t *testing.T) {
	c := newClient(t, func(*http.Request) (*http.Response, error) {
		res, err := answer(503, api.Health{Status: "unavailable", Checks: map[string]string{"keys": "unavailable"}})
		res.Header.Set("Content-Type", "application/json")
		return res, err
	})
	if h, err := c.Ready(t.Context()); err != nil || h.Status != "unavailable" || h.Checks["keys"] != "unavailable" {
		t.Errorf("Ready = %+v, %v", h, err)
	}
}

func TestServerMayAskForALongerPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, calls := time.Now(), 0
		c := newClient(t, func(*http.Request) (*http.Response, error) {
			if calls++; calls > 1 {
				return answer(200, api.Receipt{})
			}
			res, err := refuse(429, "unavailable", "slow_down")
			res.Header.Set("Retry-After", "3600")
			return res, err
		})
		if _, err := c.Cancel(t.Context(), "1"); err != nil || time.Since(began) != 30*time.Second {
			t.Errorf("Cancel = %v after %v; want success after 30s, the most that is granted", err, time.Since(began))
		}
	})
}

func TestEachTryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, calls := time.Now(), 0
		c := newClient(t, func(r *http.Request) (*http.Response, error) {
			calls++
			<-r.Context().Done()
			return nil, r.Context().Err()
		}, func(c *client.Config) { c.Timeout, c.Tries = time.Second, 1 })
		_, err := c.ActivateJobs(t.Context(), api.ActivateRequest{Type: "t", Worker: "w", WaitMS: 10_000})
		if !errors.Is(err, client.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) || calls != 1 || time.Since(began) != 11*time.Second {
			t.Errorf("ActivateJobs = %v after %d calls and %v; want no answer after 1 and 11s", err, calls, time.Since(began))
		}
	})
}

func TestCallerMayGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 120*time.Millisecond)
		defer cancel()
		c := newClient(t, func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") })
		began := time.Now()
		if _, err := c.Cancel(ctx, "1"); err == nil || time.Since(began) != 120*time.Millisecond {
			t.Errorf("Cancel = %v after %v; want an error when the context ended", err, time.Since(began))
		}
		if _, err := c.Cancel(ctx, "1"); !errors.Is(err, context.DeadlineExceeded) || client.IsUnavailable(err) {
			t.Errorf("Cancel with a context that ended = %v", err)
		}
	})
}

func TestVariablesOfWhatJSONCannotHoldPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("Variables took a channel")
		}
	}()
	client.Variables(map[string]any{"a": make(chan int)})
}
