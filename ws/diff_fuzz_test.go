package ws_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/ws"
)

// The reference is a server of github.com/coder/websocket, which has come to its own reading of RFC 6455. Both read the
// same bytes and must find the same messages in them, and close for the same kind of reason.
func FuzzWeReadWhatTheReferenceReads(f *testing.F) {
	for _, seed := range []string{
		"",
		frame(fin|binaryFrame, "hello") + frame(fin|text, "wörld") + frame(0x88, "\x03\xe8"),
		frame(binaryFrame, "two ") + frame(ping, "?") + frame(fin, "fragments") + frame(0x88, ""),
		masked(text, "\xe2\x82") + masked(fin, "\xac"),
		long(fin|binaryFrame, strings.Repeat("x", 70_000)),
		frame(0x88, "\x00"), frame(0x88, "\x03\xed"), frame(0x88, "\x0f\xa1bye"),
		frame(0x08, ""), frame(fin|0x40|text, ""), frame(fin|0x3, ""), frame(fin, ""),
		"\x82\xff\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",
		"\x82\x05hello",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		// We refuse a header at its first wrong byte, the reference when all of it is there: what follows completes it.
		input = append(slices.Clone(input), make([]byte, 140)...)
		ours, oursCode := readByUs(t, upgradeRequest, input, nil)
		theirs, theirsCode := readByReference(t, upgradeRequest, input, nil)
		cut := oursCode == 0 || oursCode == 1009
		if cut && len(theirs) == len(ours)+1 {
			theirs = theirs[:len(ours)] // the reference takes the beginning of a message that the connection's end cuts for a whole one
		}
		if oursCode == 1009 && theirsCode == 0 {
			theirsCode = oursCode // it refuses what arrives, and not what is claimed
		}
		if oursCode == 1002 && theirsCode >= 1000 {
			theirsCode = oursCode // it does not look whether a close frame's text is UTF-8
		}
		if oursCode == 0 && theirsCode == 1000 {
			theirsCode = oursCode // an orderly close within a message is none to us
		}
		if !slices.Equal(ours, theirs) {
			t.Errorf("we read %d messages, the reference %d", len(ours), len(theirs))
		}
		if oursCode != theirsCode {
			t.Errorf("we end with %d, the reference with %d", oursCode, theirsCode)
		}
	})
}

// What ends a reading, as far as both say it: 1000 for an orderly end, 1002 and 1009 for what is wrong, 0 for a
// connection that ends, and the code of the peer otherwise.
const fuzzLimit = 100 << 10

func readByUs(t *testing.T, request string, input []byte, o *ws.HandlerOptions) (messages []string, code int) {
	pipes := libnettest.NewListener()
	srv := libnet.NewServer(pipes, ws.Protocol(frames, o), 8)
	srv.MaxMessage, srv.Linger = fuzzLimit, time.Second
	srv.Logger = slog.New(slog.DiscardHandler)
	ended := make(chan error, 1)
	served := make(chan error, 1)
	go func() {
		served <- srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
			for {
				msg, err := s.Receive()
				if err != nil {
					ended <- err
					return
				}
				messages = append(messages, string(msg))
			}
		}))
	}()
	conn, err := pipes.Dial()
	if err != nil {
		t.Fatal(err)
	}
	feed(t, conn, request, input)
	err = <-ended
	srv.Stop()
	<-served
	var e websocket.CloseError
	switch {
	case errors.As(err, &e):
		code = int(e.Code)
	case err == io.EOF:
		code = 1000
	case errors.Is(err, libnet.ErrFrameTooLarge):
		code = 1009
	case errors.Is(err, libnet.ErrMalformedFrame):
		code = 1002
	}
	return messages, code
}

// readByReference checks UTF-8 itself: the reference leaves that to its user.
func readByReference(t *testing.T, request string, input []byte, o *websocket.AcceptOptions) (messages []string, code int) {
	pipes := libnettest.NewListener()
	defer pipes.Close()
	ended := make(chan error, 1)
	web := &http.Server{ErrorLog: discardLog, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, o)
		if err != nil {
			ended <- err
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(fuzzLimit)
		for {
			kind, msg, err := c.Read(context.Background())
			if err == nil && kind == websocket.MessageText && strings.ToValidUTF8(string(msg), "") != string(msg) {
				err = libnet.ErrMalformedFrame
			}
			if err != nil {
				ended <- err
				return
			}
			messages = append(messages, string(msg))
		}
	})}
	go web.Serve(pipes)
	defer web.Close()
	conn, err := pipes.Dial()
	if err != nil {
		t.Fatal(err)
	}
	feed(t, conn, request, input)
	err = <-ended
	switch status := websocket.CloseStatus(err); {
	case status == websocket.StatusNormalClosure, status == websocket.StatusGoingAway, status == websocket.StatusNoStatusRcvd:
		code = 1000
	case status > 0:
		code = int(status)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
	case strings.Contains(err.Error(), "read limited at"):
		code = 1009
	default:
		code = 1002
	}
	return messages, code
}

// feed upgrades conn, sends input and ends.
func feed(t *testing.T, conn net.Conn, request string, input []byte) {
	t.Helper()
	write(t, conn, request)
	in := bufio.NewReader(conn)
	wantUpgrade(t, in)
	go func() {
		conn.Write(input)
		conn.(*libnettest.PipeConn).CloseWrite()
		io.Copy(io.Discard, in)
		conn.Close()
	}()
}
