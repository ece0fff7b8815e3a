package main

import (
	"context"

	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/awskms"
	"github.com/underseal/underseal/internal/kms/azurekms"
	"github.com/underseal/underseal/internal/kms/gcpkms"
)

func openAWS(place string, options serviceOptions) (kms.Service, error) {
	var c struct {
		Provider        string `koanf:"provider"`
		SecretAccessKey string `koanf:"secret_access_key"`
		awskms.Config   `koanf:",squash"`
	}
	if err := options.decode(place, &c); err != nil {
		return nil, err
	}
	var err error
	if c.Secret, err = secretSource(place+".secret_access_key", c.SecretAccessKey); err != nil {
		return nil, err
	}
	service, err := awskms.Open(context.Background(), c.Config)
	return service, openError(place, err)
}

func openGCP(place string, options serviceOptions) (kms.Service, error) {
	var c struct {
		Provider      string `koanf:"provider"`
		Reference     string `koanf:"credentials"`
		gcpkms.Config `koanf:",squash"`
	}
	if err := options.decode(place, &c); err != nil {
		return nil, err
	}
	var err error
	if c.Credentials, err = secretSource(place+".credentials", c.Reference); err != nil {
		return nil, err
	}
	service, err := gcpkms.Open(context.Background(), c.Config)
	return service, openError(place, err)
}

func openAzure(place string, options serviceOptions) (kms.Service, error) {
	var c struct {
		Provider        string `koanf:"provider"`
		ClientSecret    string `koanf:"client_secret"`
		azurekms.Config `koanf:",squash"`
	}
	if err := options.decode(place, &c); err != nil {
		return nil, err
	}
	var err error
	if c.Secret, err = secretSource(place+".client_secret", c.ClientSecret); err != nil {
		return nil, err
	}
	service, err := azurekms.Open(context.Background(), c.Config)
	return service, openError(place, err)
}
