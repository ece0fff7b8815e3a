package keyring

import (
	"container/list"
	"sync"
	"time"
)

// A cache holds values for a bounded time, counted from when they were put in,
// and drops the oldest when there are too many. Using a value never prolongs
// its stay.
type cache[K comparable, V any] struct {
	now  func() time.Time
	size int
	age  time.Duration
	uses int

	mu      sync.Mutex // guards what follows
	entries map[K]*list.Element
	order   *list.List // of *cached[K, V], oldest first
	epoch   uint64     // counts drops
}

type cached[K comparable, V any] struct {
	key   K
	value V
	since time.Time
	used  int
}

func newCache[K comparable, V any](c Config) *cache[K, V] {
	return &cache[K, V]{
		now: c.Now, size: c.CacheSize, age: c.CacheAge, uses: c.CacheUses,
		entries: map[K]*list.Element{}, order: list.New(),
	}
}

// get returns a value that is neither too old nor used up. epoch is for put.
func (c *cache[K, V]) get(key K) (value V, ok bool, epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	element, ok := c.entries[key]
	if !ok {
		return value, false, c.epoch
	}
	entry := element.Value.(*cached[K, V])
	if entry.used >= c.uses || c.old(entry) {
		c.remove(element)
		return value, false, c.epoch
	}
	entry.used++
	return entry.value, true, c.epoch
}

// put keeps a value that was read from storage after the get that returned
// epoch. If anything was dropped in between, it may have been this, and the
// value is not kept.
func (c *cache[K, V]) put(key K, value V, epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch != c.epoch {
		return
	}
	if element, ok := c.entries[key]; ok {
		c.remove(element)
	}
	c.entries[key] = c.order.PushBack(&cached[K, V]{key: key, value: value, since: c.now()})
	for front := c.order.Front(); c.order.Len() > c.size || c.old(front.Value.(*cached[K, V])); front = c.order.Front() {
		c.remove(front)
	}
}

// drop forgets a value because what it was read from has changed.
func (c *cache[K, V]) drop(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	if element, ok := c.entries[key]; ok {
		c.remove(element)
	}
}

// old reports whether an entry has outstayed its time, or comes from the future
// because the clock was set back. The caller holds mu.
func (c *cache[K, V]) old(entry *cached[K, V]) bool {
	age := c.now().Sub(entry.since)
	return age < 0 || age >= c.age
}

// remove takes an entry out. The caller holds mu.
func (c *cache[K, V]) remove(element *list.Element) {
	delete(c.entries, element.Value.(*cached[K, V]).key)
	c.order.Remove(element)
}
