package main

import (
	"crypto/x509"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/underseal/underseal/internal/export"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/stream"
)

// auditSinksKey is a setting with settings below it, and so only in the configuration
// file:
//
//	audit_sinks:
//	  siem:
//	    webhook: https://siem.example.org/underseal
//	    secret: file:/etc/underseal/siem.secret
//	    format: ocsf
//	  collector:
//	    syslog: logs.example.org:6514
//	    ca_file: /etc/underseal/logs.pem
//	    allow_networks: [10.0.0.0/8]
//	    format: cef
//	  archive:
//	    file: /var/log/underseal/audit.ndjson
const auditSinksKey = "audit_sinks"

// sinkOptions are those of one sink, of which one of the first three is there.
type sinkOptions struct {
	Webhook string `koanf:"webhook"` // an address, or a reference to one that holds a secret
	Syslog  string `koanf:"syslog"`
	File    string `koanf:"file"`

	Format        string   `koanf:"format"`
	Secret        string   `koanf:"secret"` // a reference
	CAFile        string   `koanf:"ca_file"`
	AllowNetworks []string `koanf:"allow_networks"`
}

// auditTargets are all sinks of the configuration, by name.
func (s *settings) auditTargets() ([]stream.Target, error) {
	var all []stream.Target
	for _, name := range slices.Sorted(maps.Keys(s.auditSinks)) {
		place := auditSinksKey + "." + name
		raw, ok := s.auditSinks[name].(map[string]any)
		if !ok {
			return nil, fault.New(fault.Invalid, "%s must hold {webhook: .., ..}", place).WithCode("config_invalid")
		}
		var o sinkOptions
		if err := serviceOptions(raw).decode(place, &o); err != nil {
			return nil, err
		}
		target, err := o.target(name, place)
		if err != nil {
			return nil, fault.New(fault.Invalid, "%s: %w", place, err).WithCode("config_invalid")
		}
		all = append(all, target)
	}
	return all, nil
}

func (s *settings) checkAuditSinks() error {
	_, err := s.auditTargets()
	return err
}

// auditSinkLines name the sinks and what is set of them: an address can hold a secret.
func (s *settings) auditSinkLines() (lines []settingLine) {
	for _, name := range slices.Sorted(maps.Keys(s.auditSinks)) {
		options, _ := s.auditSinks[name].(map[string]any)
		set := strings.Join(slices.Sorted(maps.Keys(options)), ", ")
		lines = append(lines, settingLine{Name: auditSinksKey + "." + name, Value: set, From: "file", Meaning: "a sink of the audit, and what is set of it"})
	}
	return lines
}

func (o *sinkOptions) target(name, place string) (t stream.Target, err error) {
	t.Name = name
	if t.Format, err = export.ParseFormat(o.Format); err != nil {
		return t, err
	}
	networks, roots, err := o.trust()
	if err != nil {
		return t, err
	}
	given := 0
	for _, kind := range []string{o.Webhook, o.Syslog, o.File} {
		if kind != "" {
			given++
		}
	}
	switch {
	case given != 1:
		return t, fault.New(fault.Invalid, "one of webhook, syslog and file must be there")
	case o.Secret != "" && o.Webhook == "":
		return t, fault.New(fault.Invalid, "a secret is for a webhook")
	case o.File != "":
		t.Sink, err = stream.NewFile(o.File)
	case o.Syslog != "":
		host, _ := os.Hostname() // without one, messages name none
		t.Sink, err = stream.NewSyslog(stream.SyslogConfig{Address: o.Syslog, Hostname: host, Networks: networks, Roots: roots})
	default:
		t.Sink, err = o.webhook(place, stream.WebhookConfig{URL: o.Webhook, Networks: networks, Roots: roots, ContentType: t.Format.MediaType()})
	}
	return t, err
}

func (o *sinkOptions) webhook(place string, c stream.WebhookConfig) (sink stream.Sink, err error) {
	if strings.HasPrefix(c.URL, "file:") || strings.HasPrefix(c.URL, "env:") {
		if c.URL, err = secretText(place+".webhook", c.URL); err != nil {
			return nil, err
		}
	}
	if o.Secret != "" {
		if c.Secret, err = secretText(place+".secret", o.Secret); err != nil {
			return nil, err
		}
	}
	return stream.NewWebhook(c)
}

// trust reads whom the sink is believed to be, and where it may be.
func (o *sinkOptions) trust() (networks []netip.Prefix, roots *x509.CertPool, err error) {
	for _, text := range o.AllowNetworks {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, nil, fault.New(fault.Invalid, "allow_networks: %q is no network such as 10.0.0.0/8", text)
		}
		networks = append(networks, network.Masked())
	}
	if o.CAFile == "" {
		return networks, nil, nil
	}
	text, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, nil, fault.New(fault.Invalid, "ca_file: %w", err)
	}
	roots = x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, nil, fault.New(fault.Invalid, "ca_file: %s holds no certificate in PEM", o.CAFile)
	}
	return networks, roots, nil
}
