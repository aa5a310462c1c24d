package handover_test

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// sessions is how many a test has; LIBNET_HANDOVER_SESSIONS has the number of a long run.
func sessions(t *testing.T) int {
	if text := os.Getenv("LIBNET_HANDOVER_SESSIONS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return 300
}

func TestSessionsThatNeverStopSendingPassThroughFiveProcesses(t *testing.T) {
	for _, set := range []settings{
		{Network: "tcp", Mode: "event"}, {Network: "tcp", Mode: "goroutine"},
		{Network: "unix", Mode: "event"}, {Network: "unix", Mode: "goroutine"},
	} {
		t.Run(set.Network+"/"+set.Mode, func(t *testing.T) {
			f := startFleet(t, set)
			n := sessions(t)
			if n > 1000 {
				pace = time.Duration(n) * 20 * time.Microsecond
			}
			cs := dialClients(t, f, n)
			time.Sleep(100 * time.Millisecond)
			for range 5 {
				gave, ready := f.upgrade()
				if gave.Error != "" || gave.Result.Moved != n || len(gave.Result.Stayed) > 0 || gave.Result.Ended > 0 {
					t.Fatalf("the handover says %+v, %s", gave.Result, gave.Error)
				}
				t.Logf("took %v, stood still %v; resident %d KB before, %d KB after",
					gave.Took, gave.Result.Paused, gave.RSS>>10, ready.RSS>>10)
				time.Sleep(50 * time.Millisecond)
			}
			messages := cs.finish(t)
			p := cs.pauses()
			t.Logf("%d messages; the longest pause of a client: median %v, p99 %v, longest %v",
				messages, p[len(p)/2], p[len(p)*99/100], p[len(p)-1])
		})
	}
}
