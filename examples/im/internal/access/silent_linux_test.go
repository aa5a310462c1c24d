package access_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"testing"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/imtest"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
)

func TestAUserWhoIsSilentHasNoGoroutine(t *testing.T) {
	r := newRig(t)
	s := r.start(nil)
	for name, logIn := range map[string]func(*testing.T, *rig, *server, int64){"TCP": logInOverTCP, "WebSocket": logInOverWebSocket} {
		t.Run(name, func(t *testing.T) {
			const users = 40
			logIn(t, r, s, users+1)
			before := runtime.NumGoroutine()
			for user := range int64(users) {
				logIn(t, r, s, user+1)
			}
			imtest.Eventually(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() < before+users/4 })
			if n := s.Load(); n < users {
				t.Errorf("%d sessions are open", n)
			}
		})
	}
}

// connectTo returns a connection without a goroutine, which a client has.
func connectTo(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(imtest.Patience))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func logInOverTCP(t *testing.T, r *rig, s *server, user int64) {
	request := wire.Encode(&wire.ReqLogin{Cmd: wire.CmdLogin, UID: user, Token: r.token(user)})
	exchange(t, connectTo(t, s.Addr()), append(binary.BigEndian.AppendUint16(nil, uint16(len(request))), request...))
}

func logInOverWebSocket(t *testing.T, r *rig, s *server, user int64) {
	address, err := url.Parse(s.WebSocketURL())
	if err != nil {
		t.Fatal(err)
	}
	conn := connectTo(t, address.Host)
	if _, err := io.WriteString(conn, "GET "+address.Path+" HTTP/1.1\r\nHost: "+address.Host+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(response, err)
	}
	request := wire.Encode(&wire.ReqLogin{Cmd: wire.CmdLogin, UID: user, Token: r.token(user)})
	const wholeAndBinary, masked, lengthIn16 = 0x82, 0x80, 126
	frame := binary.BigEndian.AppendUint16([]byte{wholeAndBinary, masked | lengthIn16}, uint16(len(request)))
	frame = append(frame, 0, 0, 0, 0) // a mask that changes nothing
	exchange(t, conn, append(frame, request...))
}

// exchange sends a frame and checks that the one that answers lets the user in.
func exchange(t *testing.T, conn net.Conn, frame []byte) {
	t.Helper()
	if _, err := conn.Write(frame); err != nil {
		t.Fatal(err)
	}
	want := wire.Encode(wire.OK(wire.CmdLogin))
	answer := make([]byte, 2+len(want))
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer[2:]) != string(want) {
		t.Fatalf("%x, %v; want %x", answer, err, want)
	}
}
