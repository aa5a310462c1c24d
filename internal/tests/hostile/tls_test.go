package hostile

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

func overTLS(m mode) bool { return testkit.HasTLS(m.transport) }

// tlsSites are what crypto/tls calls of a server's config, on libnet's goroutines.
var tlsSites = []site{
	{name: "tls.Config.GetConfigForClient", does: failures, in: overTLS},
	{name: "tls.Config.GetCertificate", does: with(givesNil), in: overTLS},
	{name: "tls.Config.VerifyPeerCertificate", does: failures, in: overTLS},
	{name: "tls.Config.VerifyConnection", does: failures, in: overTLS},
	{name: "tls.Config.WrapSession", does: failures, in: overTLS},
	{name: "tls.Config.UnwrapSession", does: failures, in: overTLS},
	{name: "tls.Config.Time", in: overTLS},
	{name: "tls.Config.Rand.Read", does: with(givesLess, givesMore), in: overTLS},
	{name: "tls.Config.KeyLogWriter.Write", does: with(givesLess, givesMore), in: overTLS},
	{name: "crypto.Signer.Sign", does: with(givesNil), in: overTLS},
	{name: "crypto.Signer.Public", in: overTLS},
}

// dialledTLSSites are what it calls of a Dialer's.
var dialledTLSSites = []site{
	{name: "tls.Config.GetClientCertificate", does: with(givesNil)},
	{name: "tls.Config.VerifyPeerCertificate", does: failures},
	{name: "tls.Config.VerifyConnection", does: failures},
	{name: "tls.Config.ClientSessionCache.Get", does: []behaviour{givesNil}},
	{name: "tls.Config.ClientSessionCache.Put"},
	{name: "tls.Config.Time"},
	{name: "tls.Config.Rand.Read", does: with(givesLess, givesMore)},
	{name: "tls.Config.KeyLogWriter.Write", does: with(givesLess, givesMore)},
	{name: "crypto.Signer.Sign", does: with(givesNil)},
	{name: "crypto.Signer.Public"},
}

// uncalledOfTLS are fields that none of these has crypto/tls call.
var uncalledOfTLS = map[string]string{
	"tls.Config.EncryptedClientHelloRejectionVerify": "in the handshake, as VerifyConnection, of a client with an EncryptedClientHelloConfigList",
	"tls.Config.GetEncryptedClientHelloKeys":         "in the handshake, before GetConfigForClient, for such a client",
}

func TestEveryFieldOfATLSConfigThatIsCodeIsInTheTable(t *testing.T) {
	known := func(name string) bool {
		for _, s := range append(append([]site(nil), tlsSites...), dialledTLSSites...) {
			if s.name == name || strings.HasPrefix(s.name, name+".") {
				return true
			}
		}
		_, uncalled := uncalledOfTLS[name]
		return uncalled
	}
	config := reflect.TypeFor[tls.Config]()
	for i := range config.NumField() {
		f := config.Field(i)
		if k := f.Type.Kind(); f.IsExported() && (k == reflect.Func || k == reflect.Interface) && !known("tls.Config."+f.Name) {
			t.Errorf("tls.Config.%s is in neither of the tables", f.Name)
		}
	}
	for i := range reflect.TypeFor[crypto.Signer]().NumMethod() {
		if name := "crypto.Signer." + reflect.TypeFor[crypto.Signer]().Method(i).Name; !known(name) {
			t.Errorf("%s is in neither of the tables", name)
		}
	}
}

// isOfTLS reports whether the rig needs a config with all user code.
func (s *site) isOfTLS() bool {
	return strings.HasPrefix(s.name, "tls.") || strings.HasPrefix(s.name, "crypto.")
}

// serverTLS is a config of which all is the user's that can be.
func serverTLS(b *bomb) *tls.Config {
	c := testkit.ServerTLS()
	hostileTLS(c, b)
	c.ClientAuth = tls.RequestClientCert
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return nil, b.failure(b.at("tls.Config.GetConfigForClient"))
	}
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if does := b.at("tls.Config.GetCertificate"); does != "" {
			return nil, b.failure(does)
		}
		return &c.Certificates[0], nil
	}
	c.WrapSession = func(cs tls.ConnectionState, state *tls.SessionState) ([]byte, error) {
		if does := b.at("tls.Config.WrapSession"); does != "" {
			return nil, b.failure(does)
		}
		return c.EncryptTicket(cs, state)
	}
	c.UnwrapSession = func(identity []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		if does := b.at("tls.Config.UnwrapSession"); does != "" {
			return nil, b.failure(does)
		}
		return c.DecryptTicket(identity, cs)
	}
	return c
}

// hostileTLS sets what both sides have.
func hostileTLS(c *tls.Config, b *bomb) {
	c.Rand, c.KeyLogWriter = userRand{b}, userKeyLog{b}
	c.Time = func() time.Time {
		b.at("tls.Config.Time")
		return time.Now()
	}
	c.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error {
		return b.failure(b.at("tls.Config.VerifyPeerCertificate"))
	}
	c.VerifyConnection = func(tls.ConnectionState) error { return b.failure(b.at("tls.Config.VerifyConnection")) }
	own := testkit.Certificate()
	own.PrivateKey = userSigner{own.PrivateKey.(crypto.Signer), b}
	c.Certificates = []tls.Certificate{own}
}

// dialledTLS is such a config of a Dialer's.
func dialledTLS(b *bomb) *tls.Config {
	c := testkit.ClientTLS()
	hostileTLS(c, b)
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if does := b.at("tls.Config.GetClientCertificate"); does != "" {
			return nil, b.failure(does)
		}
		return &c.Certificates[0], nil
	}
	c.ClientSessionCache = userCache{b}
	return c
}

type userRand struct{ b *bomb }

func (r userRand) Read(p []byte) (int, error) {
	if does := r.b.at("tls.Config.Rand.Read"); does != "" {
		return (&userConn{b: r.b}).moved(does, 0, len(p))
	}
	return rand.Read(p)
}

type userKeyLog struct{ b *bomb }

func (l userKeyLog) Write(p []byte) (int, error) {
	if does := l.b.at("tls.Config.KeyLogWriter.Write"); does != "" {
		return (&userConn{b: l.b}).moved(does, 0, len(p))
	}
	return len(p), nil
}

type userSigner struct {
	crypto.Signer
	b *bomb
}

func (s userSigner) Public() crypto.PublicKey {
	s.b.at("crypto.Signer.Public")
	return s.Signer.Public()
}

func (s userSigner) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if does := s.b.at("crypto.Signer.Sign"); does != "" {
		return nil, s.b.failure(does)
	}
	return s.Signer.Sign(rand, digest, opts)
}

type userCache struct{ b *bomb }

func (c userCache) Get(string) (*tls.ClientSessionState, bool) {
	return nil, c.b.at("tls.Config.ClientSessionCache.Get") == givesNil
}

func (c userCache) Put(string, *tls.ClientSessionState) { c.b.at("tls.Config.ClientSessionCache.Put") }

// peerTLS is the config of a client that behaves: it has a certificate, and asks for a session again where that
// matters.
func (r *rig) peerTLS() *tls.Config {
	c := &tls.Config{InsecureSkipVerify: true, ServerName: "libnet.test", Certificates: []tls.Certificate{testkit.Certificate()}}
	c.CurvePreferences = []tls.CurveID{tls.X25519} // the cheapest, of thousands of handshakes
	if r.b.site == "tls.Config.WrapSession" || r.b.site == "tls.Config.UnwrapSession" {
		c.ClientSessionCache = r.tickets
	}
	return c
}

// TestHostileUserCodeOfADialersTLS has Dial meet its config's code, and dials again after that.
func TestHostileUserCodeOfADialersTLS(t *testing.T) {
	for i := range dialledTLSSites {
		s := &dialledTLSSites[i]
		for _, does := range append(append([]behaviour(nil), anywhere...), s.does...) {
			if does == stops {
				continue // then there is no next Dial
			}
			t.Run(s.name+"/"+string(does), func(t *testing.T) {
				t.Parallel()
				playDialer(t, s, does)
			})
		}
	}
}

func playDialer(t *testing.T, s *site, does behaviour) {
	server := &bomb{fired: make(chan struct{})}
	r := prepareRig(t, mode{"Serve over TLS", "Serve", "tls", "pure", 8}, s, does)
	r.srv.TLSConfig = serverTLS(server)
	r.serve()
	d := &libnet.Dialer{Protocol: protocolOf("pure", server), TLSConfig: dialledTLS(r.b)}
	d.SendQueue = 8
	d.Linger = 200 * time.Millisecond
	r.b.armed.Store(true)
	_ = r.dialAndAsk(t, d, 2*shutdownBound)
	r.wantCalled(t)
	if err := r.dialAndAsk(t, d, inTime); err != nil {
		t.Errorf("the next Dial: %v", err)
	}
	r.wantShutdown(t)
	close(r.b.freed)
	within(t, "the rig's own goroutines", inTime, r.conns.Wait)
}

// dialAndAsk wants Dial to return when its context has ended at the latest, after bound, and then Close.
func (r *rig) dialAndAsk(t *testing.T, d *libnet.Dialer, bound time.Duration) error {
	t.Helper()
	err := errors.New("the goroutine was ended")
	within(t, "Dial", bound+slack, func() {
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		defer cancel()
		var s *libnet.Session
		if s, err = d.Dial(ctx, "tcp", r.listener.Addr().String()); err != nil {
			return
		}
		defer s.Close()
		answered := make(chan error, 1)
		go func() {
			answer := errors.New("Receive ended the goroutine")
			defer func() { answered <- answer }()
			if answer = s.Send([]byte("hello")); answer == nil {
				_, answer = s.Receive()
			}
		}()
		select {
		case err = <-answered:
		case <-ctx.Done():
			err = ctx.Err()
		}
	})
	return err
}
