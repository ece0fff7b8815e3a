package stream

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/underseal/underseal/internal/fault"
)

// Headers of a webhook's requests.
const (
	// BatchHeader is the signed batch, base64.
	BatchHeader = "Underseal-Batch"
	// SignatureHeader is "t=SECONDS,v1=HEX": HMAC-SHA-256 under the secret over
	// SECONDS "." batch header "." body.
	SignatureHeader = "Underseal-Signature"
)

// WebhookConfig says where a webhook is.
type WebhookConfig struct {
	URL         string         // https
	Secret      string         // of the HMAC; empty: none
	Networks    []netip.Prefix // that are dialed although they are not of the internet
	Roots       *x509.CertPool // nil: the system's
	ContentType string
	Now         func() time.Time // nil: time.Now
}

// webhook posts batches.
type webhook struct {
	cfg    WebhookConfig
	client *http.Client
}

// NewWebhook returns a sink that posts each batch to an HTTPS address: the lines as the
// body, the signed batch in a header. A status of 2xx means that it was taken. No
// redirect is followed, and no proxy used.
func NewWebhook(cfg WebhookConfig) (Sink, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, fault.New(fault.Invalid, "the webhook's address must be https://HOST/.., without a name and password").WithCode("config_invalid")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	transport := &http.Transport{
		DialContext: newDialer(cfg.Networks).DialContext, TLSClientConfig: &tls.Config{RootCAs: cfg.Roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 1, IdleConnTimeout: 2 * time.Minute, TLSHandshakeTimeout: 10 * time.Second,
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &webhook{cfg, client}, nil
}

// Send implements Sink.
func (w *webhook) Send(ctx context.Context, b Batch) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.cfg.URL, bytes.NewReader(b.Payload))
	if err != nil {
		return fault.New(fault.Invalid, "the webhook's address is none")
	}
	note := base64.StdEncoding.EncodeToString(b.Note)
	req.Header.Set("Content-Type", w.cfg.ContentType)
	req.Header.Set("User-Agent", "underseal")
	req.Header.Set(BatchHeader, note)
	if w.cfg.Secret != "" {
		seconds := strconv.FormatInt(w.cfg.Now().Unix(), 10)
		req.Header.Set(SignatureHeader, "t="+seconds+",v1="+authenticate(w.cfg.Secret, seconds, note, b.Payload))
	}
	res, err := w.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) { // its text quotes the address, which may hold a secret
			err = u.Err
		}
		return fault.New(fault.Unavailable, "send a batch of the audit to the webhook: %w", err)
	}
	defer res.Body.Close() // nothing is left to lose
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10)
	if res.StatusCode/100 != 2 {
		return fault.New(fault.Unavailable, "the webhook answered a batch of the audit with status %d", res.StatusCode)
	}
	return nil
}

func authenticate(secret, seconds, note string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(seconds + "." + note + "."))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}
