package anchor

import "context"

// Round makes one round of a log that was not started.
func (l *Log) Round(ctx context.Context) error { return l.round(ctx) }
