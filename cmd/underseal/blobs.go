package main

import (
	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/blob/s3"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
)

// s3Key is a setting with settings below it, and so only in the configuration
// file:
//
//	blobs: s3
//	s3:
//	  endpoint: https://s3.example.org
//	  bucket: underseal
//	  access_key: file:/etc/underseal/s3-id
//	  secret_key: file:/etc/underseal/s3-secret
const s3Key = "s3"

// openBlobs returns what opens the store of files that the settings name; nil for
// one that is the node's own. The service need not answer yet.
func (s *settings) openBlobs() (func(deployment string) (blob.Store, error), error) {
	if s.Blobs != s3Key {
		return nil, nil
	}
	cfg, err := s.s3Config()
	if err != nil {
		return nil, err
	}
	return func(deployment string) (blob.Store, error) {
		cfg.Deployment = deployment
		return s3.Open(cfg)
	}, nil
}

func (s *settings) s3Config() (s3.Config, error) {
	var c struct {
		Endpoint  string `koanf:"endpoint"`
		Bucket    string `koanf:"bucket"`
		Region    string `koanf:"region"`
		Prefix    string `koanf:"prefix"`
		CAFile    string `koanf:"ca_file"`
		AccessKey string `koanf:"access_key"` // a reference
		SecretKey string `koanf:"secret_key"` // a reference
	}
	if err := s.s3.decode(s3Key, &c); err != nil {
		return s3.Config{}, err
	}
	access, err := secretText(s3Key+".access_key", c.AccessKey)
	if err != nil {
		return s3.Config{}, err
	}
	secret, err := secretText(s3Key+".secret_key", c.SecretKey)
	return s3.Config{
		Endpoint: c.Endpoint, Bucket: c.Bucket, Region: c.Region, Prefix: c.Prefix, CAFile: c.CAFile,
		AccessKey: access, SecretKey: secret,
	}, err
}

// checkBlobs sees that files can be kept where the settings say, as far as that
// can be told without asking.
func (s *settings) checkBlobs() error {
	if s.Blobs == node.BlobsInRows && s.Database == "" {
		return fault.New(fault.Invalid, "files cannot be kept in Postgres: there is no setting database").WithCode("config_invalid")
	}
	if s.Blobs == s3Key || s.s3 != nil {
		cfg, err := s.s3Config()
		if err != nil {
			return err
		}
		cfg.Deployment = "of-a-check"
		if _, err := s3.Open(cfg); err != nil {
			return err
		}
	}
	if s.Blobs == "" {
		return nil
	}
	return checkOneOf(s.Blobs, node.BlobsInFiles, node.BlobsInRows, s3Key)
}
