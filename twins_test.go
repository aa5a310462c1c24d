package libnet_test

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// An eventMode is a way in which a server calls a handler for each message. What a peer sees must not depend
// on it, so most tests of event mode are one body over all of them.
type eventMode struct {
	name     string
	network  string
	protocol libnet.Protocol
	serve    func(*libnet.Server, libnet.MessageHandler) error
	wrap     func(net.Listener) net.Listener // nil: not at all
}

var eventModes = []eventMode{
	{"Serve", "tcp", frames, eventReceiveLoop, nil},
	{"ServeMessages", "tcp", frames, (*libnet.Server).ServeMessages, nil},
	{"Unix", "unix", frames, (*libnet.Server).ServeMessages, nil},
	{"TLS", "tls", frames, (*libnet.Server).ServeMessages, nil},
	{"Pipe", "pipe", frames, (*libnet.Server).ServeMessages, nil},
	{"plain codec", "tcp", plain, (*libnet.Server).ServeMessages, nil},
}

// eventLoops are the modes that have no goroutine a session.
var eventLoops = eventModes[1:3]

func eventReceiveLoop(srv *libnet.Server, h libnet.MessageHandler) error {
	return srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
		for {
			msg, err := s.Receive()
			if err != nil {
				return
			}
			h.ServeMessage(s, msg)
		}
	}))
}

func overEventModes(t *testing.T, modes []eventMode, test func(t *testing.T, mode eventMode)) {
	t.Helper()
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			libnettest.VerifyNone(t)
			test(t, mode)
		})
	}
}

// An eventRig is a server in one of the modes.
type eventRig struct {
	*libnet.Server
	tb       testing.TB
	mode     eventMode
	sessions chan *libnet.Session // each one admitted
	served   chan error
}

// start serves until the test ends, and then checks that the books balance.
func (mode eventMode) start(tb testing.TB, configure func(*libnet.Server), h libnet.MessageHandlerFunc) *eventRig {
	tb.Helper()
	r := &eventRig{tb: tb, mode: mode, sessions: make(chan *libnet.Session, 1<<14), served: make(chan error, 1)}
	l := mode.listen(tb)
	if mode.wrap != nil {
		l = mode.wrap(l)
	}
	r.Server = libnet.NewServer(l, mode.protocol, 64)
	r.Logger = quiet
	r.Linger = 2 * time.Second
	if mode.network == "tls" {
		r.TLSConfig = serverTLS()
	}
	if configure != nil {
		configure(r.Server)
	}
	admit := r.OnSession
	r.OnSession = func(s *libnet.Session) (err error) {
		if admit != nil {
			err = admit(s)
		}
		if err == nil {
			r.sessions <- s
		}
		return err
	}
	go func() { r.served <- mode.serve(r.Server, h) }()
	tb.Cleanup(r.stop)
	return r
}

func (mode eventMode) listen(tb testing.TB) net.Listener {
	tb.Helper()
	var l net.Listener
	var err error
	switch mode.network {
	case "pipe":
		l = libnettest.NewListener()
	case "unix":
		l, err = net.Listen("unix", filepath.Join(tb.TempDir(), "s"))
	default:
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func (r *eventRig) stop() {
	r.tb.Helper()
	r.Stop()
	if err := await(r.tb, patience, "the end of Serve", r.served); err != libnet.ErrServerClosed {
		r.tb.Errorf("serving ended with %v; want ErrServerClosed", err)
	}
	eventually(r.tb, "the close of every session", func() bool {
		stats, closed := r.Stats(), uint64(0)
		for _, n := range stats.Closed {
			closed += n
		}
		return stats.Open == 0 && r.Manager().Len() == 0 && closed == stats.Accepted
	})
}

// dial returns a client's connection, which the end of the test closes.
func (r *eventRig) dial() net.Conn {
	r.tb.Helper()
	var conn net.Conn
	var err error
	switch l := r.Listener().(type) {
	case *libnettest.Listener:
		conn, err = l.Dial()
	default:
		conn, err = net.Dial(l.Addr().Network(), l.Addr().String())
	}
	if err != nil {
		r.tb.Fatal(err)
	}
	r.tb.Cleanup(func() { _ = conn.Close() })
	if r.mode.network == "tls" {
		secured := tls.Client(conn, clientTLS())
		if err := secured.Handshake(); err != nil {
			r.tb.Fatal(err)
		}
		conn = secured
	}
	_ = conn.SetDeadline(time.Now().Add(2 * patience)) // a test that hangs tells where
	return conn
}

func (r *eventRig) dialMany(n int) []net.Conn {
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = r.dial()
	}
	return conns
}

// open dials and returns both ends.
func (r *eventRig) open() (net.Conn, *libnet.Session) {
	r.tb.Helper()
	conn := r.dial()
	return conn, await(r.tb, patience, "the session", r.sessions)
}

// wantClosed waits for the session's end and checks its reason wherever it is told.
func (r *eventRig) wantClosed(s *libnet.Session, reason error) {
	r.tb.Helper()
	await(r.tb, patience, "the session's end", s.Done())
	wantErr(r.tb, "the session's reason", s.Err(), reason)
	name := libnet.CloseReason(reason)
	eventually(r.tb, "the books to say "+name, func() bool { return r.Stats().Closed[name] > 0 })
}

func eventEcho(s *libnet.Session, msg []byte) { _ = s.Send(msg) }

// eventRead reads one frame.
func eventRead(r io.Reader) ([]byte, error) {
	var header [4]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint32(header[:]))
	_, err := io.ReadFull(r, msg)
	return msg, err
}

// eventAsk writes a message and wants it back.
func eventAsk(tb testing.TB, conn net.Conn, msg string) {
	tb.Helper()
	mustWrite(tb, conn, frame(msg))
	eventWant(tb, conn, msg)
}

func eventWant(tb testing.TB, conn net.Conn, msg string) {
	tb.Helper()
	if got, err := eventRead(conn); err != nil || string(got) != msg {
		tb.Fatalf("read %.64q, %v; want %.64q", got, err, msg)
	}
}

func eventCloseWrite(tb testing.TB, conn net.Conn) {
	tb.Helper()
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		tb.Fatalf("CloseWrite: %v", err)
	}
}

// The names that follow are those of package testkit, for the files that do not say so yet.

const (
	patience     = testkit.Patience
	faultBomb    = testkit.Bomb
	raceDetector = testkit.Race
)

type (
	connector = testkit.Connector
)

var (
	frames            = testkit.Frames
	quiet             = testkit.Quiet
	plain             = testkit.Plain
	newServer         = testkit.NewServer
	adopt             = testkit.Adopt
	message           = testkit.Message
	parseMessage      = testkit.ParseMessage
	within            = testkit.Within
	eventually        = testkit.Eventually
	wantErr           = testkit.WantErr
	wantErrLater      = testkit.CheckErr
	mustSend          = testkit.MustSend
	mustReceive       = testkit.MustReceive
	mustWrite         = testkit.MustWrite
	frame             = testkit.Frame
	timeoutContext    = testkit.TimeoutContext
	overTransports    = testkit.OverTransports
	overProtocols     = testkit.OverProtocols
	closeWithTest     = testkit.CloseWithTest
	connectPipe       = testkit.ConnectPipe
	connectTCP        = testkit.ConnectTCP
	serverTLS         = testkit.ServerTLS
	clientTLS         = testkit.ClientTLS
	steady            = testkit.Steady
	drain             = testkit.Drain
	request           = testkit.Request
	faultSize         = testkit.Size
	faultReadMemory   = testkit.ReadMemory
	faultBombProtocol = testkit.BombProtocol
)

var protocols = []struct {
	name     string
	protocol libnet.Protocol
}{
	{"codec", frames},
	{"plain codec", plain},
}

func await[T any](t testing.TB, d time.Duration, what string, c <-chan T) T {
	t.Helper()
	return testkit.Await(t, d, what, c)
}

type faultLog struct{ testkit.Log }

func (l *faultLog) with(text string) []string { return l.With(text) }

// twoWrites is a codec as users write them: it knows nothing of libnet but the Codec interface, writes
// header and body separately, and reads them so.
type twoWrites struct{ rw io.ReadWriter }

func (c *twoWrites) Receive() ([]byte, error) {
	var header [4]byte
	if _, err := io.ReadFull(c.rw, header[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(header[:])
	if n > 1<<20 {
		return nil, libnet.ErrFrameTooLarge
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c.rw, body); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return body, nil
}

func (c *twoWrites) Send(msg any) error {
	body, ok := msg.([]byte)
	if !ok {
		return fmt.Errorf("%w: %T is not bytes", libnet.ErrEncode, msg)
	}
	if _, err := c.rw.Write(binary.BigEndian.AppendUint32(nil, uint32(len(body)))); err != nil {
		return err
	}
	_, err := c.rw.Write(body)
	return err
}

func (c *twoWrites) Close() error {
	if closer, ok := c.rw.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

// funcCodec is a codec made of the functions that a test gives it; what it does not give answers that
// the stream is at its end, or nothing.
type funcCodec struct {
	receive func() ([]byte, error)
	send    func(msg any) error
	close   func() error
}

func (c *funcCodec) Receive() ([]byte, error) {
	if c.receive == nil {
		return nil, io.EOF
	}
	return c.receive()
}

func (c *funcCodec) Send(msg any) error {
	if c.send == nil {
		return nil
	}
	return c.send(msg)
}

func (c *funcCodec) Close() error {
	if c.close == nil {
		return nil
	}
	return c.close()
}

func echoReceived(s *libnet.Session) {
	for {
		msg, err := s.Receive()
		if err != nil || s.Send(&msg) != nil {
			return
		}
	}
}
