package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/mux"
)

func TestMain(m *testing.M) { libnettest.VerifyMain(m) } // no test leaves a goroutine

// In a bubble of testing/synctest time passes when everybody waits: a minute takes none.
func inBubble(t *testing.T, test func(t *testing.T, clients *libnettest.Clients)) {
	synctest.Test(t, func(t *testing.T) {
		c := newChat("secret")
		srv := libnet.NewServer(libnettest.NewListener(), c.protocol(), 64) // in memory
		c.limit(srv)
		test(t, libnettest.ServeMessages(t, srv, c.inside))
	})
}

// A terminal is a client's session, and what was said to it.
type terminal struct {
	session *libnet.Session
	peer    mux.Peer
	heard   chan said
}

func begin(s *libnet.Session) *terminal {
	c := &terminal{session: s, heard: make(chan said, 64)}
	m := mux.New(mux.JSON)
	mux.On(m, "said", func(_ context.Context, _ *libnet.Session, msg *said) error { c.heard <- *msg; return nil })
	c.peer = m.Start(s)
	return c
}

func (c *terminal) login(t *testing.T, name, password string) error {
	_, err := mux.Call[login, welcome](t.Context(), c.peer, "login", &login{name, password})
	return err
}

func TestWhatIsSaidIsHeardByAll(t *testing.T) {
	inBubble(t, func(t *testing.T, clients *libnettest.Clients) {
		ann, bob := begin(clients.Dial()), begin(clients.Dial())
		if err := errors.Join(ann.login(t, "ann", "secret"), bob.login(t, "bob", "secret")); err != nil {
			t.Fatal(err)
		}
		if err := ann.session.Send(mux.Message{Kind: "say", Body: &say{"hello"}}); err != nil {
			t.Fatal(err)
		}
		for _, c := range []*terminal{ann, bob} {
			if msg := <-c.heard; msg != (said{"ann", "hello"}) {
				t.Errorf("heard %v", msg)
			}
		}
	})
}

func TestAWrongPasswordIsToldAndEndsTheSession(t *testing.T) {
	inBubble(t, func(t *testing.T, clients *libnettest.Clients) {
		client, s := clients.Pair()
		var refused *mux.Error
		if err := begin(client).login(t, "eve", "guess"); !errors.As(err, &refused) || refused.Code != 401 {
			t.Errorf("the client is told %v", err)
		}
		<-s.Done()
		if s.Err() != errNoLogin {
			t.Error(s.Err())
		}
	})
}

func TestNothingButALoginComesFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, clients *libnettest.Clients) {
		client, s := clients.Pair()
		if err := client.Send(mux.Message{Kind: "say", Body: &say{"hello"}}); err != nil {
			t.Fatal(err)
		}
		<-s.Done()
		if s.Err() != errNoLogin {
			t.Error(s.Err())
		}
	})
}

func TestWhatATerminalWouldObeyIsNotSaid(t *testing.T) {
	inBubble(t, func(t *testing.T, clients *libnettest.Clients) {
		ann, bob := begin(clients.Dial()), begin(clients.Dial())
		if err := errors.Join(ann.login(t, "ann", "secret"), bob.login(t, "bob", "secret")); err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"\x1b[2J", "", strings.Repeat("x", 3001)} {
			_, err := mux.Call[say, struct{}](t.Context(), ann.peer, "say", &say{text})
			var refused *mux.Error
			if !errors.As(err, &refused) || refused.Code != 400 {
				t.Errorf("%.10q: %v", text, err)
			}
		}
		if err := begin(clients.Dial()).login(t, "\x1b[2J", "secret"); err == nil {
			t.Error("the name is let in")
		}
		synctest.Wait() // until all that could be heard has been
		if len(bob.heard) != 0 {
			t.Errorf("bob hears %q", <-bob.heard)
		}
	})
}

func TestWhoSaysNothingIsEnded(t *testing.T) {
	inBubble(t, func(t *testing.T, clients *libnettest.Clients) {
		_, stranger := clients.Pair()
		client, member := clients.Pair()
		if err := begin(client).login(t, "ann", "secret"); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		<-stranger.Done()
		if after := time.Since(start); stranger.Err() != libnet.ErrHandshakeTimeout || after != 10*time.Second {
			t.Errorf("without a login: %v after %v", stranger.Err(), after)
		}
		<-member.Done()
		if after := time.Since(start); member.Err() != libnet.ErrIdleTimeout || after != time.Minute {
			t.Errorf("after a login: %v after %v", member.Err(), after)
		}
	})
}

func TestASecondLoginOfTheSameNameEndsTheFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, clients *libnettest.Clients) {
		client, first := clients.Pair()
		if err := errors.Join(begin(client).login(t, "ann", "secret"), begin(clients.Dial()).login(t, "ann", "secret")); err != nil {
			t.Fatal(err)
		}
		<-first.Done()
		if first.Err().Error() != "logged in elsewhere" {
			t.Error(first.Err())
		}
	})
}
