package libnet_test

import (
	"fmt"
	"log"

	"github.com/libnet-go/libnet"
)

// chat is a message handler with a state a session: who speaks.
type chat struct{ users libnet.Group[string] }

func (c *chat) ServeMessage(s *libnet.Session, msg []byte) {
	name, known := s.State.(string)
	if !known {
		name = string(msg) // msg itself is only valid until ServeMessage returns
		s.State = name
		c.users.Put(name, s)
		s.Send("welcome, " + name)
		return
	}
	c.users.Broadcast(fmt.Sprintf("%s: %s", name, msg))
}

// A handler of messages keeps what it knows of a session in its State: there is no goroutine to keep it on.
func ExampleMessageHandler() {
	server, err := libnet.Serve("tcp", "127.0.0.1:0", lines, 64)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Stop()
	go server.ServeMessages(new(chat))

	ann, bob := connect(server), connect(server)
	defer ann.Close()
	defer bob.Close()
	ann.Send("ann")
	msg, _ := ann.Receive()
	fmt.Printf("%s\n", msg)
	bob.Send("bob")
	msg, _ = bob.Receive()
	fmt.Printf("%s\n", msg)

	bob.Send("hello, all")
	msg, _ = ann.Receive()
	fmt.Printf("%s\n", msg)
	// Output:
	// welcome, ann
	// welcome, bob
	// bob: hello, all
}
