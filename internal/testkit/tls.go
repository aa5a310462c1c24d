package testkit

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
	"time"
)

// Certificate is the one of ServerTLS. It is valid by every clock, since it may be made in a synctest bubble and used
// outside, or the other way round.
var Certificate = sync.OnceValue(func() tls.Certificate {
	return Issue(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), "libnet.test")
})

// Issue makes a certificate that signs itself, for a name and the loopback address.
func Issue(until time.Time, name string) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(-48 * time.Hour), // a bubble's clock begins in 2000
		NotAfter:              until,
		DNSNames:              []string{name},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// ServerTLS is for servers on the loopback address.
func ServerTLS() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{Certificate()}}
}

// ClientTLS trusts the certificate of ServerTLS and no other.
func ClientTLS() *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(Certificate().Leaf)
	return &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
}

// AnyTLS takes any certificate: for tests that are not about that, and for those with a clock of their own.
func AnyTLS() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }
