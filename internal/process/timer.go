package process

import (
	"strconv"
	"strings"
	"time"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// maxInstant bounds the times of timers: microseconds to about the year 10,000
// before and after 1970.
const maxInstant = 10_000 * 366 * 24 * 3600 * 1_000_000

// valid reports whether a timer has a time within bounds and, if it is a cycle's,
// an interval that goes forward.
func (t *timer) valid() bool {
	next, ok := addDuration(0, canon.String(t.every))
	return t.due >= -maxInstant && t.due <= maxInstant && t.left >= -1 && (t.every == "" || ok && next > 0)
}

// prepareTimer evaluates a timer's expression and adds the timer to the plan.
func (r *run) prepareTimer(p *plan, element int32, v *view) *problem {
	x := r.d.nodes[element].timer
	what := "timer " + r.d.Elements[element].ID
	value, warnings, trouble, sealed := r.routed(what, x, v)
	if sealed != nil {
		return sealed
	}
	t := timer{element: element}
	want, ok := r.schedule(&t, r.d.Elements[element].Timer.Kind, value)
	if !ok || !t.valid() {
		return v.mistyped(what, x, want, value, warnings, trouble)
	}
	p.timers = append(p.timers, t)
	return nil
}

// schedule fills in when a timer is due, or says what it wants instead.
func (r *run) schedule(t *timer, kind TimerKind, value canon.Value) (want string, ok bool) {
	switch kind {
	case TimerDate:
		t.due, ok = r.dateTime(value)
		return "a date and time", ok
	case TimerDuration:
		t.due, ok = addDuration(r.at, value)
		return "a duration", ok
	default:
		text, isText := value.(canon.String)
		return "a cycle like R3/PT1H", isText && r.cycle(t, string(text))
	}
}

// cycle reads "R3/PT1H", "R/PT1H" or "R3/2026-01-01T00:00:00Z/PT1H": how often, from
// when, at what interval (ISO 8601-1, repeating interval).
func (r *run) cycle(t *timer, text string) bool {
	parts := strings.Split(text, "/")
	if len(parts) < 2 || len(parts) > 3 || !strings.HasPrefix(parts[0], "R") {
		return false
	}
	t.left = -1
	if count := parts[0][1:]; count != "" {
		n, err := strconv.Atoi(count)
		if err != nil || n < 1 {
			return false
		}
		t.left = n - 1
	}
	t.every = parts[len(parts)-1]
	var ok bool
	if t.due, ok = addDuration(r.at, canon.String(t.every)); ok && len(parts) == 3 {
		t.due, ok = r.dateTime(canon.String(parts[1]))
	}
	return ok
}

// again moves a cycle's timer to its next time after now; what was missed while
// nothing ran is not made up for. It is false when the cycle is over.
func (t *timer) again(now int64) bool {
	if t.left == 0 {
		return false
	}
	if t.left > 0 {
		t.left--
	}
	interval, _ := canon.ParseDuration(t.every)
	for {
		next, ok := addDuration(t.due, interval)
		if !ok || next > now {
			t.due = next
			return ok && t.valid()
		}
		if _, days := interval.(canon.DayTimeDuration); days {
			next += (now - next) / (next - t.due) * (next - t.due)
		}
		t.due = next
	}
}

// addDuration adds a duration, or the text of one, to a time in microseconds.
func addDuration(from int64, v canon.Value) (int64, bool) {
	if text, ok := v.(canon.String); ok {
		v, _ = canon.ParseDuration(string(text))
	}
	switch d := v.(type) {
	case canon.DayTimeDuration:
		return from + d.Nanoseconds.Microseconds(), true
	case canon.YearMonthDuration:
		return addMonths(from, d.Months)
	}
	return 0, false
}

// addMonths goes to the same day of a later month, or to its last day.
func addMonths(from, months int64) (int64, bool) {
	const limit = 12 * 10_000
	if months < -limit || months > limit {
		return 0, false
	}
	t := time.UnixMicro(from).UTC()
	first := time.Date(t.Year(), t.Month()+time.Month(months), 1, 0, 0, 0, 0, time.UTC)
	day := min(t.Day(), canon.DaysIn(first.Year(), int(first.Month())))
	clock := t.Sub(time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC))
	return first.AddDate(0, 0, day-1).Add(clock).UnixMicro(), true
}

// dateTime turns a date and time, or the text of one, into microseconds. One
// without a zone is taken for UTC.
func (r *run) dateTime(v canon.Value) (int64, bool) {
	if text, ok := v.(canon.String); ok {
		parsed, err := canon.ParseDateTime(string(text))
		if err != nil {
			return 0, false
		}
		v = parsed
	}
	dt, ok := v.(canon.DateTime)
	if !ok || dt.Date.Year < -9999 || dt.Date.Year > 9999 {
		return 0, false
	}
	zone := time.UTC
	switch dt.Time.Zone.Kind {
	case canon.ZoneOffset:
		zone = time.FixedZone("", dt.Time.Zone.Offset)
	case canon.ZoneNamed:
		if r.in.Zone == nil {
			return 0, false
		}
		if zone, ok = r.in.Zone(dt.Time.Zone.Name); !ok {
			return 0, false
		}
	}
	return time.Date(dt.Date.Year, time.Month(dt.Date.Month), dt.Date.Day,
		dt.Time.Hour, dt.Time.Minute, dt.Time.Second, dt.Time.Nanosecond, zone).UnixMicro(), true
}

func (r *run) setTimer(token uint64, t timer) {
	t.id, t.token = r.s.next(), token
	r.s.timers = append(r.s.timers, t)
	r.command(SetTimer{t.id})
}

func (r *run) closeTimer(id uint64) {
	r.s.timers = remove(r.s.timers, id)
	r.withdraw(id, SetTimer{id}, CloseTimer{id})
}

// closeTimers closes the timers of a token and of its activity's boundary events.
func (r *run) closeTimers(token uint64) {
	for i := 0; i < len(r.s.timers); {
		if r.s.timers[i].token == token {
			r.closeTimer(r.s.timers[i].id)
			continue
		}
		i++
	}
}

func (r *run) timerFired(e TimerFired) error {
	i := find(r.s.timers, e.Timer)
	if i < 0 {
		return r.gone("timer", e.Timer)
	}
	t := &r.s.timers[i]
	element := &r.d.Elements[t.element]
	r.out.Element = element.ID
	if r.at < t.due {
		return fault.New(fault.Conflict, "timer %d is not due before %s", e.Timer, instant(t.due).Format(time.RFC3339Nano))
	}
	switch token, at := t.token, int(t.element); {
	case element.Kind == TimerCatchEvent:
		r.complete(token, nil, origin{})
	case element.Interrupting:
		r.interrupt(token, at)
	default:
		r.repeat(t)
		r.spawn(r.s.token(token).scope, at, -1)
	}
	return nil
}

// repeat sets a non-interrupting timer again, or closes it after its last firing.
func (r *run) repeat(t *timer) {
	if t.every != "" && t.again(r.at) {
		r.command(SetTimer{t.id})
		return
	}
	r.closeTimer(t.id)
}
