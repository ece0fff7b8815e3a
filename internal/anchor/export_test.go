package anchor

import "context"

// Round makes one round of a log that was not started.
func (l *Log) Round(ctx context.Context) error { return l.round(ctx) }

// Stamp asks the authority for a timestamp of the head, of a log that was not started.
func (l *Log) Stamp(ctx context.Context) (token []byte, err error) { return l.authority.stamp(ctx, l) }
