package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/mux"
)

func TestTerminalsAndBrowsersShareTheirRooms(t *testing.T) {
	r := start(t)
	ann := enter(t, r.ways()["TCP"], "ann", "lobby")
	ann.hears("in lobby: ann")
	bob := enter(t, r.ways()["WebSocket"], "bob", "lobby")
	bob.hears("in lobby: ann, bob")
	ann.hears("bob has come")
	bob.does("say", &Say{"hello"})
	ann.does("say", &Say{"hi bob"})
	ann.hears("bob: hello", "ann: hi bob")
	bob.hears("bob: hello", "ann: hi bob")

	bob.does("join", &Join{"garden"})
	bob.does("say", &Say{"is anybody here?"})
	bob.hears("in garden: bob", "bob: is anybody here?")
	ann.hears("bob has gone")
	ann.hearsNothing()
}

func wantCode(t testing.TB, err error, code uint32) {
	t.Helper()
	if refused := new(mux.Error); !errors.As(err, &refused) || refused.Code != code {
		t.Errorf("the server answers %v; want code %d", err, code)
	}
}

func TestNothingButALoginComesBeforeTheLogin(t *testing.T) {
	r := start(t)
	for way, by := range r.ways() {
		t.Run(way, func(t *testing.T) {
			p := dial(t, by)
			for _, kind := range []mux.Kind{"join", "say", "whisper", "who", "pong", "dance"} {
				wantCode(t, p.ask(kind, nil), 401)
			}
			wantCode(t, p.ask("login", &Login{"ann", "secrte"}), 401)
			wantCode(t, p.ask("login", &Login{"a nn", "secret"}), 401)
			wantCode(t, p.ask("who", nil), 401)
			p.does("login", &Login{"ann", "secret"})
			p.does("who", nil)
			wantCode(t, p.ask("login", &Login{"bob", "secret"}), 409)
			wantCode(t, p.ask("dance", nil), mux.CodeUnknownKind)
		})
	}
}

func TestWhatCannotBeSaidIsRefused(t *testing.T) {
	r := start(t)
	ann := dial(t, r.ways()["TCP"])
	ann.does("login", &Login{"ann", "secret"})
	wantCode(t, ann.ask("say", &Say{"in no room"}), 400)
	ann.does("join", &Join{"lobby"})
	ann.hears("in lobby: ann")
	for _, text := range []string{"", "two\nlines", "\x1b[2J", strings.Repeat("x", 2001)} {
		wantCode(t, ann.ask("say", &Say{text}), 400)
		wantCode(t, ann.ask("whisper", &Whisper{"ann", text}), 400)
	}
	for _, room := range []string{"", "a room", "../", strings.Repeat("x", 33)} {
		wantCode(t, ann.ask("join", &Join{room}), 400)
	}
	ann.does("say", &Say{strings.Repeat("é", 1000)})
	ann.hears("ann: " + strings.Repeat("é", 1000))
}

func TestAWhisperIsHeardByOneOnly(t *testing.T) {
	r := start(t)
	ann := enter(t, r.ways()["TCP"], "ann", "lobby")
	bob := enter(t, r.ways()["WebSocket"], "bob", "garden")
	cid := enter(t, r.ways()["TCP"], "cid", "garden")
	ann.hears("in lobby: ann")
	bob.hears("in garden: bob", "cid has come")
	cid.hears("in garden: bob, cid")
	ann.does("whisper", &Whisper{"bob", "psst"})
	bob.hears("ann whispers: psst")
	cid.hearsNothing()
	wantCode(t, ann.ask("whisper", &Whisper{"zed", "psst"}), 404)
	bob.session.Close()
	ann.awaitRefusal("whisper", &Whisper{"bob", "psst"}, 404)
}

// awaitRefusal waits until the server refuses what it has not refused before.
func (p *person) awaitRefusal(k mux.Kind, body any, code uint32) {
	p.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if err := p.ask(k, body); err != nil {
			wantCode(p, err, code)
			return
		}
		if time.Now().After(deadline) {
			p.Fatalf("the server goes on to %s", k)
		}
	}
}

func TestASecondLoginReplacesTheFirstWhichLearnsOfIt(t *testing.T) {
	r := start(t)
	for way, by := range r.ways() {
		t.Run(way, func(t *testing.T) {
			old := enter(t, by, "ann", way)
			old.hears("in " + way + ": ann")
			other := enter(t, r.ways()["WebSocket"], "ann", way)
			other.hears("in " + way + ": ann")
			old.hears("farewell: you have logged in elsewhere")
			old.awaitEnd()
			other.does("say", &Say{"still here"})
			other.hears("ann: still here")
		})
	}
}

func TestOfManyLoginsAtATimeOneStays(t *testing.T) {
	r := start(t)
	const logins = 20
	var people [logins]*person
	for i := range people {
		people[i] = dial(t, r.ways()[[]string{"TCP", "WebSocket"}[i%2]])
	}
	var all sync.WaitGroup
	for _, p := range people {
		all.Go(func() {
			p.ask("login", &Login{"ann", "secret"}) // whose reply a replacement may overtake
			p.ask("join", &Join{"lobby"})
		})
	}
	all.Wait()
	bob := enter(t, r.ways()["TCP"], "bob", "lobby")
	bob.hears("in lobby: ann, bob")
	bob.does("whisper", &Whisper{"ann", "are you there?"})
	stayed := 0
	for _, p := range people {
		for told := range p.untilEndOr("bob whispers: are you there?") {
			if told == "bob whispers: are you there?" {
				stayed++
			}
		}
	}
	if stayed != 1 {
		t.Errorf("%d of %d stayed", stayed, logins)
	}
	bob.hearsNothing()
}

// untilEndOr yields what is heard until the session has ended, with a farewell, or until last was.
func (p *person) untilEndOr(last string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for {
			select {
			case told := <-p.told:
				if !yield(told) || told == last || strings.HasPrefix(told, "farewell") {
					return
				}
			case <-time.After(patience):
				p.Error("neither a farewell nor a whisper")
				return
			}
		}
	}
}

// serveInMemory is a chat that the test can look into. Its client's ends have no timeouts.
func serveInMemory(t *testing.T, c *chat) (by func(*mux.Mux) (*libnet.Session, error), stop func()) {
	t.Helper()
	m := c.routes()
	listener := libnettest.NewListener()
	server := libnet.NewServer(listener, codec.New(codec.Uint32BE, m), 64)
	server.Config = limits
	go server.ServeMessages(m)
	t.Cleanup(server.Stop)
	return func(m *mux.Mux) (*libnet.Session, error) {
		conn, err := listener.Dial()
		if err != nil {
			return nil, err
		}
		dialer := &libnet.Dialer{Protocol: codec.New(codec.Uint32BE, m)}
		dialer.SendQueue = 64
		return dialer.NewSession(conn)
	}, server.Stop
}

func TestWhoDoesNotAnswerPingsIsGoneWithinAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		by, stop := serveInMemory(t, &chat{password: "secret"})
		defer stop()
		ann, bob := enter(t, by, "ann", "lobby"), enter(t, by, "bob", "lobby")
		ann.hears("in lobby: ann", "bob has come")
		time.Sleep(10 * time.Minute)
		ann.hearsNothing()
		bob.mute.Store(true)
		time.Sleep(limits.IdleTimeout)
		ann.hears("bob has gone")
		bob.awaitEnd()
	})
}

func TestWhoSaysTooMuchAtATimeIsMadeToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		by, stop := serveInMemory(t, &chat{password: "secret"})
		defer stop()
		ann := enter(t, by, "ann", "lobby")
		began := time.Now()
		for range 100 {
			ann.does("who", nil)
		}
		if took := time.Since(began); took < 4*time.Second || took > 5*time.Second {
			t.Errorf("a hundred questions took %v", took)
		}
	})
}

func TestWhoSaysNothingIsGoneWithinTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		by, stop := serveInMemory(t, &chat{password: "secret"})
		defer stop()
		silent := dial(t, by)
		time.Sleep(10 * time.Second)
		silent.awaitEnd()
	})
}

func TestAShutdownDeliversWhatWasSaidAndEndsEverySession(t *testing.T) {
	r := start(t)
	ann := enter(t, r.ways()["TCP"], "ann", "lobby")
	bob := enter(t, r.ways()["WebSocket"], "bob", "lobby")
	for i := range 10 {
		ann.does("say", &Say{fmt.Sprint(i)})
	}
	if err := r.end(); err != nil {
		t.Errorf("the server ends with %v", err)
	}
	bob.hears("in lobby: ann, bob")
	for i := range 10 {
		bob.hears(fmt.Sprint("ann: ", i))
	}
	ann.awaitEnd()
	bob.awaitEnd()
}

func TestThePageIsServed(t *testing.T) {
	r := start(t)
	response, err := http.Get(r.page)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || !bytes.Equal(body, page) || !strings.HasPrefix(response.Header.Get("Content-Type"), "text/html") {
		t.Errorf("%v: %v, %.100q", err, response.Header, body)
	}
}
