package libnet_test

import (
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// A message orders what its two ends do, and the race detector must see it, as it does with package net: both ends of
// a program's own connection may use a variable in turns.
func TestTheRaceDetectorSeesThatAMessageOrdersItsEnds(t *testing.T) {
	testkit.OverModes(t, testkit.Modes, func(t *testing.T, mode testkit.Mode) {
		for _, queue := range []int{-1, 64} {
			shared := 0
			r := mode.Start(t, func(srv *libnet.Server) { srv.SendQueue = queue }, func(s *libnet.Session, msg []byte) {
				shared++
				_ = s.Send(msg)
			})
			client := libnet.Dialer{Protocol: testkit.Frames, Config: libnet.Config{SendQueue: queue}}
			s, err := client.NewSession(r.Dial())
			if err != nil {
				t.Fatal(err)
			}
			rounds := 0
			// The second size is written without a copy, from two pieces.
			for _, size := range []int{8, 100_000} {
				for _, receive := range []func() ([]byte, error){s.Receive, func() ([]byte, error) { return s.ReceiveInto(nil) }} {
					for range 5 {
						shared++
						rounds++
						testkit.MustSend(t, s, make([]byte, size))
						if _, err := receive(); err != nil {
							t.Fatal(err)
						}
						if shared != 2*rounds {
							t.Fatalf("counted to %d in %d rounds", shared, rounds)
						}
					}
				}
			}
			_ = s.Close()
		}
	})
}
