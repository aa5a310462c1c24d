package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet/mux"
)

func TestThoseInARoomLearnOfAnAbruptEnd(t *testing.T) {
	r := start(t)
	ann := enter(t, r.ways()["TCP"], "ann", "lobby")
	ann.hears("in lobby: ann")
	tcp := newCable(t, r.tcp)
	enter(t, (&rig{tcp: tcp.Addr().String()}).ways()["TCP"], "bob", "lobby")
	ann.hears("bob has come")
	tcp.cut()
	ann.hears("bob has gone")
}

func TestAPageTalksOnThoughItsConnectionIsCut(t *testing.T) {
	r := start(t)
	ann := enter(t, r.ways()["TCP"], "ann", "lobby")
	ann.hears("in lobby: ann")
	web := newCable(t, strings.Trim(strings.TrimPrefix(r.page, "http://"), "/"))
	bob := enter(t, (&rig{page: "http://" + web.Addr().String() + "/"}).ways()["WebSocket"], "bob", "lobby")
	ann.hears("bob has come")
	bob.hears("in lobby: ann, bob")
	for i := range 3 {
		text := fmt.Sprint(i)
		web.cut()
		ann.does("say", &Say{text})
		bob.does("say", &Say{text})
		ann.hears("ann: "+text, "bob: "+text)
		bob.hears("ann: "+text, "bob: "+text)
	}
	bob.session.Shutdown(t.Context()) // else the server would wait for it
	ann.hears("bob has gone")
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
