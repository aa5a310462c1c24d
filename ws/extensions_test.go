package ws_test

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/ws"
)

func TestCompressionIsAgreedToAsItWasOffered(t *testing.T) {
	const withBits = deflateAnswer + "; server_max_window_bits=15"
	offers := map[string]string{
		"permessage-deflate":                                                         deflateAnswer,
		"permessage-deflate; client_max_window_bits":                                 deflateAnswer, // Chromium's
		"permessage-deflate; client_max_window_bits=8":                               deflateAnswer,
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover": deflateAnswer,
		"permessage-deflate;server_max_window_bits=15":                               withBits,
		"permessage-deflate; server_max_window_bits=\"15\"":                          withBits,
		"permessage-deflate; server_max_window_bits=\"1\\5\"":                        withBits,
		"permessage-deflate; server_max_window_bits=9, permessage-deflate":           deflateAnswer,
		"permessage-deflate; server_max_window_bits=9, permessage-deflate; unknown":  "",
		"x-webkit-deflate-frame, , permessage-deflate ; client_no_context_takeover":  deflateAnswer,
		"other; a=b; c=\"d\", permessage-deflate":                                    deflateAnswer,
		"":      "",
		"other": "",
		"permessage-deflate; server_max_window_bits":                                 "",
		"permessage-deflate; server_max_window_bits=14":                              "",
		"permessage-deflate; server_max_window_bits=16":                              "",
		"permessage-deflate; server_max_window_bits=7":                               "",
		"permessage-deflate; server_max_window_bits=015":                             "",
		"permessage-deflate; server_max_window_bits=+15":                             "",
		"permessage-deflate; client_max_window_bits=16":                              "",
		"permessage-deflate; server_no_context_takeover=1":                           "",
		"permessage-deflate; client_no_context_takeover; client_no_context_takeover": "",
		"permessage-deflate; client_max_window_bits; client_max_window_bits=15":      "",
		"permessage-deflate; threads=2":                                              "",
	}
	eachMode(t, func(t *testing.T) {
		r := start(t, setup{options: withCompressFrom(nil, 1)})
		for offer, want := range offers {
			if _, _, answer := r.rawWith(t, "Sec-WebSocket-Extensions: "+offer); answer.Get("Sec-WebSocket-Extensions") != want {
				t.Errorf("%s: %q", offer, answer["Sec-Websocket-Extensions"])
			}
		}
		_, _, answer := r.rawWith(t, "Sec-WebSocket-Extensions: other", "Sec-WebSocket-Extensions: permessage-deflate")
		if got := answer["Sec-Websocket-Extensions"]; len(got) != 1 || got[0] != deflateAnswer {
			t.Errorf("offered in the second line: %q", got)
		}
	})
}

// RFC 6455, 9.1. Where compression is off nobody looks.
func TestARequestWhoseOffersCannotBeReadIsRefused(t *testing.T) {
	offers := []string{
		"permessage-deflate; client_max_window_bits=",
		"permessage-deflate; client_no_context_takeover=\"\"",
		"permessage-deflate;",
		"permessage-deflate; server_max_window_bits=\"15",
		"permessage-deflate; server_max_window_bits=\"15, permessage-deflate\"",
		"permessage-deflate client_no_context_takeover",
		"permessage-deflate, other; =",
		"permessage deflate",
	}
	eachMode(t, func(t *testing.T) {
		for _, from := range []int{0, 1} {
			r := start(t, setup{options: withCompressFrom(nil, from)})
			for _, offer := range offers {
				conn := r.connect(t)
				write(t, conn, request("Sec-WebSocket-Extensions: "+offer))
				response, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				if want := []int{http.StatusSwitchingProtocols, http.StatusBadRequest}[from]; response.StatusCode != want {
					t.Errorf("%s: %d, want %d", offer, response.StatusCode, want)
				}
				for field := range response.Header {
					if response.StatusCode == http.StatusBadRequest && (field == "Upgrade" || strings.HasPrefix(field, "Sec-")) {
						t.Errorf("%s: a refusal with a field %s", offer, field)
					}
				}
			}
		}
	})
}

// The answers that RFC 7692, 7.1 allows to what Dial offers, which is that neither side keeps a context; and those that
// it does not.
func TestDialAgreesToNothingButWhatItHasOffered(t *testing.T) {
	const agreed, plain, wrong = "agreed", "plain", "wrong"
	for answer, want := range map[string]string{
		"":            plain,
		deflateAnswer: agreed,
		"permessage-deflate; server_no_context_takeover":                           agreed,
		"permessage-deflate; server_no_context_takeover; server_max_window_bits=8": agreed,
		"permessage-deflate":                                                         wrong, // without what was asked for
		"permessage-deflate; client_no_context_takeover":                             wrong,
		"permessage-deflate; server_no_context_takeover; client_max_window_bits=15":  wrong, // which was not offered
		"permessage-deflate; server_no_context_takeover; server_max_window_bits=7":   wrong,
		"permessage-deflate; server_no_context_takeover; server_max_window_bits":     wrong,
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover": wrong,
		"permessage-deflate; server_no_context_takeover=1":                           wrong,
		"permessage-deflate; server_no_context_takeover; unknown":                    wrong,
		"permessage-deflate; server_no_context_takeover, other":                      wrong,
		"permessage-deflate; server_no_context_takeover;":                            wrong,
		"other": wrong,
		"permessage-deflate; server_no_context_takeover\r\nSec-WebSocket-Extensions: other": wrong,
	} {
		t.Run(answer, func(t *testing.T) {
			compressed, err := dialAnswered(t, answer, 1)
			got := map[bool]string{true: agreed, false: plain}[compressed]
			if err != nil {
				got = wrong
			}
			if got != want {
				t.Errorf("%s (%v), want %s", got, err, want)
			}
			var told *ws.HandshakeError
			if want == wrong && !errors.As(err, &told) {
				t.Errorf("the error is %v", err)
			}
			if _, err = dialAnswered(t, answer, 0); (err == nil) != (want == plain) {
				t.Errorf("%v, though nothing was offered", err)
			}
		})
	}
}

// dialAnswered dials a server that answers with extensions, and reports whether a message comes compressed.
func dialAnswered(t *testing.T, extensions string, compressFrom int) (compressed bool, err error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	message := strings.Repeat("message", 10)
	first := make(chan byte, 1)
	go func() {
		conn, in := acceptRaw(t, listener, "Sec-WebSocket-Extensions: "+extensions)
		defer conn.Close()
		got, payload, err := readFrame(in)
		switch {
		case err != nil:
			got = 0
		case got&compressedFrame != 0 && inflate(t, payload) != message, got&compressedFrame == 0 && payload != message:
			t.Errorf("another message was sent: %q", payload)
		}
		first <- got
		io.Copy(io.Discard, in)
	}()
	d := &libnet.Dialer{Protocol: frames}
	d.Logger = slog.New(slog.DiscardHandler)
	s, err := ws.Dial(t.Context(), "ws://"+listener.Addr().String(), d, &ws.DialOptions{CompressFrom: compressFrom})
	if err != nil {
		if got := <-first; got != 0 {
			t.Errorf("a frame %x came before the connection was closed", got)
		}
		return false, err
	}
	defer s.Close()
	send(t, s, message)
	return <-first&compressedFrame != 0, nil
}
