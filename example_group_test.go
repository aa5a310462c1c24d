package libnet_test

import (
	"fmt"
	"io"
	"log"
	"net"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
)

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

// A connection that some other program has accepted, here one end of a pipe.
func ExampleServer_ServeConn() {
	server := libnet.NewServer(libnettest.NewListener(), lines, 64)
	defer server.Stop()
	client, conn := libnettest.Pipe()
	served := make(chan error)
	go func() {
		served <- server.ServeConn(conn, libnet.HandlerFunc(func(s *libnet.Session) {
			s.Send("welcome")
		}))
	}()

	dialer := libnet.Dialer{Protocol: lines}
	session, err := dialer.NewSession(client)
	if err != nil {
		log.Fatal(err)
	}
	welcome, err := session.Receive()
	fmt.Printf("%s %v\n", welcome, err)
	session.Close()
	fmt.Println(<-served)
	// Output:
	// welcome <nil>
	// <nil>
}

func ExampleDialer_NewSession() {
	client, server := libnettest.Pipe()
	dialer := libnet.Dialer{Protocol: lines}
	session, err := dialer.NewSession(client)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	session.Send("hello")
	wire := make([]byte, 6)
	n, _ := server.Read(wire)
	fmt.Printf("%q\n", wire[:n])
	// Output: "hello\n"
}
