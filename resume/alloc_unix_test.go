//go:build unix

package resume_test

import (
	"net"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/resume"
)

// 64 messages are echoed, acknowledged in both directions, and cost no allocation between them.
func TestAMessageIsReceivedKeptSentAndAcknowledgedWithoutAllocating(t *testing.T) {
	if testkit.Race {
		t.Skip("the detector's memory counts")
	}
	for name, serve := range map[string]func(*libnet.Server, *resume.Server) error{
		"ServeMessages": func(srv *libnet.Server, h *resume.Server) error { return srv.ServeMessages(h) },
		"Serve":         func(srv *libnet.Server, h *resume.Server) error { return srv.Serve(h) },
	} {
		t.Run(name, func(t *testing.T) {
			h := &resume.Server{MessageHandler: func(s *resume.Session, msg []byte) { _ = s.SendBytes(msg) }}
			defer h.Close()
			srv := libnet.NewServer(testkit.Listen(t, "tcp"), protocol, 128)
			srv.Logger = testkit.Quiet
			go func() { _ = serve(srv, h) }()
			defer srv.Stop()
			conn, err := net.Dial("tcp", srv.Listener().Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			shakeHands(t, conn)
			e := newBurster(conn, 64, 64, true)
			if got := testing.AllocsPerRun(200, func() {
				if err := e.burst(); err != nil {
					t.Error(err)
				}
			}); got > 0 {
				t.Errorf("%v allocations for 64 messages", got)
			}
		})
	}
}
