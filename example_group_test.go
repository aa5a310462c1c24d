package libnet_test

import (
	"fmt"
	"io"
	"log"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
)

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

// rooms are groups by name; a group takes little, so they stay. The zero value is ready.
type rooms struct {
	mu     sync.Mutex
	byName map[string]*libnet.Group[uint64]
}

func (r *rooms) room(name string) *libnet.Group[uint64] {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byName[name] == nil {
		if r.byName == nil {
			r.byName = make(map[string]*libnet.Group[uint64])
		}
		r.byName[name] = new(libnet.Group[uint64])
	}
	return r.byName[name]
}

// Rooms with names. A member leaves all its rooms by closing.
func ExampleGroup_rooms() {
	server, err := libnet.Serve("tcp", "127.0.0.1:0", lines, 64)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Stop()
	var all rooms
	go server.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) {
		name, text, _ := strings.Cut(string(msg), " ")
		room := all.room(name)
		room.Put(s.ID(), s) // who speaks in a room is in it
		room.Broadcast(name + ": " + text)
	}))

	alice, bob := connect(server), connect(server)
	bob.Send("chess hello")
	bob.Receive()
	alice.Send("go hello")
	alice.Receive()
	alice.Send("chess may I join?")
	msg, _ := bob.Receive()
	fmt.Printf("%s\n", msg)
	bob.Close()
	alice.Close()
	// Output: chess: may I join?
}
