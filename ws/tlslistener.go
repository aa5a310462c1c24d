package ws

import (
	"crypto/tls"
	"net"

	"github.com/libnet-go/libnet/internal/sockets"
	"github.com/libnet-go/libnet/internal/usercode"
)

// TLSListener returns a listener for an HTTP server, as tls.NewListener does, whose connections [MessageHandler] can
// give to the event loop: a session over one of crypto/tls's keeps a goroutine and its buffers.
//
//	listener, err := net.Listen("tcp", ":443")
//	...
//	err = web.Serve(ws.TLSListener(listener, config)) // and not web.ServeTLS
//
// Its connections speak HTTP/1.1 only, whatever config's NextProtos say: net/http speaks HTTP/2 on those of crypto/tls
// alone. The handshake comes before the first request, within 10 s. It panics without a listener or a config.
func TLSListener(l net.Listener, config *tls.Config) net.Listener {
	if usercode.IsNil(l) || config == nil {
		panic("libnet: ws.TLSListener needs a listener and a config")
	}
	return sockets.ListenTLS(l, config)
}
