package reconnect_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/reconnect"
)

var errDown = errors.New("down")

// delays returns the first n delays of a client that never gets a session.
func delays(t *testing.T, c *reconnect.Client, n int) []time.Duration {
	var all []time.Duration
	c.Dial = func(context.Context) (*libnet.Session, error) { return nil, errDown }
	c.OnState = func(change reconnect.Change) {
		if change.State != reconnect.Waiting {
			return
		}
		if change.Err != errDown {
			t.Error(change.Err)
		}
		if all = append(all, change.Delay); len(all) == n {
			c.Close()
		}
	}
	start(t, c)
	<-c.Done()
	return all
}

// Evenly from 0 to the bound: 2,000 clients leave no tenth of it out, and none goes beyond.
func TestTheDelayIsFullJitterWithinABoundThatDoubles(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const clients = 2000
		bounds := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 8 * time.Second}
		var tenths [5][10]int
		for range clients {
			c := &reconnect.Client{MinBackoff: time.Second, MaxBackoff: 8 * time.Second}
			for i, delay := range delays(t, c, len(bounds)) {
				if delay < 0 || delay > bounds[i]+1 {
					t.Fatalf("delay %d is %v, bound %v", i, delay, bounds[i])
				}
				tenths[i][min(9, int(10*delay/bounds[i]))]++
			}
		}
		for i := range bounds {
			// 200 are expected in each; below 120 or above 280 is 6 standard deviations away.
			if slices.Min(tenths[i][:]) < 120 || slices.Max(tenths[i][:]) > 280 {
				t.Errorf("bound %v: %v", bounds[i], tenths[i])
			}
		}
	})
}

func TestASessionThatLastedBeginsTheBackOffAnew(t *testing.T) {
	for name, test := range map[string]struct {
		lasts time.Duration
		most  time.Duration
	}{
		"long":  {30 * time.Second, time.Second},
		"short": {29 * time.Second, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				place := newSite(t, 8, func(s *libnet.Session) {
					select {
					case <-time.After(test.lasts):
					case <-s.Done():
					}
				})
				place.up()
				var longest time.Duration
				client := start(t, &reconnect.Client{Dial: place.dial, OnState: func(c reconnect.Change) {
					if c.State == reconnect.Waiting {
						longest = max(longest, c.Delay)
					}
				}})
				for range 100 {
					time.Sleep(time.Minute)
				}
				client.Close()
				<-client.Done()
				if longest > test.most+1 || longest < test.most/2 {
					t.Fatalf("longest delay %v", longest)
				}
			})
		})
	}
}

// B35: the clients of a server that restarts do not come back as a herd.
func TestFiveThousandClientsComeBackSpreadOverTheBackOff(t *testing.T) {
	clients := 5000
	if testkit.Race {
		clients = 1000 // the detector makes time steps of a bubble slow
	}
	for name, test := range map[string]struct {
		away   time.Duration
		window time.Duration // the bound of the delay at that time
	}{
		"after a moment": {0, time.Second},
		"after a while":  {20 * time.Second, 16 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				h := &herd{t: t}
				all := make([]*reconnect.Client, clients)
				for i := range all {
					all[i] = &reconnect.Client{Dial: h.dial}
					start(t, all[i])
				}
				synctest.Wait()
				if len(h.arrivals) != clients {
					t.Fatalf("%d connected at first", len(h.arrivals))
				}
				time.Sleep(time.Minute)
				h.restart(test.away)
				time.Sleep(test.away + 2*time.Minute)
				synctest.Wait()
				back := h.arrivals
				if len(back) != clients {
					t.Fatalf("%d of %d are back", len(back), clients)
				}
				for _, c := range all {
					if c.Session() == nil {
						t.Fatal("a client has no session")
					}
				}
				if most := busiest(back, test.window/10); most >= clients*2/3 {
					t.Errorf("%d of %d came back within %v", most, clients, test.window/10)
				}
			})
		})
	}
}

// A herd is a server that takes no goroutines, so that there is room for its clients' under the race detector.
type herd struct {
	t  testing.TB
	mu sync.Mutex

	down     bool
	conns    []interface{ Close() error }
	arrivals []time.Time
}

func (h *herd) dial(context.Context) (*libnet.Session, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down {
		return nil, errDown
	}
	client, server := libnettest.Pipe()
	h.conns = append(h.conns, server)
	h.arrivals = append(h.arrivals, time.Now())
	d := libnet.Dialer{Protocol: frames}
	d.Logger = quiet
	return d.NewSession(client)
}

func (h *herd) restart(away time.Duration) {
	h.mu.Lock()
	h.down = true
	conns := h.conns
	h.conns, h.arrivals = nil, nil
	h.mu.Unlock()
	for _, conn := range conns {
		conn.Close()
	}
	time.AfterFunc(away, func() {
		h.mu.Lock()
		h.down = false
		h.mu.Unlock()
	})
}

// busiest returns how many of the times lie within one window of that length, at most.
func busiest(times []time.Time, window time.Duration) (most int) {
	slices.SortFunc(times, time.Time.Compare)
	first := 0
	for i, at := range times {
		for at.Sub(times[first]) > window {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}
