package cluster

// recent remembers what was noted last, a bounded number of keys. One goroutine uses it.
type recent[K comparable, V any] struct {
	values map[K]V
	order  []K // in which the keys came
}

// has reports whether a key is remembered.
func (r *recent[K, V]) has(key K) bool {
	_, ok := r.values[key]
	return ok
}

// get is zero for a key that is not remembered.
func (r *recent[K, V]) get(key K) V { return r.values[key] }

// put notes a key, and forgets the one that came first when there are as many as most.
func (r *recent[K, V]) put(key K, value V, most int) {
	if r.values == nil {
		r.values = make(map[K]V)
	}
	if !r.has(key) {
		if len(r.order) >= most {
			delete(r.values, r.order[0])
			r.order = r.order[1:]
		}
		r.order = append(r.order, key)
	}
	r.values[key] = value
}
