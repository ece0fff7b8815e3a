package stream

import (
	"context"
	"net/netip"
)

// Round has each sink get its next batches once.
func (s *Stream) Round(ctx context.Context) (sent bool, err error) {
	for _, t := range s.targets {
		some, failed := s.round(ctx, t)
		if sent = sent || some; failed != nil {
			err = failed
		}
	}
	return sent, err
}

// MayDial reports whether an address is dialed.
func MayDial(ip netip.Addr, allowed []netip.Prefix) error { return mayDial(ip, allowed) }
