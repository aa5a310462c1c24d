package resume_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/resume"
)

type slowCodec struct{ libnet.Codec }

func (c slowCodec) Send(msg any) error {
	time.Sleep(100 * time.Microsecond)
	return c.Codec.Send(msg)
}

// A session of a codec keeps what it was given to send until that is written.
func TestASessionGoesOverOneThatWasMadeOfACodec(t *testing.T) {
	const messages = 600
	echoes := make(chan string, messages)
	h := &resume.Server{MessageHandler: func(s *resume.Session, msg []byte) { _ = s.SendBytes(msg) }}
	srv := newServer(t)
	go func() { _ = srv.ServeMessages(h) }()
	p := site{"tcp", srv.Listener().Addr().String(), func(ctx context.Context, addr string) (*libnet.Session, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		return libnet.NewSession(slowCodec{protocol.NewCodec(conn)}, 64), nil
	}}
	c := &resume.Client{Handler: func(_ *resume.Session, msg []byte) { echoes <- string(msg) }}
	s := c.Start(p.over(p.addr))
	defer s.Close()
	go func() {
		for i := range messages {
			if s.SendContext(t.Context(), fmt.Appendf(nil, "message %d", i)) != nil {
				return
			}
		}
	}()
	for i := range messages {
		if got, want := testkit.Await(t, testkit.Patience, "an echo", echoes), fmt.Sprintf("message %d", i); got != want {
			t.Fatalf("%q in the place of %q", got, want)
		}
	}
	if n := s.Stats().Resumes; n != 0 {
		t.Errorf("%d resumes", n)
	}
}
