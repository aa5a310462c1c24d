package resume_test

import (
	"sync/atomic"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/resume"
)

// A countingServer sees each frame before the Server that it embeds.
type countingServer struct {
	*resume.Server
	frames atomic.Int64
}

func (c *countingServer) ServeMessage(conn *libnet.Session, frame []byte) {
	c.frames.Add(1)
	c.Server.ServeMessage(conn, frame)
}

func TestAHandlerThatEmbedsAServerSeesEachFrame(t *testing.T) {
	const messages = 20
	got := make(chan string, messages)
	h := &countingServer{Server: &resume.Server{MessageHandler: func(_ *resume.Session, msg []byte) { got <- string(msg) }}}
	srv := newServer(t)
	go func() { _ = srv.ServeMessages(h) }()
	p := site{"tcp", srv.Listener().Addr().String(), dialTCP}
	s := new(resume.Client).Start(p.over(p.addr))
	defer s.Close()
	for range messages {
		send(t, s, "x")
		testkit.Await(t, testkit.Patience, "a message", got)
	}
	if n := h.frames.Load(); n < 1+messages { // the hello, too
		t.Errorf("it saw %d frames", n)
	}
}
