package ws_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/ws"
)

// addrlessConn is a user's, as of a tunnel, that knows no addresses.
type addrlessConn struct {
	net.Conn
	typed bool
}

func (c addrlessConn) RemoteAddr() net.Addr {
	if c.typed {
		return (*net.TCPAddr)(nil)
	}
	return nil
}

func TestAConnWithoutAnAddressBecomesASessionAsAnyOther(t *testing.T) {
	for name, typed := range map[string]bool{"nil": false, "a typed nil": true} {
		t.Run(name, func(t *testing.T) {
			l := userListener{testkit.Listen(t, "tcp"), func(conn net.Conn) net.Conn { return addrlessConn{conn, typed} }}
			srv := libnet.NewServer(l, ws.Protocol(codec.New(codec.Uint16BE, codec.Bytes), nil), 8)
			requests := make(chan *http.Request, 1)
			go srv.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) { requests <- ws.Request(s) }))
			defer srv.Stop()
			conn, err := testkit.DialTCP(srv.Listener().Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			write(t, conn, upgradeRequest+masked(fin|binaryFrame, "hello"))
			if r := testkit.Await(t, testkit.Patience, "a message", requests); r == nil || r.RemoteAddr != "" {
				t.Errorf("the request is %v", r)
			}
		})
	}
}

// What middleware does to a request is seen when its connection has been taken over.
func TestAConnectionWhoseRequestCannotBeKeptIsClosed(t *testing.T) {
	srv := libnet.NewServer(testkit.Listen(t, "tcp"), codec.New(codec.Uint16BE, codec.Bytes), 8)
	defer srv.Stop()
	h := ws.MessageHandler(srv, libnet.MessageHandlerFunc(testkit.EchoMessage), nil)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { _ = recover() }()
		r.URL = nil
		h.ServeHTTP(w, r)
	}))
	defer web.Close()
	conn, err := testkit.DialTCP(web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	write(t, conn, upgradeRequest)
	_ = conn.SetReadDeadline(time.Now().Add(3 * time.Second))
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection stays open, and nobody serves it")
	}
}
