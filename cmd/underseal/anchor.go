package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"time"

	"github.com/underseal/underseal/internal/anchor"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

// logKey is a setting with settings below it, and so only in the configuration
// file:
//
//	log:
//	  witnesses:
//	    - vkey: witness.example.org/w1+HASH+KEY
//	      url: https://witness.example.org
//	  quorum: 1
//	  timestamp_authority: {url: https://tsa.example.org, root: /etc/underseal/tsa.pem}
//	  interval: 1m
const logKey = "log"

// anchorConfig is who sees the log; without witnesses and authority it is zero.
func (s *settings) anchorConfig() (anchor.Config, error) {
	var c struct {
		Witnesses []struct {
			Key string `koanf:"vkey"`
			URL string `koanf:"url"`
		} `koanf:"witnesses"`
		Quorum    int `koanf:"quorum"`
		Authority struct {
			URL  string `koanf:"url"`
			Root string `koanf:"root"` // PEM file
		} `koanf:"timestamp_authority"`
		Interval time.Duration `koanf:"interval"`
	}
	if err := s.log.decode(logKey, &c); err != nil {
		return anchor.Config{}, err
	}
	cfg := anchor.Config{Quorum: c.Quorum, Interval: c.Interval}
	for _, w := range c.Witnesses {
		key, err := ledger.ParseVerifier(w.Key)
		if err != nil {
			return cfg, fault.New(fault.Invalid, "%s.witnesses: %w", logKey, err).WithCode("config_invalid").
				WithHint("underseal witness keygen has printed the key")
		}
		cfg.Witnesses = append(cfg.Witnesses, anchor.Witness{Key: key, URL: w.URL})
	}
	if c.Authority.URL != "" || c.Authority.Root != "" {
		root, err := readCertificate(c.Authority.Root)
		if err != nil {
			return cfg, fault.New(fault.Invalid, "%s.timestamp_authority.root: %w", logKey, err).WithCode("config_invalid")
		}
		cfg.Authority = &anchor.Authority{URL: c.Authority.URL, Root: root}
	}
	return cfg, cfg.Check()
}

// readCertificate reads a PEM file with one certificate.
func readCertificate(path string) (*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("the file holds no certificate in PEM")
	}
	if next, _ := pem.Decode(rest); next != nil {
		return nil, errors.New("the file holds more than one certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

func (s *settings) checkAnchor() error {
	_, err := s.anchorConfig()
	return err
}
