package bubbles

import (
	"testing"
	"time"

	"github.com/libnet-go/libnet"
)

// What finds no room at a peer that does not read is noted with the time until there was some, and what found room with
// none.
func TestAMessageIsNotedWithTheTimeForWhichItsPeerTookNothing(t *testing.T) {
	inBubbles(t, func(t *testing.T, w way) {
		const silence = 5 * time.Second
		r := w.start(t, func(srv *libnet.Server) { srv.Histograms, srv.SendQueue = true, 64 }, func(*libnet.Session, []byte) {})
		client, s := r.dial(t)
		sent := sendMuch(t, s)
		time.Sleep(silence)
		for left := sent; left > 0; {
			got, err := client.receive()
			if err != nil {
				t.Fatal(err)
			}
			if len(got) == 20<<10 { // and no hello
				left--
			}
		}
		client.close()
		<-s.Done()
		stats := r.Stats()
		h, atOnce, late := stats.QueueWait, uint64(0), uint64(0)
		for i, n := range h.Counts {
			switch {
			case i < len(h.Bounds) && h.Bounds[i] < 1e-5:
				atOnce += n
			case i < len(h.Bounds) && h.Bounds[i] > silence.Seconds() && h.Bounds[i] < 2*silence.Seconds():
				late += n
			}
		}
		if atOnce+late != stats.MessagesOut || late < uint64(sent)/2 || h.Sum != float64(late)*silence.Seconds() {
			t.Errorf("%d messages at once and %d after %v, of %d: %+v", atOnce, late, silence, stats.MessagesOut, h)
		}
	})
}
