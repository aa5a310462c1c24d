package eventmode

import (
	"github.com/libnet-go/libnet/internal/testkit"

	"bytes"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
)

func TestEveryModeKeepsMessagesWholeAndInOrder(t *testing.T) {
	testkit.OverModes(t, testkit.Modes, func(t *testing.T, mode testkit.Mode) {
		const senders, messages, clients = 4, 200, 2
		var inside sync.Map // sessions whose handler is at work
		r := mode.Start(t, nil, func(s *libnet.Session, msg []byte) {
			if _, twice := inside.LoadOrStore(s, nil); twice {
				t.Error("two messages of a session at a time")
			}
			if err := s.SendContext(t.Context(), msg); err != nil {
				t.Errorf("SendContext: %v", err)
			}
			inside.Delete(s)
		})
		var wg sync.WaitGroup
		for range clients {
			client := testkit.Adopt(t, testkit.NewServer(t, mode.Protocol, 0), r.Dial())
			testkit.SendFromMany(t, client, senders, messages)
			wg.Go(func() { testkit.ReceiveFromMany(t, client, senders, messages) })
		}
		wg.Wait()
		if stats := r.Stats(); stats.Discarded != 0 || stats.BytesOut == 0 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestEveryModeTakesFramesHoweverTheyAreSplit(t *testing.T) {
	testkit.OverModesAtOnce(t, testkit.Modes, func(t *testing.T, mode testkit.Mode) {
		r := mode.Start(t, nil, testkit.EchoMessage)
		conn := r.Dial()
		three := bytes.Join([][]byte{testkit.Frame("one"), testkit.Frame(""), testkit.Frame("three")}, nil)
		for i := range len(three) + 1 {
			testkit.MustWrite(t, conn, three[:i])
			time.Sleep(time.Millisecond) // long enough for most to be read apart
			testkit.MustWrite(t, conn, three[i:])
			for _, msg := range []string{"one", "", "three"} {
				testkit.WantFrame(t, conn, msg)
			}
		}
		large := string(testkit.Message(1, 1, 1<<20-8))
		rest := testkit.Frame(large)
		go func() {
			for step := 1; len(rest) > 0; step = step*3 + 1 {
				n := min(step, len(rest), 200_000)
				if _, err := conn.Write(rest[:n]); err != nil {
					t.Errorf("write: %v", err)
					return
				}
				rest = rest[n:]
				time.Sleep(time.Millisecond)
			}
		}()
		testkit.WantFrame(t, conn, large)
	})
}

func TestEveryModeCountsAndNamesAnEnd(t *testing.T) {
	for name, test := range map[string]struct {
		sent   []byte
		half   bool
		in     uint64
		reason error
	}{
		"at a boundary":     {bytes.Repeat(testkit.Frame("x"), 5), true, 5, io.EOF},
		"without a message": {nil, true, 0, io.EOF},
		"inside a header":   {append(testkit.Frame("x"), 0), true, 1, io.ErrUnexpectedEOF},
		"inside a message":  {append(bytes.Repeat(testkit.Frame("x"), 9), testkit.Frame("four")[:6]...), true, 9, io.ErrUnexpectedEOF},
		"a frame too large": {append(bytes.Repeat(testkit.Frame("x"), 3), 0x7f, 0xff, 0xff, 0xff), false, 3, libnet.ErrFrameTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.OverModes(t, testkit.Modes, func(t *testing.T, mode testkit.Mode) {
				r := mode.Start(t, nil, testkit.EchoMessage)
				conn, s := r.Open()
				testkit.MustWrite(t, conn, test.sent)
				if test.half {
					testkit.CloseWrite(t, conn)
				}
				got, _ := io.ReadAll(conn)
				if want := bytes.Repeat(testkit.Frame("x"), int(test.in)); test.reason == io.EOF && !bytes.Equal(got, want) {
					t.Errorf("the half-closed peer read %q", got)
				}
				r.WantClosed(s, test.reason)
				if stats := s.Stats(); stats.MessagesIn != test.in || stats.MessagesOut+stats.Discarded != test.in {
					t.Errorf("%+v; want %d messages in", stats, test.in)
				}
				in := uint64(len(test.sent))
				if sum := r.Stats(); sum.MessagesIn != test.in || sum.BytesIn != in && !testkit.IsWeb(mode.Network) {
					t.Errorf("the server's: %+v", sum)
				}
			})
		})
	}
}

// A poller hears once of input and end that arrive together.
func TestEveryModeSeesAnEndThatArrivedWhileTheHandlerWasAtWork(t *testing.T) {
	testkit.OverModes(t, testkit.Modes, func(t *testing.T, mode testkit.Mode) {
		working, finish := make(chan struct{}, 1), make(chan struct{})
		r := mode.Start(t, nil, func(s *libnet.Session, msg []byte) {
			if string(msg) == "wait" {
				working <- struct{}{}
				<-finish
			}
			_ = s.Send(msg)
		})
		conn, s := r.Open()
		testkit.MustWrite(t, conn, testkit.Frame("wait"))
		testkit.Await(t, testkit.Patience, "the handler", working)
		testkit.MustWrite(t, conn, testkit.Frame("and more"))
		testkit.CloseWrite(t, conn)
		close(finish)
		testkit.WantFrame(t, conn, "wait")
		testkit.WantFrame(t, conn, "and more")
		if _, err := testkit.ReadFrame(conn); err != io.EOF {
			t.Errorf("then %v; want io.EOF", err)
		}
		r.WantClosed(s, io.EOF)
	})
}

func TestEveryModeLetsAHandlerReplyAtShutdownAndGivesItNoOtherMessage(t *testing.T) {
	testkit.OverModes(t, testkit.Modes, func(t *testing.T, mode testkit.Mode) {
		working, finish := make(chan struct{}, 2), make(chan struct{})
		r := mode.Start(t, nil, func(s *libnet.Session, msg []byte) {
			working <- struct{}{}
			<-finish
			_ = s.Send(msg)
		})
		conn := r.Dial()
		testkit.MustWrite(t, conn, append(testkit.Frame("first"), testkit.Frame("second")...))
		testkit.Await(t, testkit.Patience, "the handler", working)
		down := make(chan error, 1)
		go func() { down <- r.Shutdown(testkit.TimeoutContext(t, testkit.Patience)) }()
		time.Sleep(30 * time.Millisecond) // nothing announces that the session has been asked
		close(finish)
		testkit.WantFrame(t, conn, "first")
		if msg, err := testkit.ReadFrame(conn); err != io.EOF {
			t.Errorf("then %q, %v; want io.EOF", msg, err)
		}
		_ = conn.Close()
		testkit.WantErr(t, "Shutdown", testkit.Await(t, testkit.Patience, "Shutdown", down), nil)
	})
}
