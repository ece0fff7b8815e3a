package azurekms

import (
	"context"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/underseal/underseal/internal/fault"
)

// credential returns the configured one. Nothing is looked for in the
// environment or on the network unless Ambient asks for it.
func (c Config) credential(options azcore.ClientOptions) (azcore.TokenCredential, error) {
	if c.Authority != "" {
		options.Cloud = cloud.Configuration{ActiveDirectoryAuthorityHost: c.Authority}
	}
	if !c.Ambient {
		if c.Authority == "" {
			// Named, or a variable of the environment could say where the secret is sent.
			options.Cloud = cloud.AzurePublic
		}
		return &secret{config: c, options: options}, nil
	}
	found, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{
		ClientOptions:            options,
		DisableInstanceDiscovery: c.Authority != "", // as in forText
	})
	if err != nil {
		return nil, fault.New(fault.Invalid, "find credentials of Azure: %w", err)
	}
	return found, nil
}

// A secret is an application's credential that is read again for each token,
// so that it can be exchanged while the server runs.
type secret struct {
	config  Config
	options azcore.ClientOptions

	mu     sync.Mutex // guards what follows
	text   string
	signer *azidentity.ClientSecretCredential // for text; it keeps the tokens
}

var _ azcore.TokenCredential = (*secret)(nil)

// GetToken implements azcore.TokenCredential.
func (s *secret) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	text, err := s.config.Secret(ctx)
	if err != nil {
		return azcore.AccessToken{}, err
	}
	signer, err := s.forText(text)
	if err != nil {
		return azcore.AccessToken{}, err
	}
	return signer.GetToken(ctx, options)
}

func (s *secret) forText(text string) (*azidentity.ClientSecretCredential, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.signer != nil && s.text == text {
		return s.signer, nil
	}
	signer, err := azidentity.NewClientSecretCredential(s.config.TenantID, s.config.ClientID, text, &azidentity.ClientSecretCredentialOptions{
		ClientOptions: s.options,
		// The authority is a setting of ours; nobody else need vouch for it.
		DisableInstanceDiscovery: true,
	})
	if err != nil {
		return nil, fault.New(fault.Invalid, "client_secret: %w", err)
	}
	s.text, s.signer = text, signer
	return signer, nil
}
