package limit

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Rate is how many calls are admitted in any stretch of time of a length. The zero
// Rate admits all.
type Rate struct {
	Calls int
	Per   time.Duration
}

// ParseRate reads "1000/h", "50/s", "300/15m" or, for no limit, "0".
func ParseRate(text string) (Rate, error) {
	if text == "0" {
		return Rate{}, nil
	}
	number, per, _ := strings.Cut(text, "/")
	calls, err := strconv.Atoi(number)
	if per != "" && (per[0] < '0' || per[0] > '9') {
		per = "1" + per
	}
	span, failed := time.ParseDuration(per)
	if err != nil || failed != nil || calls < 1 || span < time.Millisecond || span > maxSpan || calls > maxCalls {
		return Rate{}, fmt.Errorf("%q is no rate such as 1000/h, 50/s or 300/15m; 0 is no limit", text)
	}
	return Rate{calls, span}, nil
}

const (
	maxSpan  = 24 * time.Hour
	maxCalls = 1_000_000_000
)

// String is what ParseRate reads.
func (r Rate) String() string {
	if r.Calls == 0 {
		return "0"
	}
	per := r.Per.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(per, zero) {
			per = per[:len(per)-2]
		}
	}
	if unit := strings.TrimPrefix(per, "1"); slices.Contains([]string{"h", "m", "s", "ms"}, unit) {
		per = unit
	}
	return fmt.Sprintf("%d/%s", r.Calls, per)
}

// burst is how many calls may come at once after a rest: a fifth of all.
func (r Rate) burst() int { return max(1, r.Calls/5) }

// every is the time between calls when the burst is spent. The burst is taken out of
// what is admitted: burst calls at once, and one more each time every has passed, are
// Calls before Per is over, and never more.
func (r Rate) every() time.Duration {
	gaps := time.Duration(r.Calls - r.burst() + 1)
	return (r.Per + gaps - 1) / gaps
}

// take admits a call at now, or says how long to wait. spoken is the time up to which
// earlier calls speak for the rate (the theoretical arrival time of the generic cell
// rate algorithm, ITU-T I.371 annex A), all in nanoseconds of Unix time.
func (r Rate) take(spoken, now int64) (next int64, wait time.Duration) {
	every := int64(r.every())
	spoken = max(spoken, now)
	if ahead := spoken - now - int64(r.burst()-1)*every; ahead > 0 {
		return spoken, time.Duration(ahead)
	}
	return spoken + every, 0
}
