package limit

// Len is how many addresses are kept.
func (r *Rates) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.byWho)
}
