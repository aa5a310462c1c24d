package ws_test

import (
	"context"
	"sync"
	"testing"
	"time"
)

// What Send accepted was received or is counted as discarded, whenever the session is closed: never less, and
// more only by the messages of the write that the close cut short.
func TestAcceptedIsReceivedOrReported(t *testing.T) {
	for round := range 30 {
		r := start(t, setup{queue: 50, handler: sink})
		browser := r.browser(t)
		s := r.session(t)
		var senders sync.WaitGroup
		var mu sync.Mutex
		accepted := 0
		for range 4 {
			senders.Go(func() {
				for !s.IsClosed() {
					if s.SendContext(t.Context(), numbered(round)) == nil {
						mu.Lock()
						accepted++
						mu.Unlock()
					}
				}
			})
		}
		received := make(chan int)
		go func() {
			n := 0
			for {
				if _, _, err := browser.Read(context.Background()); err != nil {
					received <- n
					return
				}
				n++
			}
		}()
		time.Sleep(time.Duration(round) * 100 * time.Microsecond)
		s.Close()
		<-s.Done()
		senders.Wait()
		stats := s.Stats()
		n := <-received
		if int(stats.MessagesOut+stats.Discarded) != accepted || n < int(stats.MessagesOut) {
			t.Fatalf("accepted %d, wrote %d, discarded %d, received %d", accepted, stats.MessagesOut, stats.Discarded, n)
		}
	}
}
