package libnet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// Two logins at once, with what a server does with the one that was there: one session is left, and it is the group's.
func TestOfManyLoginsAtOnceOneSessionIsLeft(t *testing.T) {
	for round := range 500 {
		var users libnet.Group[string]
		sessions := make([]*libnet.Session, 4)
		for i := range sessions {
			sessions[i] = idleSession()
		}
		var logins sync.WaitGroup
		for i, s := range sessions {
			logins.Go(func() {
				if round%2 == 1 && i == 0 {
					go s.Close() // and one goes while it comes
				}
				if old := users.Swap("ann", s); old != nil {
					_ = old.Close()
				}
			})
		}
		logins.Wait()
		open := 0
		for _, s := range sessions {
			if !s.IsClosed() {
				open++
				if users.Get("ann") != s && round%2 == 0 {
					t.Errorf("round %d: a session is open and not in the group", round)
				}
			}
		}
		if open > 1 || open == 0 && round%2 == 0 {
			t.Fatalf("round %d: %d sessions are open", round, open)
		}
		for _, s := range sessions {
			_ = s.Close()
			<-s.Done()
		}
		// Another goroutine's Close may still be on its way from Done to the group.
		testkit.Eventually(t, "an empty group", func() bool { return users.Len() == 0 })
	}
}

func TestSwapReturnsTheSessionThatItReplaced(t *testing.T) {
	var group libnet.Group[any]
	a, b, closed := idleSession(), idleSession(), idleSession()
	_ = closed.Close()
	for i, step := range []struct {
		key       any
		put, want *libnet.Session
	}{
		{"k", a, nil},
		{"k", a, nil}, // itself
		{"other", a, nil},
		{"k", b, a},
		{"k", closed, nil}, // which is not added
		{"k", a, b},
		{math.NaN(), b, nil},
	} {
		if old := group.Swap(step.key, step.put); old != step.want {
			t.Errorf("step %d: Swap returned %v", i, old)
		}
	}
	if group.Get("k") != a || group.Len() != 2 || b.IsClosed() {
		t.Errorf("%d members", group.Len())
	}
	_ = b.Close()
	if _ = a.Close(); group.Len() != 0 {
		t.Errorf("%d members are left", group.Len())
	}
	group.Close()
	if c := idleSession(); group.Swap("k", c) != nil || group.Len() != 0 {
		t.Error("a closed group took a session")
	}
}

func TestBroadcastExceptReachesAllButOne(t *testing.T) {
	var group libnet.Group[int]
	m := libnet.NewManager()
	sessions := make([]*libnet.Session, 3)
	for i := range sessions {
		sessions[i] = m.NewSession(&testkit.FuncCodec{}, 8)
		group.Put(i, sessions[i])
	}
	group.Put(3, sessions[0]) // under two keys
	stranger := idleSession()
	for what, test := range map[string]struct {
		broadcast func(any, *libnet.Session) libnet.BroadcastResult
		except    *libnet.Session
		sent      int
	}{
		"a group, a member":     {group.BroadcastExcept, sessions[0], 2},
		"a group, no member":    {group.BroadcastExcept, stranger, 4},
		"a group, nobody":       {group.BroadcastExcept, nil, 4},
		"a manager, a session":  {m.BroadcastExcept, sessions[0], 2},
		"a manager, no session": {m.BroadcastExcept, stranger, 3},
	} {
		got := func() uint64 { stats := sessions[0].Stats(); return stats.MessagesOut + uint64(stats.Queued) }
		before := got()
		result := test.broadcast("hello", test.except)
		if result != (libnet.BroadcastResult{Sent: test.sent}) {
			t.Errorf("%s: %+v", what, result)
		}
		if test.except == sessions[0] && got() != before {
			t.Errorf("%s: the one who was excepted has got something", what)
		}
	}
	m.Dispose()
	_ = stranger.Close()
}

func TestAGroupOfGroupsIsThereWhileItHasAMember(t *testing.T) {
	var rooms libnet.Groups[any, any]
	a, b, closed := idleSession(), idleSession(), idleSession()
	_ = closed.Close()
	rooms.Put("closed", 1, closed)
	rooms.Put(math.NaN(), 1, a)
	rooms.Put("NaN", math.NaN(), a)
	for what, put := range map[string]func(){
		"name": func() { rooms.Put([]int{1}, 1, a) },
		"key":  func() { rooms.Put("room", []int{1}, a) },
	} {
		if !panics(put) {
			t.Errorf("a %s that no map takes does not panic", what)
		}
	}
	if none := rooms.Get("room"); rooms.Len() != 0 || none.Len() != 0 || none.Broadcast("hello") != (libnet.BroadcastResult{}) {
		t.Errorf("%d rooms with nobody in them", rooms.Len())
	}
	rooms.Put("chess", "a", a)
	rooms.Put("chess", "b", b)
	rooms.Put("go", "b", b)
	names := maps.Collect(rooms.All())
	if len(names) != 2 || names["chess"].Len() != 2 || names["go"].Get("b") != b || rooms.Get("chess") != names["chess"] {
		t.Errorf("%v", names)
	}
	_ = b.Close()
	if rooms.Len() != 1 || rooms.Get("chess").Len() != 1 || rooms.Get("go").Len() != 0 {
		t.Errorf("%d rooms after b has gone", rooms.Len())
	}
	if old := rooms.Get("chess"); !old.Remove("a", a) || rooms.Len() != 0 {
		t.Errorf("%d rooms after the last has left", rooms.Len())
	} else if old.Put("a", a); old.Len() != 0 {
		t.Error("a room that is gone took a member")
	}
	rooms.Put("chess", "a", a)
	rooms.Get("chess").Close()
	if rooms.Len() != 0 || a.IsClosed() {
		t.Errorf("%d rooms after Close", rooms.Len())
	}
	rooms.Put("chess", "a", a)
	if rooms.Get("chess").Get("a") != a {
		t.Error("nobody can come into a room that was closed")
	}
	_ = a.Close()
}

// The last leaves while the first comes: who was put is found, whatever becomes of the group meanwhile.
func TestNobodyIsPutIntoAGroupThatIsGone(t *testing.T) {
	var rooms libnet.Groups[int, int]
	var users sync.WaitGroup
	for user := range 4 {
		users.Go(func() {
			s := idleSession()
			defer func() { _ = s.Close() }()
			for range 2000 {
				room := rand.IntN(2)
				rooms.Put(room, user, s)
				if rooms.Get(room).Get(user) != s {
					t.Error("it was put, and is not in the room")
					return
				}
				switch rand.IntN(3) {
				case 0:
					_ = s.Close()
					s = idleSession()
				default:
					if !rooms.Get(room).Remove(user, s) {
						t.Error("it was not in the room when it left")
						return
					}
				}
			}
		})
	}
	users.Wait()
	if rooms.Len() != 0 {
		t.Errorf("%d rooms are left with nobody in them", rooms.Len())
	}
}

// A group knows sessions by keys of the user's choice, such as the names of a chat's users.
func ExampleGroup() {
	var users libnet.Group[string]
	server, err := libnet.Serve("tcp", "127.0.0.1:0", lines, 64)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Stop()
	go server.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
		name, err := s.Receive() // the first line is a name, the others are for all
		if err != nil {
			return
		}
		users.Put(string(name), s) // until the session closes
		s.Send("welcome")
		for {
			line, err := s.Receive()
			if err != nil {
				return
			}
			users.Broadcast(fmt.Sprintf("%s: %s", name, line))
		}
	}))

	ann, bob := connect(server), connect(server)
	for client, name := range map[*libnet.Session]string{ann: "ann", bob: "bob"} {
		client.Send(name)
		client.Receive()
	}
	ann.Send("hello, bob")
	msg, _ := bob.Receive()
	fmt.Printf("%s\n", msg)

	bob.Close()
	for users.Get("bob") != nil {
		time.Sleep(time.Millisecond)
	}
	fmt.Println(users.Len(), "user is left")
	ann.Close()
	// Output:
	// ann: hello, bob
	// 1 user is left
}

// A member that does not read is in the way of nobody: its queue fills up, and the result says so.
func ExampleGroup_Broadcast() {
	server := libnet.NewServer(libnettest.NewListener(), lines, 2)
	defer server.Stop()
	join := func(room *libnet.Group[string], name string) net.Conn {
		client, conn := libnettest.PipeSize(16) // holds little
		session, err := server.NewSession(conn)
		if err != nil {
			log.Fatal(err)
		}
		room.Put(name, session)
		return client
	}
	var room libnet.Group[string]
	alice := join(&room, "alice")
	join(&room, "bob") // never reads

	const msg = "a message for the room"
	for range 5 {
		result := room.Broadcast(msg)
		io.ReadFull(alice, make([]byte, len(msg)+1))
		if result.Blocked > 0 {
			fmt.Printf("sent to %d, no room with %d\n", result.Sent, result.Blocked)
			break
		}
	}
	room.Get("bob").Close()
	fmt.Println(room.Len())
	// Output:
	// sent to 1, no room with 1
	// 1
}

// One session a user: who logs in elsewhere is thrown out here, with a last message and a reason.
func ExampleGroup_Swap() {
	server, err := libnet.Serve("tcp", "127.0.0.1:0", lines, 64)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Stop()
	var users libnet.Group[string]
	errElsewhere := errors.New("logged in elsewhere")
	go server.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, name []byte) {
		if old := users.Swap(string(name), s); old != nil {
			old.Send("you have logged in elsewhere")
			go old.ShutdownWithError(context.Background(), errElsewhere)
		}
		s.Send("welcome")
	}))

	first, second := connect(server), connect(server)
	first.Send("ann")
	msg, _ := first.Receive()
	fmt.Printf("first: %s\n", msg)
	second.Send("ann")
	msg, _ = second.Receive()
	fmt.Printf("second: %s\n", msg)
	msg, _ = first.Receive()
	fmt.Printf("first: %s\n", msg)
	_, err = first.Receive()
	fmt.Println("first:", err, users.Len())
	first.Close()
	second.Close()
	// Output:
	// first: welcome
	// second: welcome
	// first: you have logged in elsewhere
	// first: EOF 1
}

// Rooms with names. A member leaves all its rooms by closing, and a room is gone with its last member.
func ExampleGroups() {
	server, err := libnet.Serve("tcp", "127.0.0.1:0", lines, 64)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Stop()
	var rooms libnet.Groups[string, uint64]
	go server.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) {
		name, text, _ := strings.Cut(string(msg), " ")
		rooms.Put(name, s.ID(), s) // who speaks in a room is in it
		result := rooms.Get(name).BroadcastExcept(name+": "+text, s)
		s.Send(fmt.Sprintf("sent to %d others", result.Sent))
	}))

	alice, bob := connect(server), connect(server)
	say := func(who *libnet.Session, text string) {
		who.Send(text)
		answer, _ := who.Receive()
		fmt.Printf("%s\n", answer)
	}
	say(bob, "chess hello")
	say(alice, "go hello")
	say(alice, "chess may I join?")
	msg, _ := bob.Receive()
	fmt.Printf("bob: %s\n", msg)
	fmt.Println(rooms.Len(), "rooms")
	alice.Close()
	for rooms.Len() == 2 {
		time.Sleep(time.Millisecond)
	}
	fmt.Println(rooms.Get("go").Len(), rooms.Get("chess").Len())
	bob.Close()
	// Output:
	// sent to 0 others
	// sent to 0 others
	// sent to 1 others
	// bob: chess: may I join?
	// 2 rooms
	// 0 1
}
