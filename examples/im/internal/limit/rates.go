package limit

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// burst is how many seconds' worth may come at once.
	burst = 10
	// maxAddresses bounds the memory for addresses that were seen lately. Room is made for one of spare parts of them
	// at a time, because to look for it takes as long as there are addresses.
	maxAddresses = 100_000
	spare        = 10
)

// Rates bounds how often each address does something. Its methods may be called by any goroutine.
type Rates struct {
	// Immutable.
	perSecond rate.Limit // 0: no bound
	most      int        // addresses

	// mu guards the following.
	mu    sync.Mutex
	byWho map[netip.Addr]*rate.Limiter
}

// NewRates returns Rates that allow each address so many a second, ten seconds' worth of them at once. 0 and less: any.
func NewRates(perSecond float64) *Rates {
	return &Rates{perSecond: rate.Limit(max(perSecond, 0)), most: maxAddresses, byWho: make(map[netip.Addr]*rate.Limiter)}
}

// Allow counts one more of an address, and reports whether that is within the bound.
func (r *Rates) Allow(addr net.Addr) bool {
	if r.perSecond == 0 {
		return true
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.byWho[who(addr)]
	if l == nil {
		if len(r.byWho) >= r.most {
			r.forgetLocked(now)
		}
		l = rate.NewLimiter(r.perSecond, max(int(burst*r.perSecond), 1))
		r.byWho[who(addr)] = l
	}
	return l.AllowN(now, 1)
}

// forgetLocked makes room: first it forgets those who have not used anything of their share, which changes nothing, and
// if there are none, any.
func (r *Rates) forgetLocked(now time.Time) {
	for addr, l := range r.byWho {
		if l.TokensAt(now) >= float64(l.Burst()) {
			delete(r.byWho, addr)
		}
	}
	for addr := range r.byWho {
		if len(r.byWho) <= r.most-r.most/spare {
			return
		}
		delete(r.byWho, addr)
	}
}
