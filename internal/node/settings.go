package node

import (
	"context"
	"sync"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
)

// untoldSettings is what the log was not told yet.
type untoldSettings struct {
	mu      sync.Mutex
	pending map[string]string // nil: nothing
}

// TellSettings has the log tell what the server runs with, by name, unless it was told
// the same last. It is called before anything is served. While the key service is away
// the log cannot be told; it is within a minute after.
func (n *Node) TellSettings(ctx context.Context, settings map[string]string) error {
	n.settings.mu.Lock()
	n.settings.pending = settings
	n.settings.mu.Unlock()
	if err := n.tellSettings(ctx); !fault.Is(err, fault.Unavailable) {
		return err
	}
	return nil
}

// tellSettings tells what is pending. A tenant that is not there yet is told later.
func (n *Node) tellSettings(ctx context.Context) error {
	n.settings.mu.Lock()
	defer n.settings.mu.Unlock()
	if n.settings.pending == nil {
		return nil
	}
	if keyed, err := n.keyed(ctx, identity.MainTenant); err != nil || !keyed {
		return err
	}
	if err := n.Engine.TellSettings(ctx, n.settings.pending); err != nil {
		return err
	}
	n.settings.pending = nil
	return nil
}
