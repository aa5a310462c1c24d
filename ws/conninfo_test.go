package ws_test

import (
	"crypto/tls"
	"runtime"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

func TestBothEndsSayThatTheyAreAWebSocket(t *testing.T) {
	defer func() { layer = nil }()
	for transport, config := range map[string]*tls.Config{"ws": nil, "wss": testkit.ServerTLS()} {
		layer = config
		eachMode(t, func(t *testing.T) {
			r := start(t, setup{})
			client := r.dial(t, 4)
			send(t, client, []byte("hello"))
			want(t, client, "hello")
			for end, s := range map[string]*libnet.Session{"server": r.session(t), "client": client} {
				info := s.ConnInfo()
				if info.Transport != transport || (info.TLSVersion != 0) != (config != nil) || (info.CipherSuite != 0) != (config != nil) {
					t.Errorf("%s of %s: %+v", end, transport, info)
				}
				if info.RTT <= 0 && runtime.GOOS == "linux" {
					t.Errorf("%s of %s: no round-trip time", end, transport)
				}
			}
		})
	}
}
