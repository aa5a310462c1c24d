package tlsfiles_test

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/imtest"
	"github.com/libnet-go/libnet/examples/im/internal/tlsfiles"
	"github.com/libnet-go/libnet/libnettest"
)

func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

// serialOf connects and returns the number of the certificate that the server shows.
func serialOf(t *testing.T, addr string, config *tls.Config) (string, error) {
	t.Helper()
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: imtest.Patience}, Config: config}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
}

func serve(t *testing.T, config *tls.Config) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, conn)
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func TestARenewedCertificateIsUsedWithoutARestart(t *testing.T) {
	dir := t.TempDir()
	cert, key := imtest.Certificate(t, dir)
	config, err := tlsfiles.Server(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	addr := serve(t, config)
	trust := func() *tls.Config {
		client, err := tlsfiles.Client(cert, "", "")
		if err != nil {
			t.Fatal(err)
		}
		return client
	}
	first, err := serialOf(t, addr, trust())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := serialOf(t, addr, &tls.Config{}); err == nil {
		t.Error("the system trusts it")
	}

	// While it is being replaced, the one before is shown.
	if err := os.WriteFile(cert, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1100 * time.Millisecond)
	if _, err := serialOf(t, addr, &tls.Config{InsecureSkipVerify: true}); err != nil {
		t.Errorf("with half a file: %v", err)
	}
	imtest.Certificate(t, dir)
	imtest.Eventually(t, "the new one", func() bool {
		serial, err := serialOf(t, addr, trust())
		return err == nil && serial != first
	})
}

func TestFilesThatAreNoneOrDoNotFitAreSaid(t *testing.T) {
	cert, key := imtest.Certificate(t, t.TempDir())
	_, other := imtest.Certificate(t, t.TempDir())
	missing := filepath.Join(t.TempDir(), "missing")
	for name, try := range map[string]func() error{
		"no key":            func() error { _, err := tlsfiles.Server(cert, ""); return err },
		"no certificate":    func() error { _, err := tlsfiles.Server("", key); return err },
		"another key":       func() error { _, err := tlsfiles.Server(cert, other); return err },
		"a missing file":    func() error { _, err := tlsfiles.Server(missing, key); return err },
		"a key as a CA":     func() error { _, err := tlsfiles.Client(key, "", ""); return err },
		"a missing CA":      func() error { _, err := tlsfiles.Client(missing, "", ""); return err },
		"a client's no key": func() error { _, err := tlsfiles.Client(cert, cert, ""); return err },
	} {
		if try() == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if config, err := tlsfiles.Client("", cert, key); err != nil || config.GetClientCertificate == nil {
		t.Errorf("a client's certificate: %v", err)
	}
}
