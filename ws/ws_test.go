package ws_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/ws"
)

func TestOneWebSocketMessageIsOneMessageWithoutTheServersFraming(t *testing.T) {
	for name, protocol := range map[string]libnet.Protocol{
		"Uint16BE": codec.New(codec.Uint16BE, codec.Bytes),
		"Uvarint":  codec.New(codec.Uvarint, codec.Bytes),
		"Lines":    codec.New(codec.Lines, codec.Bytes),
	} {
		t.Run(name, func(t *testing.T) {
			browser := start(t, setup{protocol: protocol, queue: 8}).browser(t)
			for _, msg := range []string{"hello", "", "\x00\x01\x02", strings.Repeat("long ", 5000)} {
				if err := browser.Write(t.Context(), websocket.MessageBinary, []byte(msg)); err != nil {
					t.Fatal(err)
				}
				typ, got, err := browser.Read(t.Context())
				if typ != websocket.MessageBinary || string(got) != msg || err != nil {
					t.Fatalf("got %v %s, %v; want binary %s", typ, abridge(got), err, abridge([]byte(msg)))
				}
			}
		})
	}
}

func TestTextMessagesCarryJSON(t *testing.T) {
	type greeting struct{ Hello string }
	r := start(t, setup{
		protocol: codec.New(codec.Uint16BE, codec.JSON),
		options:  &ws.HandlerOptions{Text: true},
		handler: libnet.HandlerFunc(func(s *libnet.Session) {
			msg, _ := s.Receive()
			s.Send(greeting{string(msg)})
		}),
	})
	browser := r.browser(t)
	browser.Write(t.Context(), websocket.MessageText, []byte("wörld"))
	typ, got, err := browser.Read(t.Context())
	if typ != websocket.MessageText || string(got) != `{"Hello":"wörld"}` || err != nil {
		t.Fatalf("got %v %q, %v", typ, got, err)
	}
}

func TestTextThatIsNotUTF8IsAnErrorOfSendAndOfThePeer(t *testing.T) {
	r := start(t, setup{options: &ws.HandlerOptions{Text: true}})
	browser := r.browser(t)
	s := r.session(t)
	if err := s.Send("\xff"); err == nil || s.IsClosed() {
		t.Fatalf("Send: %v, closed %v", err, s.IsClosed())
	}
	browser.Write(t.Context(), websocket.MessageText, []byte("\xff"))
	wantCode(t, browser, websocket.StatusInvalidFramePayloadData)
	wantEnd(t, s, libnet.ErrMalformedFrame)
}

func TestManyMessagesOfAllSizesArriveInOrderBothWays(t *testing.T) {
	for _, queue := range []int{0, 64} {
		r := start(t, setup{queue: queue})
		client := r.dial(t, queue)
		const n = 3000
		message := func(i int) []byte {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			size := random.IntN(300)
			if i%500 == 0 {
				size = random.IntN(300_000)
			}
			msg := make([]byte, size)
			for k := range msg {
				msg[k] = byte(i + k)
			}
			return msg
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range n {
				if err := client.SendContext(t.Context(), message(i)); err != nil {
					t.Error(i, err)
					return
				}
			}
		})
		for i := range n {
			got, err := client.Receive()
			if err != nil || !bytes.Equal(got, message(i)) {
				t.Fatalf("message %d: %s, %v", i, abridge(got), err)
			}
		}
		wg.Wait()
	}
}

// A session writes 16 KiB at a time, so every way to cut a message up comes about.
func TestLargeMessagesAreSentInFragmentsAndReceivedWhole(t *testing.T) {
	r := start(t, setup{queue: 100})
	client := r.dial(t, 100)
	for _, around := range []int{16 << 10, 32 << 10, 100 << 10} {
		for size := around - 12; size <= around; size++ {
			msg := strings.Repeat("x", size-1) + "."
			send(t, client, msg)
			send(t, client, "small")
			want(t, client, msg)
			want(t, client, "small")
		}
	}
}

func TestSendersOfManyGoroutinesDoNotMix(t *testing.T) {
	r := start(t, setup{queue: 0, handler: sink})
	client := r.browser(t)
	s := r.session(t)
	const senders, each = 8, 200
	for k := range senders {
		go func() {
			for i := range each {
				s.Send(strings.Repeat(string(rune('a'+k)), 1+i*7))
			}
		}()
	}
	next := make(map[byte]int)
	for range senders * each {
		_, got, err := client.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		k := got[0]
		if len(got) != 1+next[k]*7 || strings.Trim(string(got), string(k)) != "" {
			t.Fatalf("sender %c: got %s, want its message %d", k, abridge(got), next[k])
		}
		next[k]++
	}
}

func TestAnOrderlyEndOfThePeerIsEOFBehindItsLastMessage(t *testing.T) {
	for name, code := range map[string]websocket.StatusCode{"normal": 1000, "going away": 1001, "none": 1005} {
		t.Run(name, func(t *testing.T) {
			var got []string
			r := start(t, setup{handler: libnet.HandlerFunc(func(s *libnet.Session) {
				for {
					msg, err := s.Receive()
					if err != nil {
						return
					}
					got = append(got, string(msg))
				}
			})})
			browser := r.browser(t)
			s := r.session(t)
			for i := range 100 {
				browser.Write(t.Context(), websocket.MessageBinary, []byte(numbered(i)))
			}
			if err := browser.Close(code, ""); err != nil {
				t.Fatal(err)
			}
			wantEnd(t, s, io.EOF)
			if len(got) != 100 || got[99] != numbered(99) {
				t.Fatalf("received %d messages", len(got))
			}
		})
	}
}

func TestAnotherCloseCodeOfThePeerIsTheReason(t *testing.T) {
	r := start(t, setup{})
	browser := r.browser(t)
	s := r.session(t)
	browser.Close(4321, "bye")
	wantEnd(t, s, websocket.CloseError{Code: 4321, Reason: "bye"})
}

func TestCloseIsEOFForThePeer(t *testing.T) {
	r := start(t, setup{handler: sink})
	client := r.dial(t, 0)
	s := r.session(t)
	s.Close()
	if _, err := client.Receive(); err != io.EOF {
		t.Fatalf("client: %v", err)
	}
	wantEnd(t, s, libnet.ErrSessionClosed)
}

func TestAddressesAreThoseOfTheConnection(t *testing.T) {
	r := start(t, setup{})
	client := r.dial(t, 0)
	s := r.session(t)
	if s.RemoteAddr().String() != client.LocalAddr().String() || s.LocalAddr().String() != client.RemoteAddr().String() {
		t.Fatalf("server %v - %v, client %v - %v", s.LocalAddr(), s.RemoteAddr(), client.LocalAddr(), client.RemoteAddr())
	}
}

func TestShutdownOfTheClientDeliversWhatItQueued(t *testing.T) {
	received := make(chan int, 1)
	r := start(t, setup{handler: libnet.HandlerFunc(func(s *libnet.Session) {
		n := 0
		for {
			if _, err := s.Receive(); err != nil {
				received <- n
				return
			}
			n++
		}
	})})
	client := r.dial(t, 10_000)
	for i := range 10_000 {
		send(t, client, numbered(i))
	}
	if err := client.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n := <-received; n != 10_000 {
		t.Fatalf("received %d", n)
	}
	wantEnd(t, r.session(t), io.EOF)
}
