package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
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

// The first session ends long after the second has come into its room: its peer takes its time.
func TestWhoIsReplacedInARoomHasNeverLeftIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		by, stop := serveInMemory(t, &chat{password: "secret"})
		defer stop()
		cid, old := enter(t, by, "cid", "lobby"), dialIdle(t, by, "ann", "lobby")
		cid.hears("in lobby: cid", "ann has come")
		ann := enter(t, by, "ann", "lobby")
		ann.hears("in lobby: ann, cid")
		cid.hearsNothing()
		time.Sleep(limits.IdleTimeout - time.Second) // more than Linger
		cid.hearsNothing()
		if msg, err := old.Receive(); err != nil || !strings.Contains(string(msg), "farewell") {
			t.Errorf("the first session receives %q, %v", msg, err)
		}
		ann.session.Close()
		cid.hears("ann has gone")
	})
}

// One that has been replaced, and is about to be told, would take the room's place of the one that has replaced it.
func TestWhoHasBeenReplacedJoinsNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &chat{password: "secret"}
		by, stop := serveInMemory(t, c)
		defer stop()
		ann, bob := dial(t, by), enter(t, by, "bob", "lobby")
		ann.does("login", &Login{"ann", "secret"})
		c.users.Put("ann", c.users.Get("bob"))
		wantCode(t, ann.ask("join", &Join{"lobby"}), 400)
		bob.hears("in lobby: bob")
		bob.hearsNothing()
	})
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

func TestThoseInARoomLearnOfAnAbruptEnd(t *testing.T) {
	r := start(t)
	ann := enter(t, r.ways()["TCP"], "ann", "lobby")
	ann.hears("in lobby: ann")
	tcp := newCable(t, r.tcp)
	web := newCable(t, strings.Trim(strings.TrimPrefix(r.page, "http://"), "/"))
	through := &rig{tcp: tcp.Addr().String(), page: "http://" + web.Addr().String() + "/"}
	for way, by := range through.ways() {
		enter(t, by, "bob", "lobby")
		ann.hears("bob has come")
		tcp.cut()
		web.cut()
		ann.hears("bob has gone")
		if t.Failed() {
			t.Fatal(way)
		}
	}
}

// People of few names come, move, are replaced and go, all at a time. Who only listens knows in the end who is there.
func TestWhatIsToldAddsUpToWhoIsThere(t *testing.T) {
	r := start(t)
	bob := enter(t, r.ways()["TCP"], "bob", "lobby")
	there := make(chan map[string]bool)
	go bob.count(there)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for range 25 {
				p := dial(t, r.ways()[[]string{"TCP", "WebSocket"}[random.IntN(2)]])
				p.ask("login", &Login{[]string{"ann", "cid", "dan"}[random.IntN(3)], "secret"})
				for range random.IntN(3) {
					p.ask("join", &Join{[]string{"lobby", "garden"}[random.IntN(2)]})
				}
				if random.IntN(4) > 0 {
					p.session.Close()
				}
			}
		})
	}
	all.Wait()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		members, err := mux.Call[struct{}, Members](t.Context(), bob.server, "who", nil)
		if err != nil {
			t.Fatal(err)
		}
		told := slices.Sorted(maps.Keys(<-there))
		if slices.Equal(told, members.Names) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("bob was told of %q; there are %q", told, members.Names)
		}
	}
}

// count keeps account of who is in the room, as far as p is told, and hands out copies until p's session ends.
func (p *person) count(there chan<- map[string]bool) {
	names := make(map[string]bool)
	for {
		select {
		case told := <-p.told:
			switch name, what, _ := strings.Cut(told, " has "); what {
			case "come":
				names[name] = true
			case "gone":
				delete(names, name)
			default: // the members, of whom p was the first
				names[p.name] = true
			}
		case there <- maps.Clone(names):
		case <-p.session.Done():
			return
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

func TestARoomVanishesWithItsLastMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &chat{password: "secret"}
		by, stop := serveInMemory(t, c)
		defer stop()
		ann, bob := enter(t, by, "ann", "lobby"), enter(t, by, "bob", "lobby")
		rooms := func(want int) {
			t.Helper()
			if synctest.Wait(); c.rooms.Len() != want {
				t.Errorf("%d rooms; want %d", c.rooms.Len(), want)
			}
		}
		rooms(1)
		bob.does("join", &Join{"garden"})
		rooms(2)
		ann.does("join", &Join{"garden"})
		rooms(1)
		ann.session.Close()
		rooms(1)
		bob.session.Close()
		rooms(0)
		if c.users.Len() != 0 {
			t.Errorf("%d users are left", c.users.Len())
		}
	})
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
	for i := range 50 {
		ann.does("say", &Say{fmt.Sprint(i)})
	}
	if err := r.end(); err != nil {
		t.Errorf("the server ends with %v", err)
	}
	bob.hears("in lobby: ann, bob")
	for i := range 50 {
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
