package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/underseal/underseal/internal/certificate"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/limit"
)

func (s *settings) withTLS() bool { return s.TLSCert != "" || s.TLSDev || s.ACMEHosts != "" }

// checkTLS loads the certificate, since a server without it would not start.
func (s *settings) checkTLS() error {
	ways := 0
	for _, given := range []bool{s.TLSCert != "" || s.TLSKey != "", s.TLSDev, s.ACMEHosts != ""} {
		if given {
			ways++
		}
	}
	switch {
	case (s.TLSCert == "") != (s.TLSKey == ""):
		return errors.New("tls_cert and tls_key go together")
	case ways > 1:
		return errors.New("tls_cert, acme_hosts and tls_dev are three ways to a certificate: choose one")
	case s.TLSCert == "":
		return nil
	}
	_, err := certificate.OpenFiles(certificate.FilesConfig{Chain: s.TLSCert, Key: s.TLSKey})
	return err
}

func (s *settings) checkACME() error {
	if s.ACMEHosts == "" {
		return nil
	}
	for _, host := range listed(s.ACMEHosts) {
		if _, err := netip.ParseAddr(host); err == nil || !strings.Contains(host, ".") {
			return fmt.Errorf("%q is no public name such as seal.example.org", host)
		}
	}
	u, err := url.Parse(s.ACMEDirectory)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("acme_directory %q is no https address", s.ACMEDirectory)
	case s.ACMECache == "":
		return errors.New("acme_cache names no directory, and neither HOME nor XDG_CONFIG_HOME is set")
	}
	_, err = s.acme().Source()
	return errors.Join(err, checkHosts(s.ACMEHosts))
}

// checkHosts refuses what never stands in a Host header, or with more than a name.
func checkHosts(text string) error {
	for _, host := range listed(text) {
		_, err := netip.ParseAddr(host)
		u, failed := url.Parse("https://" + host)
		if err != nil && (failed != nil || u.Host != host || u.Port() != "" || strings.Contains(host, "*")) {
			return fmt.Errorf("%q is no name or address of a server; leave out scheme and port", host)
		}
	}
	return nil
}

func checkRate(text string) error {
	_, err := limit.ParseRate(text)
	return err
}

// rates are the limits of the settings.
func (s *settings) rates() (limit.Rates, error) {
	var r limit.Rates
	for _, one := range []struct {
		text string
		to   *limit.Rate
	}{{s.LimitUser, &r.User}, {s.LimitKey, &r.Key}, {s.LimitTenant, &r.Tenant}, {s.LimitAddress, &r.Address}, {s.LimitSignIn, &r.SignIn}} {
		rate, err := limit.ParseRate(one.text)
		if err != nil {
			return r, fault.New(fault.Invalid, "%w", err).WithCode("config_invalid")
		}
		*one.to = rate
	}
	return r, nil
}

// tls is how the server does TLS, nil when it does not. caFile is what clients are to
// trust, if the certificate is one for development.
func (s *settings) tls(log *slog.Logger) (config *tls.Config, caFile string, err error) {
	var source certificate.Source
	var protocols []string
	switch {
	case s.TLSDev:
		source, caFile, err = s.development()
	case s.ACMEHosts != "":
		protocols = []string{certificate.ACMEProtocol}
		source, err = s.acme().Source()
	case s.TLSCert != "":
		var files *certificate.Files
		files, err = certificate.OpenFiles(certificate.FilesConfig{Chain: s.TLSCert, Key: s.TLSKey, Log: log})
		source = files.Get
	default:
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	if config, err = certificate.Config(source, s.TLSMin, protocols...); err != nil {
		return nil, "", err
	}
	if s.ClientCerts { // whose it is, and whether it counts, a tenant says
		config.ClientAuth = tls.RequestClientCert
	}
	return config, caFile, nil
}

func (s *settings) acme() certificate.ACME {
	return certificate.ACME{Hosts: listed(s.ACMEHosts), Directory: s.ACMEDirectory, CAFile: s.ACMECAFile, Email: s.ACMEEmail, Cache: s.ACMECache}
}

// development makes certificates for what this machine is called and the server is
// asked for.
func (s *settings) development() (certificate.Source, string, error) {
	if configDir() == "" {
		return nil, "", fault.New(fault.Invalid, "neither HOME nor XDG_CONFIG_HOME is set").WithCode("no_home").WithHint("set HOME")
	}
	hosts := listed(s.Hosts)
	if host := listenHost(s.Listen); host != "" {
		hosts = append(hosts, host)
	}
	if name, err := os.Hostname(); err == nil && checkHosts(name) == nil {
		hosts = append(hosts, name)
	}
	d, err := certificate.OpenDevelopment(configDir(), hosts, nil)
	if err != nil {
		return nil, "", err
	}
	return d.Get, d.Authority(), nil
}

// listenHost is the name or address that an address to listen on names, empty for all
// that the machine has.
func listenHost(listen string) string {
	host, _, _ := net.SplitHostPort(listen)
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		return ""
	}
	return host
}

// apiHosts are the names by which the API may be reached, nil for any. On loopback a name
// that is none of this machine's comes from a page that wants to be taken for it.
func (s *settings) apiHosts() []string {
	hosts := listed(s.Hosts)
	if isLoopback(listenHost(s.Listen)) && !(s.BehindProxy && len(hosts) == 0) {
		hosts = append(hosts, loopbackNames...)
	}
	if host := listenHost(s.Listen); len(hosts) > 0 && host != "" && !slices.Contains(hosts, host) {
		hosts = append(hosts, host)
	}
	return hosts
}

// metricsHosts are the same for the metrics, which Prometheus asks for under any name
// where they are not on loopback.
func (s *settings) metricsHosts() []string {
	host := listenHost(s.MetricsListen)
	if !isLoopback(host) {
		return nil
	}
	return append(loopbackNames[:len(loopbackNames):len(loopbackNames)], host)
}

var loopbackNames = []string{"localhost", "127.0.0.1", "::1"}
