package main

import (
	"crypto/x509"
	"errors"
	"os"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/network"
	"github.com/underseal/underseal/internal/oidc"
)

// issuers checks what those say whose word tenants take.
func (s *settings) issuers() (*oidc.Client, error) {
	networks, err := network.Parse(listed(s.IssuerNetworks))
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s", err.Error()).WithCode("config_invalid")
	}
	var roots *x509.CertPool
	if s.IssuerCAFile != "" {
		if roots, err = poolOf("issuer_ca_file", s.IssuerCAFile); err != nil {
			return nil, err
		}
	}
	return oidc.New(oidc.Config{Networks: networks, Roots: roots}), nil
}

func (s *settings) checkIssuers() error {
	_, err := s.issuers()
	return err
}

func (s *settings) checkClientCerts() error {
	if s.ClientCerts && !s.withTLS() {
		return errors.New("without TLS there are no certificates; a proxy that does TLS keeps them to itself")
	}
	return nil
}

// poolOf is the system's authorities and those of a file.
func poolOf(setting, path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read %s: %w", setting, err).WithCode("config_invalid")
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fault.New(fault.Invalid, "%s %s holds no PEM certificate", setting, path).WithCode("config_invalid")
	}
	return pool, nil
}
