package main

import (
	"net"
	"net/http"
	"time"

	"github.com/lesismal/llib/std/crypto/tls"
	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/mempool"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"
)

// nbio's TLS is a fork of crypto/tls that is fed with what was read; its WebSocket answers each message by itself.

// nbioTLS is the serverTLS of that fork.
func nbioTLS() (*tls.Config, error) {
	config, err := serverTLS()
	if err != nil {
		return nil, err
	}
	own := config.Certificates[0]
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: own.Certificate, PrivateKey: own.PrivateKey}}}, nil
}

type nbioSecured struct {
	tls *tls.Conn
	remainder
}

// nbioTLSEcho does by hand what nbio's extension/tls does, with one buffer to decrypt into in place of one for each
// read: there is one poller.
func nbioTLSEcho(before func([]byte)) (net.Addr, error) {
	config, err := nbioTLS()
	if err != nil {
		return nil, err
	}
	handle := replyToEach(before)
	plain := make([]byte, nbio.DefaultReadBufferSize)
	return startNbio(1, func(engine *nbio.Engine) {
		engine.OnOpen(func(c *nbio.Conn) {
			c.SetSession(&nbioSecured{tls: tls.NewConn(c, config, false, true, mempool.DefaultMemPool)})
		})
		engine.OnData(func(c *nbio.Conn, data []byte) {
			if c.Session().(*nbioSecured).answer(data, plain, handle) != nil {
				c.Close()
			}
		})
	})
}

// answer writes the replies to what the data decrypts to.
func (s *nbioSecured) answer(data, plain []byte, handle frameHandler) error {
	if _, err := s.tls.Append(data); err != nil {
		return err
	}
	out := newOutgoing()
	defer out.free()
	for {
		n, err := s.tls.Read(plain)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		s.take(out, plain[:n], handle)
	}
	if len(out.reply) == 0 {
		return nil
	}
	_, err := s.tls.Write(out.reply)
	return err
}

func nbioWebSocketEcho(before func([]byte)) (net.Addr, error) {
	return startNbioWebSocket(before, func(config *nbhttp.Config) error {
		config.Addrs = []string{"127.0.0.1:0"}
		return nil
	})
}

func nbioSecureWebSocketEcho(before func([]byte)) (net.Addr, error) {
	return startNbioWebSocket(before, func(config *nbhttp.Config) (err error) {
		config.AddrsTLS = []string{"127.0.0.1:0"}
		config.TLSConfig, err = nbioTLS()
		return err
	})
}

// startNbioWebSocket is nbio's server of a million WebSockets: its buffers go back to their pool behind each message,
// and connections have no deadline.
func startNbioWebSocket(before func([]byte), set func(*nbhttp.Config) error) (net.Addr, error) {
	upgrader := websocket.NewUpgrader()
	upgrader.KeepaliveTime = 0
	upgrader.OnMessage(func(c *websocket.Conn, kind websocket.MessageType, message []byte) {
		if before != nil {
			before(message)
		}
		c.WriteMessage(kind, message)
	})
	var at listenedAt
	config := nbhttp.Config{
		Network:                      "tcp",
		ReleaseWebsocketPayload:      true,
		MaxWebsocketFramePayloadSize: 1 << 20, // as of all others here, a message is a frame
		Listen:                       at.listen,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c, err := upgrader.Upgrade(w, r, nil); err == nil {
				c.SetReadDeadline(time.Time{})
			}
		}),
	}
	if err := set(&config); err != nil {
		return nil, err
	}
	err := nbhttp.NewEngine(config).Start()
	return at.address, err
}
