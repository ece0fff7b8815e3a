package process

// joinGateway is a gateway with several incoming flows and, per flow, the
// elements from which a token could still come to it by that flow without
// passing the gateway itself (BPMN 2.0.2, section 13.4.3).
type joinGateway struct {
	element   int32
	inclusive bool
	reach     []bitset
	all       bitset // of all flows together
}

// bitset is a set of dense numbers.
type bitset []uint64

func (b bitset) has(i int32) bool { return b[i/64]&(1<<(i%64)) != 0 }
func (b bitset) add(i int)        { b[i/64] |= 1 << (i % 64) }

func (b bitset) set(i int32, on bool) {
	if b[i/64] &^= 1 << (i % 64); on {
		b[i/64] |= 1 << (i % 64)
	}
}

// meets reports whether two sets of the same size have something in common.
func (b bitset) meets(o bitset) bool {
	for i, word := range b {
		if word&o[i] != 0 {
			return true
		}
	}
	return false
}

func (b bitset) join(o bitset) {
	for i, word := range o {
		b[i] |= word
	}
}

// prepareJoins computes the joins, but none if no inclusive one is among them:
// parallel joins alone need no look ahead.
func (d *Definition) prepareJoins() {
	d.joins = nil
	anyInclusive := false
	for i := range d.Elements {
		e := &d.Elements[i]
		if len(e.Incoming) < 2 || e.Kind != ParallelGateway && e.Kind != InclusiveGateway {
			continue
		}
		j := joinGateway{element: int32(i), inclusive: e.Kind == InclusiveGateway, all: d.noElements()}
		for _, f := range e.Incoming {
			j.reach = append(j.reach, d.reaching(f, i))
			j.all.join(j.reach[len(j.reach)-1])
		}
		d.joins = append(d.joins, j)
		anyInclusive = anyInclusive || j.inclusive
	}
	if !anyInclusive {
		d.joins = nil
	}
	for i := range d.joins {
		d.nodes[d.joins[i].element].join = &d.joins[i]
	}
}

// noElements returns an empty set with room for every element.
func (d *Definition) noElements() bitset { return make(bitset, (len(d.Elements)+63)/64) }

// reaching returns the elements from which a flow can be reached without passing
// the given gateway. A boundary event is reached from its activity.
func (d *Definition) reaching(flow, gateway int) bitset {
	set := d.noElements()
	open := []int{d.Flows[flow].From}
	for len(open) > 0 {
		at := open[len(open)-1]
		open = open[:len(open)-1]
		if at == gateway || set.has(int32(at)) {
			continue
		}
		set.add(at)
		for _, f := range d.Elements[at].Incoming {
			open = append(open, d.Flows[f].From)
		}
		if d.Elements[at].Kind.isBoundary() {
			open = append(open, d.Elements[at].AttachedTo)
		}
	}
	return set
}
