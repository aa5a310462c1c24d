package libnet_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"
)

// faultClientTLS takes any certificate: most tests are not about that.
var faultClientTLS = &tls.Config{InsecureSkipVerify: true}

var faultCertificate = sync.OnceValues(func() (tls.Certificate, error) {
	return faultIssue(time.Now().Add(time.Hour), "libnet.test")
})

// faultIssue makes a self-signed certificate for a name and 127.0.0.1.
func faultIssue(until time.Time, name string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             until.Add(-48 * time.Hour),
		NotAfter:              until,
		DNSNames:              []string{name},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

func faultServerTLS(tb testing.TB) *tls.Config {
	tb.Helper()
	cert, err := faultCertificate()
	if err != nil {
		tb.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}}
}
