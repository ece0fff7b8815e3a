package anchor

import (
	"context"
	"crypto/ed25519"
	"math"

	"github.com/underseal/underseal/ledger"
)

// Policy adds to a policy what checks anchors: the keys of this deployment's anchor
// logs, the witnesses with their quorum, and the timestamp authority.
func (l *Log) Policy(ctx context.Context, p *ledger.Policy) error {
	logs, err := l.config.Store.AnchorLogs(ctx)
	if err != nil {
		return err
	}
	for _, number := range logs {
		key, err := l.key(ctx, number)
		if err != nil {
			return err
		}
		p.Logs = append(p.Logs, ledger.PolicyLog{Key: key, Last: math.MaxUint64, Limited: true})
	}
	group := ledger.PolicyGroup{Name: "witnesses", Threshold: l.config.Quorum}
	for _, w := range l.config.Witnesses {
		p.Witnesses = append(p.Witnesses, ledger.PolicyWitness{Name: w.Key.Name(), Key: w.Key, URL: w.URL})
		group.Members = append(group.Members, w.Key.Name())
	}
	if l.config.Quorum > 0 {
		p.Groups, p.Quorum = append(p.Groups, group), group.Name
	}
	if a := l.config.Authority; a != nil {
		p.Authorities = append(p.Authorities, ledger.PolicyAuthority{Name: "authority", Root: a.Root})
	}
	return nil
}

// key returns the key by which others check an anchor log's checkpoints.
func (l *Log) key(ctx context.Context, number int64) (*ledger.Verifier, error) {
	seed, err := l.config.Seed(ctx)
	if err != nil {
		return nil, err
	}
	public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	return ledger.ParseVerifier(ledger.VerifierKey(Origin(l.config.Deployment, number), public))
}

// tellKey writes the newest anchor log's key to the log: its witnesses need it. Without
// the key service it is told at another start.
func (l *Log) tellKey(ctx context.Context) {
	key, err := l.key(ctx, l.head.Log)
	if err != nil {
		l.config.Log.Warn("cannot tell the key of the anchor log", "error", err)
		return
	}
	l.config.Log.Info("witnesses need the key of the anchor log", "vkey", key.String())
}
