package hostile

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/reconnect"
	"github.com/libnet-go/libnet/resume"
)

// resumeSites are those of package resume.
var resumeSites = []site{
	{name: "resume.Server.Handler"},
	{name: "resume.Server.MessageHandler"},
	{name: "resume.Client.Handler"},
	{name: "resume.Session.OnClose"},
}

// TestHostileUserCodeOfResumableSessions is the same for package resume: another session of the same server is
// answered, and all end when they are told to.
func TestHostileUserCodeOfResumableSessions(t *testing.T) {
	for _, s := range resumeSites {
		for _, does := range []behaviour{panics, panicsNil, panicsBadly, blocks, hangs, exits, asks, sends, closes, shuts, stops} {
			t.Run(s.name+"/"+string(does), func(t *testing.T) {
				t.Parallel()
				playResume(t, s.name, does)
			})
		}
	}
}

// A resumeBomb misbehaves once, on a session that was told to.
type resumeBomb struct {
	name   string
	does   behaviour
	once   sync.Once
	fired  chan struct{}
	freed  chan struct{}
	server *resume.Server
}

func (b *resumeBomb) at(name string, s *resume.Session) {
	if name == b.name {
		b.once.Do(func() { close(b.fired); b.goOff(s) })
	}
}

func (b *resumeBomb) goOff(s *resume.Session) {
	if b.does.byItself(b.freed) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	switch b.does {
	case asks:
		_, _, _, _, _, _ = s.ID(), s.State(), s.Stats(), s.Err(), s.Done(), s.Conn()
		_ = b.server.Stats()
	case sends:
		_ = s.Send("called back")
		_ = s.SendContext(ctx, "called back")
		_ = s.SendAcked(ctx, "called back")
	case closes:
		_ = s.Close()
	case shuts:
		_ = s.Shutdown(ctx)
	case stops:
		b.server.Close()
	}
}

func playResume(t *testing.T, name string, does behaviour) {
	h := new(resume.Server)
	b := &resumeBomb{name: name, does: does, fired: make(chan struct{}), freed: make(chan struct{}), server: h}
	answer := func(s *resume.Session, msg []byte) {
		if string(msg) == "go off" {
			b.at("resume.Server.Handler", s)
			b.at("resume.Server.MessageHandler", s)
		}
		_ = s.Send(msg)
	}
	if name == "resume.Server.Handler" {
		h.Handler = func(s *resume.Session) {
			for msg, err := s.Receive(); err == nil; msg, err = s.Receive() {
				answer(s, msg)
			}
		}
	} else {
		h.MessageHandler = answer
	}
	p := codec.New(codec.Uint32BE, resume.Frames)
	srv, err := libnet.Serve("tcp", "127.0.0.1:0", p, 64)
	if err != nil {
		t.Fatal(err)
	}
	srv.Logger = testkit.Quiet
	go func() { _ = srv.ServeMessages(h) }()
	dial := func(context.Context) (*libnet.Session, error) {
		return libnet.Connect("tcp", srv.Listener().Addr().String(), p, 64)
	}
	echoed := make(chan string, 16)
	start := func(armed bool) *resume.Session {
		c := &resume.Client{Handler: func(s *resume.Session, msg []byte) {
			if armed {
				b.at("resume.Client.Handler", s)
				return
			}
			echoed <- string(msg)
		}}
		return c.Start(&reconnect.Client{Dial: dial, MinBackoff: time.Millisecond, Logger: testkit.Quiet})
	}
	victim, other := start(true), start(false)
	ask := func(text string) {
		t.Helper()
		if err := other.Send(text); err != nil {
			t.Fatal(err)
		}
		if got := testkit.Await(t, inTime, "an answer to another", echoed); got != text {
			t.Fatalf("another was answered %q", got)
		}
	}
	ask("before")
	victim.OnClose(func() { b.at("resume.Session.OnClose", victim) })
	_ = victim.Send("go off")
	if name == "resume.Session.OnClose" {
		_ = victim.Close()
	}
	testkit.Await(t, inTime, "the bomb", b.fired)
	if does != stops {
		ask("after")
	}
	testkit.Within(t, inTime, "the end of all", func() {
		_ = h.Stats()
		_, _ = victim.Close(), other.Close()
		h.Close()
	})
	for _, s := range []*resume.Session{victim, other} {
		testkit.Await(t, inTime, "Done", s.Done())
		if stats := s.Stats(); stats.Acknowledged > stats.Accepted {
			t.Errorf("%+v", stats)
		}
	}
	close(b.freed)
	testkit.Within(t, inTime, "the server's end", srv.Stop)
	if stats := h.Stats(); stats.Open != 0 || stats.Kept != 0 {
		t.Errorf("%+v", stats)
	}
}
