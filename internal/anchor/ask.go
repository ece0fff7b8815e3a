package anchor

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// Limits of a call.
const (
	callTime   = 10 * time.Second
	maxAnswer  = 64 << 10 // bytes
	forkedCode = "anchor_forked"
)

// Witness is one that is asked for cosignatures (C2SP tlog-witness).
type Witness struct {
	Key *ledger.Verifier // of its cosignatures, type 0x04
	URL string           // its submission prefix; https, or http on this machine
}

func (w Witness) check() error {
	if w.Key == nil || !w.Key.Cosigns() {
		return refusedConfig("the key of the witness at %s is none of a witness (type 0x04)", w.URL)
	}
	u, err := url.Parse(w.URL)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return refusedConfig("%q is not the address of a witness", w.URL)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return refusedConfig("the witness %s is asked in clear: anybody between could have it say that the log is forked; use https", w.URL)
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// newClient returns what calls by a transport. It follows no redirection: that
// would be to an address that nobody has configured.
func newClient(by http.RoundTripper) *http.Client {
	if by == nil {
		by = &http.Transport{MaxIdleConnsPerHost: 2, IdleConnTimeout: 2 * time.Minute, ForceAttemptHTTP2: true}
	}
	return &http.Client{Transport: by, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// asked is a witness and what is known of it.
type asked struct {
	Witness

	// Owned by the round.
	size   uint64 // of the newest checkpoint that it has, as far as we know
	signed uint64 // of the largest one that it cosigned

	failing atomic.Bool  // it did not cosign at the last try
	setBack atomic.Int64 // how often it had forgotten what it cosigned
}

// remember takes note of a stored checkpoint that the witness cosigned.
func (w *asked) remember(c store.AnchorCheckpoint) {
	if _, _, err := ledger.OpenCheckpoint(c.Signed, w.Key); err != nil {
		return // it did not
	}
	w.size, w.signed = c.Size, max(w.signed, c.Size)
}

// show asks the witnesses that have not answered to the head yet, and the authority,
// all at once. A complete checkpoint is stored. An error says what is missing; a
// fork halts the log.
func (l *Log) show(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	errs := make([]error, len(l.witnesses)+1)
	lines := make([][]byte, len(l.witnesses))
	var token []byte
	var wg sync.WaitGroup
	for i, w := range l.witnesses {
		if l.shown.lines[w] == nil {
			wg.Go(func() { lines[i], errs[i] = w.cosign(ctx, l) })
		}
	}
	if l.authority != nil && l.shown.token == nil && l.head.Size > l.complete {
		wg.Go(func() { token, errs[len(l.witnesses)] = l.authority.stamp(ctx, l) })
	}
	wg.Wait()
	for i, w := range l.witnesses {
		if lines[i] != nil {
			l.shown.lines[w] = lines[i]
		}
		if fault.CodeOf(errs[i]) == forkedCode {
			return l.halt(context.WithoutCancel(ctx), errs[i].Error())
		}
	}
	if token != nil {
		l.shown.token = token
	}
	if len(l.shown.lines) < l.config.Quorum || l.authority != nil && l.shown.token == nil && l.head.Size > l.complete {
		return fault.New(fault.Unavailable, "the checkpoint of size %d has %d of %d cosignatures: %w", l.head.Size, len(l.shown.lines), l.config.Quorum, errors.Join(errs...)).
			WithCode("anchor_incomplete")
	}
	return l.finish(context.WithoutCancel(ctx))
}

// finish stores the head with what was answered to it.
func (l *Log) finish(ctx context.Context) error {
	if l.head.Size == l.complete {
		return nil
	}
	signed := bytes.Clone(l.head.Signed)
	for _, w := range l.witnesses {
		signed = append(signed, l.shown.lines[w]...)
	}
	c := store.AnchorCheckpoint{Log: l.head.Log, Size: l.head.Size, Signed: signed, Token: l.shown.token, Quorum: l.config.Quorum, Authority: l.authorityHash()}
	var err error
	if c.Mark, err = l.mark(ctx, c); err != nil {
		return err
	}
	if err := l.config.Store.PutAnchorCheckpoint(ctx, c); err != nil {
		return err
	}
	l.complete = l.head.Size
	l.figures.set(l.head.Size, l.complete)
	l.config.Log.Debug("anchored", "size", l.complete, "cosignatures", len(l.shown.lines))
	return nil
}

// cosign asks the witness for its signature line under the head. The witness tells
// which size it has if that is another one than we think.
func (w *asked) cosign(ctx context.Context, l *Log) (line []byte, err error) {
	defer func() { w.failing.Store(err != nil) }()
	if w.size == 0 || w.size > l.head.Size {
		w.size = l.head.Size
	}
	for range 2 {
		var other *otherSize
		line, err = w.add(ctx, l, w.size)
		if !errors.As(err, &other) {
			if err == nil {
				w.size, w.signed = l.head.Size, l.head.Size
			}
			return line, err
		}
		switch {
		case other.size > l.head.Size:
			return nil, w.forked("it has seen %d entries of this log, which has %d", other.size, l.head.Size)
		case other.size < w.signed:
			w.setBack.Add(1)
			l.config.Log.Error("a witness has forgotten what it cosigned: its state was set back", "witness", w.Key.Name(), "had", w.signed, "has", other.size)
			w.signed = other.size
		}
		w.size = other.size
	}
	return nil, fault.New(fault.Unavailable, "the witness %s tells another size each time", w.Key.Name())
}

func (w *asked) forked(format string, args ...any) error {
	return fault.New(fault.Integrity, "the witness %s contradicts: %s", w.Key.Name(), fmt.Sprintf(format, args...)).WithCode(forkedCode)
}

// otherSize is a witness's answer that it has another size than the old one given.
type otherSize struct{ size uint64 }

func (e *otherSize) Error() string { return fmt.Sprintf("the newest size is %d", e.size) }

// add makes one add-checkpoint call.
func (w *asked) add(ctx context.Context, l *Log, old uint64) ([]byte, error) {
	proof, err := l.consistency(ctx, old)
	if err != nil {
		return nil, err
	}
	status, answer, err := l.post(ctx, strings.TrimSuffix(w.URL, "/")+"/add-checkpoint", "text/plain", addBody(old, proof, l.head.Signed))
	if err != nil {
		return nil, fault.New(fault.Unavailable, "ask the witness %s: %w", w.Key.Name(), err)
	}
	switch status {
	case http.StatusOK:
		return w.line(l.head.Signed, answer)
	case http.StatusConflict:
		text := strings.TrimSuffix(string(answer), "\n")
		size, err := strconv.ParseUint(text, 10, 63)
		if err != nil || strconv.FormatUint(size, 10) != text {
			return nil, fault.New(fault.Unavailable, "the witness %s answers 409 without a size", w.Key.Name())
		}
		return nil, &otherSize{size}
	case http.StatusUnprocessableEntity:
		if old == 0 {
			break // nothing that it has seen can contradict
		}
		return nil, w.forked("the checkpoint of size %d does not continue the one of size %d that it has seen", l.head.Size, old)
	}
	return nil, fault.New(fault.Unavailable, "the witness %s answers with status %d", w.Key.Name(), status).
		WithHint("403 and 404: give its operator the key of this anchor log (in this log at the start)")
}

// addBody is the body of add-checkpoint.
func addBody(old uint64, proof []ledger.Hash, signed []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "old %d\n", old)
	for _, h := range proof {
		b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	b.WriteByte('\n')
	b.Write(signed)
	return b.Bytes()
}

// line takes the witness's own signature out of its answer. Lines of other keys are
// nobody's business.
func (w *asked) line(signed, answer []byte) ([]byte, error) {
	_, n, err := ledger.OpenCheckpoint(append(bytes.Clone(signed), answer...), w.Key)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "the witness %s answers with no cosignature of its key: %w", w.Key.Name(), err)
	}
	return fmt.Appendf(nil, "\u2014 %s %s\n", n.Sigs[0].Name, n.Sigs[0].Base64), nil
}

// post sends a body and returns status and answer.
func (l *Log) post(ctx context.Context, address, kind string, body []byte) (status int, answer []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", kind)
	response, err := l.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err == nil && len(answer) > maxAnswer {
		err = fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	return response.StatusCode, answer, err
}
