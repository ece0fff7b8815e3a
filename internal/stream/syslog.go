package stream

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
)

// SyslogConfig says where a syslog receiver is.
type SyslogConfig struct {
	Address  string         // HOST:PORT; 6514 is the usual port
	Hostname string         // of this server, as the messages name it
	Networks []netip.Prefix // that are dialed although they are not of the internet
	Roots    *x509.CertPool // nil: the system's
}

// syslog sends batches to a receiver of RFC 5424 over TLS.
type syslog struct {
	cfg  SyslogConfig
	host string
}

// NewSyslog returns a sink that sends each entry as a message of RFC 5424 over TLS, with
// octet counting (RFC 5425), and the signed batch as one more. Syslog has no answers: a
// batch has its own connection, and counts as taken when the receiver has read to the
// end and closed it.
func NewSyslog(cfg SyslogConfig) (Sink, error) {
	host, port, err := net.SplitHostPort(cfg.Address)
	if err != nil || host == "" || port == "" {
		return nil, fault.New(fault.Invalid, "the address %q of the syslog receiver is not HOST:PORT", cfg.Address).WithCode("config_invalid")
	}
	return &syslog{cfg, host}, nil
}

// Send implements Sink.
func (s *syslog) Send(ctx context.Context, b Batch) error {
	dialer := tls.Dialer{NetDialer: newDialer(s.cfg.Networks), Config: &tls.Config{ServerName: s.host, RootCAs: s.cfg.Roots, MinVersion: tls.VersionTLS12}}
	conn, err := dialer.DialContext(ctx, "tcp", s.cfg.Address)
	if err != nil {
		return fault.New(fault.Unavailable, "reach the syslog receiver %s: %w", s.cfg.Address, err)
	}
	defer conn.Close() // what counts is what came before
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write(s.frames(b)); err != nil {
		return fault.New(fault.Unavailable, "send a batch of the audit to the syslog receiver %s: %w", s.cfg.Address, err)
	}
	if err := conn.(*tls.Conn).CloseWrite(); err != nil {
		return fault.New(fault.Unavailable, "end a batch of the audit to the syslog receiver %s: %w", s.cfg.Address, err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		return fault.New(fault.Unavailable, "the syslog receiver %s did not read a batch of the audit to its end: %w", s.cfg.Address, err).
			WithHint("the receiver must close the connection when the sender has (TLS close_notify)")
	}
	return nil
}

// frames are all messages of a batch, each after its length.
func (s *syslog) frames(b Batch) []byte {
	var out bytes.Buffer
	frame := func(m string) { fmt.Fprintf(&out, "%d %s", len(m), m) }
	for i, line := range b.Lines {
		x := &b.Entries[i]
		frame(s.message(severity(x), x.At, x.Kind, string(line)))
	}
	last := b.Entries[len(b.Entries)-1].At
	frame(s.message(6, last, "audit.batch", base64.StdEncoding.EncodeToString(b.Note)))
	return out.Bytes()
}

// facility 13 is "log audit" (RFC 5424, table 1).
const facility = 13

// severity is 6 of what informs, 4 of what was refused or failed, 2 of an alarm.
func severity(x *api.AuditEntry) int {
	switch {
	case strings.HasSuffix(x.Kind, ".alarm") || strings.HasSuffix(x.Kind, ".unreadable"):
		return 2
	case x.Result != api.ResultDone:
		return 4
	}
	return 6
}

// message is one message of RFC 5424, without structured data.
func (s *syslog) message(severity int, at time.Time, kind, text string) string {
	return fmt.Sprintf("<%d>1 %s %s underseal - %s - %s", facility*8+severity, at.UTC().Format("2006-01-02T15:04:05.000000Z"), name(s.cfg.Hostname, 255), name(kind, 32), text)
}

// name is a field of a header: visible ASCII, at most so long, "-" if there is none.
func name(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, text)
	if text == "" {
		return "-"
	}
	return text[:min(len(text), limit)]
}
