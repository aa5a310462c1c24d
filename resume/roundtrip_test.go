package resume_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/reconnect"
	"github.com/libnet-go/libnet/resume"
)

// frames returns what arrives next.
func frames(t *testing.T, conn *libnet.Session, n int) (all []string) {
	t.Helper()
	for range n {
		frame, err := conn.Receive()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%x", frame))
	}
	return all
}

// A client by hand sends a hello and no more: the welcome, and what it has not received, come as the answer.
func TestWhatAServerKeptComesARoundTripAfterTheHello(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		conn, welcome := r.byHand(newHello)
		far := testkit.Await(t, testkit.Patience, "a session of the server", r.sessions)
		send(t, far, "n1", "n2")
		frames(t, conn, 1) // n2 is lost
		_ = conn.Close()
		<-conn.Done()
		send(t, far, "n3")

		token := welcome[1:17]
		hello := append(append([]byte{0x12, 1, 16}, token...), 1, 1, 0) // the first try; 1 received, 0 taken
		hello = append(hello, newHello[5:]...)                          // the bounds
		conn, welcome = r.byHand(hello)
		if welcome[0] != 0x13 {
			t.Fatalf("%x", welcome)
		}
		if got := fmt.Sprint(frames(t, conn, 2)); got != "[006e32 006e33]" {
			t.Error(got)
		}
	})
}

// A server by hand sends a welcome and no more: the acknowledgement, and what it has not received, come as the answer.
func TestWhatAClientKeptComesWithItsAnswerToTheWelcome(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		pipes := libnettest.NewListener()
		near := new(resume.Client).Start(&reconnect.Client{Logger: testkit.Quiet, Dial: func(context.Context) (*libnet.Session, error) {
			conn, err := pipes.Dial()
			if err != nil {
				return nil, err
			}
			return dialer().NewSession(conn)
		}})
		defer near.Close()
		send(t, near, "m1", "m2")
		for attempt, want := range []string{"[1000 006d31 006d32]", "[1000 006d32]"} {
			pipe, err := pipes.Accept()
			if err != nil {
				t.Fatal(err)
			}
			conn := rawSession(t, pipe)
			frames(t, conn, 1) // the hello
			welcome := append(append([]byte{0x13}, make([]byte, 16)...), byte(attempt), byte(attempt), 100, 100)
			if err := conn.Send(welcome); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(frames(t, conn, 3-attempt)); got != want {
				t.Errorf("%s, want %s", got, want)
			}
			_ = conn.Close()
		}
	})
}
