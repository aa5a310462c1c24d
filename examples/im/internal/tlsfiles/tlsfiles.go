// Package tlsfiles makes TLS configurations from files, as operators have them.
//
//	config, err := tlsfiles.Server("im.crt", "im.key")
//	config, err := tlsfiles.Client("ca.crt", "", "")
//
// A certificate that is replaced by a newer one is used from the next connection on, without a restart.
package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// lookEvery is how often a certificate's file is looked at, at most.
const lookEvery = time.Second

// Server returns what a server needs to show the certificate of a PEM file, whose key is in another.
func Server(certFile, keyFile string) (*tls.Config, error) {
	p, err := newPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.current(), nil },
	}, nil
}

// Client returns what a client needs to trust the authorities of a PEM file, "" for those of the system, and to show a
// certificate of its own, if certFile is not "".
func Client(caFile, certFile, keyFile string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		text, err := os.ReadFile(caFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", caFile)
		}
	}
	if certFile == "" && keyFile == "" {
		return config, nil
	}
	p, err := newPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return p.current(), nil }
	return config, nil
}

// A pair is a certificate with its key, as the files have it.
type pair struct {
	certFile, keyFile string // immutable

	// mu guards the following.
	mu      sync.Mutex
	loaded  *tls.Certificate
	changed time.Time // of the certificate's file that was loaded
	looked  time.Time
}

func newPair(certFile, keyFile string) (*pair, error) {
	if certFile == "" || keyFile == "" {
		return nil, errors.New("a certificate and its key belong together: one of the two files is missing")
	}
	p := &pair{certFile: certFile, keyFile: keyFile}
	if err := p.loadLocked(); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *pair) loadLocked() error {
	p.looked = time.Now()
	info, err := os.Stat(p.certFile)
	if err != nil {
		return err
	}
	if info.ModTime().Equal(p.changed) {
		return nil
	}
	loaded, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
	if err != nil {
		return fmt.Errorf("%s: %w", p.certFile, err)
	}
	p.loaded, p.changed = &loaded, info.ModTime()
	return nil
}

// current is the newest certificate that could be loaded: while the files are being replaced, the one before.
func (p *pair) current() *tls.Certificate {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.looked) >= lookEvery {
		_ = p.loadLocked()
	}
	return p.loaded
}
