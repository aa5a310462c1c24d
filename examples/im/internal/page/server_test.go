package page_test

import (
	"net"
	"testing"

	"github.com/libnet-go/libnet/examples/im/internal/page"
)

// idleListener is a listener to which nobody connects.
type idleListener struct {
	net.Listener
	address address
	closed  chan struct{}
}

type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }

func (l *idleListener) Addr() net.Addr { return l.address }

func (l *idleListener) Accept() (net.Conn, error) {
	<-l.closed
	return nil, net.ErrClosed
}

func (l *idleListener) Close() error {
	close(l.closed)
	return nil
}

func TestThePageIsSaidToBeWhereABrowserFindsIt(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		listening address
		hosts     []string
		want      string
	}{
		{"127.0.0.1:8080", nil, "http://127.0.0.1:8080/"},
		{"[::]:8080", nil, "http://127.0.0.1:8080/"},
		{"[::1]:8080", nil, "http://[::1]:8080/"},
		{"[::]:8080", []string{"im.example.com", "im"}, "http://im.example.com:8080/"},
	} {
		l := &idleListener{address: test.listening, closed: make(chan struct{})}
		served := page.Serve(l, page.Options{Pick: pickOne, Hosts: test.hosts, Logger: quiet})
		if served.URL != test.want {
			t.Errorf("%s with %q: %s, want %s", test.listening, test.hosts, served.URL, test.want)
		}
		served.Shutdown(t.Context())
	}
}
