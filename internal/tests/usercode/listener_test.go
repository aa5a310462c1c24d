package usercode

import (
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/moving"
	"github.com/libnet-go/libnet/internal/testkit"
)

// pausedListener is a user's around one of package net's, asked for what a handover needs.
type pausedListener struct {
	*net.TCPListener
	deadline func()
}

func (l *pausedListener) SetDeadline(at time.Time) error {
	l.deadline()
	return l.TCPListener.SetDeadline(at)
}

func TestAServerAcceptsAgainThoughItsListenersSetDeadlineFails(t *testing.T) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	for name, deadline := range map[string]func(){
		"panics":             func() { panic("no deadlines here") },
		"ends its goroutine": runtime.Goexit,
		"hangs":              func() { <-release },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := libnet.NewServer(&pausedListener{testkit.Listen(t, "tcp").(*net.TCPListener), deadline}, testkit.Frames, 8)
			go srv.Serve(libnet.HandlerFunc(testkit.Echo))
			defer srv.Stop()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				giver := moving.The.Giver(srv)
				if err := giver.Pause(); err != nil {
					t.Error(err)
				}
				giver.Resume()
			}()
			testkit.Await(t, testkit.Patience, "a pause, and its end", ended)
			testkit.Ask(t, dialOrFail(t, srv.Listener().Addr().String()), "hello")
		})
	}
}
