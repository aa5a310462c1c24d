package eventmode

import (
	"bytes"
	"strings"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// intoLoop serves a session by ReceiveInto, into the storage of the message before.
func intoLoop(srv *libnet.Server, h libnet.MessageHandler) error {
	return srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
		var buf []byte
		for {
			msg, err := s.ReceiveInto(buf)
			if err != nil {
				return
			}
			h.ServeMessage(s, msg)
			buf = msg
		}
	}))
}

// keptModes are testkit.Modes without those whose messages are the caller's own: Receive's.
func keptModes() (modes []testkit.Mode) {
	for _, mode := range testkit.Modes {
		if strings.Contains(mode.Name, "Serve") && mode.Name != "ServeMessages" {
			mode.Name, mode.Serve = mode.Name+", ReceiveInto", intoLoop
		}
		modes = append(modes, mode)
	}
	return modes
}

func TestAHandlerThatKeepsAMessageFindsItPoisoned(t *testing.T) {
	testkit.OverModes(t, keptModes(), func(t *testing.T, mode testkit.Mode) {
		const first = "a message that its handler keeps"
		found := make(chan string, 2)
		var kept []byte // of the only session
		r := mode.Start(t, func(srv *libnet.Server) { srv.PoisonMessages = true }, func(_ *libnet.Session, msg []byte) {
			found <- string(msg)
			if kept == nil {
				kept = msg
				return
			}
			found <- string(kept)
		})
		conn := r.Dial()
		for _, msg := range []string{first, "?"} { // which may lie where the first did
			testkit.MustWrite(t, conn, testkit.Frame(msg))
			if got := testkit.Await(t, testkit.Patience, "a message", found); got != msg {
				t.Fatalf("the handler gets %q, want %q", got, msg)
			}
		}
		got := testkit.Await(t, testkit.Patience, "what was kept", found)
		if len(got) != len(first) || !bytes.HasSuffix([]byte(got), bytes.Repeat([]byte{0xdb}, len(first)-1)) {
			t.Errorf("what the handler kept is %q, want 0xdb", got)
		}
	})
}

// Messages that were read together are not touched before their time, and a reply is the message's copy.
func TestPoisonTouchesNoMessageThatIsStillToBeReceivedOrSent(t *testing.T) {
	testkit.OverModes(t, keptModes(), func(t *testing.T, mode testkit.Mode) {
		const messages = 50
		r := mode.Start(t, func(srv *libnet.Server) { srv.PoisonMessages = true }, func(s *libnet.Session, msg []byte) { _ = s.Send(msg) })
		conn := r.Dial()
		var wire []byte
		for i := range messages {
			wire = append(wire, testkit.Frame(string(testkit.Message(0, i, i*37)))...)
		}
		testkit.MustWrite(t, conn, wire)
		for i := range messages {
			msg, err := testkit.ReadFrame(conn)
			if err != nil {
				t.Fatal(err)
			}
			if _, number := testkit.ParseMessage(t, msg); number != i {
				t.Fatalf("the reply to %d came in the place of %d's", number, i)
			}
		}
	})
}
