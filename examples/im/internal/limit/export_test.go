package limit

// NewRatesOf is NewRates with another bound of addresses.
func NewRatesOf(perSecond float64, most int) *Rates {
	r := NewRates(perSecond)
	r.most = most
	return r
}

// Len is how many addresses are kept.
func (r *Rates) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.byWho)
}
