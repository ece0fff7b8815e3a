package feel

import "github.com/underseal/underseal/internal/canon"

var listFunctions = []definition{
	{"list contains(list: list, element: Any)", func(c *call) value { return canon.Bool(c.indexIn(c.list(0), c.args[1]) >= 0) }},
	{"count(list: list)", func(c *call) value { return canon.NewNumber(int64(len(c.list(0)))) }},
	{"sublist(list: list, start position: number, length?: number)", sublist},
	{"append(list: list, item...: Any)", appendItems},
	{"concatenate(list...: list)", concatenate},
	{"insert before(list: list, position: number, newItem: Any)", insertBefore},
	{"remove(list: list, position: number)", remove},
	{"list replace(list: list, position: number, newItem: Any)", replacePosition},
	{"list replace(list: list, match: function, newItem: Any)", replaceMatches},
	{"reverse(list: list)", reverse},
	{"index of(list: list, match: Any)", indexOf},
	{"union(list...: list)", func(c *call) value { return c.distinct(concatenate(c)) }},
	{"distinct values(list: list)", func(c *call) value { return c.distinct(c.args[0]) }},
	{"flatten(list: list)", flatten},
	{"sort(list: list, precedes?: function)", sortList},
}

// items returns an empty list with room, or nil when the limit is exceeded.
func (m *machine) items(room int) (canon.List, bool) {
	if !m.alloc(valueSize*room) || !m.step(room/4) {
		return nil, false
	}
	return make(canon.List, 0, room), true
}

// indexIn returns the index of the first equal item, or -1.
func (m *machine) indexIn(list canon.List, v value) int {
	for i, item := range list {
		if !m.step(1) {
			return -1
		}
		if m.sameItem(item, v) {
			return i
		}
	}
	return -1
}

// position reads an argument that counts from 1, or from -1 backwards, and
// returns it from 0.
func (c *call) position(i, length int) (int, bool) {
	n, ok := intOf(c.num(i))
	if ok && n < 0 {
		n += int64(length) + 1
	}
	return int(n - 1), ok && n >= 1 && n <= int64(length)
}

func sublist(c *call) value {
	list := c.list(0)
	start, ok := c.position(1, len(list))
	if !ok {
		return c.fail("the start position is outside the list")
	}
	if !c.has(2) {
		return list[start:len(list):len(list)]
	}
	length, ok := intOf(c.num(2))
	if !ok || length < 0 || length > int64(len(list)-start) {
		return c.fail("the length is outside the list")
	}
	end := start + int(length)
	return list[start:end:end]
}

func appendItems(c *call) value {
	more := c.list(1)
	list, ok := c.items(len(c.list(0)) + len(more))
	if !ok {
		return canon.Null{}
	}
	return append(append(list, c.list(0)...), more...)
}

func concatenate(c *call) value {
	room := 0
	for _, list := range c.list(0) {
		room += len(list.(canon.List))
	}
	all, ok := c.items(room)
	if !ok {
		return canon.Null{}
	}
	for _, list := range c.list(0) {
		all = append(all, list.(canon.List)...)
	}
	return all
}

func insertBefore(c *call) value {
	list := c.list(0)
	at, ok := c.position(1, len(list))
	if !ok {
		return c.fail("the position is outside the list")
	}
	longer, ok := c.items(len(list) + 1)
	if !ok {
		return canon.Null{}
	}
	longer = append(append(longer, list[:at]...), c.args[2])
	return append(longer, list[at:]...)
}

func remove(c *call) value {
	list := c.list(0)
	at, ok := c.position(1, len(list))
	if !ok {
		return c.fail("the position is outside the list")
	}
	shorter, ok := c.items(len(list))
	if !ok {
		return canon.Null{}
	}
	return append(append(shorter, list[:at]...), list[at+1:]...)
}

func replacePosition(c *call) value {
	list := c.list(0)
	at, ok := c.position(1, len(list))
	if !ok {
		return c.fail("the position is outside the list")
	}
	changed, ok := c.items(len(list))
	if !ok {
		return canon.Null{}
	}
	changed = append(changed, list...)
	changed[at] = c.args[2]
	return changed
}

func replaceMatches(c *call) value {
	match, _ := c.args[1].(*function)
	changed, ok := c.items(len(c.list(0)))
	if !ok {
		return canon.Null{}
	}
	for _, item := range c.list(0) {
		is, ok := c.invoke(c.at, match, []value{item, c.args[2]}).(canon.Bool)
		if !ok || c.err != nil {
			return c.fail("the match is neither true nor false")
		}
		if is {
			item = c.args[2]
		}
		changed = append(changed, item)
	}
	return changed
}

func reverse(c *call) value {
	list := c.list(0)
	reversed, ok := c.items(len(list))
	if !ok {
		return canon.Null{}
	}
	for i := range list {
		reversed = append(reversed, list[len(list)-1-i])
	}
	return reversed
}

func indexOf(c *call) value {
	found := canon.List{}
	for i, item := range c.list(0) {
		if !c.step(1) {
			return canon.Null{}
		}
		if c.sameItem(item, c.args[1]) && c.alloc(4*valueSize) {
			found = append(found, canon.NewNumber(int64(i+1)))
		}
	}
	return found
}

func (c *call) distinct(v value) value {
	list, _ := v.(canon.List)
	kept, ok := c.items(len(list))
	if !ok {
		return canon.Null{}
	}
	for _, item := range list {
		if c.indexIn(kept, item) < 0 {
			kept = append(kept, item)
		}
		if c.err != nil {
			return canon.Null{}
		}
	}
	return kept
}

func flatten(c *call) value {
	flat := canon.List{}
	c.flattenInto(&flat, c.list(0))
	if c.err != nil {
		return canon.Null{}
	}
	return flat
}

func (m *machine) flattenInto(flat *canon.List, list canon.List) {
	if !m.enter() {
		return
	}
	defer m.leave()
	for _, item := range list {
		if !m.step(1) {
			return
		}
		if inner, ok := item.(canon.List); ok {
			m.flattenInto(flat, inner)
		} else if m.alloc(2 * valueSize) {
			*flat = append(*flat, item)
		}
	}
}

// sortList is a stable merge sort of our own: the order of what the function
// does not order must be the same with every version of Go.
func sortList(c *call) value {
	list := c.list(0)
	sorted, ok := c.items(2 * len(list))
	if !ok {
		return canon.Null{}
	}
	sorted = append(sorted, list...)
	less, failed := c.precedes()
	mergeSort(sorted, sorted[len(list):2*len(list)], less)
	if *failed || c.err != nil {
		return c.fail("the items cannot be compared")
	}
	return sorted[:len(list):len(list)]
}

// precedes returns the order to sort by; failed tells that it gave no answer.
func (c *call) precedes() (less func(a, b value) bool, failed *bool) {
	failed = new(bool)
	f, given := c.args[1].(*function)
	return func(a, b value) bool {
		if *failed || !c.step(1) {
			return false
		}
		if !given {
			order, ok := c.compare(a, b)
			*failed = !ok
			return order < 0
		}
		is, ok := c.invoke(c.at, f, []value{a, b}).(canon.Bool)
		*failed = !ok
		return bool(is)
	}, failed
}

func mergeSort(list, spare canon.List, less func(a, b value) bool) {
	if len(list) < 2 {
		return
	}
	half := len(list) / 2
	mergeSort(list[:half], spare[:half], less)
	mergeSort(list[half:], spare[half:], less)
	copy(spare, list)
	left, right := spare[:half], spare[half:]
	for i := range list {
		if len(left) == 0 || len(right) > 0 && less(right[0], left[0]) {
			list[i], right = right[0], right[1:]
		} else {
			list[i], left = left[0], left[1:]
		}
	}
}
