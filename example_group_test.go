package libnet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"strings"
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
