package ws_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/ws"
)

// closes reads a server's frames up to the connection's end and returns the payloads of the close frames among them.
func closes(t testing.TB, in io.Reader) (payloads []string) {
	t.Helper()
	for {
		var header [2]byte
		if _, err := io.ReadFull(in, header[:]); err != nil {
			if err != io.EOF {
				t.Fatalf("the server's frames end with %v", err)
			}
			return payloads
		}
		length := int(header[1])
		if length == 126 {
			var long [2]byte
			if _, err := io.ReadFull(in, long[:]); err != nil {
				t.Fatal(err)
			}
			length = int(binary.BigEndian.Uint16(long[:]))
		}
		payload := make([]byte, length)
		if _, err := io.ReadFull(in, payload); err != nil {
			t.Fatal(err)
		}
		if header[0] == 0x88 {
			payloads = append(payloads, string(payload))
		}
	}
}

func code(payload string) int {
	if payload == "" {
		return 1005
	}
	return int(binary.BigEndian.Uint16([]byte(payload)))
}

// wantOneClose reads to the connection's end, which must come soon though the peer closes nothing.
func wantOneClose(t testing.TB, conn net.Conn, in io.Reader, want int) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(soon))
	if got := closes(t, in); len(got) != 1 || code(got[0]) != want {
		t.Fatalf("close frames %q, want one with %d", got, want)
	}
}

var misbehaviour = map[string]struct {
	bytes string
	code  int
}{
	"reserved bit 1":                       {frame(fin|0x40|binaryFrame, "x"), 1002},
	"reserved bit 2":                       {frame(fin|0x20|binaryFrame, "x"), 1002},
	"reserved bit 3 of a ping":             {frame(0x10|ping, "x"), 1002},
	"an unknown opcode":                    {frame(fin|0x3, "x"), 1002},
	"an unknown control opcode":            {frame(fin|0xb, "x"), 1002},
	"the last opcode":                      {frame(fin|0xf, ""), 1002},
	"a frame that is not masked":           {"\x82\x05hello", 1002},
	"a ping that is not masked":            {"\x89\x00", 1002},
	"a ping in fragments":                  {frame(0x09, "x"), 1002},
	"a close frame in fragments":           {frame(0x08, "\x03\xe8"), 1002},
	"a ping of 126 bytes":                  {frame(ping, strings.Repeat("x", 126)), 1002},
	"a ping that claims 2^62 bytes":        {"\x89\xff", 1002},
	"a fragment of no message":             {frame(0, "x"), 1002},
	"a last fragment of no message":        {frame(fin, "x"), 1002},
	"a message among another's fragments":  {frame(binaryFrame, "x") + frame(fin|binaryFrame, "y"), 1002},
	"a length with its highest bit set":    {"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00", 1002},
	"a length of all bits":                 {"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", 1002},
	"a claim of 2^62 bytes":                {"\x82\xff\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 1009},
	"a claim of 2^62 bytes and some":       {"\x82\xff\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + strings.Repeat("x", 20_000), 1009},
	"a claim of one byte too many":         {"\x82\xfe\x10\x01\x00\x00\x00\x00", 1009},
	"fragments of one byte too many":       {frame(binaryFrame, strings.Repeat("x", 4096)) + "\x80\x81\x00\x00\x00\x00", 1009},
	"a text that is not UTF-8":             {frame(fin|text, "\xff"), 1007},
	"a text cut within a character":        {frame(text, "\xe2\x82") + frame(fin, ""), 1007},
	"half a close code":                    {frame(0x88, "\x03"), 1002},
	"close code 0":                         {frame(0x88, "\x00\x00"), 1002},
	"close code 999":                       {frame(0x88, "\x03\xe7"), 1002},
	"close code 1004":                      {frame(0x88, "\x03\xec"), 1002},
	"close code 1005":                      {frame(0x88, "\x03\xed"), 1002},
	"close code 1006":                      {frame(0x88, "\x03\xee"), 1002},
	"close code 1015":                      {frame(0x88, "\x03\xf7"), 1002},
	"close code 1016":                      {frame(0x88, "\x03\xf8"), 1002},
	"close code 2999":                      {frame(0x88, "\x0b\xb7"), 1002},
	"close code 5000":                      {frame(0x88, "\x13\x88"), 1002},
	"close code 65535":                     {frame(0x88, "\xff\xff"), 1002},
	"a close reason that is not UTF-8":     {frame(0x88, "\x03\xe8\xff"), 1007},
	"a close reason cut within a rune":     {frame(0x88, "\x03\xe8\xe2\x82"), 1007},
	"a second close frame":                 {frame(0x88, "\x0f\xa1") + frame(0x88, "\x03\xe8"), 4001},
	"a close frame with no code":           {frame(0x88, ""), 1005},
	"a fault behind a close frame":         {frame(0x88, "\x03\xe9") + "\xff\xff", 1001},
	"a close frame among fragments":        {frame(binaryFrame, "x") + frame(0x88, "\x03\xe8"), 1000},
	"a fault behind a message":             {frame(fin|binaryFrame, "hello") + "\xf2\x80", 1002},
	"the bytes of another protocol":        {"GET / HTTP/1.1\r\n\r\n", 1002},
	"a fault behind a ping without answer": {frame(ping, "") + frame(0x83, ""), 1002},
}

func TestWhatAPeerDoesWrongEndsWithOneCloseFrame(t *testing.T) {
	for name, test := range misbehaviour {
		t.Run(name, func(t *testing.T) {
			r := start(t, setup{handler: sink, config: func(srv *libnet.Server) { srv.MaxMessage = 4096 }})
			conn, in := r.raw(t)
			s := r.session(t)
			write(t, conn, test.bytes)
			wantOneClose(t, conn, in, test.code)
			<-s.Done()
		})
	}
}

// Nobody waits for a peer that has done wrong, not for its end and not for the rest of a frame.
func TestWhatAPeerDoesWrongEndsItsSessionAtOnce(t *testing.T) {
	for name, test := range misbehaviour {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
				r := start(t, setup{listener: pipes, handler: sink, config: func(srv *libnet.Server) { srv.MaxMessage = 4096 }})
				conn, in := r.raw(t)
				s := r.session(t)
				begin := time.Now()
				write(t, conn, test.bytes)
				wantOneClose(t, conn, in, test.code)
				<-s.Done()
				if took := time.Since(begin); took != 0 {
					t.Errorf("took %v", took)
				}
				if name == "a claim of 2^62 bytes" && !errors.Is(s.Err(), libnet.ErrFrameTooLarge) {
					t.Error(s.Err())
				}
			})
		})
	}
}

func TestAClaimedLengthAllocatesNothing(t *testing.T) {
	r := start(t, setup{handler: sink, config: func(srv *libnet.Server) { srv.MaxMessage = -1 }})
	conn, _ := r.raw(t)
	r.session(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	write(t, conn, "\x82\xff\x00\x00\x00\x00\x70\x00\x00\x00\x00\x00\x00\x00and some")
	time.Sleep(50 * time.Millisecond)
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
		t.Fatalf("allocated %d bytes for a claim", grown)
	}
}

// A masked frame is a server's fault, and a client says so.
func TestAServerThatMasksIsClosed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	got := make(chan []string, 1)
	go func() {
		conn, in := acceptRaw(t, listener)
		defer conn.Close()
		write(t, conn, frame(fin|text, "x"))
		var payloads []string
		for {
			first, payload, err := clientFrame(in)
			if err != nil {
				got <- payloads
				return
			}
			if first == 0x88 {
				payloads = append(payloads, payload)
			}
		}
	}()
	r := &rig{listener: listener}
	client := r.dial(t, 0)
	if _, err := client.Receive(); !errors.Is(err, libnet.ErrMalformedFrame) {
		t.Errorf("received %v", err)
	}
	if payloads := <-got; len(payloads) != 1 || code(payloads[0]) != 1002 {
		t.Errorf("close frames %q, want one with 1002", payloads)
	}
}

// clientFrame reads a short frame of a client's.
func clientFrame(in *bufio.Reader) (first byte, payload string, err error) {
	var header [6]byte
	if _, err := io.ReadFull(in, header[:]); err != nil {
		return 0, "", err
	}
	b := make([]byte, header[1]&0x7f)
	_, err = io.ReadFull(in, b)
	for i := range b {
		b[i] ^= header[2+i%4]
	}
	return header[0], string(b), err
}

func TestNothingFollowsTheCloseFrame(t *testing.T) {
	inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
		r := start(t, setup{listener: pipes, handler: sink})
		conn, in := r.raw(t)
		go r.session(t).Shutdown(t.Context())
		closing := make([]byte, 4)
		if _, err := io.ReadFull(in, closing); err != nil || string(closing) != "\x88\x02\x03\xe8" {
			t.Fatalf("%q, %v", closing, err)
		}
		write(t, conn, frame(ping, "are you there?")+frame(fin|binaryFrame, "hello")+"\xff\xff")
		if rest, err := io.ReadAll(in); len(rest) > 0 || err != nil {
			t.Fatalf("%q behind the close frame, %v", rest, err)
		}
	})
}

// What the peer still sends when it is closed must not reset the connection: it would lose the reason.
func TestAPeerThatGoesOnSendingSeesTheCloseCode(t *testing.T) {
	r := start(t, setup{handler: sink, config: func(srv *libnet.Server) { srv.MaxMessage = 4096 }})
	for range 20 {
		conn, in := r.raw(t)
		s := r.session(t)
		go func() {
			for range 100 {
				if _, err := io.WriteString(conn, frame(fin|binaryFrame, strings.Repeat("x", 5000))); err != nil {
					return
				}
			}
		}()
		conn.SetReadDeadline(time.Now().Add(soon))
		if got := closes(t, in); len(got) != 1 || code(got[0]) != 1009 {
			t.Fatalf("close frames %q", got)
		}
		conn.Close()
		wantEnd(t, s, libnet.ErrFrameTooLarge)
	}
}

func TestAMessageThatTheClosingCutsIsNotAnOrderlyEnd(t *testing.T) {
	r := start(t, setup{handler: sink})
	conn, _ := r.raw(t)
	s := r.session(t)
	write(t, conn, frame(binaryFrame, "first half")+frame(0x88, "\x03\xe8"))
	wantEnd(t, s, io.ErrUnexpectedEOF)
}

func TestAPeersReasonThatIsRightIsThatOfTheSession(t *testing.T) {
	r := start(t, setup{handler: sink})
	conn, in := r.raw(t)
	s := r.session(t)
	write(t, conn, frame(0x88, "\x0f\xa1wörld"))
	wantOneClose(t, conn, in, 4001)
	wantEnd(t, s, websocket.CloseError{Code: 4001, Reason: "wörld"})
}

// A session cuts most frames without the codec, which alone knows what may follow a fragment: whole reads of their own
// are what that must not be done with.
func TestAMessageAmongAnothersFragmentsIsRefusedInAReadOfItsOwn(t *testing.T) {
	eachProtocolMode(t, func(t *testing.T) {
		for name, test := range map[string]struct {
			first byte
			text  bool
		}{"bytes": {binaryFrame, false}, "text": {text, true}} {
			t.Run(name, func(t *testing.T) {
				r := start(t, setup{queue: 8, options: &ws.HandlerOptions{Text: test.text}})
				conn, in := r.raw(t)
				whole := frame(fin|test.first, "whole")
				for range 2 {
					write(t, conn, whole+frame(test.first, "frag")+frame(ping, "read"))
					wantFrames(t, in, answer(fin|test.first, "whole")+answer(pong, "read"))
					write(t, conn, frame(fin, "ment"))
					wantFrames(t, in, answer(fin|test.first, "fragment"))
				}
				write(t, conn, frame(test.first, "frag")+frame(ping, "read"))
				wantFrames(t, in, answer(pong, "read"))
				write(t, conn, whole)
				wantOneClose(t, conn, in, 1002)
			})
		}
	})
}

// wantFrames reads as many bytes as it wants.
func wantFrames(t testing.TB, in io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(in, got); err != nil || string(got) != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}
