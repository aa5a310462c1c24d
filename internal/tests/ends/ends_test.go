package ends

import (
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

const (
	requests    = 5        // that the peer sends where input is to lie unread
	requestSize = 8        // without its header
	bigFrame    = 32 << 10 // of what is sent where output is to lie unwritten
)

// TestEveryEndIsWhatItsRowOfTheTableSays runs the table: each end over each transport, in each mode, with each thing on
// the way.
func TestEveryEndIsWhatItsRowOfTheTableSays(t *testing.T) {
	testkit.Slow(t)
	for _, e := range table {
		for _, transport := range []string{"tcp", "unix", "tls", "pipe", "ws", "wss"} {
			for _, mode := range []string{"serve", "messages", "accept"} {
				for _, queue := range []int{0, 64} {
					for _, what := range []inTransit{nothing, unread, unwritten} {
						if !e.appliesTo(what, transport) || !e.appliesIn(mode, queue) {
							continue
						}
						t.Run(fmt.Sprintf("%s/%s/%s/queue %d/%s", e.who, transport, mode, queue, what), func(t *testing.T) {
							t.Parallel()
							newScenario(t, &e, transport, mode, queue, what).run()
						})
					}
				}
			}
		}
	}
}

// A scenario is one session from its beginning to its end.
type scenario struct {
	t         *testing.T
	end       *end
	what      inTransit
	transport string
	listener  net.Listener
	server    *libnet.Server
	session   *libnet.Session
	peer      net.Conn

	made     chan *libnet.Session
	working  chan struct{} // closed when the handler has its first message
	release  chan struct{} // closed when it may go on
	first    sync.Once
	replies  atomic.Bool
	received atomic.Int32
	accepted atomic.Int32 // messages that Send took
	sender   sync.WaitGroup
	wg       sync.WaitGroup
}

func newScenario(t *testing.T, e *end, transport, mode string, queue int, what inTransit) *scenario {
	c := &scenario{t: t, end: e, what: what, transport: transport, made: make(chan *libnet.Session, 1),
		working: make(chan struct{}), release: make(chan struct{})}
	c.listener = testkit.Listen(t, transport)
	c.server = libnet.NewServer(c.listener, testkit.Spoken(transport, testkit.Frames), queue)
	c.server.Logger = slog.New(slog.DiscardHandler)
	c.server.Linger = 500 * time.Millisecond
	if testkit.HasTLS(transport) {
		c.server.TLSConfig = testkit.ServerTLS()
	}
	if e.set != nil {
		e.set(c.server)
	}
	admit := c.server.OnSession
	c.server.OnSession = func(s *libnet.Session) error {
		c.made <- s
		if admit != nil {
			return admit(s)
		}
		return nil
	}
	t.Cleanup(c.server.Stop)
	go c.serve(mode)
	return c
}

func (c *scenario) serve(mode string) {
	receive := libnet.HandlerFunc(func(s *libnet.Session) {
		for {
			msg, err := s.Receive()
			if err != nil {
				return
			}
			c.handle(s, msg)
		}
	})
	switch mode {
	case "serve":
		_ = c.server.Serve(receive)
	case "messages":
		_ = c.server.ServeMessages(libnet.MessageHandlerFunc(c.handle))
	case "accept":
		for {
			s, err := c.server.Accept()
			if err != nil {
				return
			}
			go receive(s)
		}
	}
}

func (c *scenario) handle(s *libnet.Session, msg []byte) {
	c.received.Add(1)
	c.first.Do(func() { close(c.working) })
	if c.what == unread {
		<-c.release
	}
	if c.replies.Load() {
		time.Sleep(time.Millisecond)
		c.send(s, msg)
	}
}

func (c *scenario) send(s *libnet.Session, msg []byte) error {
	err := s.Send(msg)
	if err == nil {
		c.accepted.Add(1)
	}
	return err
}

func (c *scenario) run() {
	defer c.wg.Wait()
	defer c.peerCloses()
	released := sync.OnceFunc(func() { close(c.release) })
	defer released()
	c.peer = c.dial()
	c.session = c.awaitSession(c.made)
	if testkit.HasTLS(c.transport) { // an end before the handshake is another matter
		_, _ = c.session.TLS()
	}
	read := make(chan peerSaw, 1)
	switch c.what {
	case unread:
		c.sendRequests()
		c.await(c.working)
	case unwritten:
		c.fill()
	}
	begun := time.Now()
	if c.end.does != nil {
		c.end.does(c)
	}
	if c.what == unread {
		c.wg.Go(func() {
			awaitOthers()
			released()
		})
	}
	c.wg.Go(func() { read <- c.readAll() })
	c.await(c.session.Done())
	if took := time.Since(begun); took > c.end.within {
		c.t.Errorf("took %v", took)
	}
	saw := c.awaitPeer(read)
	c.sender.Wait()
	c.check(saw)
}

func (c *scenario) peerCloses() {
	if c.peer != nil {
		_ = c.peer.Close()
	}
}

// sendRequests writes with one call: what a peer's kernel has not sent when it closes, did not arrive.
func (c *scenario) sendRequests() {
	var b []byte
	for i := range requests {
		b = binary.BigEndian.AppendUint32(b, requestSize)
		b = binary.BigEndian.AppendUint64(b, uint64(i))
	}
	if _, err := c.peer.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// fill sends until nothing more is taken, or, where Send waits, until one does.
func (c *scenario) fill() {
	full := make(chan struct{})
	fullOnce := sync.OnceFunc(func() { close(full) })
	c.sender.Go(func() {
		for {
			stuck := time.AfterFunc(30*time.Millisecond, fullOnce)
			err := c.send(c.session, make([]byte, bigFrame))
			stuck.Stop()
			if err != nil {
				fullOnce()
				return
			}
		}
	})
	c.await(full)
}

type peerSaw struct {
	messages int32
	err      error
	code     uint16 // of the close frame, where there are any
}

// readAll is the peer that reads to the end and closes then.
func (c *scenario) readAll() (saw peerSaw) {
	var header [4]byte
	for {
		if _, err := io.ReadFull(c.peer, header[:]); err != nil {
			saw.err = err
			break
		}
		if _, err := io.CopyN(io.Discard, c.peer, int64(binary.BigEndian.Uint32(header[:]))); err != nil {
			saw.err = fmt.Errorf("in a frame: %w", err)
			break
		}
		saw.messages++
	}
	if web, ok := c.peer.(*testkit.WebConn); ok {
		saw.code = web.CloseCode()
	}
	_ = c.peer.Close()
	return saw
}

func (c *scenario) check(saw peerSaw) {
	c.t.Helper()
	if reason := libnet.CloseReason(c.session.Err()); !strings.Contains(" "+c.end.reasons+" ", " "+reason+" ") {
		c.t.Errorf("the reason is %s, %v; want one of: %s", reason, c.session.Err(), c.end.reasons)
	}
	stats := c.session.Stats()
	c.checkReceived(stats)
	c.checkSent(stats, saw)
	switch {
	case c.end.peer == sees && saw.err != io.EOF:
		c.t.Errorf("behind %d messages the peer saw %v, want io.EOF", saw.messages, saw.err)
	case c.end.peer == seesReset && saw.err == nil:
		c.t.Error("the peer saw no end")
	}
	if testkit.IsWeb(c.transport) && c.end.peer != seesNone && saw.err == io.EOF && saw.code != c.end.code {
		c.t.Errorf("the close frame has code %d, want %d", saw.code, c.end.code)
	}
}

func (c *scenario) checkReceived(stats libnet.SessionStats) {
	c.t.Helper()
	if c.what != unread {
		return
	}
	switch got := c.received.Load(); c.end.received {
	case allReceived:
		if got != requests || stats.MessagesIn != requests {
			c.t.Errorf("received %d messages, and counted %d, of %d that had arrived", got, stats.MessagesIn, requests)
		}
	case atWorkReceived:
		if got != 1 {
			c.t.Errorf("received %d messages, want the one at work", got)
		}
		if frameSize := c.headerSize() + requestSize; hasDescriptor(c.transport) && stats.Dropped != uint64((requests-1)*frameSize) {
			c.t.Errorf("%d bytes dropped, want those of %d messages: %+v", stats.Dropped, requests-1, stats)
		}
	}
}

// headerSize is that of a request.
func (c *scenario) headerSize() int {
	if testkit.IsWeb(c.transport) {
		return 2 + 4 // with a mask
	}
	return testkit.HeaderSize
}

func (c *scenario) checkSent(stats libnet.SessionStats, saw peerSaw) {
	c.t.Helper()
	if c.server.OnSession != nil && c.end.when != nil { // the word of a refusal
		c.accepted.Store(1)
	}
	accepted := uint64(c.accepted.Load())
	if stats.MessagesOut+stats.Discarded != accepted || stats.Queued != 0 {
		c.t.Errorf("%d messages were accepted: %+v", accepted, stats)
	}
	if c.end.sent == delivered && (stats.Discarded != 0 || uint64(saw.messages) != accepted) {
		c.t.Errorf("%d messages were accepted, %d arrived, %d discarded", accepted, saw.messages, stats.Discarded)
	}
}

// spawn returns when f is about to begin, however busy the machine is.
func (c *scenario) spawn(f func()) {
	begins := make(chan struct{})
	c.wg.Go(func() {
		close(begins)
		f()
	})
	<-begins
}

// awaitOthers returns when those who were about to do something have most likely done it, after the longer the busier
// the machine is: nothing announces that a handler at work has been asked to stop.
func awaitOthers() {
	for range 20 {
		time.Sleep(10 * time.Millisecond)
	}
}

func (c *scenario) await(done <-chan struct{}) {
	c.t.Helper()
	testkit.Await(c.t, 2*testkit.Patience, "what a step waits for", done)
}

func (c *scenario) awaitSession(made <-chan *libnet.Session) *libnet.Session {
	c.t.Helper()
	return testkit.Await(c.t, 2*testkit.Patience, "the session", made)
}

func (c *scenario) awaitPeer(read <-chan peerSaw) peerSaw {
	c.t.Helper()
	return testkit.Await(c.t, 2*testkit.Patience, "the peer's end", read)
}

func (c *scenario) dial() net.Conn {
	conn, err := testkit.Dial(c.listener, c.transport)
	if err != nil {
		c.t.Fatal(err)
	}
	return conn
}
