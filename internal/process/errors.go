package process

import "strconv"

// throw ends a token at an error end event: the nearest boundary event for the
// code takes over, else an incident waits there.
func (r *run) throw(id uint64, code string) {
	host, boundary, ok := r.catcher(id, code)
	if !ok {
		r.park(id, throwing, &problem{code: "unhandled_error", text: "error " + strconv.Quote(code) + " is not caught"})
		return
	}
	r.trail(r.s.elementOf(id), "completed")
	r.interrupt(host, boundary)
}

// catcher finds the boundary event that catches an error, from the token's own
// activity outwards: the one for the code before one for any.
func (r *run) catcher(id uint64, code string) (host uint64, boundary int, ok bool) {
	for {
		t := r.s.token(id)
		for _, wanted := range []string{code, ""} {
			for _, b := range r.d.Elements[t.element].Boundaries {
				e := &r.d.Elements[b]
				if e.Kind == ErrorBoundaryEvent && e.Error.Code == wanted {
					return id, b, true
				}
			}
		}
		if t.scope == 0 {
			return 0, 0, false
		}
		id = r.s.scope(t.scope).host
	}
}

// interrupt ends an activity and starts its boundary event in the enclosing
// scope, which it returns. The new token comes first so that the scope is not
// taken for empty. The activity is gone afterwards with all that could interrupt
// it again, so the event of a second interrupt finds nothing and is rejected.
func (r *run) interrupt(host uint64, boundary int) (scope uint64) {
	scope = r.s.token(host).scope
	r.spawn(scope, boundary, -1)
	r.end(host)
	return scope
}
