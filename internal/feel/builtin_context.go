package feel

import "github.com/underseal/underseal/internal/canon"

var contextFunctions = []definition{
	{"get value(m: context, key: Any)", getValue},
	{"get entries(m: context)", getEntries},
	{"context(entries: list)", contextFrom},
	{"context put(context: context, key: string, value: Any)", contextPut},
	{"context put(context: context, keys: list, value: Any)", contextPutPath},
	{"context merge(contexts: list)", contextMerge},
}

func (c *call) context(i int) *canon.Context {
	ctx, _ := c.args[i].(*canon.Context)
	return ctx
}

// getValue takes a key or a path of keys.
func getValue(c *call) value {
	var v value = c.context(0)
	keys := listOf(c.args[1])
	if len(keys) == 0 {
		return c.fail("the key is null or an empty list")
	}
	for _, key := range keys {
		name, ok := key.(canon.String)
		if !ok {
			return c.fail("the key is a %s", typeName(key))
		}
		if !c.step(1 + len(name)/64) {
			return canon.Null{}
		}
		ctx, ok := v.(*canon.Context)
		if !ok {
			return c.fail("there is no such entry")
		}
		if v, ok = ctx.Get(string(name)); !ok {
			return c.fail("there is no such entry")
		}
	}
	return v
}

func getEntries(c *call) value {
	ctx := c.context(0)
	list, ok := c.items(12 * ctx.Len())
	if !ok {
		return canon.Null{}
	}
	for i := range ctx.Len() {
		e := ctx.At(i)
		list = append(list, c.newContext(c.at, []canon.Entry{{Name: "key", Value: canon.String(e.Name)}, {Name: "value", Value: e.Value}}))
	}
	return list
}

func contextFrom(c *call) value {
	if !c.alloc(4 * valueSize * len(c.list(0))) {
		return canon.Null{}
	}
	var entries []canon.Entry
	for _, item := range c.list(0) {
		pair, _ := item.(*canon.Context)
		key, _ := pair.Get("key")
		v, found := pair.Get("value")
		name, isString := key.(canon.String)
		if !found || !isString || !c.step(1+len(name)/16) {
			return c.fail("an entry needs a key, which is a string, and a value")
		}
		entries = append(entries, canon.Entry{Name: string(name), Value: v})
	}
	return c.newContext(c.at, entries)
}

func contextPut(c *call) value {
	return c.with(c.context(0), []value{c.args[1]}, c.args[2])
}

func contextPutPath(c *call) value {
	if len(c.list(1)) == 0 {
		return c.fail("the list of keys is empty")
	}
	return c.with(c.context(0), c.list(1), c.args[2])
}

// with copies a context along the path of keys and puts the value at its end. A
// missing context on the way is made.
func (c *call) with(ctx *canon.Context, keys []value, v value) value {
	name, ok := keys[0].(canon.String)
	if !ok {
		return c.fail("a key is a %s", typeName(keys[0]))
	}
	if !c.enter() || !c.alloc(2*valueSize*(ctx.Len()+1)) || !c.step(1+ctx.Len()/4) {
		return canon.Null{}
	}
	defer c.leave()
	if len(keys) > 1 {
		inner, found := ctx.Get(string(name))
		next, isContext := inner.(*canon.Context)
		if found && !isContext {
			return c.fail("an entry on the path is a %s", typeName(inner))
		}
		if v = c.with(next, keys[1:], v); isNull(v) {
			return v
		}
	}
	return ctx.With(string(name), v)
}

// contextMerge lets later entries win.
func contextMerge(c *call) value {
	merged := new(canon.Context)
	for _, item := range c.list(0) {
		ctx, ok := item.(*canon.Context)
		if !ok {
			return c.fail("the list holds a %s", typeName(item))
		}
		for i := range ctx.Len() {
			e := ctx.At(i)
			if !c.alloc(2*valueSize*(merged.Len()+1)) || !c.step(1+merged.Len()/4) {
				return canon.Null{}
			}
			merged = merged.With(e.Name, e.Value)
		}
	}
	return merged
}
